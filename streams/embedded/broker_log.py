"""What the broker must remember beside the records: topics, committed offsets, producer ids, transactions.

An append-only file of JSON lines, each with a check sum, written before anything is acknowledged; at the start it is
read and replaced by a snapshot. A torn last line is cut off.
"""

from __future__ import annotations

import json
import os
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SNAPSHOT_BYTES = 8 << 20
"""The file is replaced by a snapshot when it has grown by so much."""


@dataclass
class TopicMeta:
    """A topic's partitions and settings; `starts` are first readable offsets that DeleteRecords set."""

    partitions: int
    configs: dict[str, str] = field(default_factory=dict)
    starts: dict[int, int] = field(default_factory=dict)


@dataclass
class TransactionMeta:
    """A transactional id's producer, and the end that was decided but perhaps not completed."""

    producer_id: int
    epoch: int
    ending: dict[str, Any] | None = None
    """`commit`, `partitions` and `offsets` of a transaction whose markers may not all be written yet."""
    last_commit: bool | None = None
    """How this epoch's last transaction ended; None before the first end. The same end asked for again is no error."""


@dataclass
class State:
    """Everything that the journal remembers."""

    topics: dict[str, TopicMeta] = field(default_factory=dict)
    offsets: dict[str, dict[tuple[str, int], tuple[int, str]]] = field(default_factory=dict)
    """By group and partition: offset and metadata."""
    transactions: dict[str, TransactionMeta] = field(default_factory=dict)
    next_producer_id: int = 1000

    def apply(self, entry: dict[str, Any]) -> None:
        """Changes the state as an entry says."""
        getattr(self, f"_{entry['k']}")(entry)

    def _topic(self, e: dict[str, Any]) -> None:
        starts = {int(p): o for p, o in e.get("starts", {}).items()}
        self.topics[e["t"]] = TopicMeta(e["n"], e["c"], starts)

    def _drop(self, e: dict[str, Any]) -> None:
        self.topics.pop(e["t"], None)
        for offsets in self.offsets.values():
            for key in [key for key in offsets if key[0] == e["t"]]:
                del offsets[key]

    def _offsets(self, e: dict[str, Any]) -> None:
        known = self.offsets.setdefault(e["g"], {})
        for topic, partition, offset, metadata in e["o"]:
            known[topic, partition] = (offset, metadata)

    def _forget(self, e: dict[str, Any]) -> None:
        self.offsets.pop(e["g"], None)

    def _pids(self, e: dict[str, Any]) -> None:
        self.next_producer_id = e["n"]

    def _txn(self, e: dict[str, Any]) -> None:
        self.transactions[e["i"]] = TransactionMeta(e["p"], e["e"], e.get("x"), e.get("l"))

    def snapshot(self) -> list[dict[str, Any]]:
        """Entries that make this state."""
        entries: list[dict[str, Any]] = [{"k": "pids", "n": self.next_producer_id}]
        entries += [
            {"k": "topic", "t": t, "n": m.partitions, "c": m.configs, "starts": m.starts}
            for t, m in self.topics.items()
        ]
        for group, offsets in self.offsets.items():
            entries.append({"k": "offsets", "g": group, "o": [[t, p, o, m] for (t, p), (o, m) in offsets.items()]})
        entries += [transaction_entry(i, t) for i, t in self.transactions.items()]
        return entries


def transaction_entry(transactional_id: str, meta: TransactionMeta) -> dict[str, Any]:
    """The entry that remembers a transactional id."""
    entry: dict[str, Any] = {"k": "txn", "i": transactional_id, "p": meta.producer_id, "e": meta.epoch}
    if meta.ending:
        entry["x"] = meta.ending
    if meta.last_commit is not None:
        entry["l"] = meta.last_commit
    return entry


class Journal:
    """The file and the state that it makes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.state = State()
        for entry in _read(path):
            self.state.apply(entry)
        self._fd = -1
        self._size = 0
        self._replace()

    def write(self, *entries: dict[str, Any]) -> None:
        """Remembers entries and applies them. Raises `OSError` when the disk does not take them; nothing changed then."""
        data = b"".join(_line(e) for e in entries)
        try:
            if os.pwrite(self._fd, data, self._size) != len(data):
                raise OSError(28, "the disk took only a part of the entry")
        except OSError:
            os.ftruncate(self._fd, self._size)
            raise
        self._size += len(data)
        for entry in entries:
            self.state.apply(entry)
        if self._size > self._snapshot_size + SNAPSHOT_BYTES:
            self._replace()

    def sync(self) -> None:
        """Makes what was written survive a loss of power."""
        os.fdatasync(self._fd)

    def close(self) -> None:
        """Closes the file."""
        os.close(self._fd)

    def _replace(self) -> None:
        data = b"".join(_line(e) for e in self.state.snapshot())
        temporary = self._path.with_suffix(".new")
        fd = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        os.write(fd, data)
        os.fdatasync(fd)
        os.replace(temporary, self._path)
        if self._fd >= 0:
            os.close(self._fd)
        self._fd, self._size, self._snapshot_size = fd, len(data), len(data)


def _line(entry: dict[str, Any]) -> bytes:
    text = json.dumps(entry, separators=(",", ":")).encode()
    return b"%08x %s\n" % (zlib.crc32(text), text)


def _read(path: Path) -> list[dict[str, Any]]:
    """The entries up to the first damaged line: what comes after it was never acknowledged."""
    entries: list[dict[str, Any]] = []
    if path.exists():
        for line in path.read_bytes().split(b"\n"):
            crc, _, text = line.partition(b" ")
            if not text or crc != b"%08x" % zlib.crc32(text):
                break
            entries.append(json.loads(text))
    return entries
