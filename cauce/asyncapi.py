"""The AsyncAPI 3.0 document and the JSON Schemas, made from the topic registry and the record bodies.

FastStream describes only the types that its handlers declare. Our handlers accept any record of a topic, so the registry is
the better source.
"""

from __future__ import annotations

from typing import Any

from pydantic.json_schema import models_json_schema

from cauce import __version__
from processors.groups import GROUPS
from schemas import TOPICS, bodies_of
from schemas.base import Body

_REF = "#/components/schemas/{model}"


def json_schemas() -> dict[str, dict[str, Any]]:
    """A self-contained JSON Schema (draft 2020-12) for each record type, by `ce_type`."""
    dialect = "https://json-schema.org/draft/2020-12/schema"
    return {
        body.TYPE: {"$schema": dialect, **body.model_json_schema()} for topic in TOPICS for body in bodies_of(topic)
    }


def document() -> dict[str, Any]:
    """The AsyncAPI 3.0.0 document: one channel per topic, one message per record type, and one operation for each of our readers
    and writers."""
    models: list[type[Body]] = [body for topic in TOPICS for body in bodies_of(topic)]
    _, definitions = models_json_schema([(m, "validation") for m in models], ref_template=_REF)
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Cauce",
            "version": __version__,
            "description": "A backend for personal agents. Records are CloudEvents 1.0 in binary mode: attributes are "
            "headers `ce_*`, the body is the value.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": {topic.value: _channel(topic.value) for topic in TOPICS},
        "operations": _operations(),
        "components": {
            "schemas": {**definitions["$defs"], "Headers": _headers()},
            "messages": {m.__name__: _message(m) for m in models},
        },
    }


def _channel(topic: str) -> dict[str, Any]:
    spec = next(s for s in TOPICS.values() if s.name == topic)
    return {
        "address": topic,
        "description": f"{spec.about} Key: {spec.key}. Kept {spec.retention_ms // 3_600_000} hours.",
        "messages": {b.__name__: {"$ref": f"#/components/messages/{b.__name__}"} for b in bodies_of(spec.name)},
        "bindings": {"kafka": {"topic": topic, "bindingVersion": "0.5.0"}},
    }


def _message(body: type[Body]) -> dict[str, Any]:
    return {
        "name": body.TYPE,  # type: ignore[attr-defined]
        "title": body.__name__,
        "summary": (body.__doc__ or "").strip().split("\n")[0],
        "contentType": "application/json",
        "headers": {"$ref": "#/components/schemas/Headers"},
        "payload": {"$ref": f"#/components/schemas/{body.__name__}"},
    }


def _operations() -> dict[str, Any]:
    operations: dict[str, Any] = {}
    for group, about in GROUPS.items():
        for topic in about.reads:
            operations[f"{group}-receives-{topic}"] = _operation("receive", group, topic.value)
        for topic, spec in TOPICS.items():
            if group in spec.writers or "everyone" in spec.writers or "the runtime" in spec.writers:
                operations[f"{group}-sends-{topic}"] = _operation("send", group, topic.value)
    return operations


def _operation(action: str, group: str, topic: str) -> dict[str, Any]:
    channel = topic.replace("~", "~0").replace("/", "~1")
    return {
        "action": action,
        "channel": {"$ref": f"#/channels/{channel}"},
        "summary": f"The processor group {group} {action}s {topic}.",
        "tags": [{"name": group}],
    }


def _headers() -> dict[str, Any]:
    text = {"type": "string"}
    return {
        "type": "object",
        "required": ["ce_specversion", "ce_id", "ce_type", "ce_source", "ce_tenantid"],
        "properties": {
            "ce_specversion": {"const": "1.0"},
            "ce_id": {**text, "description": "Idempotency key of the whole pipeline."},
            "ce_type": text,
            "ce_source": text,
            "ce_time": {**text, "format": "date-time"},
            "ce_tenantid": {**text, "description": "The tenant; must be the one of the record's key."},
            "ce_requestid": {**text, "description": "Id of the gateway request that produced the record."},
            "content-type": {"const": "application/json"},
            "traceparent": {**text, "description": "W3C Trace Context."},
        },
    }
