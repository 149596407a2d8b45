"""The base of everything that shows a thread's events to a client: a protocol's frames, a terminal's lines.

A reader has one method for each kind of event, named after it (`on_run_started` for `RunStarted`), and names the kinds that its
clients have no use for (`LEAVES_OUT`). A class that forgets a kind cannot be defined.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from inspect import isawaitable
from typing import Any, ClassVar, Generic, TypeVar

from core.following.feed import EarlyResult, TextPiece
from core.following.graph_reader import GraphPieces
from core.following.thread_stream import Heartbeat, StreamItem
from schemas import TERMINAL_TYPES, RunPaused, ThreadChanged, ThreadEvent, ToolFinished, Topic, bodies_of

Made = TypeVar("Made")


def kinds() -> tuple[type[ThreadEvent], ...]:
    """All kinds of events that a thread has."""
    return tuple(kind for kind in bodies_of(Topic.CHAT_RESPONSES) if issubclass(kind, ThreadEvent))


def method_of(kind: type[ThreadEvent]) -> str:
    """The name of the method that takes events of this kind."""
    return "on_" + kind.TYPE.removeprefix("cauce.").replace(".", "_")


def is_deletion(event: ThreadEvent) -> bool:
    """Whether nothing comes after this event: the thread is deleted."""
    return isinstance(event, ThreadChanged) and event.action == "delete"


@dataclass(frozen=True, slots=True)
class RunEnd:
    """Where the stream of one run ends: with its last event, or when it waits for its user.

    `last_event` is the run's last where it is over already: whoever has it gets the end at once, since nothing else may ever
    come in its thread. `paused_after` is the event up to which a pause is past.
    """

    run_id: str
    last_event: int | None = None
    paused_after: int = 0

    def is_before(self, seq: int) -> bool:
        """Whether a reader who has the events up to `seq` has all of the run."""
        return self.last_event is not None and seq >= self.last_event

    def is_at(self, event: ThreadEvent) -> bool:
        """Whether it is the last event of the stream."""
        if is_deletion(event):
            return True
        if self.last_event is not None:
            return event.seq >= self.last_event
        if event.run_id != self.run_id:
            return False
        return event.TYPE in TERMINAL_TYPES or (isinstance(event, RunPaused) and event.seq > self.paused_after)


class EventMethods:
    """One method for each kind of event, or one `dispatch` of its own for all of them."""

    LEAVES_OUT: ClassVar[frozenset[type[ThreadEvent]]] = frozenset()
    """Kinds of events that it does not show."""
    _methods: ClassVar[dict[str, str]] = {}

    def __init_subclass__(cls, *, base: bool = False, **more: Any) -> None:
        """`base` is for classes that show nothing by themselves."""
        super().__init_subclass__(**more)
        if base or cls.dispatch is not EventMethods.dispatch:
            return
        shown = {kind: method_of(kind) for kind in kinds() if kind not in cls.LEAVES_OUT}
        if forgotten := [kind.__name__ for kind, name in shown.items() if not hasattr(cls, name)]:
            raise TypeError(f"{cls.__name__} neither shows {', '.join(forgotten)} nor leaves them out")
        cls._methods = {kind.TYPE: name for kind, name in shown.items()}

    def dispatch(self, event: ThreadEvent) -> Any:
        """What the method of the event's kind gives, which may have to be awaited; nothing for a kind that is left out."""
        name = self._methods.get(event.TYPE)
        return getattr(self, name)(event) if name else ()


class EventReader(EventMethods, Generic[Made], base=True):
    """`read` gives what its client gets, for each item of a thread's stream."""

    def __init__(self, *, seq: int = 0) -> None:
        self.seq = seq
        """The newest event that was read."""

    async def read(self, items: AsyncIterator[StreamItem]) -> AsyncIterator[Made | None]:
        """What the client gets, and None where nothing happened for a while; up to the last event (`is_last`)."""
        async for item in items:
            if isinstance(item, Heartbeat):
                yield None
            elif isinstance(item, TextPiece):
                for made in self.on_text(item):
                    yield made
            elif isinstance(item, EarlyResult):
                for made in self.on_early_result(item.event):
                    yield made
            elif isinstance(item, GraphPieces):
                for made in self.on_graph_pieces(item):
                    yield made
            else:
                for made in await self.on_event(item):
                    yield made
                self.seq = item.seq
                if self.is_last(item):
                    return

    async def on_event(self, event: ThreadEvent) -> Iterable[Made]:
        """What an event makes."""
        found: Iterable[Made] = await self.made_of(event)
        return found

    async def made_of(self, event: ThreadEvent) -> Any:
        """What the method of the event's kind gives."""
        found = self.dispatch(event)
        return await found if isawaitable(found) else found

    def on_text(self, piece: TextPiece) -> Iterable[Made]:
        """A piece of an answer that is being written."""
        return ()

    def on_early_result(self, event: ToolFinished) -> Iterable[Made]:
        """A tool's result before its event, which comes later, or never if the turn is lost."""
        return ()

    def on_graph_pieces(self, pieces: GraphPieces) -> Iterable[Made]:
        """What a graph's leg streams before its events."""
        return ()

    def is_last(self, event: ThreadEvent) -> bool:
        """Whether nothing comes after this event: the thread is deleted, or whatever else a reader takes for the end."""
        return is_deletion(event)
