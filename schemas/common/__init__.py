"""Small things that every room needs and no record or row has: the clock, caches, pauses, child processes, what settings and
metrics are declared with."""
