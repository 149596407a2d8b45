"""Records: CloudEvents 1.0 in Kafka's binary mode, decoded and checked, and the outputs that processors make.

Binary mode (CloudEvents Kafka protocol binding 1.0.2, section 3.2): attributes are headers `ce_*`, the body is the
value. `ce_id` is the idempotency key of the whole pipeline, the extension `ce_tenantid` the isolation boundary.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import chain
from typing import Any

from pydantic import ValidationError

from schemas.base import Body, body_type
from schemas.errors import BadRecord, TooLarge
from schemas.ids import ThreadKey, is_id, is_tenant_id
from schemas.text import storable_error
from schemas.topics import TOPICS, KeyKind, Topic

Headers = tuple[tuple[str, bytes], ...]

MAX_BODY_BYTES = 900_000
"""Maximum bytes of inputs and of requests and results of tools. Records that result from them repeat them with slightly more."""
MAX_OUTPUT_BYTES = 1_000_000
"""Bytes of any other record. Kafka's default `message.max.bytes` is 1,048,588 for a whole batch with keys and headers, and a
record that it refuses would block its slot's transactions."""
MAX_AROUND_BYTES = 40_000
"""Bytes of a record's key and headers together."""
LONGEST_SOURCE, LONGEST_TRACE = 1_000, 256
"""Characters of headers: a `traceparent` has 55 (W3C Trace Context)."""
ASKED_TOPICS = frozenset({Topic.CHAT_MESSAGES, Topic.EXTERNAL_EVENTS, Topic.TOOL_REQUESTS, Topic.TOOL_RESULTS})
"""Topics of records that ask for something."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """The CloudEvents attributes of a record. `time` is UTC; `traceparent` is W3C Trace Context."""

    id: str
    type: str
    source: str
    tenant_id: str
    time: datetime
    traceparent: str | None = None
    request_id: str | None = None
    """Extension `ce_requestid`: the gateway's request that the record comes from, as its caller and its log know it."""
    credential: str | None = None
    """Extension `ce_credential`, as `AuditEvent.credential`: what the caller showed. For the audit trail alone."""
    address: str | None = None
    """Extension `ce_address`: where the request came from. For the audit trail alone."""

    @property
    def origin(self) -> dict[str, str]:
        """Fields of `AuditEvent` that say where the record comes from."""
        found = {"request_id": self.request_id, "credential": self.credential, "address": self.address}
        return {name: value for name, value in found.items() if value}

    def headers(self) -> Headers:
        """The record headers of these attributes."""
        pairs = [
            ("ce_specversion", b"1.0"),
            ("ce_id", self.id.encode()),
            ("ce_type", self.type.encode()),
            ("ce_source", self.source.encode()),
            ("ce_time", self.time.isoformat().replace("+00:00", "Z").encode()),
            ("ce_tenantid", self.tenant_id.encode()),
            ("content-type", b"application/json"),
        ]
        if self.traceparent:
            pairs.append(("traceparent", self.traceparent.encode()))
        if self.request_id:
            pairs.append(("ce_requestid", self.request_id.encode()))
        if self.credential:
            pairs.append(("ce_credential", self.credential.encode()))
        if self.address:
            pairs.append(("ce_address", self.address.encode()))
        return tuple(pairs)

    @classmethod
    def parse(cls, headers: Iterable[tuple[str, bytes | None]]) -> Envelope:
        """Reads the attributes. Raises `BadRecord` naming what is missing or malformed."""
        found: dict[str, str] = {}
        for name, value in headers:
            if name.startswith("ce_") or name == "traceparent":
                try:
                    found[name] = (value or b"").decode()
                except UnicodeDecodeError as error:
                    raise BadRecord(f"the header {name} is not UTF-8 text") from error
        if missing := [n for n in ("ce_id", "ce_type", "ce_source", "ce_tenantid") if not found.get(n)]:
            raise BadRecord(f"the record lacks the CloudEvents header {' and '.join(missing)}")
        if found.get("ce_specversion", "1.0") != "1.0":
            raise BadRecord(f"CloudEvents version {found['ce_specversion']!r} is not 1.0")
        if not is_tenant_id(found["ce_tenantid"]):
            raise BadRecord(f"the header ce_tenantid {found['ce_tenantid'][:100]!r} is not a tenant id")
        if len(found["ce_source"]) > LONGEST_SOURCE:
            raise BadRecord(f"the header ce_source has {len(found['ce_source']):,} characters; {LONGEST_SOURCE} fit")
        if not is_id(found["ce_id"]):
            raise BadRecord(f"the header ce_id {found['ce_id'][:200]!r} is not an id")
        return cls(
            id=found["ce_id"],
            type=found["ce_type"],
            source=found["ce_source"],
            tenant_id=found["ce_tenantid"],
            time=_time(found.get("ce_time")),
            traceparent=_short(found.get("traceparent")),
            request_id=_short(found.get("ce_requestid")),
            credential=_short(found.get("ce_credential")),
            address=_short(found.get("ce_address")),
        )


