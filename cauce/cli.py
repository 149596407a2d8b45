"""The command line."""

from __future__ import annotations

import os
import sys
from io import TextIOWrapper

import typer

from cauce.commands.families import families
from cauce.commands.late_groups import build_groups_late
from cauce.exit_codes import MEANING, Exit, failed
from schemas.common.private_files import keep_files_private

app = typer.Typer(
    name="cauce",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="A backend for personal agents: every message answered once, in order, and no side effect repeated.\n\n"
    "Start here: `cauce up` in one terminal, `cauce chat` in another.",
    epilog="Exit codes: " + "; ".join(f"{code:d} {MEANING[code]}" for code in Exit) + ".",
)

for _family in families():
    _family.register(app)
build_groups_late(app)


def main() -> None:
    """Runs a command. An error is printed in one line; `CAUCE_DEBUG=1` shows the traceback."""
    keep_files_private()
    _take_any_text()
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(Exit.INTERRUPTED)
    except BrokenPipeError:
        sys.exit(Exit.DONE)
    except Exception as error:
        if os.environ.get("CAUCE_DEBUG"):
            raise
        sys.exit(failed(error))


def _take_any_text() -> None:
    """A terminal that cannot show a character shows `?`, and input in another encoding is decoded as far as possible, so that no
    answer fails because of one character. Names of existing files stay unchanged."""
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
