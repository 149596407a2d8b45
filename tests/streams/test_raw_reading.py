"""What lies in a partition is read record by record; what cannot be read is named with its place, its reason and its bytes."""

from __future__ import annotations

import pytest
from aiokafka import TopicPartition, codec
from aiokafka.record.memory_records import MemoryRecords
from hypothesis import given
from hypothesis import strategies as st
from odd_batches import CODECS, batch_of, sealed, with_body

from streams.batches import HEADER, TRANSACTIONAL, control_batch, placed
from streams.raw_reading import Stretch, Unreadable, read_batches, readable_again

TP = TopicPartition("t", 3)


def log_of(*batches: bytes, base: int = 0) -> bytes:
    """Batches at their places, each behind the last offset of the one before."""
    data = b""
    for batch in batches:
        data += placed(batch, base)
        base += HEADER.unpack_from(batch)[6] + 1
    return data


def failing(stretch: Stretch) -> Unreadable:
    assert stretch.unreadable
    return stretch.unreadable


def one(value: bytes, **options: str) -> bytes:
    return batch_of((b"k", value, ()), **options)


@pytest.mark.parametrize("name", ["", *CODECS])
def test_records_of_every_codec_are_read(name: str) -> None:
    data = log_of(batch_of(*[(b"k", b"%d" % n, [("h", b"x"), ("n", None)]) for n in range(5)], compression=name))
    stretch = read_batches(TP, data, (), 0)
    assert [(r.offset, r.value) for r in stretch.records] == [(n, b"%d" % n) for n in range(5)]
    assert stretch.records[0].headers == (("h", b"x"), ("n", None))
    assert (stretch.end, stretch.unreadable) == (5, None)


@given(
    st.lists(
        st.tuples(
            st.none() | st.binary(max_size=20),
            st.none() | st.binary(max_size=200),
            st.lists(st.tuples(st.text(max_size=5), st.none() | st.binary(max_size=9)), max_size=3),
        ),
        min_size=1,
        max_size=8,
    ),
    st.sampled_from(["", *CODECS]),
)
def test_batches_are_read_as_aiokafka_reads_them(
    records: list[tuple[bytes | None, bytes | None, list[tuple[str, bytes | None]]]], name: str
) -> None:
    data = placed(batch_of(*records, compression=name), 7)
    theirs = [(r.offset, r.timestamp, r.key, r.value, tuple(r.headers)) for r in MemoryRecords(data).next_batch()]
    ours = [(r.offset, r.timestamp_ms, r.key, r.value, r.headers) for r in read_batches(TP, data, (), 7).records]
    assert ours == theirs


def test_a_wrong_check_sum_stops_reading_at_its_batch_and_it_is_kept_as_it_is() -> None:
    bad = bytearray(batch_of((b"k", b"bad", ()), (b"k", b"bad", ())))
    bad[-1] ^= 1
    data = log_of(one(b"a"), bytes(bad), one(b"b"))
    stretch = read_batches(TP, data, (), 0)
    assert [r.value for r in stretch.records] == [b"a"]
    assert stretch.end == 1
    found = failing(stretch)
    assert (found.first, found.end, found.reason, found.curable) == (1, 3, "its check sum is wrong", False)
    assert found.data in data
    assert [r.value for r in read_batches(TP, data, (), 3).records] == [b"b"]


def test_a_damaged_header_does_not_take_the_batches_behind_it_along() -> None:
    bad = bytearray(one(b"bad"))
    bad[23:27] = (2_000_000_000).to_bytes(4, "big")  # its last offset
    data = placed(one(b"a"), 0) + placed(bytes(bad), 1) + placed(one(b"b"), 2)
    found = failing(read_batches(TP, data, (), 0))
    assert (found.first, found.end) == (1, 2)
    last = failing(read_batches(TP, placed(bytes(bad), 1), (), 1, stable=2))
    assert last.end == 2, "the log's end is where the broker says"


