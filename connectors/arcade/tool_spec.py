"""A tool as Arcade's catalogue describes it, and how it behaves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from connectors.toolset import ToolSpec

_READ_VERBS = ("Get", "List", "Search", "WhoAmI")

_IDEMPOTENT = frozenset(
    [
        "Gmail.ArchiveEmail",
        "Gmail.ChangeThreadLabels",
        "Gmail.DeleteDraftEmail",
        "Gmail.ReportSpam",
        "Gmail.SetThreadTrashStatus",
        "Gmail.TrashEmail",
        "Gmail.UpdateDraftEmail",
        "Gmail.UpdateLabel",
        "Asana.MarkTaskAsCompleted",
        "Asana.UpdateTask",
    ]
)
"""Writing tools that are idempotent (Arcade's published flags for Gmail 8.9.1 and Asana 1.2.2)."""

_KNOWN_TOOLKITS = frozenset({"Gmail", "Asana"})


def behaviour_of(qualified_name: str) -> tuple[bool, bool]:
    """Whether a tool is read-only, and whether it may be repeated. An unknown tool is assumed to be neither."""
    toolkit, _, tool = qualified_name.partition(".")
    read_only = toolkit in _KNOWN_TOOLKITS and tool.startswith(_READ_VERBS)
    return read_only, read_only or qualified_name in _IDEMPOTENT


def tool_spec(definition: Mapping[str, Any]) -> ToolSpec:
    """Parses Arcade's tool definition. Raises `KeyError` or `TypeError` if it is not one."""
    qualified = definition["qualified_name"]
    authorization = ((definition.get("requirements") or {}).get("authorization")) or {}
    read_only, idempotent = behaviour_of(qualified)
    return ToolSpec(
        name=qualified.replace(".", "_"),
        qualified_name=qualified,
        version=str((definition.get("toolkit") or {}).get("version") or ""),
        description=definition.get("description") or "",
        parameters=_parameters(definition),
        provider=authorization.get("provider_id"),
        scopes=tuple((authorization.get("oauth2") or {}).get("scopes") or ()),
        read_only=read_only,
        idempotent=idempotent,
    )


def _parameters(definition: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON Schema of the arguments. Arcade's type `json` is any object."""
    properties, required = {}, []
    for parameter in (definition.get("input") or {}).get("parameters") or ():
        schema = parameter["value_schema"]
        kind = {"json": "object"}.get(schema["val_type"], schema["val_type"])
        described: dict[str, Any] = {"type": kind, "description": parameter.get("description") or ""}
        if kind == "array":
            inner = schema.get("inner_val_type") or "string"
            described["items"] = {"type": {"json": "object"}.get(inner, inner)}
        if schema.get("enum"):
            described["enum"] = list(schema["enum"])
        properties[parameter["name"]] = described
        if parameter.get("required"):
            required.append(parameter["name"])
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


_JSON_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list, tuple),
    "object": (dict,),
}


def problems_with(arguments: Mapping[str, Any], schema: Mapping[str, Any]) -> list[str]:
    """The problems with arguments, as sentences for the model; empty if they are valid. Covers the schemas created above."""
    properties = schema.get("properties", {})
    problems = [f"{name} is missing" for name in schema.get("required", ()) if arguments.get(name) is None]
    for name, value in arguments.items():
        described = properties.get(name)
        if described is None:
            problems.append(f"there is no argument {name!r}; the arguments are {', '.join(properties) or 'none'}")
        elif value is None:
            continue
        elif not _fits(value, described["type"]):
            problems.append(f"{name} must be of type {described['type']}")
        elif "enum" in described and value not in described["enum"]:
            problems.append(f"{name} must be one of {', '.join(map(str, described['enum']))}")
        elif described["type"] == "array" and not all(_fits(v, described["items"]["type"]) for v in value):
            problems.append(f"{name} must be a list of type {described['items']['type']}")
    return problems


def _fits(value: Any, kind: str) -> bool:
    if isinstance(value, bool) and kind in ("integer", "number"):
        return False
    return isinstance(value, _JSON_TYPES.get(kind, (object,)))
