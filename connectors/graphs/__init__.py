"""Hosted graphs: LangGraph graphs of the installation's own, named in `cauce.toml` (decision 9).

Here is what LangGraph needs to run them on Cauce: the catalogue of graphs, the saver that reads and stages a thread's rows, the
store on a user's items, and the way from a request to LangGraph's arguments and from its states to JSON. Nothing here
runs a graph: the turns group does. Importing this imports LangGraph.
"""

from connectors.graphs.catalogue import Graphs, HostedGraph
from connectors.graphs.requests import graph_input, run_config
from connectors.graphs.rows import BrokenState, RowReader, RowTooLarge, rows_of
from connectors.graphs.saver import StagingSaver
from connectors.graphs.shapes import thread_state, to_json
from connectors.graphs.store import UserStore

__all__ = [
    "BrokenState",
    "Graphs",
    "HostedGraph",
    "RowReader",
    "RowTooLarge",
    "StagingSaver",
    "UserStore",
    "graph_input",
    "rows_of",
    "run_config",
    "thread_state",
    "to_json",
]
