"""Names in the configuration of a hosted graph that say who its user is, or that are LangGraph's own: only workers set them.

What official clients send by themselves is passed over: the place of a state (`thread_id`, ...), the switches of LangGraph's
engine (`__pregel_*`), and what a `RemoteGraph` inside a graph forwards of the run that it is in, where that says the truth.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from core.principal import Principal
from core.refusals import Invalid, shown

PLACE = ("thread_id", "checkpoint_id", "checkpoint_ns", "checkpoint_map", "run_id", "graph_id", "assistant_id")
"""Keys of `configurable` that say where a run is; a client's own have no effect."""
_FORWARDED = ("langgraph_auth_permissions", "langgraph_request_id")
_RESERVED = ("langgraph_", "cauce_", "__")


def identity_of(tenant_id: str, user_id: str) -> str:
    """The user's name in the whole installation: no tenant's id has a colon."""
    return f"{tenant_id}:{user_id}"


def is_reserved(name: str) -> bool:
    """Whether only workers set this name."""
    return name in ("tenant_id", "user_id") or name.startswith(_RESERVED)


def is_reserved_metadata(name: str) -> bool:
    """The same of the metadata of a config. LangGraph's engine has names of its own there that identify nobody."""
    return name in ("tenant_id", "user_id") or name.startswith(("cauce_", "langgraph_auth"))


def without_reserved(given: Mapping[str, Any]) -> dict[str, Any]:
    """What a client or an assistant may say: an older version took more."""
    return {name: value for name, value in given.items() if not is_reserved(name)}


def check_names(config: Mapping[str, Any], context: Mapping[str, Any], caller: Principal | None) -> None:
    """Raises `Invalid` where a config or a context has a name that is reserved. `caller` is whose run it is; None for the
    configuration of an assistant, which is for many users' runs."""
    for where, given in (("config.configurable", config.get("configurable")), ("context", context)):
        for name, value in given.items() if isinstance(given, Mapping) else ():
            if is_reserved(name) and not (caller and _is_forwarded(name, value, caller)):
                raise _reserved(f"{where}.{name}", value)
    if isinstance(found := config.get("metadata"), Mapping):
        check_metadata(found, caller, "config.metadata")


def check_metadata(metadata: Mapping[str, Any], caller: Principal | None, where: str = "metadata") -> None:
    """Raises `Invalid` where the metadata of a run, which its graph finds in its config, have a name that is reserved."""
    for name, value in metadata.items():
        if is_reserved_metadata(name) and not (caller and _is_forwarded(name, value, caller)):
            raise _reserved(f"{where}.{name}", value)


def _is_forwarded(name: str, value: object, caller: Principal) -> bool:
    truth = {
        "tenant_id": caller.tenant_id,
        "user_id": caller.user_id,
        "langgraph_auth_user_id": identity_of(caller.tenant_id, caller.user_id),
    }
    return name in _FORWARDED or name.startswith("__pregel_") or (name in truth and truth[name] == value)


def _reserved(name: str, value: object) -> Invalid:
    why = "this name is reserved: who the user of a run is follows from the credential. Leave it out"
    detail = f"{name} is {shown(value)}, but {why}."
    return Invalid("reserved_name", detail)
