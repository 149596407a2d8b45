"""What others wrote, as a terminal may see it.

Models, mails, tools, titles and ids say what is shown here, and a terminal obeys what it reads: escape sequences move the cursor
and erase lines, so that an approval could show another recipient than the one that gets the mail; overrides of the writing
direction and characters without a width do the same to the eye. All of them are shown as what they are.
"""

from __future__ import annotations

import unicodedata
from typing import Any

_UNSEEN = frozenset("\u115f\u1160\u3164\uffa0\u2800\u034f\u17b4\u17b5")
"""Letters and marks that have no ink: Hangul fillers, an empty Braille pattern, the grapheme joiner, inherent vowels."""
_NAMED = {"\n": "\\n", "\r": "\\r", "\t": "\\t", "\x1b": "\\x1b"}
_JOINER = "\u200d"
_EMOJI = "\ufe0f"


def foreign(value: Any) -> str:
    """The value as running text: line ends stay, tabs are spaces, and what would act on the terminal is written out."""
    return "".join(map(_shown, _pieces(str(value).replace("\r\n", "\n").expandtabs(4))))


def foreign_line(value: Any) -> str:
    """The same for one line, such as a title, an id or a cell of a table: line ends are written out as well."""
    return foreign(value).replace("\n", "\\n")


def _pieces(text: str) -> list[str]:
    """The characters; a joiner stays with the picture that it joins to another."""
    pieces: list[str] = []
    for n, character in enumerate(text):
        if character == _JOINER and 0 < n < len(text) - 1 and _is_picture(text[n - 1]) and _is_picture(text[n + 1]):
            pieces[-1] += character
        else:
            pieces.append(character)
    return pieces


def _is_picture(character: str) -> bool:
    return character == _EMOJI or unicodedata.category(character) in ("So", "Sk")


def _shown(piece: str) -> str:
    first = piece[0]
    if first == "\n" or (
        unicodedata.category(first) not in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp") and first not in _UNSEEN
    ):
        return piece
    if first in _NAMED:
        return _NAMED[first]
    code = ord(first)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
