"""Bodies of `audit.events` and `dead.letters`."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field

from schemas.base import Body, Timestamp
from schemas.topics import Topic


class AuditEvent(Body):
    """Who did what to whose data, when, with what outcome. Carries no content of messages or mails."""

    TYPE: ClassVar[str] = "cauce.audit"
    TOPICS = (Topic.AUDIT_EVENTS,)
    at: Timestamp
    action: str = Field(min_length=1, max_length=128)
    """One of `Action`; of older and newer versions also others."""
    actor: str
    """`user:ID` of the tenant, `agent:ID`, `tool:NAME`, `operator` (the installation's; `operator:ID` with a key), `anonymous`
    for somebody without a valid credential, or `system`."""
    credential: str | None = None
    """What the actor showed: `key:ID`, `session:ID`, `token:PROVIDER` or `operator`, which is the command line. No secret."""
    request_id: str | None = None
    """The gateway's request that it came of, as the log and the answer have it."""
    address: str | None = None
    """The network address that the request was from."""
    outcome: Literal["ok", "refused", "failed", "unknown"] = "ok"
    user_id: str | None = None
    thread_id: str | None = None
    run_id: str | None = None
    subject: str | None = None
    """What was acted on: a call id, a tool name, a topic position."""
    reason: str | None = None
    details: dict[str, Any] = Field(default_factory=dict)


class CutPart(Body):
    """A part of a record of which a dead letter keeps only the beginning, or nothing: `key`, `value`, `headers`, or the name of
    a header. `size` is in bytes, `sha256` hexadecimal; of `headers` together, of their names and values one after the other."""

    part: str
    size: int = Field(ge=0)
    sha256: str


class DeadLetter(Body):
    """A record that could not be processed, with everything that is needed to replay it as it was."""

    TYPE: ClassVar[str] = "cauce.dead_letter"
    TOPICS = (Topic.DEAD_LETTERS,)
    at: Timestamp
    group: str
    topic: str
    partition: int
    offset: int
    reason: str
    attempts: int = Field(default=1, ge=1)
    key: str | None = None
    """Base64 of the record's key; absent when it had none."""
    value: str | None = None
    """Base64 of the record's value; absent when it had none, or when it was too large (`value_bytes` says how large)."""
    value_bytes: int = Field(default=0, ge=0)
    headers: tuple[tuple[str, str | None], ...] = ()
    """Names, and base64 of the values."""
    cut: tuple[CutPart, ...] = ()
    """What was too large to be kept: a letter with any of these cannot be replayed."""
    through: int | None = None
    """Set where no record could be made of what lies there: `value` is then a record batch as it is in Kafka's log, and the
    letter stands for all offsets from `offset` to this one."""
