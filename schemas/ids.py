"""Identifiers: what they may look like, and how they are made.

Ids of tenants, users and threads stand in topic keys, file names and query filters, so they are allow-listed rather
than escaped. Ids derived from others are made with `derived_id`, so that a replay makes the same one.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import time
import uuid
from typing import Annotated, NamedTuple

from pydantic import StringConstraints

from schemas.errors import BadRecord

ID_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_.\-]{0,127}$"
TENANT_PATTERN = r"^[a-z0-9][a-z0-9_\-]{0,63}$"

ID_RULE = "1 to 128 letters, digits, _, . and -, beginning with a letter or digit"
"""`ID_PATTERN` for people."""

Id = Annotated[str, StringConstraints(pattern=ID_PATTERN)]
"""1 to 128 letters, digits, `_`, `.`, `-`; never a colon, which separates tenant and thread in keys."""
TenantId = Annotated[str, StringConstraints(pattern=TENANT_PATTERN)]
"""1 to 64 lower-case letters, digits, `_`, `-`."""

SYSTEM_TENANT = "system"
"""Owner of audit events about records whose tenant is not known. No tenant may be created with this id."""

_TENANT = re.compile(TENANT_PATTERN)
_ID = re.compile(ID_PATTERN)


class ThreadKey(NamedTuple):
    """Key of every conversation record: `tenant_id:thread_id`. It decides the partition, and with it the order."""

    tenant_id: str
    thread_id: str

    def __str__(self) -> str:
        return f"{self.tenant_id}:{self.thread_id}"

    @classmethod
    def parse(cls, key: bytes | str | None) -> ThreadKey:
        """Reads a record key. Raises `BadRecord` when it is missing or malformed."""
        if key is None or key in (b"", ""):
            raise BadRecord("the record has no key; it must be tenant_id:thread_id")
        try:
            text = key.decode() if isinstance(key, bytes) else key
        except UnicodeDecodeError as error:
            raise BadRecord("the key is not UTF-8 text") from error
        tenant, colon, thread = text.partition(":")
        if not colon or not _TENANT.fullmatch(tenant) or not _ID.fullmatch(thread):
            raise BadRecord(f"the key {text[:200]!r} is not of the form tenant_id:thread_id")
        return cls(tenant, thread)


def is_id(text: str) -> bool:
    """Whether `text` may be the id of a user, thread, message or run."""
    return _ID.fullmatch(text) is not None


def is_tenant_id(text: str) -> bool:
    """Whether `text` may be the id of a tenant."""
    return _TENANT.fullmatch(text) is not None


def new_id(prefix: str) -> str:
    """A new random id that sorts by time of making: `prefix_` and 26 hexadecimal digits."""
    return f"{prefix}_{time.time_ns() // 1_000_000:012x}{secrets.token_hex(7)}"


def new_uuid() -> str:
    """A new random UUID: where clients of LangGraph or of Kafka expect one."""
    return str(uuid.uuid4())


def sortable_uuid() -> str:
    """A UUID of version 7 (RFC 9562): the LangGraph clients expect UUIDs, and lists want ids that sort by time."""
    bits = (time.time_ns() // 1_000_000) << 80 | uuid.uuid4().int & ((1 << 80) - 1)
    bits = bits & ~(0xF << 76) | 7 << 76
    bits = bits & ~(0x3 << 62) | 2 << 62
    return str(uuid.UUID(int=bits))


def derived_uuid(*parts: object) -> str:
    """A UUID that is the same whenever its parts are."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, derived_id("run", *parts)))


def random_digits(count: int) -> str:
    """As many random hexadecimal digits, an even number: for what only has to differ from others."""
    return secrets.token_hex(count // 2)


def new_traceparent() -> str:
    """The context of a new trace, which is recorded (W3C Trace Context, version 00)."""
    return f"00-{random_digits(32)}-{random_digits(16)}-01"


def derived_id(prefix: str, *parts: object) -> str:
    """An id that is the same whenever its parts are: `prefix_` and 26 hexadecimal digits of their hash."""
    digest = hashlib.blake2b("\x1f".join(map(str, parts)).encode("utf-8", "surrogatepass"), digest_size=13)
    return f"{prefix}_{digest.hexdigest()}"


def own_id(prefix: str, given: str) -> str:
    """An id chosen elsewhere: unchanged if it is valid here, else an id that is always derived from it in the same way."""
    return given if is_id(given) else derived_id(prefix, given)
