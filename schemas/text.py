"""Text and values of others: clients, models, graphs, tools, exceptions. What a record cannot hold is replaced here.

JSON text is UTF-8, which has no halves of surrogate pairs; Python's strings may have them, and a model that writes an emoji in
two escapes, or a program that cuts one in two, gives them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import date, time
from decimal import Decimal
from typing import Any

DEEPEST = 90
"""Levels of objects and lists in a value of others. A body that has it in it has some of its own (`DEEPEST_BODY`)."""
DEEPEST_BODY = 100
"""Levels of objects and lists in a body that is sent or stored. pydantic reads 200 levels of JSON and writes 255."""
LARGEST_NUMBER_BITS = 1023
"""Largest integer in JSON. Readers that keep numbers as doubles reject the whole document for a larger one (orjson, which
LangGraph's client reads with), or read infinity (JavaScript); Python's own stop at 4,300 digits."""
LONGEST_ERROR = 500
"""Characters of somebody else's error that a person is shown."""


def is_storable(text: str) -> bool:
    """Whether UTF-8 can represent the text."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def storable_text(text: str) -> str:
    """The text with U+FFFD instead of each lone half of a surrogate pair; two halves that belong together become one."""
    return text if is_storable(text) else text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def storable(value: Any, deepest: int = DEEPEST) -> Any:
    """The value in a form that JSON preserves. Never raises.

    Texts by `storable_text`, keys as texts, lists for tuples and sets, ISO 8601 for times, null for what is no finite number,
    the digits as a text for a whole number of more than `LARGEST_NUMBER_BITS`, `...` below `deepest` levels, and the `repr` of
    values that JSON cannot represent.
    """
    return _storable(value, deepest)


def _storable(value: Any, levels: int) -> Any:
    if isinstance(value, str):
        return storable_text(str.__str__(value))
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value) if value.bit_length() <= LARGEST_NUMBER_BITS else _digits(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, date | time):
        return storable_text(_said(value.isoformat))
    if isinstance(value, dict | list | tuple | set | frozenset):
        if levels <= 0:
            return "..."
        if isinstance(value, dict):
            return {_key(name): _storable(item, levels - 1) for name, item in value.items()}
        return [_storable(item, levels - 1) for item in value]
    return storable_text(_said(lambda: repr(value)) or f"<{type(value).__name__}>")


_ALIKE, _NOT_BRACKETS = bytes.maketrans(b"{}", b"[]"), bytes(set(range(256)) - set(b"[]{}"))


def is_deep(text: bytes, deepest: int) -> bool:
    """Whether objects and lists lie in each other in more than `deepest` levels of a JSON text."""
    if text.count(b"[") + text.count(b"{") <= deepest:
        return False
    plain = text.replace(b"\\\\", b"").replace(b'\\"', b"").split(b'"')[::2]  # what is in no string
    rest = b"".join(plain).translate(_ALIKE, _NOT_BRACKETS)
    for _ in range(deepest):
        if not rest:
            return False
        rest = rest.replace(b"[]", b"")  # the innermost level
    return bool(rest)


_MOST_DIGITS = len(str(2**LARGEST_NUMBER_BITS))
_DIGITS = bytes(48 if 48 <= byte <= 57 else 32 for byte in range(256))


def has_long_number(text: bytes) -> bool:
    """Whether a JSON text may have a whole number that not every reader takes: more digits than `LARGEST_NUMBER_BITS` make. True
    for any text with so many digits."""
    return len(text) > _MOST_DIGITS and b"0" * (_MOST_DIGITS + 1) in text.translate(_DIGITS)


def _key(name: Any) -> str:
    """As `json` writes keys."""
    if isinstance(name, str):
        return storable_text(str.__str__(name))
    if name is None or isinstance(name, bool):
        return {None: "null", True: "true", False: "false"}[name]
    if isinstance(name, int):
        return _digits(name)
    return storable_text(_said(lambda: repr(name)) or f"<{type(name).__name__}>")


def _digits(number: int) -> str:
    """Decimal digits of an integer of any length: `str` of an int stops at 4,300 digits."""
    return str(Decimal(int(number)))


def _said(say: Callable[[], str]) -> str:
    """What somebody else's code says; empty where it raises, or wants to leave."""
    try:
        return say()
    except BaseException:
        return ""


def storable_error(error: BaseException, longest: int = LONGEST_ERROR) -> str:
    """A text for a foreign error that fits into a record: its class and message, cut to `longest` characters. For an error whose
    message cannot be read, only its class."""
    said = _said(lambda: str(error))
    name = type(error).__name__[:longest]
    return storable_text((f"{name}: {said[:longest]}" if said else name)[:longest])
