"""Settings, the composition of the parts, and the command line: the only package that may import all others."""

__version__ = "0.1.0"
