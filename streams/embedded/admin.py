"""Metadata, topics, committed offsets, and what administration tools ask."""

from __future__ import annotations

import re
from typing import Any

from streams.embedded.consumer_groups import Groups
from streams.embedded.storage import Storage
from streams.embedded.transactions import MAX_METADATA
from streams.embedded.wire import RANGES, Error

NODE = 1
_TOPIC_NAME = re.compile(r"^(?!\.{1,2}$)[a-zA-Z0-9._-]{1,249}$")
MAX_PARTITIONS = 1000


class Admin:
    """Answers everything that is not about records, membership or transactions. `port` is where the broker listens."""

    def __init__(self, storage: Storage, groups: Groups) -> None:
        self._storage, self._groups = storage, groups
        self.port = 0

    def api_versions(self) -> dict[str, Any]:
        """ApiVersions."""
        return {"error_code": 0, "api_versions": RANGES, "throttle_time_ms": 0}

    def metadata(self, request: Any, version: int) -> dict[str, Any]:
        """Metadata. Topics are never made by asking for them."""
        everything = request.topics is None or (version == 0 and not request.topics)
        names = list(self._storage.logs) if everything else request.topics
        topics = []
        for name in names:
            logs = self._storage.logs.get(name)
            offline: tuple[Any, ...] = ([],) if version >= 5 else ()
            partitions = [(0, number, NODE, [NODE], [NODE], *offline) for number in range(len(logs or ()))]
            internal = (False,) if version >= 1 else ()
            topics.append((Error.NONE if logs is not None else Error.UNKNOWN_TOPIC, name, *internal, partitions))
        rack = (None,) if version >= 1 else ()
        return {
            "throttle_time_ms": 0,
            "brokers": [(NODE, "127.0.0.1", self.port, *rack)],
            "cluster_id": "cauce-embedded",
            "controller_id": NODE,
            "topics": topics,
        }

    def coordinator(self) -> dict[str, Any]:
        """FindCoordinator: always this broker."""
        return {
            "throttle_time_ms": 0,
            "error_code": 0,
            "error_message": None,
            "coordinator_id": NODE,
            "host": "127.0.0.1",
            "port": self.port,
        }

    def commit_offsets(self, request: Any) -> dict[str, Any]:
        """OffsetCommit."""
        error = self._groups.commit_error(
            request.consumer_group, request.consumer_id, request.consumer_group_generation_id
        )
        taken, topics = [], []
        for topic, rows in request.topics:
            answers = []
            for number, offset, metadata in rows:
                wrong = error
                if wrong is Error.NONE and self._storage.log(topic, number) is None:
                    wrong = Error.UNKNOWN_TOPIC
                if wrong is Error.NONE and len(metadata or "") > MAX_METADATA:
                    wrong = Error.OFFSET_METADATA_TOO_LARGE
                if wrong is Error.NONE:
                    taken.append([topic, number, offset, metadata or ""])
                answers.append((number, wrong))
            topics.append((topic, answers))
        if taken:
            self._storage.journal.write({"k": "offsets", "g": request.consumer_group, "o": taken})
        return {"throttle_time_ms": 0, "topics": topics}

    def fetch_offsets(self, request: Any) -> dict[str, Any]:
        """OffsetFetch: -1 where nothing is committed; all of the group's when no topics are named."""
        known = self._storage.journal.state.offsets.get(request.consumer_group, {})
        wanted: dict[str, list[int]] = {}
        if request.topics is None:
            for topic, number in known:
                wanted.setdefault(topic, []).append(number)
        else:
            wanted = dict(request.topics)
        topics = [
            (topic, [(n, *known.get((topic, n), (-1, "")), Error.NONE) for n in numbers])
            for topic, numbers in wanted.items()
        ]
        return {"throttle_time_ms": 0, "error_code": 0, "topics": topics}

    def create_topics(self, request: Any, version: int) -> dict[str, Any]:
        """CreateTopics."""
        answers = []
        for name, partitions, replication, assignment, configs in request.create_topic_requests:
            count = len(assignment) or (1 if partitions == -1 else partitions)
            error = Error.NONE
            if not _TOPIC_NAME.fullmatch(name):
                error = Error.INVALID_TOPIC
            elif name in self._storage.logs:
                error = Error.TOPIC_EXISTS
            elif not 1 <= count <= MAX_PARTITIONS:
                error = Error.INVALID_PARTITIONS
            elif replication > 1:
                error = Error.INVALID_REPLICATION
            elif not getattr(request, "validate_only", False):
                self._storage.create(name, count, dict(configs))
            answers.append((name, error, *((None,) if version >= 1 else ())))
        return {"throttle_time_ms": 0, "topic_errors": answers}

    def delete_topics(self, request: Any) -> dict[str, Any]:
        """DeleteTopics."""
        answers = []
        for name in request.topics:
            known = name in self._storage.logs
            if known:
                self._storage.drop(name)
            answers.append((name, Error.NONE if known else Error.UNKNOWN_TOPIC))
        return {"throttle_time_ms": 0, "topic_error_codes": answers}

    def create_partitions(self, request: Any) -> dict[str, Any]:
        """CreatePartitions: topics only grow."""
        answers = []
        for name, (count, _) in request.topic_partitions:
            logs = self._storage.logs.get(name)
            error = Error.UNKNOWN_TOPIC if logs is None else Error.NONE
            if logs is not None and not len(logs) < count <= MAX_PARTITIONS:
                error = Error.INVALID_PARTITIONS
            elif logs is not None and not request.validate_only:
                self._storage.create(name, count, self._storage.journal.state.topics[name].configs)
            answers.append((name, error, None))
        return {"throttle_time_ms": 0, "topic_errors": answers}

    def describe_configs(self, request: Any, version: int) -> dict[str, Any]:
        """DescribeConfigs: what was set for topics."""
        resources = []
        for kind, name, wanted in request.resources:
            meta = self._storage.journal.state.topics.get(name)
            rows: list[Any] = [
                (key, value, False, 1, False, [])
                for key, value in (meta.configs if meta else {}).items()
                if not wanted or key in wanted
            ]
            resources.append((Error.NONE if meta else Error.UNKNOWN_TOPIC, None, kind, name, rows))
        return {"throttle_time_ms": 0, "resources": resources}

    def alter_configs(self, request: Any) -> dict[str, Any]:
        """AlterConfigs: replaces a topic's settings."""
        resources = []
        for kind, name, entries in request.resources:
            known = name in self._storage.logs
            if known and not request.validate_only:
                self._storage.configure(name, dict(entries))
            resources.append((Error.NONE if known else Error.UNKNOWN_TOPIC, None, kind, name))
        return {"throttle_time_ms": 0, "resources": resources}

    def delete_records(self, request: Any) -> dict[str, Any]:
        """DeleteRecords."""
        topics = []
        for topic, rows in request.topics:
            answers = []
            for number, offset in rows:
                log = self._storage.log(topic, number)
                if log is None:
                    answers.append((number, -1, Error.UNKNOWN_TOPIC))
                elif offset > log.end:
                    answers.append((number, -1, Error.OFFSET_OUT_OF_RANGE))
                else:
                    answers.append((number, self._storage.delete_before(topic, number, offset), Error.NONE))
            topics.append((topic, answers))
        return {"throttle_time_ms": 0, "topics": topics}

    def list_groups(self) -> dict[str, Any]:
        """ListGroups: those with members or committed offsets."""
        names = {n for n, g in self._groups.by_name.items() if g.members} | set(self._storage.journal.state.offsets)
        kinds = {n: g.protocol_type for n, g in self._groups.by_name.items()}
        return {"throttle_time_ms": 0, "error_code": 0, "groups": [(n, kinds.get(n, "")) for n in sorted(names)]}

    def describe_groups(self, request: Any) -> dict[str, Any]:
        """DescribeGroups."""
        groups: list[Any] = []
        for name in request.groups:
            group = self._groups.by_name.get(name)
            if group is None:
                known = name in self._storage.journal.state.offsets
                groups.append((Error.NONE, name, "Empty" if known else "Dead", "", "", []))
                continue
            members = [
                (m.id, m.client_id, "/127.0.0.1", dict(m.protocols).get(group.protocol, b""), m.assignment)
                for m in group.members.values()
            ]
            groups.append((Error.NONE, name, group.state, group.protocol_type, group.protocol, members))
        return {"throttle_time_ms": 0, "groups": groups}

    def delete_groups(self, request: Any) -> dict[str, Any]:
        """DeleteGroups: only groups without members."""
        results = []
        for name in request.group_names if hasattr(request, "group_names") else request.groups_names:
            group = self._groups.by_name.get(name)
            known = group is not None or name in self._storage.journal.state.offsets
            error = Error.NONE if known else Error.GROUP_NOT_FOUND
            if group is not None and group.members:
                error = Error.NON_EMPTY_GROUP
            elif known:
                self._groups.by_name.pop(name, None)
                self._storage.journal.write({"k": "forget", "g": name})
            results.append((name, error))
        return {"throttle_time_ms": 0, "results": results}
