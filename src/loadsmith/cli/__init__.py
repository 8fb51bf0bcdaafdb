"""The command line: init, check, list, run, schema."""
