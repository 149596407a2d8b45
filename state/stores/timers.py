"""Timers: what is to happen at a time. They are kept until whoever makes them happen has done so and removes them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from state.codec import Codec
from state.keeping import Piece, StoreHolding, erase_by_user, users_of
from state.micros import from_micros
from state.readable import readable


@dataclass(frozen=True, slots=True)
class Timer:
    """Something that is due at a time. `kind` says what, `body` is its JSON and opaque to the store."""

    tenant_id: str
    user_id: str
    timer_id: str
    """Together with tenant and time it is the timer: the same one put twice is one, at another time it is another."""
    kind: str
    due: datetime
    body: bytes


class TimerStore(Protocol):
    """The timers of all tenants.

    Nobody owns a timer: several readers may see one that is due, and one may be seen again after it was acted on, since its
    reader can die before `remove`. What it does has to have an effect once, however often it is done.
    """

    async def put(self, timer: Timer) -> None:
        """Stores or replaces one. When it returns, `due` finds the timer from its time on."""
        ...

    async def remove(self, timer: Timer) -> None:
        """Removes one, if it is there; its `body` has no say."""
        ...

    async def due(self, now: datetime, *, limit: int = 20) -> list[Timer]:
        """At most `limit` timers whose time is not after `now`, the earliest first."""
        ...

    async def count(self, tenant_id: str, user_id: str, kind: str, *, most: int) -> int:
        """How many timers of a kind a user has; those beyond `most` are not counted."""
        ...

    async def of_user(self, tenant_id: str, user_id: str) -> list[Timer]:
        """All timers of a user."""
        ...

    async def users(self, tenant_id: str) -> list[str]:
        """Users who have timers, by id. Cassandra reads the keys of all tenants for it."""
        ...

    async def erase(self, tenant_id: str, user_id: str) -> None:
        """Removes all timers of a user."""
        ...


def decode_timers(codec: Codec, rows: Iterable[Sequence[Any]]) -> Iterator[Timer]:
    """Timers from rows of tenant, user, id, kind, time and body."""

    def decode(row: Sequence[Any]) -> Timer:
        tenant_id, user_id, timer_id, kind, due, body = row
        return Timer(tenant_id, user_id, timer_id, kind, from_micros(due), codec.decode(tenant_id, body))

    return readable(
        rows,
        decode,
        lambda row: f"the timer {row[2]} of {row[0]}",
    )


async def _copy(timers: TimerStore, tenant_id: str, user_id: str | None) -> AsyncIterator[Piece]:
    for user in await users_of(timers, tenant_id, user_id):
        for timer in await timers.of_user(tenant_id, user):
            yield Piece(f"{user}/{timer.due.isoformat()}/{timer.timer_id}", timer.body)


HOLDING = StoreHolding(
    name="timers",
    kind="store",
    user="Runs that are to begin later, and the ends of threads.",
    exported="All timers.",
    erased="Immediately.",
    tables=("timers", "timers_by_user", "timer_buckets"),
    copy=_copy,
    erase=erase_by_user,
)
