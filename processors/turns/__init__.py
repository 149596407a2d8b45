"""Turns: a thread's next step, from an input or a full set of tool results to tool calls or an answer.

`transitions`, `calls` and `answers` are what happens, as pure functions on a `draft`; `leg` and `agent` ask the model;
`graph_transitions` and `graph_leg` are the same for hosted graphs, whose streams are cut in `graph_parts` and `graph_stream`;
`processor` hydrates, commits and publishes.
"""
