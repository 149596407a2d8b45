"""Lines without styles, and JSON: what commands print for people and programs alike, without Rich, whose import takes time."""

from __future__ import annotations

import json
import re
import sys
from typing import Any

from cauce.foreign_text import foreign, foreign_line

_PERHAPS_UNSEEN = re.compile(r"[^\x20-\x7e\n]")


def say(text: str, *, err: bool = False, end: str = "\n") -> None:
    """A text without style, for people and for programs that read lines."""
    print(foreign(text), file=sys.stderr if err else sys.stdout, end=end, flush=True)


def say_line(text: str, *, err: bool = False) -> None:
    """The same on one line."""
    say(foreign_line(text), err=err)


def json_text(value: Any, *, indent: int | None = None) -> str:
    """JSON whose texts a terminal shows as they are: what acts or hides is written as an escape of JSON, so that programs read
    the same value."""
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    return _PERHAPS_UNSEEN.sub(lambda found: _as_json(found[0]), text)


def _as_json(character: str) -> str:
    return character if foreign(character) == character else json.dumps(character)[1:-1]
