"""Counts in sliding windows, several together: all of them are counted, or none. In memory, or shared in a Redis.

A window's count is that of the present window and the part of the one before that is not over yet. A window begins with the
first hit.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from limits import parse

from schemas import SettingsError
from schemas.common.recent import Recent
from schemas.common.server_access import without_credentials

_MOST_KEPT = 50_000
"""Keys of one name that are counted in memory; those that were not hit for the longest time are forgotten."""


@dataclass(frozen=True, slots=True)
class Rate:
    """So many in so many seconds."""

    most: int
    seconds: int

    @classmethod
    def of(cls, text: str) -> Rate:
        """A rate from a text such as `600/minute`. Raises `SettingsError`."""
        try:
            item = parse(text)
        except ValueError as error:
            raise SettingsError(f"{text!r} is no rate; write such as 600/minute") from error
        return cls(item.amount, item.get_expiry())


@dataclass(frozen=True, slots=True)
class Hit:
    """One count to be taken: its name, whose it is, its rate, and how many. 0 asks only whether there is room for one."""

    name: str
    key: str
    rate: Rate
    amount: int = 1


@dataclass(frozen=True, slots=True)
class Count:
    """How a count stands: what is left, and the seconds until the window ends, or, where there was no room, until there is."""

    hit: Hit
    left: int
    seconds: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """How the counts stand after the hits; `refused` is the first that has no room, in which case nothing was counted."""

    counts: Sequence[Count]
    refused: Count | None


@dataclass(slots=True)
class _Window:
    """`begun` in seconds; the counts of the window before, and of this one."""

    begun: float
    before: int = 0
    now: int = 0

    def roll(self, at: float, seconds: int) -> None:
        """Makes it the window of this time."""
        passed = at - self.begun
        if passed >= 2 * seconds or passed < 0:
            self.begun, self.before, self.now = at, 0, 0
        elif passed >= seconds:
            self.begun, self.before, self.now = self.begun + seconds, self.now, 0

    def used(self, at: float, seconds: int) -> float:
        return self.before * (1 - (at - self.begun) / seconds) + self.now

    def wait(self, at: float, hit: Hit) -> int:
        """Whole seconds, at least one, until there is room for the amount; if nobody else counts meanwhile."""
        room, seconds, passed = hit.rate.most - max(1, hit.amount), hit.rate.seconds, at - self.begun
        if room < 0:
            return 2 * seconds
        if self.now <= room:  # what was before must fade
            found = seconds * (1 - (room - self.now) / self.before) - passed if self.before else 0.0
        else:
            found = seconds - passed + seconds * (1 - room / self.now)
        return max(1, math.ceil(found))


class Counters(Protocol):
    """Where counts are kept."""

    async def hit(self, *hits: Hit) -> Outcome:
        """Counts all of them, or none if one has no room; those with a negative amount are returned. Raises what the store
        of the counts raises."""
        ...


class MemoryCounters:
    """The counts of one process."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._windows: dict[str, Recent[str, _Window]] = {}

    async def hit(self, *hits: Hit) -> Outcome:
        """See `Counters`."""
        at = self._clock()
        windows = [self._window(hit, at) for hit in hits]
        for hit, window in zip(hits, windows, strict=True):
            if hit.amount >= 0 and window.used(at, hit.rate.seconds) + max(1, hit.amount) > hit.rate.most:
                return _outcome(at, hits, windows, hit)
        for hit, window in zip(hits, windows, strict=True):
            window.now = max(0, window.now + hit.amount)
        return _outcome(at, hits, windows, None)

    def _window(self, hit: Hit, at: float) -> _Window:
        kept = self._windows.setdefault(hit.name, Recent(_MOST_KEPT))
        window = kept.get(hit.key)
        if window is None:
            window = _Window(at)
            if hit.amount > 0:
                kept[hit.key] = window
        else:
            window.roll(at, hit.rate.seconds)
            kept.touch(hit.key)
        return window


