"""What must hold when a world is at rest."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from aiokafka import TopicPartition

from processors.groups import GROUPS
from schemas import TERMINAL_TYPES, LedgerEntry, ThreadHead, Topic, bodies_of
from streams.offsets import decode_completed
from threads.replay import Gap, Replayed

if TYPE_CHECKING:
    from sim_people import People, Seen
    from sim_worker import Outside

_HEAD_SEQ = 2**63 - 1
_EVENTS = {body.TYPE: body for body in bodies_of(Topic.CHAT_RESPONSES)}


def unfinished(outside: Outside, people: People, groups: Iterable[str]) -> list[str]:
    """What is still to come."""
    found = []
    kafka = outside.kafka
    for group in groups:
        for tp in kafka.logs:
            if tp.topic in GROUPS[group].reads and (open_records := _open(outside, group, tp)):
                found.append(f"{group} has not finished {tp.topic}/{tp.partition} at {open_records[:5]}")
    ended = {seen.body["run_id"] for seen in people.seen if seen.type in TERMINAL_TYPES}
    found += [f"no end of {input_id}" for _, input_id, _ in people.accepted if input_id not in ended]
    return found


def _open(outside: Outside, group: str, tp: TopicPartition) -> list[int]:
    """Offsets of committed records that the group has not committed as done."""
    found = outside.kafka.committed.get((group, tp))
    position = max(0, found.offset) if found else 0
    completed = decode_completed(position, found.metadata) if found else frozenset()
    records, _ = outside.kafka.read(tp, position, 100_000)
    return [offset for offset, _ in records if offset not in completed]


def promises_broken(outside: Outside, people: People, groups: Iterable[str]) -> list[str]:
    """Promises that do not hold. Empty for a good world."""
    return [
        *_one_end(people),
        *_in_order(people),
        *_journal_and_topic_agree(outside, people),
        *_effects_once(outside),
        *_nothing_passed_over(outside),
        *_audit_complete(outside, stored="audit" in groups),
        *_unreadable_is_kept(outside, groups),
        *_given_up_for_a_reason(outside),
    ]


def _one_end(people: People) -> list[str]:
    ends = Counter(seen.body["run_id"] for seen in people.seen if seen.type in TERMINAL_TYPES)
    wrong = [f"{run} ended {count} times" for run, count in ends.items() if count > 1]
    known = {input_id for _, input_id, _ in people.accepted}
    return wrong + [f"{run} ended and nobody had asked" for run in ends if run not in known]


def _in_order(people: People) -> list[str]:
    """Runs of a thread start in the order of their messages; events come with the next number, each once."""
    wrong = []
    numbers: dict[str, int] = defaultdict(int)
    started: dict[str, list[str]] = defaultdict(list)
    for seen in people.seen:
        if seen.body["seq"] != numbers[seen.thread] + 1:
            wrong.append(f"{seen.thread}: event {seen.body['seq']} ({seen.type}) after {numbers[seen.thread]}")
        numbers[seen.thread] = seen.body["seq"]
        if seen.type == "cauce.run.started":
            started[seen.thread].append(seen.body["run_id"])
    for thread, runs in started.items():
        wanted = [input_id for t, input_id, _ in people.accepted if t == thread and input_id in runs]
        if runs != wanted:
            wrong.append(f"{thread}: runs started as {runs}, messages came as {wanted}")
    return wrong


def _journal_and_topic_agree(outside: Outside, people: People) -> list[str]:
    wrong = []
    table = outside.cassandra.tables["threads"]
    told: dict[str, dict[int, bytes]] = defaultdict(dict)
    for seen in people.seen:
        told[seen.thread][seen.body["seq"]] = seen.value
    for (tenant, thread), rows in table.partitions.items():
        key = f"{tenant}:{thread}"
        stored = {row["seq"]: row["body"] for row in rows.values() if row["kind"] == 2}
        if stored != told[key]:
            missing, extra = sorted(stored.keys() - told[key].keys()), sorted(told[key].keys() - stored.keys())
            wrong.append(
                f"{key}: in the journal and not told {missing}, told and not in the journal {extra}, or other bytes"
            )
        head = ThreadHead.model_validate_json(rows[(1, _HEAD_SEQ, "")]["body"])
        if head.run or head.queued or head.pending:
            wrong.append(f"{key}: at rest with a run, a queue or pending calls: {head.status}")
        wrong += _as_its_events_tell(key, head, (one for one in people.seen if one.thread == key), rows.values())
        messages = sorted(row["seq"] for row in rows.values() if row["kind"] == 1 and row["seq"] != _HEAD_SEQ)
        if messages and messages[-1] >= head.next_message:
            wrong.append(f"{key}: message {messages[-1]} is above the head's {head.next_message}")
    for key in told.keys() - {f"{t}:{h}" for t, h in table.partitions}:
        wrong.append(f"{key}: told and not in the journal at all")
    return wrong


def _as_its_events_tell(key: str, head: ThreadHead, seen: Iterable[Seen], rows: Iterable[Any]) -> list[str]:
    """Which messages there are, and which of them are the conversation, also where it went back."""
    replayed = Replayed(None)
    try:
        replayed.apply(
            _EVENTS[one.type].model_validate(one.body) for one in sorted(seen, key=lambda one: one.body["seq"])
        )
    except Gap as gap:
        return [f"{key}: {gap}"]
    if replayed.head is None:
        return [f"{key}: its events tell nothing"]
    told = {stored.seq: stored.message.message_id for stored in replayed.messages}
    stored = {
        row["seq"]: json.loads(row["body"])["message"]["message_id"]
        for row in rows
        if row["kind"] == 1 and row["seq"] != _HEAD_SEQ
    }
    wrong = []
    if told != stored:
        wrong.append(f"{key}: its events tell the messages {told}, the journal has {stored}")
    if (replayed.head.forks, replayed.head.next_message) != (head.forks, head.next_message):
        wrong.append(f"{key}: its events tell the forks {replayed.head.forks}, the head has {head.forks}")
    return wrong


def _effects_once(outside: Outside) -> list[str]:
    service = outside.service
    wrong = [f"{tag} was executed {count} times" for tag, count in service.effects.items() if count > 1]
    for rows in outside.cassandra.tables["tool_calls"].partitions.values():
        for row in rows.values():
            if row["state"] not in ("done", "unknown"):
                wrong.append(f"the call {row['call_id']} is left {row['state']}")
                continue
            entry = LedgerEntry.model_validate_json(row["identity"])
            result = json.loads(row["result"])
            if result["status"] == "ok":
                tag = json.loads(result["content"])["done"]
                if not service.executions[tag]:
                    wrong.append(f"the call {entry.call_id} is said to be done and was not")
    return wrong


def _nothing_passed_over(outside: Outside) -> list[str]:
    """Every record that counts as done has left what it should."""
    wrong = []
    inputs = {
        row["id"]
        for rows in outside.cassandra.tables["threads"].partitions.values()
        for row in rows.values()
        if row["kind"] == 0
    }
    dead = _dead_letters(outside)
    for tp in outside.kafka.logs:
        if tp.topic not in GROUPS["turns"].reads:
            continue
        waiting = set(_open(outside, "turns", tp))
        for offset, entry in outside.kafka.read(tp, 0, 100_000)[0]:
            if entry.is_lost:
                continue
            input_id = dict(entry.headers)["ce_id"].decode()
            if offset not in waiting and input_id not in inputs and (tp.topic, tp.partition, offset) not in dead:
                wrong.append(
                    f"{tp.topic}/{tp.partition}/{offset} ({input_id}) counts as done and is not in the journal"
                )
    return wrong


def _unreadable_is_kept(outside: Outside, groups: Iterable[str]) -> list[str]:
    """What nobody can read is a dead letter, once, and what somebody can read later is none."""
    wrong, letters, unread = [], _dead_letters(outside), _dead_letters(outside, "cannot be read")
    for tp in outside.kafka.logs:
        if not any(tp.topic in GROUPS[group].reads for group in groups):
            continue
        for offset, entry in outside.kafka.read(tp, 0, 100_000)[0]:
            found = letters[tp.topic, tp.partition, offset]
            if entry.is_lost and found != 1:
                wrong.append(f"{tp.topic}/{tp.partition}/{offset} cannot be read, and has {found} dead letters")
            elif entry.unreadable_until and not entry.is_lost and unread[tp.topic, tp.partition, offset]:
                wrong.append(f"{tp.topic}/{tp.partition}/{offset} can be read, and was given up")
    return wrong


def _given_up_for_a_reason(outside: Outside) -> list[str]:
    """Nothing here is bad but what cannot be read and what is killed again and again."""
    wrong = []
    for tp in outside.kafka.logs:
        for _, entry in outside.kafka.read(tp, 0, 100_000)[0] if tp.topic == Topic.DEAD_LETTERS.value else ():
            letter = json.loads(entry.value or b"{}")
            if not letter["reason"].startswith(
                ("cannot be read", "its worker died", "its processing was ended", "Panic")
            ):
                wrong.append(f"{letter['topic']}/{letter['partition']}/{letter['offset']} given up: {letter['reason']}")
    return wrong


def _dead_letters(outside: Outside, reason: str = "") -> Counter[tuple[str, int, int]]:
    """Positions of the records that were given up, for a reason that begins so."""
    found: Counter[tuple[str, int, int]] = Counter()
    for tp in outside.kafka.logs:
        if tp.topic == Topic.DEAD_LETTERS.value:
            for _, entry in outside.kafka.read(tp, 0, 100_000)[0]:
                letter = json.loads(entry.value or b"{}")
                if letter["reason"].startswith(reason):
                    found[letter["topic"], letter["partition"], letter["offset"]] += 1
    return found


def _audit_complete(outside: Outside, *, stored: bool) -> list[str]:
    """Each action was told once, and where an audit worker ran each event is stored once.

    Of one that was given up nobody knows whether it is stored: its last worker may have died after the write, or the write may
    have been carried out and its answer lost. Not more than once, all the same.
    """
    wrong = []
    rows_of = Counter(
        row["event_id"] for rows in outside.cassandra.tables["audit"].partitions.values() for row in rows.values()
    )
    told: Counter[str] = Counter()
    doubtful: Counter[str] = Counter()
    dead = _dead_letters(outside)
    for tp in outside.kafka.logs:
        if tp.topic == Topic.AUDIT_EVENTS.value:
            for offset, entry in outside.kafka.read(tp, 0, 100_000)[0]:
                if not entry.is_lost:
                    event = dict(entry.headers)["ce_id"].decode()
                    told[event] += 1
                    doubtful[event] += (tp.topic, tp.partition, offset) in dead
    wrong += [f"the audit event {event} was told {n} times" for event, n in told.items() if n > 1]
    if stored and (odd := [*(told - doubtful - rows_of), *(rows_of - told)]):
        wrong.append(f"audit events sent and stored differ by {odd[:5]}")
    return wrong
