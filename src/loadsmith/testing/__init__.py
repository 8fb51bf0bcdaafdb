"""For users' own tests: awkward sources and contract suites."""
