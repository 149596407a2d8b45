"""The LangGraph Server API, classic and v2, for clients that speak it already (`docs/gateway.md` says what and what not).

Agents are assistants, threads are threads, runs are runs. A resumed run keeps its id. Shapes and their traps: `shapes.py`,
`projection.py`; what the JavaScript and Python clients do with them is held by `tests/gateway`.
"""
