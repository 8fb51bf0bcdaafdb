"""Pull requests of a GitHub repository, with their comments and reactions."""