def _short(text: str | None) -> str | None:
    """What the outputs repeat, and nothing depends on: one that is too long counts as absent."""
    return text if text and len(text) <= LONGEST_TRACE else None


def _time(text: str | None) -> datetime:
    if not text:
        return datetime.fromtimestamp(0, UTC)
    try:
        time = datetime.fromisoformat(text)
        return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
    except (ValueError, OverflowError) as error:  # the latter for one that is in the year 10000, or 0, in UTC
        raise BadRecord(f"the header ce_time {text[:100]!r} is not a time (RFC 3339)") from error


@dataclass(frozen=True, slots=True)
class RawRecord:
    """A record as Kafka gave it. `timestamp_ms` is the producer's clock in milliseconds since 1970."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...] = ()

    @property
    def position(self) -> str:
        """`topic/partition/offset`: distinguishes a record that is redelivered from a second record of the same input."""
        return f"{self.topic}/{self.partition}/{self.offset}"


REPLAY_OF = "cauce-replay-of"
"""Header of a record that was replayed from `dead.letters`: the `RawRecord.position` that it had at first."""


def first_offset(raw: RawRecord) -> int | None:
    """The original offset of a replayed record; None for one that was not replayed, or whose header is invalid."""
    for name, value in raw.headers:
        if name == REPLAY_OF:
            topic, _, rest = (value or b"").decode("utf-8", "replace").rpartition("/")[0].partition("/")
            offset = (value or b"").rpartition(b"/")[2]
            if topic == raw.topic and rest.isdecimal() and offset.isdigit() and len(offset) <= 18:
                return int(offset)
    return None


@dataclass(frozen=True, slots=True)
class Record:
    """A decoded record: its body has the type that its topic and `ce_type` promise, its key fits its tenant."""

    raw: RawRecord
    envelope: Envelope
    key: str
    body: Any
    thread: ThreadKey | None = field(default=None)
    """Set on topics whose key is a thread."""

    @property
    def tenant_id(self) -> str:
        """The tenant that this record belongs to."""
        return self.envelope.tenant_id


@dataclass(frozen=True, slots=True)
class UnreadableBody:
    """What is known of a body that is too large, or not of its type."""

    kind: str
    """The record's `ce_type`."""
    user_id: str | None = None
    run_id: str | None = None

    @classmethod
    def of(cls, kind: str, value: bytes | None) -> UnreadableBody:
        """The unreadable body, with the valid ids of its JSON object."""
        try:
            found = json.loads(value or b"")
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            return cls(kind)
        ids = [i if isinstance(i := found.get(name), str) and is_id(i) else None for name in ("user_id", "run_id")]
        return cls(kind, *ids)


class Unreadable(BadRecord):
    """Headers and key of the record are valid, its body is not: whoever waits for it can be answered."""

    def __init__(self, reason: str, record: Record) -> None:
        """`record` has an `UnreadableBody`."""
        super().__init__(reason)
        self.record = record


def most_bytes(topic: Topic) -> int:
    """Bytes that the value of a record of this topic may have: who reads it refuses more, and so does who writes it."""
    return MAX_BODY_BYTES if topic in ASKED_TOPICS else MAX_OUTPUT_BYTES


def check_sizes(outputs: Iterable[Output]) -> None:
    """Raises `TooLarge` for a record that its reader or Kafka would refuse."""
    for output in outputs:
        _check_size(output.topic, output.value)
        around = len(output.key.encode()) + sum(map(len, chain.from_iterable(output.headers)))
        if around > MAX_AROUND_BYTES:
            raise TooLarge(f"it would be a record with {around:,} bytes of key and headers; {MAX_AROUND_BYTES:,} fit")


def check_body(topic: Topic, body: Body) -> None:
    """Raises `TooLarge` where a record with this body would be refused."""
    _check_size(topic, body.to_bytes())


