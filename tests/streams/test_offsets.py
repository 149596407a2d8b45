"""The tracker and its codec: nothing finished is repeated, nothing unfinished is passed, whatever the order."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.offsets import MAX_METADATA_CHARS, MAX_SPAN, OffsetTracker, decode_completed, encode_completed


@given(st.integers(0, 2**62), st.sets(st.integers(0, MAX_SPAN - 1)))
def test_completed_offsets_survive_the_codec(watermark: int, relative: set[int]) -> None:
    completed = {watermark + r for r in relative}
    assert decode_completed(watermark, encode_completed(watermark, completed)) == completed


@pytest.mark.parametrize("part", [0.01, 0.1, 0.5, 0.9, 1.0])
def test_metadata_of_a_full_span_always_fits(part: float) -> None:
    chance = random.Random(part)
    completed = [2**62 + i for i in range(MAX_SPAN) if chance.random() <= part]
    written = encode_completed(2**62, completed)
    assert len(written) <= MAX_METADATA_CHARS
    assert decode_completed(2**62, written) == set(completed)


@given(st.text(max_size=200))
def test_foreign_metadata_means_that_nothing_is_complete(text: str) -> None:
    assert decode_completed(7, text) == frozenset()


def test_metadata_of_another_watermark_is_not_misread() -> None:
    assert decode_completed(8, encode_completed(7, {9})) == frozenset()


def test_a_damaged_bitset_means_that_nothing_is_complete() -> None:
    whole = encode_completed(7, {9, 4000})
    assert decode_completed(7, whole[:-6]) == frozenset()
    assert decode_completed(7, "c1.7.!!!") == frozenset()


@given(st.data())
def test_a_random_life_never_passes_unfinished_work_nor_repeats_finished_work(data: st.DataObject) -> None:
    """Deliver, finish, commit and crash at random; offsets have gaps as Kafka's have."""
    log = sorted(data.draw(st.sets(st.integers(0, 300), min_size=1, max_size=60)))
    committed: tuple[int, str] = (0, "")
    ever_finished_and_committed: set[int] = set()
    processed: list[int] = []
    while True:
        position, metadata = committed
        tracker = OffsetTracker(position, decode_completed(position, metadata))
        tracker.absorb(data.draw(st.integers(0, position)), ())  # the log's beginning, as at every take-over
        started: list[int] = []
        unread = [o for o in log if o >= tracker.position]
        for offset in unread[: data.draw(st.integers(0, len(unread)))]:  # it may end before all was read
            tracker.read_to(offset)
            if tracker.deliver(offset):
                assert offset not in ever_finished_and_committed, "finished work was given out again"
                started.append(offset)
        finished_now: set[int] = set()
        data.draw(st.randoms(use_true_random=False)).shuffle(started)
        for offset in started[: data.draw(st.integers(0, len(started)))]:
            tracker.finish(offset)
            finished_now.add(offset)
            if data.draw(st.booleans()):
                committed = tracker.snapshot()
                ever_finished_and_committed |= finished_now
                processed += sorted(finished_now)
                finished_now = set()
                assert all(o in ever_finished_and_committed for o in log if o < committed[0]), "a commit passed work"
        if all(o in ever_finished_and_committed for o in log) or data.draw(st.integers(0, 3)) == 0:
            break
    assert len(processed) == len(set(processed))


@given(st.sets(st.integers(0, 50)), st.integers(0, 60), st.sets(st.integers(0, 60)))
def test_absorbing_a_newer_commit_keeps_what_both_know(finished: set[int], position: int, completed: set[int]) -> None:
    tracker = OffsetTracker(0)
    for offset in range(51):
        assert tracker.deliver(offset)
    for offset in finished:
        tracker.finish(offset)
    tracker.absorb(position, completed)
    for offset in range(51):
        known = offset in finished or offset < position or (offset in completed and offset >= position)
        assert tracker.is_done(offset) == known
        assert not tracker.deliver(offset), "a record that is open or done is never taken in twice"


def test_a_redelivery_of_open_records_is_not_taken_in() -> None:
    tracker = OffsetTracker(5)
    assert tracker.deliver(5)
    assert not tracker.deliver(5)
    assert not tracker.deliver(4)
    assert tracker.snapshot() == (5, "")
    tracker.finish(5)
    assert tracker.snapshot() == (6, "")


def test_the_span_counts_from_the_watermark_to_the_newest_record() -> None:
    tracker = OffsetTracker(10)
    assert tracker.span == 0
    for offset in (10, 12, 40):
        tracker.read_to(offset)
        tracker.deliver(offset)
    tracker.finish(12)
    assert (tracker.span, tracker.open) == (31, 2)
    tracker.finish(10)
    assert tracker.snapshot()[0] == 40


def test_an_offset_that_was_not_delivered_is_never_passed_by_a_commit() -> None:
    tracker = OffsetTracker(5)
    assert tracker.deliver(5)
    tracker.finish(5)
    assert tracker.deliver(7), "6 was lost on the way"
    tracker.finish(7)
    assert tracker.snapshot() == (6, encode_completed(6, {7}))
    assert tracker.read == 6, "reading goes on where something is missing"
    assert tracker.deliver(6)
    assert not tracker.deliver(7)
    tracker.finish(6)
    assert tracker.snapshot() == (8, "")


def test_what_is_known_not_to_be_there_is_passed() -> None:
    """Control batches, aborted records and compacted ones, however many: the span of the completed set is for others."""
    tracker = OffsetTracker(0)
    tracker.read_to(50_000)
    assert (tracker.position, tracker.span) == (50_000, 0)
    assert tracker.deliver(50_000)
    tracker.read_to(90_000)
    assert tracker.snapshot() == (50_000, "")
    tracker.finish(50_000)
    assert tracker.snapshot() == (90_000, "")


@given(st.data())
def test_records_that_polls_lose_are_read_again_before_anything_is_committed_past_them(data: st.DataObject) -> None:
    """A poll gives records and where the consumer stands then, or loses what it took; then reading goes on where the tracker
    says, or, for a while, where the consumer stands."""
    log = sorted(data.draw(st.sets(st.integers(0, 100), min_size=1, max_size=40)))
    tracker, given_out, stands, continuous = OffsetTracker(0), list[int](), 0, True
    for _ in range(data.draw(st.integers(0, 15))):
        if data.draw(st.booleans()):
            stands, continuous = tracker.read, True
        there = [o for o in log if o >= stands]
        fetched = there[: data.draw(st.integers(0, len(there)))]
        end = fetched[-1] + 1 if fetched else stands
        if data.draw(st.booleans()):
            stands, continuous = end, False  # drained, and then the poll raised
            continue
        for offset in fetched:
            if continuous:
                tracker.read_to(offset)
            if tracker.deliver(offset):
                given_out.append(offset)
                tracker.finish(offset)
        if continuous:
            tracker.read_to(end)
        stands = end
        position, metadata = tracker.snapshot()
        completed = decode_completed(position, metadata)
        assert {o for o in log if o < position} | completed == set(given_out)
    assert len(given_out) == len(set(given_out))
