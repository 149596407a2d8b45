"""A chat client on the topics themselves: aiokafka and the JSON Schemas of `cauce schemas`, nothing of Cauce.

    python examples/kafka_client.py "What mail do I have?" --kafka 127.0.0.1:19092

Beside `cauce up`, whose broker wants the password of its data folder:

    python examples/kafka_client.py "What mail do I have?" --kafka 127.0.0.1:PORT \
        --login cauce --password-file var/broker.password

Sends one message, prints what comes, asks when the agent wants to change something, and ends with the run.
docs/kafka-clients.md says why each step is as it is.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import secrets
import ssl
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

ENDS = {"cauce.run.completed", "cauce.run.failed", "cauce.run.cancelled", "cauce.input.refused"}


def headers(tenant: str, record_id: str, kind: str) -> list[tuple[str, bytes]]:
    """CloudEvents 1.0 in binary mode. `ce_id` makes sending again harmless: the same id is one message."""
    attributes = {
        "ce_specversion": "1.0",
        "ce_id": record_id,
        "ce_type": kind,
        "ce_source": "example/kafka-client",
        "ce_time": datetime.now(UTC).isoformat(),
        "ce_tenantid": tenant,
        "traceparent": f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01",
        "content-type": "application/json",
    }
    return [(name, value.encode()) for name, value in attributes.items()]


class Thread:
    """One conversation of one user."""

    def __init__(self, producer: AIOKafkaProducer, consumer: AIOKafkaConsumer, tenant: str, user: str, name: str):
        self.producer, self.consumer = producer, consumer
        self.tenant, self.user, self.key = tenant, user, f"{tenant}:{name}".encode()
        self.seen = 0

    async def produce(self, kind: str, body: dict[str, Any], record_id: str) -> None:
        """The key is the thread: it decides the partition, and so the order."""
        value = json.dumps({"user_id": self.user, **body}).encode()
        await self.producer.send_and_wait(
            "chat.messages", value, key=self.key, headers=headers(self.tenant, record_id, kind)
        )

    async def say(self, text: str) -> str:
        """Sends a message. Its id is the id of the run that answers it."""
        message_id = uuid.uuid4().hex
        await self.produce("cauce.chat.message", {"text": text}, message_id)
        return message_id

    async def decide(self, call_id: str, decision: str) -> None:
        """Answers a call that waits: approve or reject (edit and respond take more, see the schema)."""
        await self.produce("cauce.chat.approval", {"call_id": call_id, "decision": decision}, uuid.uuid4().hex)

    async def events(self) -> AsyncIterator[tuple[str, dict[str, Any]]]:
        """Type and body of the thread's events, each once: their numbers rise by one, and a smaller one was seen."""
        async for record in self.consumer:
            if record.key != self.key:
                continue
            kind = dict(record.headers)["ce_type"].decode()
            body = json.loads(record.value)
            if body["seq"] > self.seen:
                self.seen = body["seq"]
                yield kind, body


async def answer(thread: Thread, run: str, *, approve: bool | None) -> None:
    """Prints a run until it is over. `approve` answers what it asks; None asks the person at the terminal."""
    async for kind, body in thread.events():
        if body.get("run_id") != run:
            continue
        if kind == "cauce.message.added" and body["message"]["role"] == "assistant" and body["message"]["text"]:
            print(body["message"]["text"])
        elif kind == "cauce.tool.requested":
            print(f"→ {body['name']} {json.dumps(body['arguments'])}")
        elif kind == "cauce.tool.finished":
            print(f"✓ {body['name']} {body['status']}")
        elif kind == "cauce.approval.requested":
            print(f"? {body['name']} {json.dumps(body['arguments'])}")
            yes = approve
            if yes is None:
                yes = (await asyncio.to_thread(input, "approve? [y/n] ")).strip().lower() == "y"
            await thread.decide(body["call_id"], "approve" if yes else "reject")
        elif kind in ENDS:
            if kind != "cauce.run.completed":
                print(f"{kind}: {body.get('message') or body.get('reason')}")
            return


async def main() -> None:
    """Parses the command line, connects, and has the conversation."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("text")
    parser.add_argument("--kafka", default="127.0.0.1:19092")
    parser.add_argument("--login", help="name to sign in with (SCRAM-SHA-512)")
    parser.add_argument("--password-file", type=Path, help="file with its password")
    parser.add_argument("--ca-file", help="PEM file of the authority of a Kafka with TLS")
    parser.add_argument("--tenant", default="home")
    parser.add_argument("--user", default="owner")
    parser.add_argument("--thread", default=uuid.uuid4().hex)
    parser.add_argument("--yes", action="store_const", const=True, help="approve everything that is asked")
    given = parser.parse_args()

    access: dict[str, Any] = {"bootstrap_servers": given.kafka}
    if given.login or given.ca_file:
        access["security_protocol"] = ("SASL_" if given.login else "") + ("SSL" if given.ca_file else "PLAINTEXT")
    if given.login:
        access |= {"sasl_mechanism": "SCRAM-SHA-512", "sasl_plain_username": given.login}
        access["sasl_plain_password"] = given.password_file.read_text().strip()
    if given.ca_file:
        access["ssl_context"] = ssl.create_default_context(cafile=given.ca_file)

    # No group: every client reads everything from now on and keeps what is its own.
    consumer = AIOKafkaConsumer(
        "chat.responses", **access, isolation_level="read_committed", auto_offset_reset="latest"
    )
    producer = AIOKafkaProducer(**access, enable_idempotence=True, metadata_max_age_ms=10_000)
    await consumer.start()
    try:
        # Before the first message is sent the consumer must know its place, or it would miss the first events.
        await asyncio.gather(*(consumer.position(tp) for tp in consumer.assignment()))
        await producer.start()
        try:
            thread = Thread(producer, consumer, given.tenant, given.user, given.thread)
            await answer(thread, await thread.say(given.text), approve=given.yes)
        finally:
            await producer.stop()
    finally:
        await consumer.stop()


if __name__ == "__main__":
    asyncio.run(main())
