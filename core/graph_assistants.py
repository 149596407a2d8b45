"""Assistants of hosted graphs: a default one for each graph, and what a tenant's users made of them.

What a user makes is the user's alone, until an administrator shares it: then it is the tenant's, as the default ones are. Others
use what is shared without seeing how it is configured, and only administrators change it, since it changes what their runs do.

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
from typing import Any, Literal

from core.audit_writer import AuditWriter
from core.graph_configuration import both, object_of, tags_of, values_of
from core.permissions import Operation, allows, require
from core.principal import Principal
from core.quotas import Quotas
from core.refusals import Conflict, Forbidden, not_found, unfit
from schemas import Action, Tenant, UnreadableRow, storable
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
_BY_SYSTEM = {"created_by": "system"}


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
    owner: str | None = None
    """The user whose it is; None for one that is shared: it is the tenant's."""

    @property
    def shared(self) -> bool:
        """Whether all users of the tenant use it."""
        return self.owner is None

    def seen_by(self, caller: Principal) -> Assistant:
        """As it is shown: one that is the tenant's without its configuration, except to administrators."""
        if not self.shared or allows(caller, Operation.CHANGE_SHARED):
            return self
        metadata = _BY_SYSTEM if self.metadata.get("created_by") == "system" else {}
        return replace(self, config={}, context={}, metadata=metadata)

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
        said = {**values_of(self.config), **self.context, **values_of(given), **(context or {})}
        if said or "configurable" in made:
            made["configurable"] = {
                **object_of(self.config, "configurable"),
                **object_of(given, "configurable"),
                **said,
            }
        if "metadata" in made:
            made["metadata"] = {**object_of(self.config, "metadata"), **object_of(given, "metadata")}
        if "tags" in made:
            made["tags"] = list(dict.fromkeys([*tags_of(self.config), *tags_of(given)]))
        return made, said

    def to_row(self) -> AssistantRow:
        """As the store keeps it."""
        body = {name: getattr(self, name) for name in _CHANGEABLE}
        body |= {
            "owner": self.owner,
            "created_at": self.created_at.isoformat(),
            "updated_at": self.updated_at.isoformat(),
        }
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
        owner = body.get("owner")  # one of before there were owners is the tenant's
        if not isinstance(owner, str | None):
            raise TypeError("owner")
        return cls(assistant_id=row.assistant_id, version=row.version, owner=owner, **given, **times)


