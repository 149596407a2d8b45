"""How the terminal chat reaches Cauce: through Kafka and the store, or over HTTP (`HttpChatClient`)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Literal, Protocol

from cauce.opened_stores import opened_core, user_of
from cauce.settings import Settings
from connectors.chat_client import ChatClient
from connectors.chat_client.kafka_client import Event, Listener
from core.refusals import Missing
from schemas import ApprovalRequested, Message, StoredMessage, ThreadHead, ThreadSummary
from streams.dead_letters import until_dead


class Line(Protocol):
    """A connection to the user's threads."""

    async def open(self) -> None:
        """Connects."""
        ...

    async def close(self) -> None:
        """Closes the connection."""
        ...

    async def send(self, thread_id: str, text: str) -> str:
        """Sends a message; returns the id of its run."""
        ...

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
        ...

    async def cancel(self, thread_id: str, run_id: str) -> None:
        """Stops a run."""
        ...

    def events(self, thread_id: str, run_id: str) -> AsyncIterator[Event]:
        """Events of a run until it ends or pauses."""
        ...

    async def refused(self, run_id: str) -> str:
        """Waits until a message is rejected; returns the reason."""
        ...

    async def threads(self, *, limit: int) -> list[ThreadSummary]:
        """The user's threads, most recently changed first."""
        ...

    async def messages(self, thread_id: str, *, limit: int) -> list[Message]:
        """The newest messages of a thread, oldest first."""
        ...

    async def open_approvals(self, thread_id: str) -> tuple[list[ApprovalRequested], str | None]:
        """The tool calls of the thread that need approval, and their run."""
        ...


class KafkaLine:
    """Uses the topics and the store directly, as the user of the settings."""

    def __init__(self, settings: Settings) -> None:
        self._settings, self._kafka, self._me = settings, settings.kafka_servers, user_of(settings)
        self._client = ChatClient(self._kafka, settings.tenant, settings.user)
        self._listener: Listener | None = None

    async def open(self) -> None:
        """See `Line`."""
        await self._client.__aenter__()
        self._listener = await self._client.listen()

    async def close(self) -> None:
        """See `Line`."""
        if self._listener:
            await self._listener.close()
        await self._client.__aexit__(None, None, None)

    async def send(self, thread_id: str, text: str) -> str:
        """See `Line`."""
        return await self._client.send(thread_id, text)

    async def decide(
        self,
        thread_id: str,
        call_id: str,
        decision: Literal["approve", "edit", "reject", "respond"],
        *,
        arguments: dict[str, Any] | None = None,
        message: str | None = None,
    ) -> None:
        """See `Line`."""
        await self._client.decide(thread_id, call_id, decision, arguments=arguments, message=message)

    async def cancel(self, thread_id: str, run_id: str) -> None:
        """See `Line`."""
        await self._client.cancel(thread_id, run_id)

    def events(self, thread_id: str, run_id: str) -> AsyncIterator[Event]:
        """See `Line`."""
        assert self._listener, "it is open"
        return self._listener.run(thread_id, run_id)

    async def refused(self, run_id: str) -> str:
        """See `Line`."""
        return await until_dead(self._kafka, run_id)

    async def threads(self, *, limit: int) -> list[ThreadSummary]:
        """See `Line`."""
        async with opened_core(self._settings) as core:
            return await core.threads.search(self._me, newest=limit)

    async def messages(self, thread_id: str, *, limit: int) -> list[Message]:
        """See `Line`."""
        _, rows = await self._read(thread_id, limit)
        return [row.message for row in rows]

    async def open_approvals(self, thread_id: str) -> tuple[list[ApprovalRequested], str | None]:
        """See `Line`."""
        head, _ = await self._read(thread_id, 0)
        if head is None or head.run is None:
            return [], None
        asked = [
            ApprovalRequested(
                seq=1,
                run_id=head.run.run_id,
                user_id=head.user_id,
                at=head.updated_at,
                call_id=question.id,
                name=question.name,
                arguments=question.value,
                concerns=dict(question.concerns),
            )
            for question in head.approvals
        ]
        return asked, head.run.run_id

    async def _read(self, thread_id: str, limit: int) -> tuple[ThreadHead | None, list[StoredMessage]]:
        async with opened_core(self._settings) as core:
            try:
                return await core.threads.read(self._me, thread_id, window=limit)
            except Missing:  # the thread has no messages yet
                return None, []
