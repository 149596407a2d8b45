"""Users: they write, write again when nothing comes back, decide about approvals, cancel, and see what is committed."""

from __future__ import annotations

import asyncio
import json
import random
from dataclasses import dataclass, field
from typing import Any

from aiokafka import TopicPartition
from sim_network import LostAnswer
from sim_worker import Outside

from schemas import ApprovalDecision, CancelRun, Envelope, Topic, UserMessage
from schemas.base import Body

_TIMEOUT = 2.0
SOON = 0.5
"""Seconds for which a record that is broken on its way is; one that is broken for longer counts as broken for ever."""
STRATEGIES = ("enqueue", "enqueue", "enqueue", "interrupt", "rollback", "reject")


def _going_back(input_id: str, *, messages: int) -> int | None:
    """Some go back to an earlier message, or to one that is not there.

    By dice of its own, so that what else happens under a seed stays as it was.
    """
    dice = random.Random(input_id)
    if dice.random() > 0.4:
        return None
    return dice.randint(0, messages)


@dataclass
class Seen:
    """One record of `chat.responses` as a reader of committed records gets it."""

    thread: str
    type: str
    body: dict[str, Any]
    value: bytes


@dataclass
class People:
    """All users. `accepted` are inputs of which at least one record is in the topic, in the order of their first one."""

    outside: Outside
    threads: list[str]
    messages: int
    accepted: list[tuple[str, str, str]] = field(default_factory=list)
    """Thread, input, strategy."""
    sent: int = 0
    seen: list[Seen] = field(default_factory=list)
    _positions: dict[TopicPartition, int] = field(default_factory=dict)
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)
    _decisions: list[asyncio.Task[None]] = field(default_factory=list)

    def start(self) -> None:
        """Begins to talk."""
        loop = self.outside.loop
        self._tasks = [loop.create_task(self._talk(thread)) for thread in self.threads]
        self._tasks.append(loop.create_task(self._look_forever()))

    @property
    def silent(self) -> bool:
        """Whether all was said."""
        return self.sent == self.messages * len(self.threads)

    @property
    def deciding(self) -> bool:
        """Whether somebody is still thinking about an approval."""
        return not all(task.done() for task in self._decisions)

    async def _talk(self, thread: str) -> None:
        chance = self.outside.loop.random
        for n in range(self.messages):
            await asyncio.sleep(chance.random() * 3)
            input_id = f"m-{thread.replace(':', '-')}-{n}"
            strategy = chance.choice(STRATEGIES)
            steps = [",".join(chance.choices(("Read", "Put", "Send", "Pay"), k=chance.randint(1, 2)))] * chance.choice(
                (0, 1, 1, 2)
            )
            after = _going_back(input_id, messages=4 * n)
            body = UserMessage(user_id="u", text="|".join([*steps, "answer"]), multitask_strategy=strategy, after=after)
            await self._produce(thread, body, input_id, strategy)
            self.sent += 1
            if chance.random() < 0.1:
                await asyncio.sleep(chance.random())
                await self._produce(thread, CancelRun(user_id="u"), f"{input_id}-c", None)

    async def _produce(self, thread: str, body: Body, input_id: str, strategy: str | None) -> None:
        """Until it is acknowledged. What was lost and came after all is in the topic twice."""
        o = self.outside
        envelope = Envelope(input_id, body.TYPE, "people", thread.partition(":")[0], o.now())  # type: ignore[attr-defined]
        key, value, headers = thread.encode(), body.to_bytes(), envelope.headers()

        def append() -> None:
            tp = o.kafka.partition_of(Topic.CHAT_MESSAGES.value, key)
            offset = o.kafka.append(tp, key, value, headers)
            if (odd := o.network.weather.odd_records) and o.loop.random.random() < odd:
                curable = o.loop.random.random() < 0.5
                entry = o.kafka.logs[tp][offset]
                entry.curable = curable
                entry.unreadable_until = o.loop.now + o.loop.random.random() * (20 if curable else SOON)
            if strategy and not any(found[1] == input_id for found in self.accepted):
                self.accepted.append((thread, input_id, strategy))

        while True:
            try:
                return await o.network.ask(append, node=None, server="kafka", timeout=_TIMEOUT)
            except LostAnswer:
                await asyncio.sleep(0.1)

    async def _look_forever(self) -> None:
        while True:
            await asyncio.sleep(0.2)
            self.look()

    def look(self) -> None:
        """Reads what was committed since the last look, and has approvals decided."""
        loop, kafka = self.outside.loop, self.outside.kafka
        for tp in kafka.logs:
            if tp.topic != Topic.CHAT_RESPONSES.value:
                continue
            found, self._positions[tp] = kafka.read(tp, self._positions.get(tp, 0), 10_000)
            for _, entry in found:
                kind = dict(entry.headers)["ce_type"].decode()
                assert entry.value
                seen = Seen((entry.key or b"").decode(), kind, json.loads(entry.value), entry.value)
                self.seen.append(seen)
                if kind == "cauce.approval.requested":
                    self._decisions.append(loop.create_task(self._decide(seen)))

    async def _decide(self, seen: Seen) -> None:
        chance = self.outside.loop.random
        await asyncio.sleep(chance.random() * 2)
        call = seen.body["call_id"]
        decision = chance.choice(("approve", "approve", "reject"))
        body = ApprovalDecision(user_id="u", call_id=call, decision=decision)  # type: ignore[arg-type]
        await self._produce(seen.thread, body, f"d-{call}", None)
        if chance.random() < 0.2:  # from a second window
            body = ApprovalDecision(user_id="u", call_id=call, decision="approve")
            await self._produce(seen.thread, body, f"d2-{call}", None)
