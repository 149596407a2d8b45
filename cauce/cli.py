"""The command line."""

from __future__ import annotations

import os
import sys
from io import TextIOWrapper

import typer

from cauce.commands.families import families

app = typer.Typer(
    name="cauce",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="A backend for personal agents: every message answered once, in order, and no side effect repeated.\n\n"
    "Start here: `cauce up` in one terminal, `cauce chat` in another.",
)

for _family in families():
    _family.register(app)


def main() -> None:
    """Runs a command. What goes wrong is said in one line; `CAUCE_DEBUG=1` shows where."""
    from cauce.commands.common import Exit
    from schemas.errors import CauceError, NotFound, SettingsError

    _take_any_text()
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(130)
    except CauceError as error:
        if os.environ.get("CAUCE_DEBUG"):
            raise
        print(f"cauce: {error}", file=sys.stderr)  # noqa: T201
        from cauce.running import NotRunning

        codes: tuple[tuple[type[CauceError], int], ...] = (
            (NotRunning, Exit.NOT_RUNNING),
            (SettingsError, Exit.USAGE),
            (NotFound, Exit.FAILED),
        )
        sys.exit(next((code for kind, code in codes if isinstance(error, kind)), Exit.FAILED))
    except BrokenPipeError:
        sys.exit(0)
    except Exception as error:
        if os.environ.get("CAUCE_DEBUG"):
            raise
        print(f"cauce: {type(error).__name__}: {error} (CAUCE_DEBUG=1 shows where)", file=sys.stderr)  # noqa: T201
        sys.exit(Exit.FAILED)


def _take_any_text() -> None:
    """A terminal that cannot show a character shows `?`, and what was given in another encoding is read as far as it can be: no
    answer is lost for a character. Names of files that are there stay as they are."""
    for stream in (sys.stdout, sys.stderr, sys.stdin):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")
    if all(given.isascii() for given in sys.argv):
        return
    from schemas.text import is_storable, storable_text

    sys.argv[1:] = [
        given if is_storable(given) or os.path.lexists(given.rpartition("=")[2]) else storable_text(given)
        for given in sys.argv[1:]
    ]


if __name__ == "__main__":
    main()
