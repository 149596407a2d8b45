"""What we rely on in FastStream's private parts; a new version of it must pass this first."""

from __future__ import annotations

from typing import Any

import pytest
from faststream import BaseMiddleware
from faststream.kafka import KafkaBroker
from runtime_kit import NOW, QUICK, Answering

from schemas import Envelope, RawRecord, Record, Topic, UserMessage, decode
from streams import Reject
from streams.contract import Group
from streams.worker import SlotSubscriber, subscribe

passed: list[str] = []


class Noting(BaseMiddleware):
    async def consume_scope(self, call_next: Any, msg: Any) -> Any:
        passed.append(msg.message_id)
        return await call_next(msg)


async def seam(processor: Answering) -> SlotSubscriber:
    broker = KafkaBroker("127.0.0.1:1", consumer_only=True, logger=None, apply_types=False, middlewares=[Noting])
    subscriber = subscribe(
        broker,
        Group(name="turns", reads=(Topic.CHAT_MESSAGES,)),
        processor,
        options=QUICK,
        make_runtime=lambda s: object(),  # type: ignore[arg-type,return-value]
    )
    broker._setup_logger()
    subscriber._build_fastdepends_model()
    return subscriber


def record(**headers: bytes) -> Record:
    envelope = Envelope("m1", UserMessage.TYPE, "test", "acme", NOW)
    pairs = (*envelope.headers(), *headers.items())
    body = UserMessage(user_id="u", text="hi").to_bytes()
    return decode(RawRecord(Topic.CHAT_MESSAGES.value, 0, 0, 0, b"acme:t1", body, pairs))


async def test_outputs_come_back_through_middlewares() -> None:
    passed.clear()
    processor = Answering()
    outputs = await (await seam(processor)).process(record())
    assert [o.topic for o in outputs] == [Topic.CHAT_RESPONSES]
    assert passed == ["m1"]


async def test_what_the_processor_raises_comes_through_as_it_is() -> None:
    async def refuse(_: Record) -> None:
        raise Reject("no")

    with pytest.raises(Reject, match="no"):
        await (await seam(Answering(then=refuse))).process(record())


async def test_a_record_cannot_make_faststream_publish_somewhere() -> None:
    """FastStream answers to the topic that a `reply_to` header names; there is no producer here that could."""
    outputs = await (await seam(Answering())).process(record(reply_to=b"audit.events", binary=b"\xff\xfe"))
    assert len(outputs) == 1
