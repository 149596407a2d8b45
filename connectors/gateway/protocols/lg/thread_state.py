"""The messages of a thread as a stream follows them: each rendered once, whole states put together from the pieces."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from connectors.gateway.protocols.lg.message_shapes import to_langchain
from schemas import MessagesRemoved, StoredMessage, ThreadEvent

_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


def dumps(value: object) -> str:
    """Compact JSON."""
    return _ENCODER.encode(value)


class ThreadState:
    """A thread's messages in their order, by id."""

    def __init__(self, messages: Iterable[StoredMessage]) -> None:
        self._messages: dict[str, str] = {s.message.message_id: dumps(to_langchain(s.message)) for s in messages}

    def without(self, events: Iterable[ThreadEvent]) -> None:
        """Removes what these events will add."""
        for event in events:
            if added := event.adds:
                self._messages.pop(added.message_id, None)

    def apply(self, event: ThreadEvent) -> Mapping[str, Any] | None:
        """Follows an event; returns the message that it brought."""
        if isinstance(event, MessagesRemoved):
            for message_id in event.message_ids:
                self._messages.pop(message_id, None)
            return None
        if (added := event.adds) is None:
            return None
        message = to_langchain(added)
        self._messages[message["id"]] = dumps(message)
        return message

    def values(self) -> str:
        """The whole state as JSON."""
        return '{"messages":[' + ",".join(self._messages.values()) + "]}"
