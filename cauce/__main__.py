"""`python -m cauce` is `cauce`."""

from cauce.cli import main

if __name__ == "__main__":
    main()