_SCRIPT = """
local time = redis.call('TIME')
local at = time[1] + time[2] / 1000000
local refused, found = 0, {}
for i, key in ipairs(KEYS) do
  local most, seconds, amount = tonumber(ARGV[3*i-2]), tonumber(ARGV[3*i-1]), tonumber(ARGV[3*i])
  local kept = redis.call('HMGET', key, 'begun', 'before', 'now')
  local begun, before, now = tonumber(kept[1]) or at, tonumber(kept[2]) or 0, tonumber(kept[3]) or 0
  local passed = at - begun
  if passed >= 2 * seconds or passed < 0 then
    begun, before, now = at, 0, 0
  elseif passed >= seconds then
    begun, before, now = begun + seconds, now, 0
  end
  found[i] = {begun, before, now}
  if refused == 0 and amount >= 0 and before * (1 - (at - begun) / seconds) + now + math.max(1, amount) > most then
    refused = i
  end
end
local out = {refused, string.format('%.6f', at)}
for i, key in ipairs(KEYS) do
  local seconds, amount, window = tonumber(ARGV[3*i-1]), tonumber(ARGV[3*i]), found[i]
  if refused == 0 and amount ~= 0 then
    window[3] = math.max(0, window[3] + amount)
    redis.call('HSET', key, 'begun', string.format('%.6f', window[1]), 'before', window[2], 'now', window[3])
    redis.call('PEXPIRE', key, 2000 * seconds)
  end
  out[#out+1] = string.format('%.6f', window[1])
  out[#out+1] = window[2]
  out[#out+1] = window[3]
end
return out
"""
"""As `MemoryCounters`, in one round trip whatever is counted, by the clock of the server."""


class RedisCounters:
    """Counts that several gateways share."""

    def __init__(self, client: Any) -> None:
        """`client` is one of `redis.asyncio`."""
        self._script = client.register_script(_SCRIPT)

    async def hit(self, *hits: Hit) -> Outcome:
        """See `Counters`."""
        keys = [f"cauce:rate:{hit.name}:{hit.key}" for hit in hits]
        numbers = [n for hit in hits for n in (hit.rate.most, hit.rate.seconds, hit.amount)]
        refused, at, *rest = await self._script(keys=keys, args=numbers)
        windows = [_Window(float(rest[n]), int(rest[n + 1]), int(rest[n + 2])) for n in range(0, len(rest), 3)]
        return _outcome(float(at), hits, windows, hits[refused - 1] if refused else None)


def make_counters(url: str, access: Mapping[str, Any] | None = None) -> Counters:
    """The counters at `memory://`, or at `redis://host:6379`; `access` are arguments of the Redis client. Raises
    `SettingsError`."""
    if url.startswith("memory://"):
        return MemoryCounters()
    shown = without_credentials(url)
    if not url.startswith(("redis://", "rediss://")):
        raise SettingsError(
            f"{shown!r} is no store for rates (CAUCE_REDIS); use redis://host:6379 or rediss://host:6379"
        )
    try:
        from redis.asyncio import Redis

        return RedisCounters(
            Redis.from_url(url, **{"socket_timeout": 1, "socket_connect_timeout": 1, **(access or {})})
        )
    except ImportError as error:
        raise SettingsError('rates in a Redis need a package more: pip install "cauce[redis]"') from error
    except Exception as error:
        raise SettingsError(f"the store for rates {shown!r} (CAUCE_REDIS) cannot be used: {error}") from error


def _outcome(at: float, hits: Sequence[Hit], windows: Sequence[_Window], refused: Hit | None) -> Outcome:
    counts = [
        Count(
            hit,
            max(0, int(hit.rate.most - window.used(at, hit.rate.seconds))),
            window.wait(at, hit) if hit is refused else max(1, math.ceil(window.begun + hit.rate.seconds - at)),
        )
        for hit, window in zip(hits, windows, strict=True)
    ]
    return Outcome(counts, next((count for count in counts if count.hit is refused), None))
