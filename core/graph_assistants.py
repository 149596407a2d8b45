"""Assistants of hosted graphs: a default one for each graph, and what a tenant's users made of them.

An agent of the tenant is no assistant here; protocols that show it as one do so themselves.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections import Counter
from collections.abc import AsyncGenerator, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Literal, TypeGuard

from core.principal import Principal
from core.quotas import Quotas
from core.refusals import Conflict, Forbidden, Unreadable, not_found, unfit
from schemas import Tenant, UnreadableRow, storable
from schemas.common.clock import utc_now
from schemas.common.recent import TtlCache
from schemas.ids import new_uuid
from state import AssistantRow, AssistantStore, each_assistant, each_version, read, readable

NAMESPACE = uuid.UUID("7f9a4b8e-2f0e-5b8e-9a53-0c6c1d1f5a01")
"""Namespace of the ids that are derived from names."""
LANGGRAPH_NAMESPACE = uuid.UUID("6ba7b821-9dad-11d1-80b4-00c04fd430c8")
"""Namespace of the ids that LangGraph's servers derive from the names of graphs."""
_CHANGEABLE = ("graph_id", "name", "description", "config", "context", "metadata")
_FORMS: dict[str, tuple[type, ...]] = {
    "graph_id": (str,),
    "name": (str,),
    "description": (str, type(None)),
    "config": (dict,),
    "context": (dict,),
    "metadata": (dict,),
}
KNOWN_SECONDS = 5.0
"""How long it is known of which graphs a tenant's assistants are, without reading them."""
_TRIES = 5
_MOST_VERSION = 2**31 - 1
"""What the column of Cassandra holds."""
_CHECKPOINT_KEYS = ("thread_id", "checkpoint_id", "checkpoint_ns", "checkpoint_map")


