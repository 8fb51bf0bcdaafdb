"""The YAML and JSON side: files in, validated models with their places out."""
