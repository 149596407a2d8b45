"""The AsyncAPI document and the JSON Schemas describe what really travels."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cauce.asyncapi import document, json_schemas
from processors.groups import GROUPS
from schemas import TOPICS, Envelope, bodies_of


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for value in node.values():
            yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def resolve(root: Any, reference: str) -> Any:
    assert reference.startswith("#/"), reference
    for part in reference[2:].split("/"):
        root = root[part.replace("~1", "/").replace("~0", "~")]
    return root


def test_every_reference_of_the_document_leads_somewhere() -> None:
    made = document()
    found = list(references(made))
    assert found
    for reference in found:
        assert resolve(made, reference)


def test_every_topic_is_a_channel_with_the_messages_that_it_carries() -> None:
    channels = document()["channels"]
    assert set(channels) == {topic.value for topic in TOPICS}
    for topic, bodies in ((topic, bodies_of(topic)) for topic in TOPICS):
        assert set(channels[topic.value]["messages"]) == {body.__name__ for body in bodies}


def test_every_group_receives_from_its_topics() -> None:
    receiving = {
        (name.split("-")[0], o["channel"]["$ref"])
        for name, o in document()["operations"].items()
        if o["action"] == "receive"
    }
    for group, topics in ((name, group.reads) for name, group in GROUPS.items()):
        for topic in topics:
            assert any(g == group and reference.endswith(topic.value) for g, reference in receiving)


def test_the_headers_that_records_have_are_described() -> None:
    described = document()["components"]["schemas"]["Headers"]["properties"]
    from datetime import UTC, datetime

    envelope = Envelope("m1", "t", "s", "acme", datetime.now(UTC), "00-" + "a" * 32 + "-" + "b" * 16 + "-01")
    assert {name for name, _ in envelope.headers()} <= set(described)


def test_each_schema_stands_alone() -> None:
    schemas = json_schemas()
    assert set(schemas) == {body.TYPE for topic in TOPICS for body in bodies_of(topic)}
    for schema in schemas.values():
        assert schema["$schema"].startswith("https://json-schema.org/")
        assert schema["type"] == "object"
        for reference in references(schema):
            assert resolve(schema, reference)


def test_commands_write_json_schemas_and_asyncapi_document_to_files(tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from cauce.cli import app

    run = CliRunner().invoke(app, ["schemas", "--out", str(tmp_path / "schemas")])
    assert run.exit_code == 0, run.output
    written = {path.name for path in (tmp_path / "schemas").iterdir()}
    assert len(written) == len(json_schemas())
    run = CliRunner().invoke(app, ["asyncapi", "--out", str(tmp_path / "asyncapi.json")])
    assert run.exit_code == 0, run.output
    assert json.loads((tmp_path / "asyncapi.json").read_text()) == document()
