"""Records in and out: what is good survives, what is bad is named, and nothing else is ever raised."""

from __future__ import annotations

import contextlib
import importlib
import json
import pkgutil
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

import schemas
from schemas import (
    MAX_BODY_BYTES,
    TOPICS,
    BadRecord,
    Envelope,
    MessageAdded,
    Output,
    RawRecord,
    Topic,
    UserMessage,
    bodies_of,
    decode,
    decode_outputs,
    encode_outputs,
)

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
MESSAGE = UserMessage(user_id="u1", text="hi")

ids = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.\-]{0,127}", fullmatch=True)
tenants = st.from_regex(r"[a-z0-9][a-z0-9_\-]{0,63}", fullmatch=True)
texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=200)
envelopes = st.builds(
    Envelope,
    id=ids,
    type=st.sampled_from([body.TYPE for topic in TOPICS for body in bodies_of(topic)]),
    source=texts,
    tenant_id=tenants,
    time=st.datetimes(timezones=st.just(UTC)),
    traceparent=st.none() | st.just("00-" + "a" * 32 + "-" + "b" * 16 + "-01"),
)


def raw(
    value: bytes | None = MESSAGE.to_bytes(),
    *,
    key: bytes | None = b"acme:t1",
    envelope: Envelope | None = None,
    topic: str = Topic.CHAT_MESSAGES.value,
) -> RawRecord:
    head = envelope or Envelope("m1", UserMessage.TYPE, "test", "acme", NOW)
    return RawRecord(topic, 0, 7, 0, key, value, head.headers())


def test_a_good_record_has_its_tenant_its_thread_and_its_body() -> None:
    record = decode(raw())
    assert (record.tenant_id, record.key, str(record.thread), record.body) == ("acme", "acme:t1", "acme:t1", MESSAGE)


def test_fields_of_a_newer_writer_are_kept_out_of_the_way() -> None:
    newer = json.dumps({**json.loads(MESSAGE.to_bytes()), "mood": "sunny", "more": {"deep": [1]}}).encode()
    assert decode(raw(newer)).body == MESSAGE


@pytest.mark.parametrize(
    ("record", "words"),
    [
        (raw(None), "the record has no value"),
        (raw(b"nope"), "not a UserMessage: the body: Invalid JSON"),
        (raw(b"{}"), "user_id: Field required"),
        (raw(b'{"user_id": "a b", "text": "x"}'), "user_id: "),
        (raw(b" " * (MAX_BODY_BYTES + 1)), "more than the 900,000 allowed"),
        (raw(key=None), "has no key"),
        (raw(key=b"acme"), "not of the form tenant_id:thread_id"),
        (raw(key=b"acme:"), "not of the form tenant_id:thread_id"),
        (raw(key=b"ACME:t"), "not of the form tenant_id:thread_id"),
        (raw(key=b"other:t1"), "belongs to tenant 'other'"),
        (raw(topic=Topic.TOOL_RESULTS.value), "is not a type of the topic tool.results"),
        (raw(envelope=Envelope("m1", "cauce.new.kind", "test", "acme", NOW)), "'cauce.new.kind' is not a type"),
        (raw(envelope=Envelope("m 1", UserMessage.TYPE, "test", "acme", NOW)), "ce_id 'm 1' is not an id"),
        (raw(envelope=Envelope("m1", UserMessage.TYPE, "test", "Acme!", NOW)), "'Acme!' is not a tenant id"),
    ],
)
def test_what_is_wrong_with_a_record_is_said(record: RawRecord, words: str) -> None:
    with pytest.raises(BadRecord) as raised:
        decode(record)
    assert words in str(raised.value)


@pytest.mark.parametrize("name", ["ce_id", "ce_type", "ce_source", "ce_tenantid"])
def test_a_missing_header_is_named(name: str) -> None:
    good = raw()
    head = tuple(pair for pair in good.headers if pair[0] != name)
    with pytest.raises(BadRecord, match=f"lacks the CloudEvents header {name}"):
        decode(RawRecord(good.topic, 0, 7, 0, good.key, good.value, head))


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (b"\xff", "not UTF-8"),
        (b"yesterday", "not a time"),
        (b"9999-12-31T23:59:59-14:00", "not a time"),
        (b"0001-01-01T00:00:00+14:00", "not a time"),
    ],
)
def test_a_malformed_header_is_named(value: bytes, words: str) -> None:
    good = raw()
    head = tuple((name, value if name == "ce_time" else old) for name, old in good.headers)
    with pytest.raises(BadRecord, match=words):
        decode(RawRecord(good.topic, 0, 7, 0, good.key, good.value, head))


