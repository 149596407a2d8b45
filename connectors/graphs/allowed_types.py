"""The types of an application that may be restored from a graph's stored state.

LangGraph's serializer stores an object with the name of its type, and imports that name to read it. Only types on this list are
imported, so that write access to the store does not allow running arbitrary code. The list has the types of the graph's schemas
and, for fields annotated as `Any`, the data types of the application's modules and of the modules that these import.
"""

from __future__ import annotations

import dataclasses
import inspect
import sys
from collections.abc import Iterable, Iterator
from enum import Enum
from types import ModuleType
from typing import Any

from langgraph._internal._serde import build_serde_allowlist
from langgraph.graph.state import CompiledStateGraph
from langgraph.pregel import Pregel
from pydantic import BaseModel

from connectors.graphs.applications import APPLICATIONS

_LIBRARIES = ("langgraph", "langchain", "langchain_core", "builtins")


def types_of(graph: Pregel[Any, Any, Any, Any]) -> set[tuple[str, ...]]:
    """Module and name of each type of the schemas of a graph and its subgraphs, and of the modules of their nodes."""
    found: set[tuple[str, ...]] = set()
    for part in _graphs(graph):
        found |= build_serde_allowlist(schemas=list(_schemas(part)), channels=dict(part.channels))
        for module in _modules(part):
            found |= set(_data_types(module.__name__, module))
    return found


class ApplicationTypes:
    """The data types of an application's modules. Modules imported later, inside functions, are included once loaded."""

    def __init__(self, module: ModuleType) -> None:
        self._module = module
        self._modules_then = -1
        self._found: set[tuple[str, ...]] = set()

    def found(self) -> set[tuple[str, ...]]:
        """Module and name of each type of the application's modules."""
        if len(sys.modules) != self._modules_then:
            self._modules_then = len(sys.modules)
            self._found = {t for name, module in APPLICATIONS.beside(self._module) for t in _data_types(name, module)}
        return self._found


def _graphs(graph: Pregel[Any, Any, Any, Any]) -> Iterator[Pregel[Any, Any, Any, Any]]:
    yield graph
    for _, part in graph.get_subgraphs(recurse=True):
        if isinstance(part, Pregel):
            yield part


def _schemas(graph: Pregel[Any, Any, Any, Any]) -> Iterator[type[Any]]:
    if graph.context_schema is not None:
        yield graph.context_schema
    if not isinstance(graph, CompiledStateGraph):
        return
    builder = graph.builder
    yield from builder.schemas
    for node in builder.nodes.values():
        yield node.input_schema
    for branches in builder.branches.values():
        yield from (branch.input_schema for branch in branches.values() if branch.input_schema is not None)


def _modules(graph: Pregel[Any, Any, Any, Any]) -> Iterator[ModuleType]:
    """The modules of the graph's node functions."""
    for node in graph.nodes.values():
        for attribute in ("func", "afunc"):
            function: Any = getattr(node.bound, attribute, None)
            name = getattr(inspect.unwrap(function), "__module__", None) if callable(function) else None
            module = sys.modules.get(name or "")
            if module is not None and module.__name__.split(".")[0] not in _LIBRARIES:
                yield module


def _data_types(name: str, module: ModuleType) -> Iterable[tuple[str, str]]:
    """Module and name of each data type in the module with this name."""
    for value in list(vars(module).values()):
        if inspect.isclass(value) and (
            issubclass(value, BaseModel | Enum)
            or dataclasses.is_dataclass(value)
            or (issubclass(value, tuple) and hasattr(value, "_fields"))
        ):
            yield value.__module__, value.__name__
            if value.__module__ == module.__name__ != name:
                yield name, value.__name__
