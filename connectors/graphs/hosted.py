"""A hosted graph, prepared for running, drawing and reading its state."""

from __future__ import annotations

import copy
import inspect
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, TypeAlias

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph import StateGraph
from langgraph.pregel import Pregel
from langgraph.store.base import BaseStore
from langgraph_sdk.runtime import AccessContext
from pydantic import BaseModel, TypeAdapter, create_model

from connectors.graphs.allowed_types import ApplicationTypes, types_of
from connectors.graphs.blocking_threads import SharedThreads
from connectors.graphs.factories import RUN, Factory, Use
from connectors.graphs.imports import load
from connectors.graphs.json_shapes import to_json
from schemas import SettingsError, storable_error

Graph: TypeAlias = Pregel[Any, Any, Any, Any]
_PLACE = ("thread_id", "checkpoint_id", "checkpoint_ns", "checkpoint_map")


def hosted(
    name: str, spec: str, folder: Path, dependencies: Sequence[Path] = (), threads: SharedThreads | None = None
) -> HostedGraph:
    """The graph of a line of `[graphs]`; a factory runs in one of the threads. Raises `SettingsError` with an explanation."""
    found, module = load(f"the graph {name!r}", spec, folder, dependencies)
    if isinstance(found, StateGraph):
        found = _compiled(name, found)
    if isinstance(found, Pregel):
        return HostedGraph(name, module, found)
    if callable(found) and not inspect.isclass(found):
        return HostedGraph(name, module, Factory(name, found, threads))
    raise SettingsError(
        f"the graph {name!r} ({spec}) is a {type(found).__name__}. It must be a compiled graph, a StateGraph, an entrypoint of "
        "the functional API, or a function that creates one of these."
    )


def _compiled(name: str, builder: StateGraph[Any, Any, Any, Any]) -> Graph:
    try:
        return builder.compile(name=name)
    except Exception as error:
        raise SettingsError(f"the graph {name!r} cannot be compiled: {storable_error(error)}") from error


class HostedGraph:
    """One graph: compiled once, or created by a factory for each use."""

    def __init__(self, name: str, module: ModuleType, graph: Graph | Factory) -> None:
        self.name = name
        self._module = module
        self._graph = graph
        self._application = ApplicationTypes(module)
        self._types = types_of(graph) if isinstance(graph, Pregel) else None

    @property
    def is_made(self) -> bool:
        """Whether a factory creates it for each use."""
        return isinstance(self._graph, Factory)

    @asynccontextmanager
    async def bound(
        self,
        *,
        saver: BaseCheckpointSaver[Any],
        store: BaseStore,
        config: RunnableConfig,
        access: AccessContext = RUN,
        context: Mapping[str, Any] | None = None,
    ) -> AsyncIterator[Graph]:
        """A copy of the graph that keeps its state in this saver and its items in this store.

        The saver and store that the graph was compiled with are not used. A factory is called with the config and its purpose.
        Raises `SettingsError` if its result is not a graph, and whatever the factory raises.
        """
        async with self.made(Use(access, config, store, dict(context or {}))) as graph:
            yield self.attached(graph, saver=saver, store=store)

    @asynccontextmanager
    async def made(self, use: Use) -> AsyncIterator[Graph]:
        """The graph, created for this use if there is a factory. It can be used only after `attached`."""
        if isinstance(self._graph, Pregel):
            yield self._graph
            return
        async with self._graph.made(use) as made:
            yield self._checked(made)

    def attached(self, graph: Graph, *, saver: BaseCheckpointSaver[Any], store: BaseStore) -> Graph:
        """A copy of a graph from `made` with this saver and store."""
        own = copy.copy(graph)
        types = types_of(graph) if self._types is None else self._types
        own.checkpointer = saver.with_allowlist(types | self._application.found())
        own.store = store
        own.config = _nowhere(graph.config)
        return own

    def _checked(self, made: Any) -> Graph:
        if isinstance(made, StateGraph):
            return _compiled(self.name, made)
        if isinstance(made, Pregel):
            return made
        raise SettingsError(
            f"the function of the graph {self.name!r} creates a {type(made).__name__}. It must create a compiled graph, a "
            "StateGraph or an entrypoint, or be a context manager for one of these."
        )

    async def schemas(self, use: Use) -> dict[str, Any]:
        """JSON Schemas of input, output, state, config and context; null if a schema cannot be created."""
        async with self.made(use) as graph:
            return {"graph_id": self.name, **_schemas(graph)}

    async def drawing(self, use: Use, *, xray: int | bool = False) -> dict[str, Any]:
        """Nodes and edges, including those of subgraphs down to the depth `xray`."""
        async with self.made(use) as graph:
            drawn: dict[str, Any] = to_json((await graph.aget_graph(xray=xray)).to_json())
            return drawn

    async def subgraphs(self, use: Use, namespace: str | None = None, *, recurse: bool = False) -> dict[str, Any]:
        """The schemas of its subgraphs by namespace: all, or only the one of this namespace."""
        async with self.made(use) as graph:
            found = graph.get_subgraphs(namespace=namespace, recurse=recurse)
            return {where: _schemas(part) for where, part in found if isinstance(part, Pregel)}


def _nowhere(config: RunnableConfig | None) -> RunnableConfig | None:
    """The config that a factory bound to its graph (`with_config`), without thread and checkpoint: each call has its own, and
    LangGraph would merge the two."""
    if not config or "configurable" not in config:
        return config
    kept = {name: value for name, value in config["configurable"].items() if name not in _PLACE}
    return {**config, "configurable": kept}


def _schemas(graph: Graph) -> dict[str, Any]:
    return {
        "input_schema": _or_none(graph.get_input_jsonschema),
        "output_schema": _or_none(graph.get_output_jsonschema),
        "state_schema": _or_none(lambda: _state_schema(graph)),
        "config_schema": _or_none(lambda: _config_schema(graph)),
        "context_schema": _or_none(graph.get_context_jsonschema),
    }


def _state_schema(graph: Graph) -> dict[str, Any]:
    """JSON Schema of the channels that are visible in the state's values."""
    shown = graph.stream_channels_asis
    types = {
        name: getattr(graph.channels[name], "ValueType", Any) for name in ([shown] if isinstance(shown, str) else shown)
    }
    if isinstance(shown, str):
        adapter: TypeAdapter[Any] = TypeAdapter(types[shown])
        return adapter.json_schema()
    fields: dict[str, Any] = {name: (type_, None) for name, type_ in types.items()}
    model: type[BaseModel] = create_model(graph.get_name("State"), **fields)
    return model.model_json_schema()


def _config_schema(graph: Graph) -> dict[str, Any]:
    configurable: Any = graph.context_schema or dict[str, Any]
    model: type[BaseModel] = create_model(graph.get_name("Config"), configurable=(configurable, None))
    return model.model_json_schema()


def _or_none(make: Callable[[], dict[str, Any] | None]) -> dict[str, Any] | None:
    try:
        return make()
    except Exception:  # pydantic raises many kinds of errors for a type without a schema
        return None
