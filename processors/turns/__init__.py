"""Turns: a thread's next step, from an input or a full set of tool results to tool calls or an answer.

`transitions` and `answers` are what happens, as pure functions on a `draft`; `leg` and `agent` ask the model;
`processor` hydrates, commits and publishes.
"""
