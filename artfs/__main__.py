"""`python -m artfs`: the command line, where the command `artfs` is not on the path."""

from artfs.cli.main import main

if __name__ == "__main__":
    main()
