"""A partition's log: what is read, what is kept, what is removed."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import pytest
from aiokafka import TopicPartition
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from hypothesis import given, settings
from hypothesis import strategies as st
from odd_batches import damage

from streams.batches import read_header
from streams.embedded.broker_log import Journal, State, _line
from streams.embedded.partition_log import PartitionLog
from streams.embedded.storage import Storage


def batch(records: int, size: int, timestamp: int = 1000) -> bytes:
    builder = DefaultRecordBatchBuilder(
        magic=2,
        compression_type=0,
        is_transactional=0,
        producer_id=-1,
        producer_epoch=-1,
        base_sequence=-1,
        batch_size=1 << 22,
    )
    for n in range(records):
        builder.append(n, timestamp, None, b"x" * size, [])
    return bytes(builder.build())


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 5), st.integers(0, 3000)), min_size=1, max_size=30),
    st.integers(500, 20_000),
    st.data(),
)
def test_any_read_gives_whole_batches_from_the_offset_on_and_below_the_limit(
    batches: list[tuple[int, int]], segment_bytes: int, data: st.DataObject
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        log = PartitionLog(Path(folder) / "p", segment_bytes=segment_bytes, verify=True, clock=lambda: 1000)
        bases = [log.append(batch(*b)) for b in batches]
        for _ in range(5):
            offset = data.draw(st.integers(0, log.end))
            limit = data.draw(st.integers(0, log.end))
            max_bytes = data.draw(st.integers(1, 50_000))
            found = log.read(offset, limit, max_bytes)
            expected = [b for b in bases if b < limit]
            if offset >= limit:
                assert found == b""
                continue
            at, seen = 0, []
            while at < len(found):
                header = read_header(found, at)
                assert header is not None
                seen.append(header.base)
                at += header.size
            assert at == len(found), "a batch was cut"
            first = max(b for b in bases if b <= offset)
            assert seen == expected[expected.index(first) :][: len(seen)]
            assert seen, "at least one batch comes, however small the limit of bytes"
            assert len(seen) == 1 or len(found) <= max_bytes
        log.close()
        again = PartitionLog(Path(folder) / "p", segment_bytes=segment_bytes, verify=True, clock=lambda: 1000)
        assert (again.start, again.end) == (0, log.end)
        assert again.read(0, log.end, 1 << 30) != b""
        again.close()


def test_time_removes_whole_old_segments_and_size_the_oldest_ones(tmp_path: Path) -> None:
    now = 1_000_000
    storage = Storage(tmp_path / "kafka", lambda: now)
    storage.create("t", 1, {"retention.ms": "10000", "segment.bytes": "2000"})
    log = storage.logs["t"][0]
    for _ in range(10):
        log.append(batch(1, 1500, timestamp=now))
        now += 1000
    storage.retain()
    assert log.start == 0
    now += 5_000
    storage.retain()
    assert 4 <= log.start <= 7, "what is older than ten seconds is gone, by segments"
    storage.configure("t", {"retention.ms": "-1", "retention.bytes": "3000"})
    storage.retain()
    assert log.size <= 2 * 3200
    now += 10**9
    storage.configure("t", {"retention.ms": "1000"})
    storage.retain()
    storage.retain()
    assert log.start == log.end == 10, "also the last segment goes when it is old"
    storage.close()


@pytest.mark.parametrize("ahead", [None, -1, 1000])
def test_age_counts_from_when_a_batch_was_taken_whatever_it_says_or_can_still_say(
    tmp_path: Path, ahead: int | None
) -> None:
    """Producers have wrong clocks, and a disk may spoil what a batch says: neither removes it unread nor keeps it for ever."""
    now, hour = time.time_ns() // 1_000_000, 3_600_000
    clock = [now]
    storage = Storage(tmp_path, lambda: clock[0])
    storage.create("t", 1, {"retention.ms": str(hour)})
    timestamp = -1 if ahead is None else max(0, now + ahead * 1000 * hour)
    storage.logs["t"][0].append(batch(1, 100, timestamp=timestamp))
    storage.retain()
    assert (storage.logs["t"][0].start, storage.logs["t"][0].end) == (0, 1)
    storage.close()
    (tmp_path / "clean").unlink(missing_ok=True)
    damage(tmp_path, TopicPartition("t", 0), 0)
    storage = Storage(tmp_path, lambda: clock[0])
    storage.retain()
    assert storage.logs["t"][0].start == 0
    assert storage.logs["t"][0].read(0, 1, 1 << 20), "it stays for its readers to tell of"
    clock[0] += 2 * hour
    storage.retain()
    assert storage.logs["t"][0].start == 1
    storage.close()


@given(
    st.lists(
        st.one_of(
            st.builds(
                lambda t, n: {"k": "topic", "t": t, "n": n, "c": {}, "starts": {}},
                st.sampled_from("abc"),
                st.integers(1, 4),
            ),
            st.builds(lambda t: {"k": "drop", "t": t}, st.sampled_from("abc")),
            st.builds(
                lambda g, t, o: {"k": "offsets", "g": g, "o": [[t, 0, o, "m"]]},
                st.sampled_from("gh"),
                st.sampled_from("abc"),
                st.integers(0, 99),
            ),
            st.builds(lambda i, e: {"k": "txn", "i": i, "p": 7, "e": e}, st.sampled_from("xy"), st.integers(0, 9)),
        ),
        max_size=20,
    ),
    st.integers(0, 2000),
)
def test_a_journal_cut_anywhere_is_a_prefix_of_what_was_written(entries: list[dict], cut: int) -> None:  # type: ignore[type-arg]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "journal"
        journal = Journal(path)
        begin = path.stat().st_size
        states = [repr(State(**vars(journal.state)))]
        sizes = [begin]
        for entry in entries:
            journal.write(entry)
            states.append(repr(journal.state))
            sizes.append(sizes[-1] + len(_line(entry)))
        journal.close()
        size = begin + cut % (sizes[-1] - begin + 1)
        with path.open("r+b") as file:
            file.truncate(size)
        whole = max(n for n, s in enumerate(sizes) if s <= size + 1)  # a line may lack its line feed
        again = Journal(path)
        assert repr(again.state) == states[whole]
        again.close()
