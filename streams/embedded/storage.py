"""All that lies in the data folder: the journal and the partitions' logs."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from schemas.common.private_files import make_private_folder
from streams.embedded.broker_log import Journal, TopicMeta
from streams.embedded.partition_log import PartitionLog

SEGMENT_BYTES = 64 << 20
MAX_BATCH = 1_048_588
"""Bytes of a batch: Apache Kafka's default of `max.message.bytes`."""
RETENTION_MS = 7 * 24 * 3_600_000
"""Apache Kafka's default, for topics without their own."""


class FolderInUse(Exception):
    """Another broker has the data folder."""


class Storage:
    """Topics and their logs. `clock` gives milliseconds since 1970, for retention."""

    def __init__(self, folder: Path, clock: Callable[[], int]) -> None:
        make_private_folder(folder)
        self._folder, self._clock = folder, clock
        self._lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._lock)
            raise FolderInUse(f"another broker uses the folder {folder}") from error
        clean = folder / "clean"
        self._verify = not clean.exists()
        clean.unlink(missing_ok=True)
        self.journal = Journal(folder / "journal")
        self.logs: dict[str, list[PartitionLog]] = {}
        for name, meta in self.journal.state.topics.items():
            self._open(name, meta)

    def create(self, name: str, partitions: int, configs: dict[str, str]) -> None:
        """Makes a topic, or gives an existing one more partitions."""
        known = self.journal.state.topics.get(name)
        starts = known.starts if known else {}
        self.journal.write({"k": "topic", "t": name, "n": partitions, "c": configs, "starts": starts})
        self._open(name, self.journal.state.topics[name])

    def configure(self, name: str, configs: dict[str, str]) -> None:
        """Sets a topic's settings."""
        meta = self.journal.state.topics[name]
        self.journal.write({"k": "topic", "t": name, "n": meta.partitions, "c": configs, "starts": meta.starts})
        for log in self.logs[name]:
            log.segment_bytes = _number(configs, "segment.bytes", SEGMENT_BYTES)

    def drop(self, name: str) -> None:
        """Removes a topic with its records and the offsets committed for it."""
        self.journal.write({"k": "drop", "t": name})
        for log in self.logs.pop(name):
            log.wake()
            log.close()
        shutil.rmtree(self._folder / "topics" / name, ignore_errors=True)

    def delete_before(self, name: str, partition: int, offset: int) -> int:
        """Removes records below `offset` (-1: all) and returns the first that is left."""
        log, meta = self.logs[name][partition], self.journal.state.topics[name]
        start = log.end if offset == -1 else offset
        starts = {**meta.starts, partition: start}
        self.journal.write({"k": "topic", "t": name, "n": meta.partitions, "c": meta.configs, "starts": starts})
        log.delete_before(start)
        return log.start

    def largest_batch(self, name: str) -> int:
        """The bytes that a batch of the topic may have."""
        return _number(self.journal.state.topics[name].configs, "max.message.bytes", MAX_BATCH)

    def log(self, name: str, partition: int) -> PartitionLog | None:
        """The log of a partition, if it exists."""
        logs = self.logs.get(name)
        return logs[partition] if logs and 0 <= partition < len(logs) else None

    def retain(self) -> None:
        """Applies every topic's retention."""
        now = self._clock()
        for name, logs in self.logs.items():
            configs = self.journal.state.topics[name].configs
            age, size = _number(configs, "retention.ms", RETENTION_MS), _number(configs, "retention.bytes", -1)
            segment_age = min(_number(configs, "segment.ms", RETENTION_MS), age if age >= 0 else RETENTION_MS)
            for log in logs:
                log.roll_if_older(now - segment_age)
                log.retain(oldest_ms=now - age if age >= 0 else None, max_bytes=size if size >= 0 else None)

    def sync(self) -> None:
        """Makes everything that was written survive a loss of power."""
        for logs in list(self.logs.values()):
            for log in logs:
                if log.dirty:
                    log.sync()
        self.journal.sync()

    def close(self) -> None:
        """Leaves the folder so that the next start need not check it."""
        self.sync()
        for logs in self.logs.values():
            for log in logs:
                log.close()
        self.journal.close()
        (self._folder / "clean").touch()
        os.close(self._lock)

    def _open(self, name: str, meta: TopicMeta) -> None:
        logs = self.logs.setdefault(name, [])
        segment_bytes = _number(meta.configs, "segment.bytes", SEGMENT_BYTES)
        for number in range(len(logs), meta.partitions):
            folder = self._folder / "topics" / name / str(number)
            log = PartitionLog(folder, segment_bytes=segment_bytes, verify=self._verify, clock=self._clock)
            log.delete_before(meta.starts.get(number, 0))
            logs.append(log)


def _number(configs: dict[str, str], key: str, default: int) -> int:
    try:
        return int(configs.get(key, default))
    except ValueError:
        return default
