"""`python -m infocl` is `infocl`."""

from infocl.cli import main

if __name__ == "__main__":
    main()
