"""What this installation hosts: the graphs of `cauce.toml` together with those of a `langgraph.json`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from cauce.langgraph_http import HttpPart
from cauce.langgraph_json import LangGraphFile, read_langgraph_file
from cauce.settings import Settings
from schemas import SettingsError, TtlStrategy

if TYPE_CHECKING:
    from connectors.graphs import Graphs


@dataclass(frozen=True, slots=True)
class Served:
    """The result of hosting: names of the graphs that run, and a sentence about each part that does not."""

    graphs: tuple[str, ...] = ()
    not_served: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Hosting:
    """The graphs by name, as `connectors.graphs.Graphs` takes them."""

    specs: Mapping[str, str]
    descriptions: Mapping[str, str]
    folder: Path
    dependencies: tuple[Path, ...] = ()
    env: Mapping[str, str] | None = None
    http: HttpPart = field(default_factory=HttpPart)
    thread_ttl: tuple[float, TtlStrategy] | None = None
    """See `LangGraphFile`."""
    not_served: tuple[str, ...] = ()
    """Sentences about the parts of a `langgraph.json` that are not supported."""

    def set_environment(self) -> None:
        """Sets the variables of a `langgraph.json` in this process's environment, overriding it, as on LangGraph's server."""
        os.environ.update(self.env or {})

    def graphs(self, *, threads: int | None = None) -> Graphs:
        """The graphs, none of them imported yet; they find the variables of `set_environment`."""
        from connectors.graphs import Graphs

        more = {} if threads is None else {"threads": threads}
        return Graphs(
            self.specs, folder=self.folder, dependencies=self.dependencies, descriptions=self.descriptions, **more
        )


def hosting_of(settings: Settings) -> Hosting:
    """What the settings ask to host. Raises `SettingsError` for a `langgraph.json` that cannot be read or served, and for a name
    that both files define."""
    if settings.langgraph is None:
        return Hosting(settings.graphs, {}, settings.folder)
    file: LangGraphFile = read_langgraph_file(settings.langgraph)
    if both := sorted(settings.graphs.keys() & file.graphs.keys()):
        raise SettingsError(
            f"the graph {both[0]!r} is defined in both {settings.langgraph} and {settings.file or 'the settings'}"
        )
    folder, folders = (settings.folder, file.folders) if settings.graphs else (file.folders[0], file.folders[1:])
    specs = {**settings.graphs, **file.graphs}
    return Hosting(specs, file.descriptions, folder, folders, file.env, file.http, file.thread_ttl, file.not_served)
