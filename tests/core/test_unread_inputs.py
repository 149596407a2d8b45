"""What no worker has read yet: so much of it for each thread, user and tenant, and it counts until it is read."""

from __future__ import annotations

import json

import pytest

from core.refusals import Limited
from core.unread_inputs import Most, UnreadInputs, UnreadLimits
from schemas import RunStarted, ThreadKey

LIMITS = UnreadLimits(thread=Most(3, 1_000), user=Most(5, 5_000), tenant=Most(8, 6_000), seconds=60)
T1, T2, T3 = (ThreadKey("acme", f"t{n}") for n in (1, 2, 3))


def sent(unread: UnreadInputs, key: ThreadKey, *ids: str, user: str = "ana", size: int = 1) -> None:
    for one in ids:
        unread.require_room(key, user, size)
        unread.sent(key, user, one, size)


def test_full_thread_refuses_and_others_of_the_user_do_not() -> None:
    unread = UnreadInputs(LIMITS)
    sent(unread, T1, "a", "b", "c")
    with pytest.raises(Limited, match="3 inputs of this thread wait") as refused:
        sent(unread, T1, "d")
    assert (refused.value.code, refused.value.retry_after) == ("too_many_unread", 5)
    sent(unread, T2, "d", "e")
    with pytest.raises(Limited, match="5 inputs of yours"):
        sent(unread, T3, "f")
    sent(unread, T3, "f", "g", "h", user="bob")
    with pytest.raises(Limited, match="8 inputs of this tenant"):
        sent(unread, ThreadKey("acme", "t4"), "i", user="cai")
    sent(unread, ThreadKey("other", "t1"), "a", "b", "c", user="ana")


def test_bytes_count_and_one_large_input_is_taken_alone() -> None:
    unread = UnreadInputs(LIMITS)
    sent(unread, T1, "large", size=4_000)
    with pytest.raises(Limited, match="4,000 bytes"):
        sent(unread, T1, "small")
    sent(unread, T2, "b", size=900)
    with pytest.raises(Limited, match="of yours"):
        sent(unread, T3, "c", size=200)


def test_input_counts_until_an_event_tells_that_it_was_read_by_its_id_or_its_run() -> None:
    unread = UnreadInputs(LIMITS)
    sent(unread, T1, "a", "b", "c")
    event = json.dumps({"input_id": "a", "run_id": "r"}).encode()
    unread.saw(b"acme:t2", RunStarted.TYPE, event)
    unread.saw(b"acme:t1", "cauce.message.added", event)
    unread.saw(b"\xff", RunStarted.TYPE, b"not read at all")
    with pytest.raises(Limited):
        sent(unread, T1, "d")
    unread.saw(b"acme:t1", RunStarted.TYPE, event)
    unread.saw(b"acme:t1", RunStarted.TYPE, event)
    unread.saw(b"acme:t1", RunStarted.TYPE, json.dumps({"input_id": 7, "run_id": "b"}).encode())
    sent(unread, T1, "d", "e")
    assert len(unread) == 3


def test_repeated_and_failed_sendings_count_once_or_not_at_all() -> None:
    unread = UnreadInputs(LIMITS)
    for _ in range(9):
        unread.sent(T1, "ana", "a", 1)
    assert len(unread) == 1
    unread.not_sent(T1, "a")
    unread.not_sent(T1, "a")
    assert (len(unread), unread._inputs, unread._bytes) == (0, {}, {})


def test_what_nobody_tells_of_counts_for_its_time_and_missed_events_set_all_free() -> None:
    now = 0.0
    unread = UnreadInputs(LIMITS, clock=lambda: now)
    sent(unread, T1, "a", "b", "c")
    now = 59.0
    with pytest.raises(Limited):
        sent(unread, T1, "d")
    now = 60.0
    sent(unread, T1, "d", "e", "f")
    unread.clear()
    sent(unread, T1, "g", "h", "i")
    assert len(unread) == 3
