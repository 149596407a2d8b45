"""How a hosted graph is configured: what a config and a context may have, and how the two say the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeGuard

from core.refusals import Unreadable, unfit
from core.reserved_names import check_names, without_reserved

_CHECKPOINT_KEYS = ("thread_id", "checkpoint_id", "checkpoint_ns", "checkpoint_map")


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


def object_of(given: Mapping[str, Any], name: str) -> dict[str, Any]:
    """An object in a config, empty when absent. Raises `Refused`."""
    found = given.get(name)
    if found is not None and not isinstance(found, Mapping):
        raise unfit(f"config.{name}", found, "an object")
    return dict(found or {})


def _is_tags(given: object) -> TypeGuard[list[str]]:
    return isinstance(given, list) and all(isinstance(tag, str) for tag in given)


def tags_of(config: Mapping[str, Any]) -> list[str]:
    """The tags: none of what an assistant was kept with before it was checked."""
    given = config.get("tags")
    return given if _is_tags(given) else []


def values_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """What of `configurable` is for the graph, rather than the name of a checkpoint or a switch of LangGraph's."""
    found = object_of(config, "configurable")
    return {name: value for name, value in without_reserved(found).items() if name not in _CHECKPOINT_KEYS}


def both(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The changed fields of an assistant, with `configurable` and context kept equal to each other."""
    made = dict(fields)
    config, context = fields.get("config"), fields.get("context")
    check_configuration(config or {}, context or {})
    check_names(config or {}, context or {}, None)
    if config is not None and config.get("configurable"):
        made["context"] = values_of(config)
    elif context is not None:
        made["config"] = {**(config or {}), "configurable": dict(context)} if context else dict(config or {})
    return made
