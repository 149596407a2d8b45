"""Graph factories: functions that create a graph, called with the arguments that their signature asks for.

As on LangGraph's server, a factory is called for each use: to run the graph, to read or change a state, to describe the graph.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, TypeAlias

from langchain_core.runnables import RunnableConfig
from langgraph.store.base import BaseStore
from langgraph_sdk.runtime import AccessContext, ServerRuntime, _ExecutionRuntime, _ReadRuntime

from connectors.foreign import no_exits
from connectors.graphs.blocking_threads import THREADS, Owner, SharedThreads
from schemas import SettingsError

log = logging.getLogger("cauce.graphs")

CLOSE_SECONDS = 10.0
"""Time that a factory's context manager has to clean up."""

Kind: TypeAlias = Literal["config", "runtime"]

RUN: AccessContext = "threads.create_run"
READ: AccessContext = "threads.read"
UPDATE: AccessContext = "threads.update"
DESCRIBE: AccessContext = "assistants.read"
"""The purpose for which a factory is called."""


@dataclass(frozen=True, slots=True)
class GraphUser:
    """The user of a run, as nodes and factories see it: `langgraph_sdk.auth.types.BaseUser`."""

    identity: str
    permissions: tuple[str, ...] = ()
    is_authenticated: bool = True

    @property
    def display_name(self) -> str:
        """The identity."""
        return self.identity

    def _fields(self) -> dict[str, Any]:
        return {
            "identity": self.identity,
            "display_name": self.identity,
            "is_authenticated": self.is_authenticated,
            "permissions": list(self.permissions),
        }

    def __getitem__(self, key: str) -> Any:
        return self._fields()[key]

    def __contains__(self, key: object) -> bool:
        return key in self._fields()

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields())


@dataclass(frozen=True, slots=True)
class Use:
    """The use for which a graph is created."""

    access: AccessContext
    config: RunnableConfig
    store: BaseStore
    context: dict[str, Any] = field(default_factory=dict)
    """The run's context."""

    def runtime(self) -> Any:
        """LangGraph's `ServerRuntime`."""
        user: Any = (self.config.get("configurable") or {}).get("langgraph_auth_user")
        if self.access == RUN:
            context: Any = self.context or None
            return _ExecutionRuntime(access_context=self.access, user=user, store=self.store, context=context)
        return _ReadRuntime(access_context=self.access, user=user, store=self.store)


class Factory:
    """A function that creates a graph."""

    def __init__(self, name: str, function: Callable[..., Any], threads: SharedThreads | None = None) -> None:
        """Functions that may block run in one of the threads. Raises `SettingsError` for an argument that nothing provides."""
        self._name, self._threads = name, threads or SharedThreads(THREADS, "factory")
        self._function, self._asynchronous = function, inspect.iscoroutinefunction(function)
        self._positional, self._named = _arguments(name, function)

    @asynccontextmanager
    async def made(self, use: Use) -> AsyncIterator[Any]:
        """The function's result, entered if it is a context manager. Raises whatever the function raises, and `ForeignStop` if it
        calls `sys.exit`."""
        with no_exits():
            async with self._making(use) as made:
                yield made

    @asynccontextmanager
    async def _making(self, use: Use) -> AsyncIterator[Any]:
        given = {"config": use.config, "runtime": use.runtime()}
        arguments = [given[kind] for kind in self._positional]
        named = {name: given[kind] for name, kind in self._named.items()}
        if self._asynchronous:
            made = await self._function(*arguments, **named)
        else:  # in a thread, because a plain function may block
            owner = Owner(self._name, self._name)
            made = await self._threads.call(owner, partial(self._function, *arguments, **named))
            made = await made if inspect.isawaitable(made) else made
        if isinstance(made, AbstractAsyncContextManager):
            async with _closed_in_time(made, self._name) as entered:
                yield entered
        elif isinstance(made, AbstractContextManager):
            with made as entered:
                yield entered
        else:
            yield made


@asynccontextmanager
async def _closed_in_time(made: AbstractAsyncContextManager[Any], name: str) -> AsyncIterator[Any]:
    """Enters the context. Its cleanup may take `CLOSE_SECONDS` and is abandoned after that."""
    failed: BaseException | None = None
    try:
        async with asyncio.timeout(None) as closing, made as entered:
            try:
                yield entered
            except BaseException as error:
                failed = error
                raise
            finally:
                closing.reschedule(asyncio.get_running_loop().time() + CLOSE_SECONDS)
    except TimeoutError:
        if not closing.expired():
            raise
        log.warning("the graph %s was not cleaned up within %g s", name, CLOSE_SECONDS)
        if failed:
            raise failed from None


def _arguments(name: str, function: Callable[..., Any]) -> tuple[list[Kind], dict[str, Kind]]:
    """The positional arguments of the function, and those passed by name."""
    parameters = _parameters(function)
    positional, named = list[Kind](), dict[str, Kind]()
    needed = [p for p in parameters if p.default is p.empty]
    unknown = list[str]()
    for parameter in parameters:
        kind = _kind(parameter)
        if kind is None and needed == [parameter] and _may_be_a_config(parameter):
            kind = "config"  # its only argument may have any name
        if kind is None and parameter in needed:
            unknown.append(parameter.name)
        elif kind is None:
            continue
        elif parameter.kind is parameter.POSITIONAL_ONLY:
            positional.append(kind)
        else:
            named[parameter.name] = kind
    if unknown:
        raise SettingsError(
            f"the function that creates the graph {name!r} needs {', '.join(unknown)}, which nothing provides. It may take the "
            "run's config (annotated as RunnableConfig), a ServerRuntime, both, or nothing."
        )
    return positional, named


def _parameters(function: Callable[..., Any]) -> list[inspect.Parameter]:
    try:
        found = inspect.signature(function, eval_str=True)
    except Exception:  # annotations that cannot be resolved are compared as text
        try:
            found = inspect.signature(function)
        except (TypeError, ValueError):
            return []
    return [p for p in found.parameters.values() if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]


def _may_be_a_config(parameter: inspect.Parameter) -> bool:
    annotation = parameter.annotation
    text = annotation if isinstance(annotation, str) else str(annotation)
    return annotation is parameter.empty or any(word in text for word in ("dict", "Dict", "Mapping", "Any"))


def _kind(parameter: inspect.Parameter) -> Kind | None:
    annotation = parameter.annotation
    if annotation is parameter.empty:
        return {"config": "config", "runtime": "runtime"}.get(parameter.name)  # type: ignore[return-value]
    text = annotation if isinstance(annotation, str) else str(annotation)
    if annotation is ServerRuntime or any(
        word in text for word in ("ServerRuntime", "_ExecutionRuntime", "_ReadRuntime")
    ):
        return "runtime"
    if annotation is RunnableConfig or "RunnableConfig" in text or parameter.name == "config":
        return "config"
    return None
