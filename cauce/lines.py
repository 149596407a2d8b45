"""How the chat in the terminal reaches Cauce: over Kafka and the store, or over HTTP (`HttpChatClient`)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Literal, Protocol

from cauce.opened_stores import opened_stores
from cauce.settings import Settings
from connectors.chat_client import ChatClient
from connectors.chat_client.client import Event, Listener
from schemas import ApprovalRequested, Message, ThreadSummary
from streams.dead_letters import until_dead


class Line(Protocol):
    """A way to the user's threads."""

    async def open(self) -> None:
        """Connects."""
        ...

    async def close(self) -> None:
        """Lets go."""
        ...

    async def send(self, thread_id: str, text: str) -> str:
        """Sends a message; the id of its run."""
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
        """Decides on a call that waits for approval."""
        ...

    async def cancel(self, thread_id: str, run_id: str) -> None:
        """Stops a run."""
        ...

    def events(self, thread_id: str, run_id: str) -> AsyncIterator[Event]:
        """Events of a run until it ends or pauses."""
        ...

    async def refused(self, run_id: str) -> str:
        """Waits until it is known that a message was not taken; why."""
        ...

    async def threads(self, *, limit: int) -> list[ThreadSummary]:
        """The user's threads, the last changed first."""
        ...

    async def messages(self, thread_id: str, *, limit: int) -> list[Message]:
        """The newest messages of a thread, oldest first."""
        ...

    async def open_approvals(self, thread_id: str) -> tuple[list[ApprovalRequested], str | None]:
        """Calls of the thread that wait, and their run."""
        ...


class KafkaLine:
    """Straight to the topics and the store, as the user that the settings name."""

    def __init__(self, settings: Settings) -> None:
        assert settings.kafka
        self._settings, self._kafka = settings, settings.kafka
        self._client = ChatClient(settings.kafka, settings.tenant, settings.user)
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
        async with opened_stores(self._settings) as stores:
            return await stores.journal.threads(self._settings.tenant, self._settings.user, limit=limit)

    async def messages(self, thread_id: str, *, limit: int) -> list[Message]:
        """See `Line`."""
        async with opened_stores(self._settings) as stores:
            found = await stores.journal.hydrate(self._settings.tenant, thread_id, window=limit)
        return [row.message for row in found.messages]

    async def open_approvals(self, thread_id: str) -> tuple[list[ApprovalRequested], str | None]:
        """See `Line`."""
        async with opened_stores(self._settings) as stores:
            thread = await stores.journal.hydrate(self._settings.tenant, thread_id, window=1)
        head = thread.head
        if head is None or head.run is None or head.user_id != self._settings.user:
            return [], None
        asked = [
            ApprovalRequested(
                seq=1,
                run_id=head.run.run_id,
                user_id=head.user_id,
                at=head.updated_at,
                call_id=pending.call.call_id,
                name=pending.call.name,
                arguments=pending.call.arguments,
            )
            for pending in head.pending
            if pending.state == "approval"
        ]
        return asked, head.run.run_id
