"""Read and validate the YAML and JSON files of a project."""
