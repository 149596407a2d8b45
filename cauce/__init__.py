"""Settings, the composition of the parts, the command line: the only place that knows everything."""

__version__ = "0.1.0"