@pytest.mark.parametrize("at", ["9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00+14:00"])
def test_a_time_outside_of_all_years_in_a_body_is_a_bad_record(at: str) -> None:
    envelope = Envelope("m1", MessageAdded.TYPE, "test", "acme", NOW)
    message = {"message_id": "m", "role": "user", "text": "hi", "run_id": "r", "at": at}
    body = json.dumps({"seq": 1, "run_id": "r", "user_id": "u", "at": at, "message": message}).encode()
    with pytest.raises(BadRecord, match="not within the years 1 to 9999"):
        decode(raw(body, topic=Topic.CHAT_RESPONSES.value, envelope=envelope))


def test_the_reason_does_not_repeat_what_the_body_says() -> None:
    with pytest.raises(BadRecord) as raised:
        decode(raw(b'{"user_id": 5, "text": "my secret"}'))
    assert "secret" not in str(raised.value)


@given(envelopes)
def test_an_envelope_survives_its_headers(envelope: Envelope) -> None:
    assert Envelope.parse(envelope.headers()) == envelope


@given(
    topic=st.sampled_from(list(TOPICS)).map(lambda topic: topic.value),
    key=st.none() | st.binary(max_size=40) | st.sampled_from([b"acme:t1", b"acme"]),
    value=st.none() | st.binary(max_size=200) | st.dictionaries(texts, texts).map(lambda d: json.dumps(d).encode()),
    head=st.lists(st.tuples(texts, st.none() | st.binary(max_size=40)), max_size=6),
    good=st.booleans(),
)
def test_whatever_comes_is_a_record_or_a_bad_record(
    topic: str, key: bytes | None, value: bytes | None, head: list[tuple[str, bytes | None]], good: bool
) -> None:
    body = bodies_of(Topic(topic))[0]
    envelope = Envelope("m1", body.TYPE, "test", "acme", NOW)
    found = (*(envelope.headers() if good else ()), *head)
    with contextlib.suppress(BadRecord):
        decode(RawRecord(topic, 0, 0, 0, key, value, found))


@given(
    st.lists(
        st.builds(
            Output,
            topic=st.sampled_from(list(TOPICS)),
            key=texts,
            value=st.dictionaries(texts, texts).map(lambda d: json.dumps(d, ensure_ascii=False).encode()),
            headers=envelopes.map(lambda envelope: envelope.headers()),
        ),
        max_size=5,
    )
)
def test_stored_outputs_are_published_again_with_the_same_bytes(outputs: list[Output]) -> None:
    assert decode_outputs(encode_outputs(outputs, "chat.messages/3/7")) == (outputs, "chat.messages/3/7")


def test_every_body_that_has_a_type_names_its_topics_and_can_be_imported_from_the_folder() -> None:
    """What fires at a time is stored under its type, and in no topic."""
    modules = [importlib.import_module(f"schemas.{found.name}") for found in pkgutil.iter_modules(schemas.__path__)]
    named = [
        one for module in modules for one in vars(module).values() if getattr(one, "__module__", "") == module.__name__
    ]
    typed = [one for one in named if isinstance(one, type) and "TYPE" in vars(one)]
    assert len(typed) > 30
    assert {one.__name__ for one in typed if not one.TOPICS} == {
        "AuditWritten",
        "DelayedRun",
        "EndRuns",
        "Erasure",
        "HeldInput",
        "RunsThread",
        "ThreadExpiry",
    }  # type: ignore[attr-defined]
    public = {one.__name__ for one in named if isinstance(one, type) and not one.__name__.startswith("_")}
    assert public - set(schemas.__all__) == set(), "schemas/__init__.py has to re-export them"


def test_every_topic_has_bodies_with_types_of_their_own() -> None:
    for bodies in map(bodies_of, TOPICS):
        assert len({body.TYPE for body in bodies}) == len(bodies) > 0
    named: dict[str, set[type]] = {}
    for bodies in map(bodies_of, TOPICS):
        for body in bodies:
            named.setdefault(body.TYPE, set()).add(body)
    assert all(len(classes) == 1 for classes in named.values()), "one type, two meanings"
