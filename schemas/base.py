"""The base of every record body."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, BaseModel, ConfigDict
from pydantic_core import PydanticSerializationError

from schemas.text import DEEPEST_BODY, has_long_number, is_deep, storable
from schemas.topics import Topic


def _to_utc(value: datetime) -> datetime:
    if value.tzinfo is None:
        raise ValueError("a time needs a time zone, such as 2026-01-31T12:00:00Z")
    try:
        return value.astimezone(UTC)
    except OverflowError as error:  # 9999-12-31T23:59:59-14:00 is in the year 10000
        raise ValueError("the time in UTC is not within the years 1 to 9999") from error


Timestamp = Annotated[datetime, AfterValidator(_to_utc)]
"""A point in time with its zone; kept in UTC."""


_BODIES: dict[str, dict[str, type[Any]]] = {topic: {} for topic in Topic}
"""The body types of each topic by their `TYPE`. A class gets here by naming its topics."""


def bodies_of(topic: Topic) -> tuple[type[Any], ...]:
    """The types that a body of the topic may have."""
    return tuple(_BODIES[topic].values())


def body_type(topic: str, kind: str) -> type[Any] | None:
    """The type of a record's body; None where the topic has none of this `ce_type`, which may be one of a newer version."""
    return _BODIES.get(topic, {}).get(kind)


class Body(BaseModel):
    """A record's JSON body.

    Fields that a newer writer added are ignored, so that old readers keep working; a missing or wrong field raises
    `pydantic.ValidationError`, which the runtime turns into a dead letter.
    """

    model_config = ConfigDict(extra="ignore", frozen=True, defer_build=True)

    TOPICS: ClassVar[tuple[Topic, ...]] = ()
    """Topics whose records may have this body, with its `TYPE` as their `ce_type`; empty for what is only stored."""

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        if kind := cls.__dict__.get("TYPE"):
            for topic in cls.TOPICS:
                _BODIES[topic][kind] = cls

    def to_bytes(self) -> bytes:
        """The body as compact JSON; the same object always gives the same bytes. Whatever is written can be read.

        What of others came past the doors where it is made `storable` is so here; of what lies deeper than `DEEPEST_BODY`
        `...` is left.
        """
        try:
            written = self.model_dump_json(exclude_none=True).encode()
            if not is_deep(written, DEEPEST_BODY) and not has_long_number(written):
                return written
        except (PydanticSerializationError, UnicodeEncodeError):
            pass
        plain = storable(self.model_dump(exclude_none=True, warnings=False), DEEPEST_BODY)
        return json.dumps(plain, ensure_ascii=False, separators=(",", ":")).encode()


class Stored(Body):
    """A body that is read, changed and written again: fields that a newer version added are kept, not understood.

    While workers are upgraded one by one, both versions write the same rows.
    """

    model_config = ConfigDict(extra="allow")
