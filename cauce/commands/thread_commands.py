"""`cauce threads`: reads the store, whether or not the system is running."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from cauce.commands.common import (
    ConfigOption,
    DataOption,
    JsonOption,
    TenantOption,
    UserOption,
    console,
    on_stores,
    print_json,
    settings_of,
    typed_id,
)
from cauce.commands.families import Family
from cauce.plain_output import json_text

if TYPE_CHECKING:
    from core.store_core import StoreCore
    from schemas import StoredMessage, ThreadHead

threads = typer.Typer(no_args_is_help=True, help="Read conversations.")


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.add_typer(threads, name="threads")


FAMILY = Family(register, rank=30)


@threads.command("list")
def list_threads(
    as_json: JsonOption = False,
    limit: Annotated[int, typer.Option(help="Maximum number of threads to show.")] = 50,
    data: DataOption = None,
    config: ConfigOption = None,
    tenant: TenantOption = None,
    user: UserOption = None,
) -> None:
    """List your threads, most recently changed first."""
    from cauce.opened_stores import user_of

    settings = settings_of(data, config, tenant=tenant, user=user)
    found = on_stores(settings, lambda core: core.threads.search(user_of(settings), newest=limit))
    rows = [
        {
            "thread": row.thread_id,
            "title": row.title,
            "created_at": row.created_at.isoformat(),
            "updated_at": row.updated_at.isoformat(),
        }
        for row in found
    ]
    if as_json:
        print_json(rows)
        return
    from cauce.screen import Listing

    table = Listing("thread", "title", "changed")
    for row in rows:
        table.add_row(row["thread"], row["title"], row["updated_at"][:16].replace("T", " "))
    console().print(table if rows else "There are no threads yet. Start one with: cauce chat")


@threads.command()
def show(
    thread: Annotated[str, typer.Argument(help="Id of the thread.")],
    as_json: JsonOption = False,
    limit: Annotated[int, typer.Option(help="Maximum number of messages to show.")] = 200,
    data: DataOption = None,
    config: ConfigOption = None,
    tenant: TenantOption = None,
    user: UserOption = None,
) -> None:
    """Show a thread: its messages, its open questions, and why its newest run failed, if it did."""
    from cauce.opened_stores import user_of
    from core.run_views import OVER, RunView

    typed_id("thread", thread)
    typed_id("user", user)
    settings = settings_of(data, config, tenant=tenant, user=user)

    async def read(core: StoreCore) -> tuple[ThreadHead, list[StoredMessage], RunView | None]:
        me = user_of(settings)
        head, messages = await core.threads.read(me, thread, window=limit)
        if not head.run:
            async for _, run in core.runs.listed(me, thread):
                if run.status in OVER:
                    return head, messages, run
        return head, messages, None

    head, messages, last = on_stores(settings, read)
    failed = last if last and last.status == "failed" else None
    if as_json:
        print_json(
            {
                "thread": thread,
                "title": head.title,
                "status": head.status,
                "run": head.run.run_id if head.run else None,
                "failed": {"run": failed.run_id, "code": failed.code, "message": failed.message} if failed else None,
                "queued": [q.text for q in head.queued],
                "approvals": [{"call_id": a.id, "name": a.name, "arguments": a.value} for a in head.approvals],
                "messages": [
                    s.message.model_dump(mode="json", exclude_none=True, exclude={"provider"}) for s in messages
                ],
            }
        )
        return
    from cauce.screen import one_line, styled

    out = console()
    out.print(one_line((thread, "bold"), (f" {head.status}", "dim")))
    for message in (s.message for s in messages):
        who, style = {"user": ("you", "cyan"), "assistant": ("agent", "green")}.get(message.role, ("tool", "dim"))
        text = message.text if message.role != "tool" else f"{message.tool_name}: {message.text[:300]}"
        for call in message.tool_calls:
            text += f"\n  → {call.name} {json_text(call.arguments)}"
        out.print(styled((f"{message.at:%H:%M} {who:5} ", f"bold {style}"), text))
    for asked in head.approvals:
        out.print(one_line(("needs approval: ", "yellow"), f"{asked.name} {json_text(asked.value)}"))
        for argument, known in asked.concerns.items():
            out.print(one_line((f"    {argument} is ", "dim"), known))
    if failed:
        out.print(styled((f"{failed.updated_at:%H:%M} failed ", "bold red"), f"{failed.code}: {failed.message}"))
