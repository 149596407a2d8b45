"""How commands fail: one table from error classes to exit codes, and one way to report an error."""

from __future__ import annotations

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
    Exit.FAILED: "it failed, or a check found a problem",
    Exit.USAGE: "the arguments or the settings do not allow it",
    Exit.NOT_RUNNING: "Cauce is not running here",
    Exit.WAITS: "the run needs an approval",
    Exit.INTERRUPTED: "stopped with Ctrl-C",
}
WHAT_NEXT = {
    "tenant_not_found": "list them with: cauce tenant list",
    "tenant_exists": "change it with: cauce tenant set",
    "thread_not_found": "list yours with: cauce threads list",
    "key_not_found": "list them with: cauce tenant key list",
}
"""What a user at a terminal can do next, by code of the refusal."""


def codes() -> dict[type[Exception], Exit]:
    """The exit code for each error class; the most specific class counts."""
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


def error_line(error: Exception) -> str:
    """What happened and what to do, in one line."""
    from core.refusals import Refused
    from schemas import CauceError

    if isinstance(error, Refused):
        detail = error.detail[:1].lower() + error.detail[1:].rstrip(".")
        return f"{detail}; {WHAT_NEXT[error.code]}" if error.code in WHAT_NEXT else detail
    if isinstance(error, CauceError):
        return str(error)
    return f"{type(error).__name__}: {error} (CAUCE_DEBUG=1 shows where)"


def complain(message: str) -> None:
    """Prints an error to standard error."""
    from cauce.plain_output import say

    say(f"cauce: {message}", err=True)


def failed(error: Exception) -> Exit:
    """Prints the error; returns the command's exit code."""
    complain(error_line(error))
    known = codes()
    return next(known[kind] for kind in type(error).__mro__ if kind in known)
