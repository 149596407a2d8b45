"""All clients of a server are made in one place, which gives them TLS and passwords."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]
MAKERS = {"AIOKafkaConsumer", "AIOKafkaProducer", "AIOKafkaAdminClient", "AIOKafkaClient", "KafkaBroker", "create_conn"}
ONE_PLACE = "streams/kafka_servers.py"
EXAMPLES = "examples/"
"""They are programs of others, without a line of ours."""


def test_nobody_else_makes_a_client_of_kafka() -> None:
    sources = [path for folder in ROOT.iterdir() if (folder / "__init__.py").exists() for path in folder.rglob("*.py")]
    assert len(sources) > 300
    found = {
        str(path.relative_to(ROOT)): name
        for path in sources
        for name in _used(ast.parse(path.read_text()))
        if str(path.relative_to(ROOT)) != ONE_PLACE
    }
    assert not found, f"take new_consumer, new_producer, new_admin or new_client of {ONE_PLACE}: {found}"
    assert set(_used(ast.parse((ROOT / ONE_PLACE).read_text()))) == MAKERS


def test_nobody_else_connects_to_cassandra_or_redis() -> None:
    rooms = ("schemas", "threads", "state", "streams", "core", "connectors", "processors", "cauce")
    found = {
        (str(path.relative_to(ROOT)), name)
        for room in rooms
        for path in (ROOT / room).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and (name := ast.unparse(node.func)) in ("Cluster", "Redis", "Redis.from_url")
    }
    assert found == {("state/cassandra/connecting.py", "Cluster"), ("connectors/gateway/counters.py", "Redis.from_url")}


def _used(tree: ast.AST) -> list[str]:
    """Names of clients that are called or passed on; what annotates is not."""
    annotations = {
        id(node)
        for owner in ast.walk(tree)
        for annotation in (getattr(owner, "annotation", None), getattr(owner, "returns", None))
        if isinstance(annotation, ast.AST)
        for node in ast.walk(annotation)
    }
    names = (
        node for node in ast.walk(tree) if isinstance(node, ast.Name | ast.Attribute) and id(node) not in annotations
    )
    return [name for node in names if (name := node.id if isinstance(node, ast.Name) else node.attr) in MAKERS]
