"""The hosted graphs, by name. LangGraph is imported with the first of them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from connectors.graphs.blocking_threads import THREADS, SharedThreads
from schemas import SettingsError

if TYPE_CHECKING:
    from connectors.graphs.hosted import HostedGraph

RETRY_SECONDS = 30.0
"""How long to wait before importing a graph is tried again after a failure."""


class Graphs:
    """The graphs of `[graphs]`, imported at first use and kept."""

    def __init__(
        self,
        specs: Mapping[str, str],
        *,
        folder: Path = Path(),
        dependencies: Sequence[Path] = (),
        descriptions: Mapping[str, str] | None = None,
        threads: int = THREADS,
    ) -> None:
        """Paths in specs are relative to the folder; `dependencies` are more folders to import from. `threads`: how many graph
        factories may run concurrently; up to three quarters of them for one graph."""
        self.descriptions = dict(descriptions or {})
        self._imports = ThreadPoolExecutor(1, thread_name_prefix="import")
        self._factories = SharedThreads(threads, "factory")
        self._specs = dict(specs)
        self._folder, self._dependencies = folder, tuple(dependencies)
        self._graphs: dict[str, HostedGraph] = {}
        self._failed: dict[str, tuple[float, str]] = {}
        self._importing = asyncio.Lock()

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the graphs, in the order of the settings."""
        return tuple(self._specs)

    async def get(self, name: str) -> HostedGraph:
        """The graph with this name. Raises `SettingsError` if there is none, or if it cannot be loaded.

        Graphs are imported in a thread, since their modules may block, and one at a time. After a failure, importing is tried
        again after `RETRY_SECONDS`.
        """
        if name not in self._specs:
            there = f"The hosted graphs are {', '.join(self._specs)}." if self._specs else "There are none."
            raise SettingsError(f"no graph {name!r} is hosted here. {there}")
        if found := self._known(name):  # it is loaded: no wait for the import of another one
            return found
        async with self._importing:
            if not self._known(name):
                try:
                    call = partial(_hosted, name, self._specs[name], self._folder, self._dependencies, self._factories)
                    self._graphs[name] = await asyncio.get_running_loop().run_in_executor(self._imports, call)
                except SettingsError as error:
                    self._failed[name] = (time.monotonic(), str(error))
                    raise
        return self._graphs[name]

    def _known(self, name: str) -> HostedGraph | None:
        """The graph if it is loaded. Raises `SettingsError` if loading it failed a moment ago."""
        at, reason = self._failed.get(name, (float("-inf"), ""))
        if name not in self._graphs and time.monotonic() - at < RETRY_SECONDS:
            raise SettingsError(reason)
        return self._graphs.get(name)

    async def imported(self, what: str, spec: str) -> object:
        """Another object of the application, imported like a graph. Raises `SettingsError`, with `what` in its message, if it
        cannot be loaded."""
        call = partial(_imported, what, spec, self._folder, self._dependencies)
        return await asyncio.get_running_loop().run_in_executor(self._imports, call)

    async def missing(self) -> dict[str, str]:
        """Loads all graphs. Returns the reasons, by name, why some cannot be loaded; these do not affect the others."""
        found = {}
        for name in self._specs:
            try:
                await self.get(name)
            except SettingsError as error:
                found[name] = str(error)
        return found


def _hosted(name: str, spec: str, folder: Path, dependencies: Sequence[Path], threads: SharedThreads) -> HostedGraph:
    from connectors.graphs.hosted import hosted

    return hosted(name, spec, folder, dependencies, threads)


def _imported(what: str, spec: str, folder: Path, dependencies: Sequence[Path]) -> object:
    from connectors.graphs.imports import load

    return load(what, spec, folder, dependencies)[0]
