from __future__ import annotations

import asyncio
import os
import struct

import pytest
from aiokafka.protocol.admin import ApiVersionRequest_v0
from aiokafka.protocol.metadata import MetadataRequest_v5
from kafka_access import KafkaAccess
from kafka_wire import Wire, batch

API_VERSIONS, UNSUPPORTED_VERSION = 18, 35


async def test_a_version_that_is_too_new_is_answered_with_those_that_there_are(wire: Wire) -> None:
    """KIP-511: the answer has version 0, so that every client can read it and ask again."""
    correlation, too_new = 7, 99
    no_client_id, no_tags = -1, 0
    body = struct.pack(">hhihB", API_VERSIONS, too_new, correlation, no_client_id, no_tags)
    await wire.send(struct.pack(">i", len(body)) + body)
    frame = await wire.receive_frame()
    assert struct.unpack_from(">ih", frame) == (correlation, UNSUPPORTED_VERSION)


async def test_the_versions_that_the_client_asks_for_are_there(wire: Wire) -> None:
    answer = await wire.ask(ApiVersionRequest_v0())
    assert answer.error_code == 0
    versions = {key: (low, high) for key, low, high in answer.api_versions}
    wanted = {0: 7, 1: 11, 3: 5, 8: 3, 9: 3, 11: 5, 14: 3, 22: 0, 24: 0, 25: 0, 26: 0, 28: 0}
    assert all(versions[key][0] <= version <= versions[key][1] for key, version in wanted.items())


async def test_requests_sent_without_waiting_are_answered_in_order(access: KafkaAccess, wire: Wire) -> None:
    topic, requests = await access.topic(), [MetadataRequest_v5([], False) for _ in range(50)]
    await wire.send(b"".join(wire.frame(request) for request in requests))
    for correlation, request in enumerate(requests, start=1):
        await wire.answer_to(request, correlation)
    assert await wire.produce(topic, batch(b"x")) == ("NoError", 0)


async def test_a_request_may_come_in_pieces(wire: Wire) -> None:
    request = MetadataRequest_v5([], False)
    for byte in wire.frame(request):
        await wire.send(bytes([byte]))
    assert (await wire.answer_to(request, 1)).brokers


@pytest.mark.parametrize(
    "garbage",
    [
        struct.pack(">i", -1),
        struct.pack(">i", 2**31 - 1) + b"x" * 100,
        struct.pack(">i", 10) + b"\xff" * 10,
        struct.pack(">ihhih", 10, 3, 5, 1, -1),  # a Metadata request without its body
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    ],
    ids=["negative length", "absurd length", "unknown request", "cut off", "http"],
)
async def test_what_is_not_the_protocol_costs_its_sender_the_connection_and_nobody_else(
    access: KafkaAccess, kafka_address: str, garbage: bytes
) -> None:
    topic = await access.topic()
    async with await Wire.connect(kafka_address) as other:
        async with await Wire.connect(kafka_address) as sender:
            await sender.send(garbage)
            assert await sender.closed_by_broker()
        assert await other.produce(topic, batch(b"x")) == ("NoError", 0)


async def test_random_frames_do_no_harm(access: KafkaAccess, kafka_address: str) -> None:
    topic = await access.topic()
    for _ in range(100):
        body = os.urandom(50)
        async with await Wire.connect(kafka_address) as sender:
            await sender.send(struct.pack(">i", len(body)) + body)
    await access.send(topic, b"x")
    assert await access.values(topic) == [b"x"]


async def test_a_client_that_goes_away_in_the_middle_of_a_request_does_no_harm(
    access: KafkaAccess, kafka_address: str
) -> None:
    topic = await access.topic()
    async with await Wire.connect(kafka_address) as sender:
        await sender.send(struct.pack(">i", 1000) + b"x" * 10)
    await access.send(topic, b"x")
    assert await access.values(topic) == [b"x"]


async def test_three_hundred_connections_are_served_at_once(access: KafkaAccess, kafka_address: str) -> None:
    topic = await access.topic()
    wires = await asyncio.gather(*[Wire.connect(kafka_address) for _ in range(300)])
    try:
        sent = await asyncio.gather(*[wire.produce(topic, batch(b"x")) for wire in wires])
    finally:
        await asyncio.gather(*[wire.close() for wire in wires])
    assert sorted(sent) == [("NoError", offset) for offset in range(300)]
