"""`python -m infocl` is `infocl`."""

from infocl.cli.main import main

if __name__ == "__main__":
    main()