@dataclass(frozen=True, slots=True)
class Assistant:
    """One version of an assistant."""

    assistant_id: str
    graph_id: str
    name: str
    created_at: datetime
    updated_at: datetime
    version: int = 1
    description: str | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    context: Mapping[str, Any] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def agent_id(self) -> str:
        """The id that runs name their agent by."""
        return self.assistant_id

    def configuration(
        self, config: Mapping[str, Any] | None = None, context: Mapping[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Config and context of a run: what the run gives over what the assistant gives. `configurable` and the context say the
        same, as LangGraph's servers have it, so that what a run gives in one of them wins over the assistant's other."""
        given = config or {}
        made = {**self.config, **given}
        said = {**_values(self.config), **self.context, **_values(given), **(context or {})}
        if said or "configurable" in made:
            made["configurable"] = {**_object(self.config, "configurable"), **_object(given, "configurable"), **said}
        if "metadata" in made:
            made["metadata"] = {**_object(self.config, "metadata"), **_object(given, "metadata")}
        if "tags" in made:
            made["tags"] = list(dict.fromkeys([*_tags(self.config), *_tags(given)]))
        return made, said

    def to_row(self) -> AssistantRow:
        """As the store keeps it."""
        body = {name: getattr(self, name) for name in _CHANGEABLE}
        body |= {"created_at": self.created_at.isoformat(), "updated_at": self.updated_at.isoformat()}
        return AssistantRow(self.assistant_id, self.version, json.dumps(body, ensure_ascii=False).encode())

    @classmethod
    def of(cls, row: AssistantRow) -> Assistant:
        """The inverse. Raises `UnreadableRow`."""
        return read(_name(row), lambda: cls._decoded(row))

    @classmethod
    def all_of(cls, rows: Iterable[AssistantRow]) -> list[Assistant]:
        """The assistants of the rows that can be read."""
        return list(readable(rows, cls._decoded, _name))

    @classmethod
    def _decoded(cls, row: AssistantRow) -> Assistant:
        body = json.loads(row.body)
        times: dict[str, Any] = {name: datetime.fromisoformat(body[name]) for name in ("created_at", "updated_at")}
        given: dict[str, Any] = storable({name: body[name] for name in _CHANGEABLE})
        for name, value in given.items():
            if not isinstance(value, _FORMS[name]):
                raise TypeError(name)
        return cls(assistant_id=row.assistant_id, version=row.version, **given, **times)


def _name(row: AssistantRow) -> str:
    return f"the version {row.version} of the assistant {row.assistant_id}"


def check_configuration(config: Mapping[str, Any], context: Mapping[str, Any]) -> None:
    """Raises `Refused`: 400 where both say how a graph is configured, since LangGraph takes one of them, and 422 where the config
    has what no run can be configured with."""
    if config.get("configurable") and context:
        detail = "Cannot specify both configurable and context. Use context alone, which replaces configurable."
        raise Unreadable("invalid", detail)
    if config.get("tags") is not None and not _is_tags(config["tags"]):
        raise unfit("config.tags", config["tags"], "a list of strings")
    for name, least in (("recursion_limit", 1), ("max_concurrency", 0)):
        given = config.get(name)
        if given is not None and (not isinstance(given, int) or isinstance(given, bool) or given < least):
            raise unfit(f"config.{name}", given, f"an integer, {least} or more")


def _object(given: Mapping[str, Any], name: str) -> dict[str, Any]:
    found = given.get(name)
    if found is not None and not isinstance(found, Mapping):
        raise unfit(f"config.{name}", found, "an object")
    return dict(found or {})


def _is_tags(given: object) -> TypeGuard[list[str]]:
    return isinstance(given, list) and all(isinstance(tag, str) for tag in given)


def _tags(config: Mapping[str, Any]) -> list[str]:
    """None of what an assistant was kept with before it was checked."""
    given = config.get("tags")
    return given if _is_tags(given) else []


def _values(config: Mapping[str, Any]) -> dict[str, Any]:
    """What of `configurable` is for the graph, rather than the name of a checkpoint or a switch of LangGraph's."""
    found = _object(config, "configurable")
    return {name: value for name, value in found.items() if not name.startswith("__") and name not in _CHECKPOINT_KEYS}


def _both(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The changed fields of an assistant, with `configurable` and context kept equal to each other."""
    made = dict(fields)
    config, context = fields.get("config"), fields.get("context")
    check_configuration(config or {}, context or {})
    if config is not None and config.get("configurable"):
        made["context"] = _values(config)
    elif context is not None:
        made["config"] = {**(config or {}), "configurable": dict(context)} if context else dict(config or {})
    return made


def default_id(graph: str) -> str:
    """The id of a graph's own assistant: the one that LangGraph's servers give it, wherever it is hosted."""
    return str(uuid.uuid5(LANGGRAPH_NAMESPACE, graph))


def _former_id(tenant_id: str, graph: str) -> str:
    """What the id was before: threads and changed assistants have it still."""
    return str(uuid.uuid5(NAMESPACE, f"{tenant_id}:graph:{graph}"))


class Assistants:
    """On the tenant's store and the installation's graphs."""

    def __init__(
        self,
        store: AssistantStore,
        quotas: Quotas,
        graphs: tuple[str, ...],
        descriptions: Mapping[str, str] | None = None,
    ) -> None:
        """`graphs` are the names of the hosted graphs."""
        self._quotas = quotas
        self._store, self._graphs, self._descriptions = store, graphs, descriptions or {}
        self._known: TtlCache[dict[str, str]] = TtlCache(ttl=KNOWN_SECONDS, size=100)
        self._changes: Counter[str] = Counter()
        """Changes that were made here: what was known before them is not asked for again."""

    async def find(self, tenant: Tenant, given: object) -> Assistant | None:
        """The assistant of this id, or the default one of the graph of this name."""
        if not isinstance(given, str):
            return None
        for graph in self._graphs:
            if given in (graph, default_id(graph), _former_id(tenant.tenant_id, graph)):
                return await self._default(tenant, graph)
        if not _is_uuid(given):
            return None
        row = await self._store.get(tenant.tenant_id, given)
        return Assistant.of(row) if row else None

    async def each(self, tenant: Tenant) -> AsyncGenerator[Assistant]:
        """The current versions, the default ones first; read page by page."""
        if not self._graphs:
            return
        first = {name: await self._default(tenant, graph) for graph in self._graphs if (name := default_id(graph))}
        for found in first.values():
            yield found
        shown = {found.assistant_id for found in first.values()}
        async for row in each_assistant(self._store, tenant.tenant_id):
            if row.assistant_id not in shown:
                for found in Assistant.all_of([row]):
                    yield found

    async def graphs_of(self, tenant: Tenant) -> Mapping[str, str]:
        """The graphs of all assistants by their ids, as they were `KNOWN_SECONDS` ago at most."""

        async def read() -> dict[str, str]:
            return {found.assistant_id: found.graph_id async for found in self.each(tenant)}

        return await self._known.get((tenant.tenant_id, self._changes[tenant.tenant_id]), read)

    async def create(
        self,
        caller: Principal,
        tenant: Tenant,
        given: Mapping[str, Any],
        *,
        assistant_id: str | None,
        if_exists: Literal["raise", "do_nothing"],
    ) -> Assistant:
        """A new assistant. Raises `Refused` 409 where its id is taken, unless `do_nothing` is to give what is there."""
        caller.require("write")
        if assistant_id is not None and not _is_uuid(assistant_id):
            raise unfit("assistant_id", assistant_id, "a UUID")
        if assistant_id and (there := await self.find(tenant, assistant_id)):
            return _existing(there, if_exists)
        now = utc_now()
        graph = given["graph_id"]
        made = Assistant(assistant_id or new_uuid(), graph, given.get("name") or "Untitled", now, now)
        made = replace(made, **_both({name: given[name] for name in _CHANGEABLE[2:] if given.get(name) is not None}))
        row = made.to_row()
        self._quotas.version(1, len(row.body))
        await self._quotas.assistant(tenant.tenant_id)
        if not await self._store.put(tenant.tenant_id, row, expected_version=0):
            there = await self.find(tenant, made.assistant_id)
            assert there, "its id was taken"
            return _existing(there, if_exists)
        self._changes[tenant.tenant_id] += 1
        return made

    async def change(self, caller: Principal, tenant: Tenant, given: str, changes: Mapping[str, Any]) -> Assistant:
        """A new version with what was given; metadata is merged, all else replaced."""
        caller.require("write")
        if (graph := changes.get("graph_id")) is not None and graph not in self._graphs:
            raise not_found("graph", str(graph))
        for _ in range(_TRIES):
            current = await self._current(tenant, given)
            newest = await self._store.newest(tenant.tenant_id, current.assistant_id)
            if not newest:  # nobody has changed the default one before: what it was stays as its first version
                await self._store.put(tenant.tenant_id, current.to_row(), expected_version=0)
            version = newest or 1
            fields = _both({name: changes[name] for name in _CHANGEABLE if changes.get(name) is not None})
            fields["metadata"] = {**current.metadata, **fields.get("metadata", {})}
            made = replace(current, **fields, version=version + 1, updated_at=utc_now())
            row = made.to_row()
            self._quotas.version(made.version, len(row.body))
            if await self._store.put(tenant.tenant_id, row, expected_version=version):
                self._changes[tenant.tenant_id] += 1
                return made
        raise Conflict("changed_meanwhile", "The assistant was changed concurrently; read it again and retry.")

    async def delete(self, caller: Principal, tenant: Tenant, given: str) -> None:
        """Removes an assistant with all its versions; a graph's own stays, as it was at first."""
        caller.require("write")
        current = await self._current(tenant, given)
        gone = await self._store.delete(tenant.tenant_id, current.assistant_id)
        if not gone and current.assistant_id == default_id(current.graph_id):
            raise Forbidden(
                "not_deletable",
                "The default assistant of a hosted graph cannot be deleted; it exists as long as the graph is hosted.",
            )

    async def versions(self, tenant: Tenant, given: str) -> AsyncGenerator[Assistant]:
        """All versions, the newest first; read page by page."""
        try:
            current = await self._current(tenant, given)
        except UnreadableRow:
            current = None
        wanted = current.assistant_id if current else default_id(given) if given in self._graphs else given
        seen = False
        async for row in each_version(self._store, tenant.tenant_id, wanted):
            for found in Assistant.all_of([row]):
                seen = True
                yield found
        if not seen and current:
            yield current

    async def choose(self, caller: Principal, tenant: Tenant, given: str, version: int) -> Assistant:
        """Makes a version the current one."""
        caller.require("write")
        current = await self._current(tenant, given)
        known = 0 < version <= _MOST_VERSION and await self._store.choose(
            tenant.tenant_id, current.assistant_id, version
        )
        if not known and version != current.version:
            raise not_found("version", str(version))
        return await self._current(tenant, given)

    async def _current(self, tenant: Tenant, given: str) -> Assistant:
        found = await self.find(tenant, given)
        if found is None:
            raise not_found("assistant", given)
        return found

    async def _default(self, tenant: Tenant, graph: str) -> Assistant:
        names = (default_id(graph), _former_id(tenant.tenant_id, graph))
        rows = await asyncio.gather(*(self._store.get(tenant.tenant_id, name) for name in names))
        changed = next((row for row in rows if row), None)
        return Assistant.of(changed) if changed else self._initial(tenant, graph)

    def _initial(self, tenant: Tenant, graph: str) -> Assistant:
        at, by = tenant.created_at, {"created_by": "system"}
        about = self._descriptions.get(graph)
        return Assistant(default_id(graph), graph, graph, at, at, description=about, metadata=by)


def _existing(there: Assistant, if_exists: str) -> Assistant:
    if if_exists != "do_nothing":
        raise Conflict("assistant_exists", f"There is an assistant {there.assistant_id!r} already.")
    return there


def _is_uuid(text: str) -> bool:
    try:
        uuid.UUID(text)
    except ValueError:
        return False
    return len(text) == 36
