"""How a command ends that fails: one table from kinds of errors to exit codes, and one way to say what happened."""

from __future__ import annotations

import sys
from enum import IntEnum


class Exit(IntEnum):
    """Exit codes of all commands; docs/operations.md has them for scripts."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    NOT_RUNNING = 3
    WAITS = 4
    INTERRUPTED = 130


MEANING = {
    Exit.DONE: "done",
    Exit.FAILED: "it failed, or what was looked at is not as it should be",
    Exit.USAGE: "it cannot be done as it was asked for, or as the settings are",
    Exit.NOT_RUNNING: "Cauce does not run here",
    Exit.WAITS: "the run waits for an approval",
    Exit.INTERRUPTED: "stopped with Ctrl-C",
}
WHAT_NEXT = {
    "tenant_not_found": "list them with: cauce tenant list",
    "tenant_exists": "change it with: cauce tenant set",
    "thread_not_found": "list yours with: cauce threads list",
    "key_not_found": "list them with: cauce tenant key list",
}
"""By codes of refusals: what a person at a terminal does then."""


def codes() -> dict[type[Exception], Exit]:
    """What each kind of error ends a command with; the nearest kind counts."""
    from cauce.running import NotRunning
    from core import refusals
    from schemas import SettingsError

    return {
        NotRunning: Exit.NOT_RUNNING,
        SettingsError: Exit.USAGE,
        refusals.Invalid: Exit.USAGE,
        refusals.Conflict: Exit.USAGE,
        refusals.Missing: Exit.FAILED,
        refusals.Forbidden: Exit.FAILED,
        refusals.Expired: Exit.FAILED,
        refusals.Limited: Exit.FAILED,
        refusals.NotNow: Exit.FAILED,
        refusals.Broken: Exit.FAILED,
        Exception: Exit.FAILED,
    }


def words_of(error: Exception) -> str:
    """What happened and what to do, in one line."""
    from core.refusals import Refused
    from schemas import CauceError

    if isinstance(error, Refused):
        words = error.detail[:1].lower() + error.detail[1:].rstrip(".")
        return f"{words}; {WHAT_NEXT[error.code]}" if error.code in WHAT_NEXT else words
    if isinstance(error, CauceError):
        return str(error)
    return f"{type(error).__name__}: {error} (CAUCE_DEBUG=1 shows where)"


def complain(words: str) -> None:
    """Says at the terminal what went wrong."""
    print(f"cauce: {words}", file=sys.stderr)  # noqa: T201


def failed(error: Exception) -> Exit:
    """Says what went wrong; how the command ends."""
    complain(words_of(error))
    known = codes()
    return next(known[kind] for kind in type(error).__mro__ if kind in known)
