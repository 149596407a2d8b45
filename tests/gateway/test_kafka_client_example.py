"""`examples/kafka_client.py`, which knows nothing of Cauce, and the JSON Schemas that are all it needs."""

from __future__ import annotations

import json
import sys
import uuid
from pathlib import Path

import jsonschema_rs
from door import Door

from cauce.running import connected
from cauce.settings import load_settings
from streams.kafka_servers import Kafka, new_consumer

EXAMPLE = Path(__file__).parents[2] / "examples" / "kafka_client.py"


async def test_client_of_the_example_has_its_conversation_and_every_record_fits_its_schema(door: Door) -> None:
    settings = connected(load_settings(environment=door.environment))
    kafka = settings.kafka_servers
    thread = uuid.uuid4().hex
    client = [sys.executable, str(EXAMPLE), "--kafka", str(kafka), "--thread", thread, "--user", "kim"]
    if (access := settings.kafka_access).user:
        client += ["--login", access.user, "--password-file", str(access.password_file)]

    assert "8 mails" in door.run(*client, "What mail do I have?")
    told = door.run(*client, "--yes", "create a task to call Ana tomorrow")
    assert "? Asana_CreateTask" in told
    assert "✓ Asana_CreateTask ok" in told

    schemas = json.loads(door.told("schemas"))
    seen = await records_of(kafka, f"home:{thread}".encode())
    for kind, value in seen:
        jsonschema_rs.validator_for(schemas[kind]).validate(json.loads(value))
    kinds = [kind for kind, _ in seen]
    assert kinds.count("cauce.chat.message") == 2
    assert kinds.count("cauce.chat.approval") == 1
    assert kinds.count("cauce.run.completed") == 2


async def records_of(kafka: Kafka, key: bytes) -> list[tuple[str, bytes]]:
    """Type and value of everything that the topics have of a thread."""
    consumer = new_consumer(
        "chat.messages",
        "chat.responses",
        bootstrap_servers=kafka,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        isolation_level="read_committed",
    )
    await consumer.start()
    try:
        places = consumer.assignment()
        await consumer.seek_to_beginning(*places)
        ends = await consumer.end_offsets(places)
        found = []
        while any([await consumer.position(place) < ends[place] for place in places]):
            for records in (await consumer.getmany(timeout_ms=200)).values():
                found += [(dict(r.headers)["ce_type"].decode(), r.value) for r in records if r.key == key]
        return found
    finally:
        await consumer.stop()
