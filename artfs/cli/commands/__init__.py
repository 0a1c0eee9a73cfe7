"""One module a command; `artfs.cli.main` knows which."""
