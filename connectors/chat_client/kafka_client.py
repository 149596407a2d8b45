"""The chat client over Kafka, for `cauce chat`, `cauce ask` and any program that is trusted to act as a user."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal

from pydantic import ValidationError

from schemas import (
    TERMINAL_TYPES,
    ApprovalDecision,
    BadRecord,
    CancelRun,
    Delta,
    Envelope,
    MultitaskStrategy,
    Output,
    RawRecord,
    RunPaused,
    ThreadEvent,
    ThreadKey,
    TooLarge,
    Topic,
    UserMessage,
    body_type,
    check_body,
    new_id,
)
from schemas.common.clock import utc_now
from schemas.ids import new_traceparent
from streams.kafka_servers import Kafka
from streams.record_producer import RecordProducer
from streams.tail import Tail, follow

log = logging.getLogger("cauce.chat")

SOURCE = "cauce/chat-client"
_ACKNOWLEDGE_SECONDS = 40.0
"""Timeout for the acknowledgement of a message."""


@dataclass(frozen=True, slots=True)
class Unread:
    """An event that cannot be decoded. `message` explains it; `ends`: it was the last event of its run."""

    message: str
    ends: bool = False


Event = ThreadEvent | Delta | Unread


class ChatClient:
    """Acts as one user. An asynchronous context manager; raises `Unavailable` when Kafka does not answer.

    With `committed`, reads only committed records. The default also reads open transactions, a few milliseconds earlier:
    everything in `chat.responses` is in the journal before it is sent, so it can no longer change.
    """

    def __init__(self, bootstrap: Kafka, tenant_id: str, user_id: str, *, committed: bool = False) -> None:
        self._bootstrap, self.tenant_id, self.user_id = bootstrap, tenant_id, user_id
        self._committed = committed
        self._producer = RecordProducer(bootstrap, seconds=_ACKNOWLEDGE_SECONDS)

    async def __aenter__(self) -> ChatClient:
        await self._producer.connect()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._producer.stop()

    async def send(
        self,
        thread_id: str,
        text: str,
        *,
        message_id: str | None = None,
        multitask_strategy: MultitaskStrategy = "enqueue",
        agent_id: str = "default",
    ) -> str:
        """Sends a message and returns the id of the run that it starts. The same `message_id` twice is one message."""
        message_id = message_id or new_id("m")
        fields = {"agent_id": agent_id, "multitask_strategy": multitask_strategy}
        try:
            body = UserMessage.model_validate({"user_id": self.user_id, "text": text, **fields})
        except ValidationError as error:
            kinds = [(one["type"], one["msg"]) for one in error.errors(include_url=False, include_input=False)]
            kind = TooLarge if kinds[0][0] == "string_too_long" else BadRecord
            raise kind(f"nothing was sent: {'; '.join(reason for _, reason in kinds)}") from None
        await self._produce(thread_id, message_id, body)
        return message_id

    async def decide(
        self,
        thread_id: str,
        call_id: str,
        decision: Literal["approve", "edit", "reject", "respond"],
        *,
        arguments: dict[str, Any] | None = None,
        message: str | None = None,
    ) -> None:
        """Decides on a tool call that needs approval."""
        body = ApprovalDecision(
            user_id=self.user_id, call_id=call_id, decision=decision, arguments=arguments, message=message
        )
        await self._produce(thread_id, new_id("a"), body)

    async def cancel(self, thread_id: str, run_id: str | None = None) -> None:
        """Cancels a run, or the thread's active one."""
        await self._produce(thread_id, new_id("x"), CancelRun(user_id=self.user_id, run_id=run_id))

    async def _produce(self, thread_id: str, record_id: str, body: UserMessage | ApprovalDecision | CancelRun) -> None:
        trace = new_traceparent()
        envelope = Envelope(record_id, body.TYPE, SOURCE, self.tenant_id, utc_now(), trace)
        try:
            check_body(Topic.CHAT_MESSAGES, body)
        except TooLarge as error:
            raise TooLarge(f"nothing was sent: {error}. Send it in parts, or a link to it.") from error
        key = str(ThreadKey.parse(f"{self.tenant_id}:{thread_id}"))
        await self._producer.send(Output.of(Topic.CHAT_MESSAGES, key, body, envelope))

    async def listen(self, *, deltas: bool = True) -> Listener:
        """Starts reading all future events; messages sent afterwards miss none. Close the listener at the end."""
        topics = [Topic.CHAT_RESPONSES, *([Topic.CHAT_DELTAS] if deltas else [])]
        return Listener(await follow(self._bootstrap, topics, committed=self._committed), self.tenant_id)


class Listener:
    """Events of all threads of a tenant from now on, in order per thread and without repeats.

    With deltas, a `ToolFinished` may come twice: once as soon as the model reads it, once as an event of its turn.
    """

    def __init__(self, tail: Tail, tenant_id: str) -> None:
        self._tail, self._tenant = tail, tenant_id.encode() + b":"
        self._seen: dict[str, int] = {}

    async def close(self) -> None:
        """Stops reading."""
        await self._tail.close()

    async def events(self, thread_id: str | None = None) -> AsyncIterator[tuple[str, Event]]:
        """Thread id and event, as they arrive; only of `thread` if given. Never ends."""
        wanted = None if thread_id is None else self._tenant + thread_id.encode()
        while True:
            for record in await self._tail.poll():
                key = record.key or b""
                if key == wanted or (wanted is None and key.startswith(self._tenant)):
                    thread = key[len(self._tenant) :].decode("utf-8", "replace")
                    if event := self._event(thread, record):
                        yield thread, event

    def _event(self, thread: str, record: RawRecord) -> Event | None:
        kind = next((value for name, value in record.headers if name == "ce_type"), None) or b""
        body = (
            Delta if kind == Delta.TYPE.encode() else body_type(Topic.CHAT_RESPONSES, kind.decode("utf-8", "replace"))
        )
        if body is None:
            return None  # written by a newer version
        try:
            event = body.model_validate_json(record.value or b"")
        except ValueError as error:
            log.warning("skipping %s, which does not match its type: %s", record.position, error)
            return None
        if isinstance(event, ThreadEvent) and record.topic == Topic.CHAT_RESPONSES:
            if event.seq <= self._seen.get(thread, 0):
                return None
            self._seen[thread] = event.seq
            return event
        assert isinstance(event, Delta | ThreadEvent)
        return event

    async def run(self, thread_id: str, run_id: str) -> AsyncIterator[Event]:
        """Events of one run, until it ends or pauses."""
        async for _, event in self.events(thread_id):
            if isinstance(event, Unread) or event.run_id != run_id:
                continue
            yield event
            if isinstance(event, RunPaused) or (isinstance(event, ThreadEvent) and event.TYPE in TERMINAL_TYPES):
                return
