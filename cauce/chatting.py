"""The terminal chat: prompt, stream, tool calls, approvals.

The prompt blocks in the main thread, outside the event loop, so that Ctrl-C behaves as users expect: at the prompt it exits,
during a run it stops the run.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import termios
import tty
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from cauce.approval_text import approval_lines, is_cut
from cauce.foreign_text import foreign_line
from cauce.lines import Line
from cauce.plain_output import json_text
from cauce.screen import Screen, one_line, styled
from cauce.transcript import Transcript
from schemas import (
    ID_RULE,
    ApprovalRequested,
    TooLarge,
    is_id,
    new_id,
)

T = TypeVar("T")
LEAVE_SECONDS = 3.0
"""How long leaving the chat waits for connections to close, at most."""
HELP = """/threads     your threads, most recently changed first
/open ID     continue in another thread
/new         start a new thread
/history     the messages of this thread
/quit        leave (or Ctrl-D); Ctrl-C stops a run"""


class Chat:
    """One user's chat session at one terminal."""

    def __init__(self, line: Line, thread: str | None) -> None:
        self._line = line
        self._thread = thread or new_id("t")
        self._out = Screen()
        self._shown = Transcript(self._out)

    def loop(self) -> None:
        """Runs the chat until the user leaves."""
        with asyncio.Runner() as runner:
            self._runner = runner
            self._do(self._line.open())
            try:
                self._greet()
                self._decide_open(runner)
                while (line := self._prompt()) is not None:
                    if line.startswith("/"):
                        if not self._command(line):
                            break
                    elif line:
                        self._converse(line)
            finally:
                self._do(self._leave())

    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(work)

    async def _leave(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LEAVE_SECONDS):
                await self._line.close()

    def _greet(self) -> None:
        self._out.print(
            one_line(("Cauce", "bold"), (f" thread {self._thread} — /help for more, Ctrl-D to leave", "dim"))
        )

    def _prompt(self) -> str | None:
        try:
            if sys.stdin.isatty():
                self._out.print()
                return self._out.input(styled(("you ›", "bold cyan"), " ")).strip()
            line = sys.stdin.readline()
            return line.strip() if line else None
        except (EOFError, KeyboardInterrupt):
            self._out.print()
            return None

    def _converse(self, text: str) -> None:
        try:
            self._follow(self._do(self._line.send(self._thread, text)))
        except TooLarge as error:
            self._out.print(styled((str(error), "yellow")))

    def _follow(self, run: str) -> None:
        """Shows a run until it ends, asking the user to decide on each approval."""
        while True:
            self._shown.taken()
            self._do(self._show(run))
            asked_for = self._shown.taken()
            if not asked_for:
                return
            for asked in asked_for:
                if not self._decide(asked):
                    return

    async def _show(self, run: str) -> None:
        """Prints a run until it ends or pauses, or why it was not accepted. Ctrl-C cancels the run."""
        showing = asyncio.ensure_future(self._print_events(run))
        refused = asyncio.ensure_future(self._line.refused(run))
        try:
            await asyncio.wait((showing, refused), return_when=asyncio.FIRST_COMPLETED)
            if not showing.done():
                showing.cancel()
                self._out.print(styled((f"not accepted: {refused.result()}", "yellow")))
            elif not showing.cancelled():
                showing.result()
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task:
                task.uncancel()
            self._out.print("stopping ...", style="yellow")
            await self._line.cancel(self._thread, run)
            await asyncio.wait_for(showing, 30)
        finally:
            refused.cancel()
            await asyncio.wait([refused], timeout=LEAVE_SECONDS)  # closing its consumer needs the running loop

    async def _print_events(self, run: str) -> None:
        async for event in self._line.events(self._thread, run):
            self._shown.show(event)

    def _decide(self, asked: ApprovalRequested) -> bool:
        """Asks the user about a tool call. False when it is left open."""
        arguments, edited = asked.arguments, set[str]()
        self._print_approval(asked, arguments, edited)
        while True:
            show = "[s]how all  " if is_cut(arguments) else ""
            key = self._key(f"  [a]pprove  [e]dit  [r]eject  [t]ell it something  {show}[l]ater ")
            if key in ("a", "y") and edited:
                self._do(self._line.decide(self._thread, asked.call_id, "edit", arguments=arguments))
            elif key in ("a", "y"):
                self._do(self._line.decide(self._thread, asked.call_id, "approve"))
            elif key in ("r", "n"):
                reason = self._answer_line("  reason (may be empty): ")
                self._do(self._line.decide(self._thread, asked.call_id, "reject", message=reason or None))
            elif key == "e":
                if (changed := self._edited(arguments)) is not None:
                    arguments = changed
                    edited = {name for name, value in arguments.items() if value != asked.arguments[name]}
                    self._print_approval(asked, arguments, edited)
                continue
            elif key == "s":
                self._print_approval(asked, arguments, edited, whole=True)
                continue
            elif key == "t":
                if not (text := self._answer_line("  text to use as the result: ")):
                    continue
                self._do(self._line.decide(self._thread, asked.call_id, "respond", message=text))
            elif key in ("l", ""):
                self._out.print("  left open; you can decide at any time", style="dim")
                return False
            else:
                continue
            return True

    def _print_approval(
        self, asked: ApprovalRequested, arguments: dict[str, Any], edited: set[str], *, whole: bool = False
    ) -> None:
        self._out.print()
        for line in approval_lines(asked, arguments, edited=edited, whole=whole):
            self._out.print(line)

    def _key(self, question: str) -> str:
        """One key press from a terminal; from other input, the first letter of a line."""
        if not sys.stdin.isatty():
            self._out.print(question, style="bold")
            return sys.stdin.readline().strip()[:1].lower()
        with _single_keys() as read_key:
            self._out.print(question, style="bold", end="")
            key = read_key()
        self._out.print(key if key.isprintable() else "")
        return key.lower() if key.isprintable() else ""

    def _answer_line(self, question: str) -> str:
        if not sys.stdin.isatty():
            return sys.stdin.readline().strip()
        try:
            return self._out.input(styled(question)).strip()
        except EOFError:
            return ""

    def _edited(self, arguments: dict[str, Any]) -> dict[str, Any] | None:
        """The arguments after asking for each; an empty line keeps the current value. None if one is not valid JSON."""
        edited = dict(arguments)
        for name, value in arguments.items():
            present = value if isinstance(value, str) else json_text(value)
            text = self._answer_line(f"  {foreign_line(name)} [{foreign_line(present)}]: ")
            if text:
                try:
                    edited[name] = text if isinstance(value, str) else json.loads(text)
                except ValueError:
                    problem = f"  {text} is not valid JSON, and {name} is not a string"
                    self._out.print(one_line((problem, "red")))
                    return None
        return edited

    def _command(self, line: str) -> bool:
        """Runs a line that begins with a slash. Returns False to leave the chat."""
        name, _, argument = line[1:].partition(" ")
        if name in ("quit", "exit", "q"):
            return False
        if name == "help":
            self._out.print(HELP, style="dim")
        elif name == "new":
            self._thread = new_id("t")
            self._greet()
        elif name == "open" and not is_id(argument.strip()):
            problem = f"{argument} cannot be the id of a thread: it may have {ID_RULE}"
            self._out.print(one_line((problem, "yellow")))
        elif name == "open":
            self._thread = argument.strip()
            self._greet()
            self._do(self._print_history(6))
            self._decide_open(self._runner)
        elif name == "threads":
            self._do(self._print_threads())
        elif name == "history":
            self._do(self._print_history(100))
        else:
            self._out.print(one_line((f"unknown command /{name}; /help lists all commands", "yellow")))
        return True

    async def _print_threads(self) -> None:
        for row in await self._line.threads(limit=20):
            mark = "›" if row.thread_id == self._thread else " "
            changed = f"  {row.updated_at:%Y-%m-%d %H:%M}  "
            self._out.print(one_line(f"{mark} {row.thread_id}", (changed, "dim"), row.title))

    async def _print_history(self, limit: int) -> None:
        for message in await self._line.messages(self._thread, limit=limit):
            if message.role == "user":
                self._out.print(styled(("you › ", "bold cyan"), message.text))
            elif message.role == "assistant" and message.text:
                self._out.print(styled(("agent › ", "bold green"), message.text))
            elif message.role == "tool":
                self._out.print(one_line((f"  {message.tool_name or ''}: {message.text[:100]}", "dim")))

    def _decide_open(self, runner: asyncio.Runner) -> None:
        """Asks for a decision on each open approval of the thread."""
        open_calls, run = runner.run(self._line.open_approvals(self._thread))
        for asked in open_calls:
            if not self._decide(asked):
                return
        if open_calls and run:
            self._follow(run)


@contextmanager
def _single_keys() -> Iterator[Callable[[], str]]:
    """Yields a function that reads one key without waiting for Enter; it returns "" for Ctrl-C and a closed terminal.

    Discards earlier input, so that no key typed for another purpose approves a call. Print the question inside the block.
    """
    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)

    def read_key() -> str:
        try:
            return os.read(terminal, 32).decode(errors="replace")
        except KeyboardInterrupt:
            return ""

    tty.setcbreak(terminal, termios.TCSAFLUSH)
    try:
        yield read_key
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)
