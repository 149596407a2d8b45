"""`cauce ask` and `cauce chat`."""

from __future__ import annotations

from typing import Annotated

import typer

from cauce.commands.common import (
    ConfigOption,
    DataOption,
    JsonOption,
    TenantOption,
    UserOption,
    print_json,
    settings_of,
    typed_id,
)
from cauce.commands.families import Family
from cauce.exit_codes import Exit, complain
from cauce.plain_output import say

ThreadOption = Annotated[str | None, typer.Option("--thread", "-t", help="Thread to use; a new one by default.")]


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command()(ask)
    app.command()(chat)


FAMILY = Family(register, rank=20)


def ask(
    text: Annotated[str, typer.Argument(help="What to ask.")],
    thread: ThreadOption = None,
    as_json: JsonOption = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Approve every tool call that needs approval.")] = False,
    timeout: Annotated[float, typer.Option(help="Seconds to wait for the answer.")] = 120,
    data: DataOption = None,
    config: ConfigOption = None,
    tenant: TenantOption = None,
    user: UserOption = None,
) -> None:
    """Ask one question and print the answer.

    Exit code 0: answered. 4: the run needs your approval (decide in `cauce chat`, or use --yes). 1: the run failed.
    """
    import asyncio

    from cauce.asking import ask_once
    from cauce.running import connected

    typed_id("thread", thread)
    typed_id("user", user)
    settings = connected(settings_of(data, config, tenant=tenant, user=user), wait=10)
    answer = asyncio.run(ask_once(settings, text, thread=thread, approve=yes, timeout=timeout))
    if as_json:
        print_json(answer.as_dict())
    elif answer.state == "completed":
        say(answer.text)
    if answer.explanation and not as_json:
        complain(answer.explanation)
    codes = {"completed": Exit.DONE, "approval": Exit.WAITS}
    raise typer.Exit(codes.get(answer.state, Exit.FAILED))


def chat(
    thread: ThreadOption = None,
    data: DataOption = None,
    config: ConfigOption = None,
    tenant: TenantOption = None,
    user: UserOption = None,
    url: Annotated[
        str | None, typer.Option("--url", help="Connect over HTTP to this gateway, with the key in CAUCE_KEY.")
    ] = None,
) -> None:
    """Chat with your agent in the terminal.

    Tokens and tool calls are shown live, and side effects ask for your approval first.
    Ctrl-C stops the active run. In the chat, /help lists the commands.

    From another machine: `CAUCE_KEY=... cauce chat --url http://127.0.0.1:8123`; create keys with `cauce tenant key create home`.
    """
    import os

    from cauce.chatting import Chat
    from cauce.lines import KafkaLine, Line

    typed_id("thread", thread)
    typed_id("user", user)
    line: Line
    if url:
        from connectors.chat_client.http_client import HttpChatClient
        from schemas import SettingsError

        key = os.environ.get("CAUCE_KEY")
        if not key:
            raise SettingsError("set CAUCE_KEY to an API key; create one with: cauce tenant key create home")
        line = HttpChatClient(url, key)
    else:
        from cauce.running import connected

        line = KafkaLine(connected(settings_of(data, config, tenant=tenant, user=user), wait=10))
    Chat(line, thread).loop()
