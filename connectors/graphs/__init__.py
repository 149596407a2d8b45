"""Hosted graphs: the installation's own LangGraph graphs, listed in `cauce.toml` (decision 9).

This package has what LangGraph needs to run them on Cauce: the catalogue of graphs, the saver that reads and stages a thread's
rows, the store on a user's items, and the conversion of requests to LangGraph's arguments and of its states to JSON. Graphs run
in the turns group, not here.

Names are imported from their modules at first use: importing LangGraph takes a second, which an installation without hosted
graphs need not spend.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from connectors.connector import Connector

if TYPE_CHECKING:
    from connectors.graphs.blocking_threads import GraphThreads, Owner, own_threads
    from connectors.graphs.factories import DESCRIBE, READ, UPDATE, Use
    from connectors.graphs.graph_catalogue import Graphs
    from connectors.graphs.graph_store import UserStore
    from connectors.graphs.hosted import HostedGraph
    from connectors.graphs.json_shapes import thread_state, to_json
    from connectors.graphs.run_arguments import graph_input, place, run_config, run_context
    from connectors.graphs.saver import StagingSaver
    from connectors.graphs.state_rows import BrokenState, RowReader, RowTooLarge, rows_of

__all__ = [
    "CONNECTOR",
    "DESCRIBE",
    "READ",
    "UPDATE",
    "BrokenState",
    "GraphThreads",
    "Graphs",
    "HostedGraph",
    "Owner",
    "RowReader",
    "RowTooLarge",
    "StagingSaver",
    "Use",
    "UserStore",
    "graph_input",
    "own_threads",
    "place",
    "rows_of",
    "run_config",
    "run_context",
    "thread_state",
    "to_json",
]

CONNECTOR = Connector(name="graphs")

_HOMES = {
    "DESCRIBE": "factories",
    "READ": "factories",
    "UPDATE": "factories",
    "BrokenState": "state_rows",
    "GraphThreads": "blocking_threads",
    "Graphs": "graph_catalogue",
    "HostedGraph": "hosted",
    "Owner": "blocking_threads",
    "RowReader": "state_rows",
    "RowTooLarge": "state_rows",
    "StagingSaver": "saver",
    "Use": "factories",
    "UserStore": "graph_store",
    "graph_input": "run_arguments",
    "own_threads": "blocking_threads",
    "place": "run_arguments",
    "rows_of": "state_rows",
    "run_config": "run_arguments",
    "run_context": "run_arguments",
    "thread_state": "json_shapes",
    "to_json": "json_shapes",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
