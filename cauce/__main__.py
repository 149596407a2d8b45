"""Makes `python -m cauce` the same as `cauce`."""

from cauce.cli import main

if __name__ == "__main__":
    main()
