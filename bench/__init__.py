"""Measurements: `make bench`, or `python -m bench --help`. Every figure stands beside the in-process figure of the same run."""
