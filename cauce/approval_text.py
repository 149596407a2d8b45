"""An open approval as the terminal shows it: what is to be done, each argument as JSON on a line of its own, what ids stand for.

Arguments come from a model that has read what others wrote. So nothing in them can look like another argument, and what is long,
was changed by the user, or has characters that nobody sees, is marked.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from rich.text import Text

from cauce.foreign_text import foreign
from cauce.plain_output import json_text
from cauce.screen import one_line
from schemas import ApprovalRequested

LONG = 300
"""Characters of an argument that are shown initially. The rest is shown on request."""


def approval_lines(
    asked: ApprovalRequested,
    arguments: Mapping[str, Any],
    *,
    edited: Collection[str] = (),
    whole: bool = False,
) -> Iterator[Text]:
    """The lines of a question. `arguments` are the present ones, of which the user changed those in `edited`; `whole` shows all
    of long ones."""
    yield one_line(("? ", "bold yellow"), (title_of(asked.name), "bold yellow"), (f"  {asked.name}", "dim"))
    if asked.description:
        yield one_line((f"  {asked.description}", "dim"))
    for name, value in arguments.items():
        text = json_text(value)
        is_long = len(text) > LONG and not whole
        notes = [
            *(["edited"] if name in edited else []),
            *(["has characters that cannot be seen"] if _hides(value) else []),
        ]
        if is_long:
            notes.append(f"the first {LONG} of {len(text):,} characters; [s]how all")
        shown = text[:LONG] + "..." if is_long else text
        yield one_line("    ", f"{name}: ", (shown, "bold"), (f"  ({'; '.join(notes)})" if notes else "", "yellow"))
        if name not in edited and (thing := asked.concerns.get(name)):
            yield one_line("        ", ("which is ", "dim"), thing)


def is_cut(arguments: Mapping[str, Any]) -> bool:
    """Whether an argument is too long to be shown whole."""
    return any(len(json_text(value)) > LONG for value in arguments.values())


def title_of(tool: str) -> str:
    """A tool's name as people write it: `Gmail_ReplyToEmail` is "Gmail: reply to email"."""
    service, _, action = tool.partition("_")
    if not action:
        service, action = "", service
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", action).replace("_", " ").strip().lower()
    return f"{service}: {spaced}" if service else spaced


def _hides(value: Any) -> bool:
    if isinstance(value, str):
        return foreign(value) != value.replace("\r\n", "\n").expandtabs(4)
    if isinstance(value, Mapping):
        return any(_hides(one) for pair in value.items() for one in pair)
    return isinstance(value, list) and any(map(_hides, value))
