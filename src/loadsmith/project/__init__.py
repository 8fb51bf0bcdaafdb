"""The YAML door: `build_definitions(path)` and what its files can name."""
