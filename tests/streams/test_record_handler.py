"""What becomes of a record by what its processor raises."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from runtime_kit import NOW, QUICK, Answering, MemoryAttempts, event_of

from schemas import (
    MAX_OUTPUT_BYTES,
    BadRecord,
    DeadLetter,
    Envelope,
    NotFound,
    Output,
    RawRecord,
    Record,
    Topic,
    Unavailable,
    UserMessage,
    check_sizes,
)
from schemas.common.metrics import RuntimeMetrics
from streams import Reject, Retry
from streams.dead_letters import DeadLetterRow, smaller
from streams.handler import RecordHandler


def raw(value: bytes | None = None, headers: Any = None) -> RawRecord:
    body = UserMessage(user_id="u", text="hi").to_bytes() if value is None else value
    envelope = Envelope("m1", UserMessage.TYPE, "test", "acme", NOW)
    return RawRecord("chat.messages", 1, 7, 0, b"acme:t1", body, envelope.headers() if headers is None else headers)


def failing(times: int, error: BaseException) -> Callable[[Record], Awaitable[None]]:
    left = [times]

    async def then(record: Record) -> None:
        if left[0]:
            left[0] -= 1
            raise error

    return then


def handler(processor: Answering, attempts: MemoryAttempts | None = None) -> RecordHandler:
    return RecordHandler(
        "turns",
        processor,
        processor.process,
        attempts=attempts or MemoryAttempts(),
        options=QUICK,
        metrics=RuntimeMetrics(CollectorRegistry()),
        now=lambda: NOW,
    )


def topics(outputs: Any) -> list[str]:
    return [o.topic.value for o in outputs]


def reason(outputs: Any) -> str:
    return str(next(json.loads(o.value)["reason"] for o in outputs if o.topic is Topic.DEAD_LETTERS))


@pytest.mark.parametrize("error", [Retry(0.01), Unavailable("away")])
async def test_a_record_is_processed_again_for_as_long_as_it_takes(error: Exception) -> None:
    processor = Answering(then=failing(QUICK.attempts * 3, error))
    assert topics(await handler(processor)(raw(), suspect=False)) == ["chat.responses"]
    assert processor.seen["m1"] == QUICK.attempts * 3 + 1


async def test_unknown_errors_are_tried_a_few_times_and_then_given_up() -> None:
    processor = Answering(then=failing(99, ValueError("broken")))
    outputs = await handler(processor)(raw(), suspect=False)
    assert processor.seen["m1"] == QUICK.attempts
    assert processor.given_up == ["m1"]
    assert topics(outputs) == ["chat.responses", "dead.letters", "audit.events"]
    assert reason(outputs) == "ValueError: broken"


async def test_an_error_that_goes_away_leaves_no_trace() -> None:
    assert topics(await handler(Answering(then=failing(1, ValueError())))(raw(), suspect=False)) == ["chat.responses"]


@pytest.mark.parametrize("error", [Reject("not for us"), BadRecord("not for us")])
async def test_a_rejected_record_goes_to_the_dead_letters_at_once(error: Exception) -> None:
    processor = Answering(then=failing(99, error))
    outputs = await handler(processor)(raw(), suspect=False)
    assert (processor.seen["m1"], reason(outputs)) == (1, "not for us")


async def test_a_rejection_publishes_what_it_brings() -> None:
    async def then(record: Record) -> None:
        raise Reject("no", [event_of(record)])

    outputs = await handler(Answering(then=then))(raw(), suspect=False)
    assert topics(outputs) == ["chat.responses", "dead.letters", "audit.events"]


async def test_garbage_never_reaches_the_processor() -> None:
    processor = Answering()
    outputs = await handler(processor)(raw(b"\xff\x00", ()), suspect=False)
    assert processor.seen.total() == 0
    assert "ce_id" in reason(outputs)


async def test_an_output_that_kafka_would_refuse_is_a_dead_letter_and_not_a_blocked_slot() -> None:
    class Verbose(Answering):
        async def process(self, record: Record) -> list[Output]:
            return [replace(event_of(record), value=b"x" * (MAX_OUTPUT_BYTES + 1))]

    outputs = await handler(Verbose())(raw(), suspect=False)
    assert "1,000,001 bytes" in reason(outputs)


async def test_giving_up_that_fails_still_gives_the_dead_letter() -> None:
    class Stubborn(Answering):
        async def give_up(self, record: Record, reason: str) -> list[Output]:
            raise RuntimeError("cannot even do that")

    outputs = await handler(Stubborn(then=failing(99, ValueError())))(raw(), suspect=False)
    assert topics(outputs) == ["dead.letters", "audit.events"]


async def test_a_record_that_killed_its_worker_three_times_is_given_up_unread() -> None:
    attempts, processor = MemoryAttempts(), Answering()
    for _ in range(QUICK.crashes - 1):
        await attempts.begin("turns", "chat.messages", 1, 7)
    outputs = await handler(processor, attempts)(raw(), suspect=True)
    assert processor.seen.total() == 0
    assert processor.given_up == ["m1"]
    assert "died 3 times" in reason(outputs)


async def test_suspects_of_a_last_try_run_one_by_one_so_that_the_innocent_are_not_given_up() -> None:
    attempts, processor = MemoryAttempts(), Answering(seconds=0.02)
    for offset in range(3):
        for _ in range(QUICK.crashes - 2):
            await attempts.begin("turns", "chat.messages", 1, offset)
    together = 0

    async def watch() -> None:
        nonlocal together
        while True:
            together = max(together, processor.running.total())
            await asyncio.sleep(0)

    watching = asyncio.create_task(watch())
    handle = handler(processor, attempts)
    await asyncio.gather(*(handle(replace(raw(), offset=n), suspect=True) for n in range(3)))
    watching.cancel()
    assert together == 1
    assert processor.given_up == []


async def test_a_suspect_that_is_innocent_is_forgotten() -> None:
    attempts = MemoryAttempts()
    assert topics(await handler(Answering(), attempts)(raw(), suspect=True)) == ["chat.responses"]
    assert attempts.counts.total() == 0


@pytest.mark.parametrize(("ordered", "counted"), [(True, 0), (False, 1)])
async def test_only_an_order_to_stop_keeps_a_record_from_being_counted(ordered: bool, counted: int) -> None:
    """A process that dies of a record cancels what runs, too: the cancel itself says nothing."""
    attempts = MemoryAttempts()
    work = handler(Answering(seconds=30), attempts)(raw(), suspect=True, let_go=lambda: ordered)
    task = asyncio.ensure_future(work)
    while not attempts.counts:
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert attempts.counts.total() == counted


class Panic(BaseException):
    """As an extension written in Rust raises it."""


@pytest.mark.parametrize(
    "error",
    [
        SystemExit(3),
        KeyboardInterrupt(),
        Panic("index out of bounds"),
        asyncio.CancelledError(),
        BaseExceptionGroup("several", [Panic(), ValueError()]),
        ExceptionGroup("several", [ValueError()]),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_whatever_processing_ends_with_the_record_is_given_up_after_three_tries(error: BaseException) -> None:
    processor = Answering(then=failing(99, error))
    outputs = await handler(processor)(raw(), suspect=False)
    assert (processor.seen["m1"], processor.given_up) == (3, ["m1"])
    assert topics(outputs) == ["chat.responses", "dead.letters", "audit.events"]
    assert type(error).__name__ in reason(outputs)


@pytest.mark.parametrize("error", [SystemExit(3), Panic(), asyncio.CancelledError()])
async def test_giving_up_that_ends_in_any_way_still_gives_the_dead_letter(error: BaseException) -> None:
    class Stubborn(Answering):
        async def give_up(self, record: Record, reason: str) -> list[Output]:
            raise error

    outputs = await handler(Stubborn(then=failing(99, ValueError())))(raw(), suspect=False)
    assert topics(outputs) == ["dead.letters", "audit.events"]


async def test_a_record_whose_task_is_ended_again_and_again_is_given_up() -> None:
    processor = Answering()
    outputs = await handler(processor)(raw(), suspect=False, failed=QUICK.crashes)
    assert (processor.seen.total(), processor.given_up) == (0, ["m1"])
    assert "ended 3 times" in reason(outputs)
    outputs = await handler(processor)(raw(), suspect=False, failed=QUICK.crashes + 1)
    assert topics(outputs) == ["dead.letters", "audit.events"]


async def test_the_same_record_given_up_twice_is_the_same_dead_letter() -> None:
    first, second = [await handler(Answering())(raw(b"{}"), suspect=False) for _ in range(2)]
    assert list(first) == list(second)


async def test_a_record_that_cannot_be_decoded_for_whatever_reason_is_a_dead_letter(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def decoding(raw: RawRecord) -> Record:
        raise OverflowError("a shape that nobody thought of")

    monkeypatch.setattr("streams.handler.decode", decoding)
    outputs = await handler(Answering())(raw(), suspect=False)
    assert Topic.DEAD_LETTERS.value in topics(outputs)
    assert "cannot be handled: OverflowError: a shape that nobody thought of" in reason(outputs)


@pytest.mark.parametrize("at", ["9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00+14:00"])
async def test_a_record_of_a_time_outside_of_all_years_is_a_dead_letter(at: str) -> None:
    headers = tuple((n, at.encode() if n == "ce_time" else v) for n, v in raw().headers)
    outputs = await handler(Answering())(raw(headers=headers), suspect=False)
    assert Topic.DEAD_LETTERS.value in topics(outputs)
    assert "is not a time" in reason(outputs)


async def test_whatever_escapes_the_handling_of_a_record_is_its_dead_letter() -> None:
    class Broken(MemoryAttempts):
        async def begun(self, group: str, topic: str, partition: int, offset: int) -> int:
            raise ValueError("nobody foresaw it")

    outputs = await handler(Answering(), Broken())(raw(), suspect=True)
    assert topics(outputs) == ["dead.letters", "audit.events"]
    assert "cannot be handled: ValueError: nobody foresaw it" in reason(outputs)


hostile_headers = st.lists(
    st.tuples(
        st.sampled_from(["ce_id", "ce_type", "ce_source", "ce_time", "ce_tenantid", "traceparent", "ce_requestid"])
        | st.text(max_size=20)
        | st.sampled_from(["\x00" * 5_000, "é" * 400]),
        st.none()
        | st.binary(max_size=40)
        | st.sampled_from([b"0001-01-01T00:00:00+14:00", b"9" * 5_000, b"x" * 900_000, b"1e999", b"m1", b"acme"]),
    ),
    max_size=8,
)
hostile_values = (
    st.none()
    | st.binary(max_size=60)
    | st.sampled_from(
        [
            b"[" * 200_000,
            b"[" * 900_001,
            b'{"user_id": 1e400}',
            b'"\\ud800"',
            b"1" * 5_000,
            b"x" * 500_000,
            b"{}" * 450_000,
        ]
    )
)


@settings(deadline=None, max_examples=60)
@given(
    value=hostile_values,
    key=st.none() | st.binary(max_size=40) | st.sampled_from([b"acme:t1", b"k" * 900_000, b"\xff" * 5_000]),
    head=hostile_headers,
    times=st.sampled_from([1, 200]),
    good=st.booleans(),
    suspect=st.booleans(),
)
async def test_whatever_a_record_contains_it_ends_and_its_dead_letter_fits(
    value: bytes | None,
    key: bytes | None,
    head: list[tuple[str, bytes | None]],
    times: int,
    good: bool,
    suspect: bool,
) -> None:
    found = (*(raw().headers if good else ()), *(head * times if len(head) < 3 else head))
    record = RawRecord("chat.messages", 1, 7, 0, key, value, found)
    outputs = await handler(Answering())(record, suspect=suspect)
    assert outputs
    check_sizes(outputs)
    for output in outputs:
        if output.topic is Topic.DEAD_LETTERS:
            letter = DeadLetter.model_validate_json(output.value)
            assert letter.value_bytes == len(value or b"")
            less: Output | None = output
            while less := smaller(less):  # type: ignore[arg-type]
                assert len(less.value) < 40_000
                assert (letter.topic, letter.offset) == ("chat.messages", 7)


async def test_dead_letter_of_what_is_too_large_keeps_its_beginnings_sizes_and_digests() -> None:
    large = b"h" * 900_000
    record = RawRecord("chat.messages", 1, 7, 0, b"k" * 5_000, b"v" * 600_000, (("ce_id", b"m1"), ("large", large)))
    outputs = await handler(Answering())(record, suspect=False)
    letter = DeadLetter.model_validate_json(next(o.value for o in outputs if o.topic is Topic.DEAD_LETTERS))
    assert {one.part: one.size for one in letter.cut} == {
        "key": 5_000,
        "value": 600_000,
        "headers": 900_000 + len("ce_idm1large"),
        "large": 900_000,
    }
    digests = {one.part: one.sha256 for one in letter.cut}
    assert digests["large"] == hashlib.sha256(large).hexdigest()
    assert dict(letter.headers)["ce_id"] == base64.b64encode(b"m1").decode()
    assert base64.b64decode(dict(letter.headers)["large"] or "") == large[:400]
    with pytest.raises(NotFound, match="too many to keep"):
        _ = DeadLetterRow("0-1", letter).records


async def test_outputs_do_not_repeat_what_is_too_long_in_the_headers_of_a_record() -> None:
    headers = (*raw().headers, ("traceparent", b"0" * 900_000), ("ce_requestid", b"1" * 900_000))
    seen: list[Record] = []

    async def then(record: Record) -> None:
        seen.append(record)

    await handler(Answering(then=then))(raw(headers=headers), suspect=False)
    assert (seen[0].envelope.traceparent, seen[0].envelope.request_id) == (None, None)
    source = tuple((n, b"s" * 5_000 if n == "ce_source" else v) for n, v in raw().headers)
    assert "ce_source has 5,000 characters" in reason(await handler(Answering())(raw(headers=source), suspect=False))
