"""What is due at a time: see `state.TimerStore`. Laid out in `migrations/0004_timers.cql`."""

from __future__ import annotations

from datetime import datetime

from schemas import OutcomeUnknown, ServerTrouble
from state.cassandra.keyspace import Keyspace
from state.cassandra.partitions import of_tenant
from state.cassandra.queries import Kind, Query
from state.micros import to_micros
from state.stores.timers import Timer, TimerStore, decode_timers

BUCKET_SECONDS = 15 * 60
"""Timers of as long a time stand in one partition."""
KEPT_SECONDS = 3_600
"""An empty bucket is looked at for so long after its end: clocks differ, and a `put` may be under way."""

_BUCKET, _KEPT = BUCKET_SECONDS * 1_000_000, KEPT_SECONDS * 1_000_000
_COLUMNS = "tenant_id, user_id, timer_id, kind, due, body"
_PUT = Query(Kind.WRITE, f"INSERT INTO KEYSPACE.timers (bucket, {_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)")
_PUT_BUCKET = Query(Kind.WRITE, "INSERT INTO KEYSPACE.timer_buckets (part, bucket) VALUES (0, ?)")
_PUT_OF_USER = Query(
    Kind.WRITE,
    "INSERT INTO KEYSPACE.timers_by_user (tenant_id, user_id, kind, due, timer_id) VALUES (?, ?, ?, ?, ?)",
)
_REMOVE = Query(
    Kind.WRITE, "DELETE FROM KEYSPACE.timers WHERE bucket = ? AND due = ? AND tenant_id = ? AND timer_id = ?"
)
_REMOVE_BUCKET = Query(Kind.WRITE, "DELETE FROM KEYSPACE.timer_buckets WHERE part = 0 AND bucket = ?")
_REMOVE_OF_USER = Query(
    Kind.WRITE,
    "DELETE FROM KEYSPACE.timers_by_user WHERE tenant_id = ? AND user_id = ? AND kind = ? AND due = ? AND timer_id = ?",
)
_BUCKETS = Query(Kind.READ, "SELECT bucket FROM KEYSPACE.timer_buckets WHERE part = 0 AND bucket <= ?")
_DUE = Query(Kind.READ, f"SELECT {_COLUMNS} FROM KEYSPACE.timers WHERE bucket = ? AND due <= ? LIMIT ?")
_OF_USER = Query(
    Kind.READ,
    "SELECT timer_id FROM KEYSPACE.timers_by_user WHERE tenant_id = ? AND user_id = ? AND kind = ? LIMIT ?",
)
_ALL_OF_USER = Query(Kind.READ, "SELECT due, timer_id FROM KEYSPACE.timers_by_user WHERE tenant_id = ? AND user_id = ?")
_ONE = Query(
    Kind.READ,
    f"SELECT {_COLUMNS} FROM KEYSPACE.timers WHERE bucket = ? AND due = ? AND tenant_id = ? AND timer_id = ?",
)
_KEYS = Query(Kind.READ, "SELECT DISTINCT tenant_id, user_id FROM KEYSPACE.timers_by_user")
_ERASE_OF_USER = Query(Kind.WRITE, "DELETE FROM KEYSPACE.timers_by_user WHERE tenant_id = ? AND user_id = ?")


class CassandraTimers(TimerStore):
    """Partitions by time, and a list of those that may have rows: whoever looks comes to what was due long ago, too."""

    def __init__(self, keyspace: Keyspace) -> None:
        self._session, self._codec = keyspace.session, keyspace.codec

    async def put(self, timer: Timer) -> None:
        """See `state.TimerStore.put`."""
        due = to_micros(timer.due)
        of_user = (timer.tenant_id, timer.user_id, timer.kind, due, timer.timer_id)
        body = self._codec.encode(timer.tenant_id, timer.body)
        row = (timer.tenant_id, timer.user_id, timer.timer_id, timer.kind, due, body)
        # The bucket comes after its row: who took it off the list, since there was nothing in it, looks for this row again.
        await self._session.execute(_PUT, due // _BUCKET, *row)
        try:
            await self._session.execute(_PUT_BUCKET, due // _BUCKET)
            await self._session.execute(_PUT_OF_USER, *of_user)
        except ServerTrouble as error:
            raise OutcomeUnknown(str(error)) from error  # what is there may be found when its time comes

    async def remove(self, timer: Timer) -> None:
        """See `state.TimerStore.remove`."""
        due = to_micros(timer.due)
        await self._session.execute(_REMOVE_OF_USER, timer.tenant_id, timer.user_id, timer.kind, due, timer.timer_id)
        await self._session.execute(_REMOVE, due // _BUCKET, due, timer.tenant_id, timer.timer_id)

    async def due(self, now: datetime, *, limit: int = 20) -> list[Timer]:
        """See `state.TimerStore.due`. Takes buckets that are over and empty off their list."""
        until, found = to_micros(now), list[Timer]()
        pages = self._session.pages(_BUCKETS, until // _BUCKET)
        for bucket in [bucket async for page in pages for (bucket,) in page]:
            if (left := limit - len(found)) <= 0:
                break
            rows = await self._session.execute(_DUE, bucket, until, left)
            found += decode_timers(self._codec, rows)
            if not rows and (bucket + 1) * _BUCKET + _KEPT < until:
                await self._session.execute(_REMOVE_BUCKET, bucket)
                if await self._session.execute(_DUE, bucket, until, 1):
                    await self._session.execute(_PUT_BUCKET, bucket)
        return found

    async def count(self, tenant_id: str, user_id: str, kind: str, *, most: int) -> int:
        """See `state.TimerStore.count`."""
        if most <= 0:
            return 0
        pages = self._session.pages(_OF_USER, tenant_id, user_id, kind, most)
        return sum([len(page) async for page in pages])

    async def of_user(self, tenant_id: str, user_id: str) -> list[Timer]:
        """See `state.TimerStore.of_user`."""
        keys = await self._keys(tenant_id, user_id)
        rows = [row for key in keys for row in await self._session.execute(_ONE, *key)]
        return list(decode_timers(self._codec, rows))

    async def users(self, tenant_id: str) -> list[str]:
        """See `state.TimerStore.users`."""
        return await of_tenant(self._session, _KEYS, tenant_id)

    async def erase(self, tenant_id: str, user_id: str) -> None:
        """See `state.TimerStore.erase`."""
        for key in await self._keys(tenant_id, user_id):
            await self._session.execute(_REMOVE, *key)
        await self._session.execute(_ERASE_OF_USER, tenant_id, user_id)

    async def _keys(self, tenant_id: str, user_id: str) -> list[tuple[int, int, str, str]]:
        pages = self._session.pages(_ALL_OF_USER, tenant_id, user_id)
        found = sorted([row async for page in pages for row in page])
        return [(due // _BUCKET, due, tenant_id, timer_id) for due, timer_id in found]