def _check_size(topic: Topic, value: bytes) -> None:
    if len(value) > (most := most_bytes(topic)):
        raise TooLarge(f"it would be a record of {len(value):,} bytes for {topic}; {most:,} fit")


def decode(raw: RawRecord) -> Record:
    """Checks and decodes a record. Raises `BadRecord` with a reason fit for the dead letter, and nothing else whatever is in the
    record; `Unreadable` where its headers and key are good."""
    try:
        return _decode(raw)
    except BadRecord:
        raise
    except Exception as error:
        raise BadRecord(f"it cannot be decoded: {storable_error(error, 500)}") from error


def _decode(raw: RawRecord) -> Record:
    envelope = Envelope.parse(raw.headers)
    model = body_type(raw.topic, envelope.type)
    if model is None:
        raise BadRecord(f"{envelope.type[:100]!r} is not a type of the topic {raw.topic}")
    thread = None
    if TOPICS[Topic(raw.topic)].key is KeyKind.THREAD:
        thread = ThreadKey.parse(raw.key)
        if thread.tenant_id != envelope.tenant_id:
            raise BadRecord(
                f"the key belongs to tenant {thread.tenant_id!r}, the header ce_tenantid says {envelope.tenant_id!r}"
            )
        key = str(thread)
    else:
        key = _text(raw.key)
        if key != envelope.tenant_id:
            raise BadRecord(
                f"the key {key[:100]!r} is not the tenant of the header ce_tenantid, {envelope.tenant_id!r}"
            )
    try:
        body = _body(raw, model)
    except BadRecord as error:
        unreadable = UnreadableBody.of(envelope.type, raw.value)
        raise Unreadable(str(error), Record(raw, envelope, key, unreadable, thread)) from error
    return Record(raw, envelope, key, body, thread)


def _body(raw: RawRecord, model: type[Body]) -> Body:
    if raw.value is None:
        raise BadRecord("the record has no value")
    if len(raw.value) > (most := most_bytes(Topic(raw.topic))):
        raise BadRecord(f"the body has {len(raw.value):,} bytes, more than the {most:,} allowed")
    try:
        return model.model_validate_json(raw.value)
    except ValidationError as error:
        raise BadRecord(_explain(error, model)) from error


def _text(key: bytes | None) -> str:
    if not key:
        raise BadRecord("the record has no key; it must be the tenant id")
    try:
        return key.decode()
    except UnicodeDecodeError as error:
        raise BadRecord("the key is not UTF-8 text") from error


def _explain(error: ValidationError, model: type[Body]) -> str:
    """The first problems of a body as text, without its content."""
    problems = [
        f"{'.'.join(map(str, e['loc'])) or 'the body'}: {e['msg']}"
        for e in error.errors(include_input=False, include_url=False)
    ]
    more = f" (and {len(problems) - 3} more)" if len(problems) > 3 else ""
    return f"not a {model.__name__}: {'; '.join(problems[:3])}{more}"[:1000]


@dataclass(frozen=True, slots=True)
class Output:
    """A record to publish."""

    topic: Topic
    key: str
    value: bytes
    headers: Headers
    source: str = ""
    """Position of the record that this results from, if that is not the one being processed: the previous owner had processed
    it but not published its outputs. Publishing this completes that record."""

    @classmethod
    def of(cls, topic: Topic, key: str, body: Body, envelope: Envelope) -> Output:
        """A record with this body; the envelope's type must be the body's."""
        return cls(topic, key, body.to_bytes(), envelope.headers())


def encode_outputs(outputs: Sequence[Output], source: str) -> bytes:
    """Outputs as the journal stores them, so that a replay publishes the same bytes.

    `source` is the position of the record that they came of (`RawRecord.position`).
    """
    rows = [
        [o.topic.value, o.key, [[name, value.decode()] for name, value in o.headers], o.value.decode()] for o in outputs
    ]
    return json.dumps({"source": source, "outputs": rows}, ensure_ascii=False, separators=(",", ":")).encode()


def decode_outputs(stored: bytes) -> tuple[list[Output], str]:
    """The inverse of `encode_outputs`: the outputs, and the position of the record that they came of."""
    found = json.loads(stored)
    outputs = [
        Output(Topic(topic), key, value.encode(), tuple((name, text.encode()) for name, text in headers))
        for topic, key, headers, value in found["outputs"]
    ]
    return outputs, found["source"]