@pytest.mark.parametrize(
    ("body", "compression", "words"),
    [
        (b"not gzip", CODECS["gzip"], "its gzip data is broken"),
        (b"not snappy", CODECS["snappy"], "its snappy data is broken"),
        (b"not lz4", CODECS["lz4"], "its lz4 data is broken"),
        (b"not zstd", CODECS["zstd"], "its zstd data is broken"),
        (b"x", 6, "compressed in way 6"),
        (b"\xff\xff", 0, "Error"),
        (b"", 0, "Error"),
    ],
)
def test_broken_bytes_under_a_right_check_sum_are_named(body: bytes, compression: int, words: str) -> None:
    batch = with_body(one(b"x"), body, compression)
    stretch = read_batches(TP, log_of(one(b"a"), batch, one(b"b")), (), 0)
    assert [r.value for r in stretch.records] == [b"a"]
    found = failing(stretch)
    assert words in found.reason
    assert (found.first, found.end, found.curable) == (1, 2, False)


def test_a_broken_record_does_not_take_those_before_it_in_its_batch_along() -> None:
    whole = batch_of((b"k", b"a", ()), (b"k", b"b", ()), (b"k", b"c", ()))
    broken = with_body(whole, whole[HEADER.size : -4] + b"\x7f\x7f\x7f\x7f")
    stretch = read_batches(TP, log_of(broken), (), 0)
    assert [r.value for r in stretch.records] == [b"a", b"b"]
    found = failing(stretch)
    assert (found.first, found.end) == (2, 3)


def test_a_header_name_that_is_not_utf_8_costs_nothing_but_its_odd_bytes() -> None:
    """Clients in C write such names, Kafka takes them, and aiokafka raises for the whole poll."""
    named = batch_of((b"k", b"a", [("name", b"x")]), (b"k", b"b", ()))
    broken = with_body(named, named[HEADER.size :].replace(b"name", b"n\xffme"))
    with pytest.raises(UnicodeDecodeError):
        list(MemoryRecords(broken).next_batch())
    stretch = read_batches(TP, log_of(broken), (), 0)
    assert [(r.value, r.headers) for r in stretch.records] == [(b"a", (("n\ufffdme", b"x"),)), (b"b", ())]


def test_a_record_cannot_claim_the_offset_of_another_batch() -> None:
    """aiokafka gives out such an offset; the record that really has it would count as taken in."""
    whole = one(b"x")
    liar = with_body(whole, whole[HEADER.size :].replace(b"\x00\x00\x00\x02k", b"\x00\x00\x7e\x02k"))
    assert next(iter(MemoryRecords(liar).next_batch())).offset == 63
    stretch = read_batches(TP, log_of(liar), (), 0)
    assert not stretch.records
    assert "says that its offset is 63" in failing(stretch).reason


def test_a_missing_library_is_told_apart_from_broken_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    data = log_of(one(b"x", compression="zstd"))
    monkeypatch.setattr(codec, "cramjam", None)
    found = failing(read_batches(TP, data, (), 0))
    assert found.curable
    assert "compressed with zstd" in found.reason
    assert "pip install cramjam" in found.reason


def test_control_batches_aborted_and_compacted_records_are_gaps_and_nothing_else_is() -> None:
    def of_producer(value: bytes) -> bytes:
        data = bytearray(one(value))
        data[22] |= TRANSACTIONAL
        data[43:51] = (9).to_bytes(8, "big")
        return sealed(data)

    compacted = placed(batch_of((b"k", b"kept", ())), 6)
    compacted = sealed(
        compacted[:23] + (3).to_bytes(4, "big") + compacted[27:]
    )  # offsets 6 to 9, of which only 6 is left
    data = (
        log_of(
            of_producer(b"aborted"),
            one(b"beside it"),
            control_batch(9, 0, commit=False),
            of_producer(b"committed"),
            control_batch(9, 0, commit=True),
        )
        + compacted
        + placed(one(b"last"), 10)
    )
    stretch = read_batches(TP, data, [(9, 0)], 0)
    assert [(r.offset, r.value) for r in stretch.records] == [
        (1, b"beside it"),
        (3, b"committed"),
        (6, b"kept"),
        (10, b"last"),
    ]
    assert (stretch.end, stretch.unreadable) == (11, None)


def test_a_batch_that_was_given_up_can_be_read_again_once_its_library_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    data = placed(one(b"x", compression="lz4"), 12)
    with monkeypatch.context() as without:
        without.setattr(codec, "cramjam", None)
        with pytest.raises(ValueError, match="lz4"):
            readable_again(data, "t", 3)
    assert [(r.offset, r.value) for r in readable_again(data, "t", 3)] == [(12, b"x")]
    with pytest.raises(ValueError, match="check sum"):
        readable_again(data[:-1] + b"?", "t", 3)
