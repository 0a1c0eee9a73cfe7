"""The command line: one module a command, each imported only when it is called, so that `artfs ls` starts at once."""
