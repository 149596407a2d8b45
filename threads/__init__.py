"""What an input does to a thread: pure code. No clock, no store, no model, no network.

`transitions`, `calls`, `answers`, `forks`, `message_changes` and `graph_transitions` change a `draft`, which becomes one batch
for the journal; `replay` makes a thread from its events; `context_window` is what a model sees of it,
and `enclosure` how it is shown what others wrote.
"""
