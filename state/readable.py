"""Rows that cannot be read: broken by hand or by a disk, or of a shape that a newer version writes.

Both twins decode rows here, and so does who decodes the bodies that a store keeps unseen. What is named is where a row is and
what kind of fault it has, never what stands in it.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, TypeVar

from pydantic import ValidationError

from schemas import CauceError, UnreadableRow, storable

Row = TypeVar("Row")
Result = TypeVar("Result")

log = logging.getLogger("cauce.state")


def read(name: str, decode: Callable[[], Result]) -> Result:
    """What `decode` makes of one row. Raises `UnreadableRow` where it cannot; its message begins with the row's name, such
    as `the run r1 of acme/t1`."""
    try:
        return decode()
    except CauceError:
        raise
    except Exception as error:
        # The error of a validator quotes what it was given: it is not passed on.
        raise UnreadableRow(
            f"{name} cannot be read as it is stored ({_fault(error)}). If a newer version of Cauce wrote it, run that version; "
            "if not, restore it from a backup. Nothing else is affected."
        ) from None


def readable(rows: Iterable[Row], decode: Callable[[Row], Result], name: Callable[[Row], str]) -> Iterator[Result]:
    """What can be read of rows, in their order. What cannot is left out, and a line in the log names it."""
    for row in rows:
        try:
            yield read(name(row), lambda row=row: decode(row))  # type: ignore[misc]
        except UnreadableRow as error:
            log.warning("left out of a list: %s", error)


def first_of(found: Iterable[Result], limit: int) -> list[Result]:
    """At most so many, and no row more is read for them."""
    return list(islice(found, max(limit, 0)))


def json_object(text: bytes) -> dict[str, Any]:
    """The object that this JSON is. Raises `ValueError` for other JSON, and for none."""
    found = json.loads(text)
    if not isinstance(found, dict):
        raise ValueError("not an object")
    return storable(found) if b"\\ud" in text.lower() else found


def as_bytes(stored: bytes | str) -> bytes:
    """The bytes of a column: SQLite gives what was put there, whatever the column is for. Raises `TypeError` for a number."""
    return stored.encode() if isinstance(stored, str) else bytes(memoryview(stored))


def _fault(error: Exception) -> str:
    if not isinstance(error, ValidationError):
        return "not JSON" if isinstance(error, ValueError) else type(error).__name__
    first, *more = error.errors(include_url=False, include_input=False, include_context=False)
    field = first["loc"][:1]  # further down may be keys of somebody's data
    fault = f"{field[0]}: {first['type']}" if field and isinstance(field[0], str) else first["type"]
    return f"{fault}, and {len(more)} more faults" if more else fault
