"""Measurements: `make bench`, or `python -m bench --help`. Every figure is shown beside the in-process figure of the same run."""
