"""`python -m pssmr` is the `pssmr` command."""

from pssmr.cli import main

if __name__ == "__main__":
    main()