def _name(row: AssistantRow) -> str:
    return f"the version {row.version} of the assistant {row.assistant_id}"


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
        *,
        trail: AuditWriter,
    ) -> None:
        """`graphs` are the names of the hosted graphs; `trail` has what was changed."""
        self._store, self._graphs, self._descriptions = store, graphs, descriptions or {}
        self._quotas, self._trail = quotas, trail
        self._known: TtlCache[dict[str, str]] = TtlCache(ttl=KNOWN_SECONDS, size=100)
        self._changes: Counter[str] = Counter()
        """Changes that were made here: what was known before them is not asked for again."""

    async def find(self, caller: Principal, tenant: Tenant, given: object) -> Assistant | None:
        """The assistant of this id, or the default one of the graph of this name; None where it is another user's."""
        if not isinstance(given, str):
            return None
        for graph in self._graphs:
            if given in (graph, default_id(graph), _former_id(tenant.tenant_id, graph)):
                return await self._default(tenant, graph) if tenant.may_use(graph) else None
        if not _is_uuid(given):
            return None
        row = await self._store.get(tenant.tenant_id, given)
        found = Assistant.of(row) if row else None
        return found if found and _is_seen(caller, tenant, found) else None

    async def each(self, caller: Principal, tenant: Tenant) -> AsyncGenerator[Assistant]:
        """The current versions of those that are the caller's or the tenant's, the default ones first; read page by page."""
        async for found in self._every(tenant):
            if found.owner in (None, caller.user_id):
                yield found

    async def graphs_of(self, tenant: Tenant) -> Mapping[str, str]:
        """The graphs of all assistants by their ids, whosever they are, as they were `KNOWN_SECONDS` ago at most."""

        async def read() -> dict[str, str]:
            return {found.assistant_id: found.graph_id async for found in self._every(tenant)}

        return await self._known.get((tenant.tenant_id, tenant.version, self._changes[tenant.tenant_id]), read)

    async def _every(self, tenant: Tenant) -> AsyncGenerator[Assistant]:
        graphs = [graph for graph in self._graphs if tenant.may_use(graph)]
        if not graphs:
            return
        first = {default_id(graph): await self._default(tenant, graph) for graph in graphs}
        for found in first.values():
            yield found
        shown = {found.assistant_id for found in first.values()}
        async for row in each_assistant(self._store, tenant.tenant_id):
            if row.assistant_id not in shown:
                for found in Assistant.all_of([row]):
                    if tenant.may_use(found.graph_id):
                        yield found

    async def create(
        self,
        caller: Principal,
        tenant: Tenant,
        given: Mapping[str, Any],
        *,
        assistant_id: str | None,
        if_exists: Literal["raise", "do_nothing"],
        shared: bool = False,
    ) -> Assistant:
        """A new assistant. Raises `Refused` 409 where its id is taken, unless `do_nothing` is to give what is there."""
        require(caller, Operation.CHANGE_SHARED if shared else Operation.KEEP_ASSISTANTS)
        if assistant_id is not None and not _is_uuid(assistant_id):
            raise unfit("assistant_id", assistant_id, "a UUID")
        if assistant_id and (there := await self.find(caller, tenant, assistant_id)):
            return _existing(there, if_exists)
        now = utc_now()
        self._check_graph(tenant, graph := given["graph_id"])
        owner = None if shared else caller.user_id
        made = Assistant(assistant_id or new_uuid(), graph, given.get("name") or "Untitled", now, now, owner=owner)
        made = replace(made, **both({name: given[name] for name in _CHANGEABLE[2:] if given.get(name) is not None}))
        row = made.to_row()
        self._quotas.version(1, len(row.body))
        await self._quotas.assistant(tenant.tenant_id)
        if not await self._store.put(tenant.tenant_id, row, expected_version=0):
            there = await self.find(caller, tenant, made.assistant_id)
            if there is None:
                raise _taken(made.assistant_id)
            return _existing(there, if_exists)
        self._changes[tenant.tenant_id] += 1
        await self._record(caller, Action.ASSISTANT_MADE, None, made)
        return made

    async def change(
        self,
        caller: Principal,
        tenant: Tenant,
        given: str,
        changes: Mapping[str, Any],
        *,
        shared: bool | None = None,
    ) -> Assistant:
        """A new version with what was given; metadata is merged, all else replaced. `shared` makes it the tenant's, or takes it
        from the tenant: then it is the caller's."""
        if (graph := changes.get("graph_id")) is not None:
            self._check_graph(tenant, graph)
        for _ in range(_TRIES):
            current = await self._current(caller, tenant, given)
            owner = current.owner if shared is None else None if shared else current.owner or caller.user_id
            _require_change(caller, current, owner)
            newest = await self._store.newest(tenant.tenant_id, current.assistant_id)
            if not newest:  # nobody has changed the default one before: what it was stays as its first version
                await self._store.put(tenant.tenant_id, current.to_row(), expected_version=0)
            version = newest or 1
            fields = both({name: changes[name] for name in _CHANGEABLE if changes.get(name) is not None})
            fields["metadata"] = {**current.metadata, **fields.get("metadata", {})}
            made = replace(current, **fields, owner=owner, version=version + 1, updated_at=utc_now())
            row = made.to_row()
            self._quotas.version(made.version, len(row.body))
            if await self._store.put(tenant.tenant_id, row, expected_version=version):
                self._changes[tenant.tenant_id] += 1
                await self._record(caller, Action.ASSISTANT_CHANGED, current, made)
                return made
        raise Conflict("changed_meanwhile", "The assistant was changed concurrently; read it again and retry.")

    async def delete(self, caller: Principal, tenant: Tenant, given: str) -> None:
        """Removes an assistant with all its versions; a graph's own stays, as it was at first."""
        current = await self._current(caller, tenant, given)
        _require_change(caller, current, current.owner)
        gone = await self._store.delete(tenant.tenant_id, current.assistant_id)
        if not gone and current.assistant_id == default_id(current.graph_id):
            raise Forbidden(
                "not_deletable",
                "The default assistant of a hosted graph cannot be deleted; it exists as long as the graph is hosted.",
            )
        await self._record(caller, Action.ASSISTANT_DELETED, current, None)

    async def versions(self, caller: Principal, tenant: Tenant, given: str) -> AsyncGenerator[Assistant]:
        """All versions that the caller may see, the newest first; read page by page."""
        try:
            current = await self._current(caller, tenant, given)
        except UnreadableRow:
            current = None
        wanted = current.assistant_id if current else default_id(given) if given in self._graphs else given
        seen = False
        async for row in each_version(self._store, tenant.tenant_id, wanted):
            for found in Assistant.all_of([row]):
                if _is_seen(caller, tenant, found):
                    seen = True
                    yield found
        if not seen and current:
            yield current

    async def choose(self, caller: Principal, tenant: Tenant, given: str, version: int) -> Assistant:
        """Makes a version the current one; it is whose it was then."""
        current = await self._current(caller, tenant, given)
        _require_change(caller, current, current.owner)
        of_it = self.versions(caller, tenant, given)
        chosen = [one.owner async for one in of_it if one.version == version]
        if chosen:
            _require_change(caller, current, chosen[0])
        elif version != current.version:
            raise not_found("version", str(version))
        known = 0 < version <= _MOST_VERSION and await self._store.choose(
            tenant.tenant_id, current.assistant_id, version
        )
        if not known and version != current.version:
            raise not_found("version", str(version))
        made = await self._current(caller, tenant, given)
        await self._record(caller, Action.ASSISTANT_CHANGED, current, made)
        return made

    async def _current(self, caller: Principal, tenant: Tenant, given: str) -> Assistant:
        found = await self.find(caller, tenant, given)
        if found is None:
            raise not_found("assistant", given)
        return found

    async def _record(
        self, caller: Principal, action: Action, before: Assistant | None, after: Assistant | None
    ) -> None:
        of = after or before
        assert of
        details: dict[str, Any] = {"graph": of.graph_id, "shared": of.shared}
        details |= {"old_version": before.version} if before else {}
        details |= {"new_version": after.version} if after else {}
        if before and after:
            details["changed"] = [n for n in (*_CHANGEABLE, "owner") if getattr(before, n) != getattr(after, n)]
        whose = (before.owner if before else None) or of.owner or caller.user_id
        await self._trail.write(caller, action, user_id=whose, subject=of.assistant_id, details=details)

    def _check_graph(self, tenant: Tenant, graph: object) -> None:
        """Raises `Missing` for a graph that is not hosted, or that the tenant may not use."""
        if graph not in self._graphs or not tenant.may_use(str(graph)):
            raise not_found("graph", str(graph))

    async def _default(self, tenant: Tenant, graph: str) -> Assistant:
        names = (default_id(graph), _former_id(tenant.tenant_id, graph))
        rows = await asyncio.gather(*(self._store.get(tenant.tenant_id, name) for name in names))
        found = (Assistant.of(row) for row in rows if row)
        # An assistant that a user made under this id, before the graph was hosted, is not what everybody's runs use.
        return next((one for one in found if one.shared), None) or self._initial(tenant, graph)

    def _initial(self, tenant: Tenant, graph: str) -> Assistant:
        at = tenant.created_at
        about = self._descriptions.get(graph)
        return Assistant(default_id(graph), graph, graph, at, at, description=about, metadata=_BY_SYSTEM)


def _is_seen(caller: Principal, tenant: Tenant, of: Assistant) -> bool:
    """Whether the assistant is there for the caller."""
    own = of.owner in (None, caller.user_id) or allows(caller, Operation.CHANGE_SHARED)
    return own and tenant.may_use(of.graph_id)


def _require_change(caller: Principal, of: Assistant, owner: str | None) -> None:
    """Raises `Forbidden` unless the caller may change it, into one of this owner's."""
    own = of.owner == owner == caller.user_id
    require(caller, Operation.KEEP_ASSISTANTS if own else Operation.CHANGE_SHARED)


def _existing(there: Assistant, if_exists: str) -> Assistant:
    if if_exists != "do_nothing":
        raise _taken(there.assistant_id)
    return there


def _taken(assistant_id: str) -> Conflict:
    return Conflict("assistant_exists", f"There is an assistant {assistant_id!r} already.")


def _is_uuid(text: str) -> bool:
    try:
        uuid.UUID(text)
    except ValueError:
        return False
    return len(text) == 36
