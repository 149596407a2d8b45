"""What the ids in a tool call's arguments stand for, as text: a person decides on a mail of Ana's, not on `m106`. Pure code.

The texts come from results of tools that the thread already has. They are data that others wrote: each is quoted, and named after
the field that it comes from.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from schemas import Message

_IDS = re.compile(r"(^|_)(id|gid|key)s?$", re.IGNORECASE)
"""Names of arguments whose values are ids."""
_OWN = ("id", "gid", "key")
"""Names under which a thing has its own id."""
_TELLING = ("from", "sender", "organizer", "to", "subject", "title", "name", "summary", "date", "start", "due_on")
"""What tells people which thing it is, most telling first."""
_MOST_FACTS, _MOST_IDS, _LONGEST_ID = 3, 20, 200
_LONGEST_FACT = 120
"""Characters."""


def references(arguments: Mapping[str, Any], history: Sequence[Message]) -> dict[str, str]:
    """By the name of an argument: what its id stands for. An argument is left out where no result in the history has the id, or
    where two say different things of it."""
    ids = {name: wanted for name, value in arguments.items() if _IDS.search(name) and (wanted := _ids(value))}
    if not ids:
        return {}
    results = [message.text for message in history if message.role == "tool" and not message.failed]
    found: dict[str, str] = {}
    if sum(map(len, ids.values())) > _MOST_IDS:
        return {}
    for name, wanted in ids.items():
        said = [_said_of(one, results) for one in wanted]
        if all(said):
            found[name] = "; ".join(description for description in said if description)
    return found


def _ids(value: Any) -> list[str]:
    values = value if isinstance(value, list) else [value]
    texts = [str(one) for one in values if isinstance(one, str | int) and not isinstance(one, bool)]
    fits = len(texts) == len(values) and all(0 < len(text) <= _LONGEST_ID for text in texts)
    return texts if fits else []


def _said_of(wanted: str, results: Iterable[str]) -> str | None:
    said = {
        description
        for text in results
        if wanted in text
        for thing in _things(text, wanted)
        if (description := _description(thing))
    }
    return said.pop() if len(said) == 1 else None


def _things(text: str, wanted: str) -> Iterator[Mapping[str, Any]]:
    """The objects of a result that have this id as their own."""
    try:
        waiting = [json.loads(text)]
    except (ValueError, RecursionError):
        return
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            if any(str(value.get(own)) == wanted for own in _OWN):
                yield value
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value


def _description(thing: Mapping[str, Any]) -> str:
    telling = [(name, thing[name]) for name in _TELLING if isinstance(thing.get(name), str) and thing[name].strip()]
    return ", ".join(f"{name} {json.dumps(_short(text), ensure_ascii=False)}" for name, text in telling[:_MOST_FACTS])


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST_FACT else f"{text[:_LONGEST_FACT]}..."
