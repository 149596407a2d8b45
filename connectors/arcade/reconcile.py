"""Determines with a read whether a call whose response was lost was executed.

A match must be certain enough to tell the user "done": created after the call was sent, with the same recipient and subject,
or the same name. The absence of a match proves nothing, since search results lag behind.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import getaddresses, parsedate_to_datetime
from typing import Any

from connectors.toolset import ToolOutcome, ToolSpec

Read = Callable[[str, Mapping[str, Any]], Awaitable[ToolOutcome]]

CLOCK_SLACK = timedelta(seconds=5)
"""Assumed difference between our clock and the service's."""


async def find_effect(tool: ToolSpec, arguments: Mapping[str, Any], since: datetime, read: Read) -> ToolOutcome | None:
    """The outcome if the effect of a call sent at `since` is found, otherwise None. `read` calls a read-only tool."""
    if tool.qualified_name == "Gmail.SendEmail":
        recipient, subject = str(arguments.get("recipient", "")), " ".join(str(arguments.get("subject", "")).split())
        query = {"query": f'in:sent newer_than:1d to:{recipient} subject:"{subject}"', "max_results": 20}
        found = await read("Gmail.SearchEmailsByQuery", query)
        wanted, rows, time_key = subject, _rows(found, "emails"), "date"
        rows = [
            {**row, "name": row.get("subject")} for row in rows if _addresses(recipient) <= _addresses(row.get("to"))
        ]
    elif tool.qualified_name == "Asana.CreateTask":
        wanted = str(arguments.get("name", ""))
        found = await read("Asana.GetTasksWithoutId", {"keywords": wanted, "limit": 50})
        rows, time_key = _rows(found, "tasks"), "created_at"
    else:
        return None
    for row in rows:
        made = _time(row.get(time_key))
        if row.get("name") == wanted and made is not None and made >= since - CLOCK_SLACK:
            return ToolOutcome(
                "ok", {"id": row.get("id"), "note": "the response was lost; the effect was found by a search"}
            )
    return None


def _rows(outcome: ToolOutcome, key: str) -> list[Mapping[str, Any]]:
    value = outcome.value
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            return []
    rows = value.get(key) if isinstance(value, Mapping) else None
    return [r for r in rows if isinstance(r, Mapping)] if isinstance(rows, list) else []


def _addresses(text: object) -> set[str]:
    return {address.lower() for _, address in getaddresses([str(text)])}


def _time(text: object) -> datetime | None:
    """Parses a service's time: mail headers use RFC 5322 (`Mon, 23 Nov 2026 18:00:05 +0000 (UTC)`), others ISO 8601."""
    for read in (parsedate_to_datetime, datetime.fromisoformat):
        try:
            time = read(str(text).strip())
        except (ValueError, TypeError, IndexError, OverflowError):
            continue
        return time if time.tzinfo else time.replace(tzinfo=UTC)
    return None
