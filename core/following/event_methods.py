"""The base of everything that shows a thread's events to a client: a protocol's frames, a terminal's lines.

A class has one method for each kind of event, named after it (`on_run_started` for `RunStarted`), and names the kinds that its
clients have no use for (`LEAVES_OUT`). A class that forgets a kind cannot be defined.
"""

from __future__ import annotations

from typing import Any, ClassVar

from schemas import ThreadEvent, Topic, bodies_of


def kinds() -> tuple[type[ThreadEvent], ...]:
    """All kinds of events that a thread has."""
    return tuple(kind for kind in bodies_of(Topic.CHAT_RESPONSES) if issubclass(kind, ThreadEvent))


def method_of(kind: type[ThreadEvent]) -> str:
    """The name of the method that takes events of this kind."""
    return "on_" + kind.TYPE.removeprefix("cauce.").replace(".", "_")


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
        if forgotten := {kind.__name__: name for kind, name in shown.items() if not hasattr(cls, name)}:
            raise TypeError(
                f"{cls.__module__}.{cls.__name__} neither shows {', '.join(forgotten)} nor leaves them out: "
                f"it has to define {', '.join(forgotten.values())}, or to name the kinds in LEAVES_OUT"
            )
        cls._methods = {kind.TYPE: name for kind, name in shown.items()}

    def dispatch(self, event: ThreadEvent) -> Any:
        """What the method of the event's kind gives, which may have to be awaited; nothing for a kind that is left out."""
        name = self._methods.get(event.TYPE)
        return getattr(self, name)(event) if name else ()
