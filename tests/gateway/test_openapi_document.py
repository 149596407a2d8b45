"""`docs/openapi.json`: what clients are generated from."""

from __future__ import annotations

import json
from pathlib import Path

from typer.testing import CliRunner

from cauce.cli import app
from connectors.gateway.protocols.v1.routes import document

COPY = Path(__file__).parents[2] / "docs" / "openapi.json"


def test_copy_in_the_repository_is_what_the_gateway_serves() -> None:
    assert json.loads(COPY.read_text()) == document(), "write it again with: cauce openapi --out docs/openapi.json"


def test_openapi_command_prints_the_document_of_the_gateway() -> None:
    told = CliRunner().invoke(app, ["openapi"])
    assert json.loads(told.stdout) == document()


def test_every_operation_says_what_it_does_and_every_body_has_an_example() -> None:
    operations = [op for path in document()["paths"].values() for op in path.values()]
    assert len(operations) > 20
    assert all(op["description"] for op in operations)
    schemas = document()["components"]["schemas"]
    taken = {
        content["schema"]["$ref"].rpartition("/")[2]
        for op in operations
        for content in op.get("requestBody", {}).get("content", {}).values()
    }
    assert taken
    assert all(schemas[name]["examples"] for name in taken)
