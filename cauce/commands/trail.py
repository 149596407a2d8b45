"""`cauce audit` and `cauce dlq`: the audit trail and dead letters."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cauce.commands.common import (
    ConfigOption,
    DataOption,
    JsonOption,
    TenantOption,
    console,
    print_json,
    settings_of,
)
from cauce.commands.families import Family
from cauce.exit_codes import Exit
from cauce.opened_stores import opened_core
from cauce.plain_output import json_text, say, say_line

if TYPE_CHECKING:
    from core.audit_reader import AuditPlace, AuditRow
    from core.store_core import StoreCore
    from streams.dead_letters import DeadLetterRow

audit = typer.Typer(no_args_is_help=True, help="Read the audit trail.")
dlq = typer.Typer(no_args_is_help=True, help="List, show and replay dead letters.")

OfUserOption = Annotated[
    str | None, typer.Option("--user", help="Only events of this user: what was done by the user, and about the user.")
]
NumberArgument = Annotated[str, typer.Argument(help="Number of the dead letter, such as 0-17.")]


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.add_typer(audit, name="audit")
    app.add_typer(dlq, name="dlq")


FAMILY = Family(register, rank=60)


def _row(row: AuditRow) -> dict[str, Any]:
    return {"id": row.event_id, "position": row.position, **row.event.model_dump(mode="json", exclude_none=True)}


@audit.command()
def tail(
    limit: Annotated[int, typer.Option("--limit", "-n", help="Maximum number of events to show.")] = 20,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Keep showing new events.")] = False,
    user: OfUserOption = None,
    as_json: JsonOption = False,
    data: DataOption = None,
    config: ConfigOption = None,
    tenant: TenantOption = None,
) -> None:
    """Show the newest events of a tenant, or of one of its users, oldest first."""
    import asyncio

    from core.principal import OPERATOR

    settings = settings_of(data, config, tenant=tenant)
    from cauce.screen import one_line

    out = console()

    def line(row: AuditRow) -> None:
        event = row.event
        if as_json:
            say(json_text(_row(row)))
            return
        style = {"ok": "green", "refused": "yellow", "failed": "red", "unknown": "magenta"}[event.outcome]
        rest = " ".join(
            filter(None, (event.subject, event.reason, f"thread={event.thread_id}" if event.thread_id else ""))
        )
        at, outcome = f"{event.at:%Y-%m-%d %H:%M:%S} ", f"{event.outcome:8} "
        out.print(one_line((at, "dim"), (outcome, style), f"{event.action:22} ", (f"{event.actor} ", "dim"), rest))

    async def newest(core: StoreCore) -> list[AuditRow]:
        found: list[AuditRow] = []
        before: AuditPlace | None = None
        while len(found) < limit:
            left = limit - len(found)
            page = await core.audit.tail(OPERATOR, settings.tenant, limit=left, user_id=user, before=before)
            found, before = [*page, *found], page.next
            if before is None:
                break
        return found

    async def run() -> None:
        async with opened_core(settings) as core:
            last = -1
            while True:
                rows = [row for row in await newest(core) if row.position > last]
                for row in rows:
                    line(row)
                    last = row.position
                if not follow:
                    return
                await asyncio.sleep(1)

    asyncio.run(run())


@audit.command()
def export(
    since: Annotated[str | None, typer.Option(help="Start at this time, such as 2026-01-31.")] = None,
    user: OfUserOption = None,
    data: DataOption = None,
    config: ConfigOption = None,
    tenant: TenantOption = None,
) -> None:
    """Print all events of a tenant, or of one of its users, in order, one JSON object per line.

    Example: `cauce audit export > audit.jsonl`
    """
    import asyncio
    from datetime import UTC, datetime

    from core.principal import OPERATOR
    from schemas import SettingsError

    settings = settings_of(data, config, tenant=tenant)
    begin = None
    if since:
        try:
            begin = datetime.fromisoformat(since)
        except ValueError as error:
            raise SettingsError(f"--since {since!r} is not a time; write for example 2026-01-31T12:00") from error
        begin = begin if begin.tzinfo else begin.replace(tzinfo=UTC)

    async def run() -> None:
        async with opened_core(settings) as core:
            async for row in core.audit.export(OPERATOR, settings.tenant, since=begin, user_id=user):
                say(json_text(_row(row)))

    asyncio.run(run())


def _text(encoded: str) -> str | None:
    """The bytes in base64, decoded as text; None if it is not base64."""
    try:
        return base64.b64decode(encoded).decode("utf-8", "replace")
    except ValueError:
        return None


def _letter(row: DeadLetterRow) -> dict[str, Any]:
    letter = row.letter.model_dump(mode="json")
    for key in ("key", "value"):
        letter[key] = None if letter[key] is None else _text(letter[key])
    letter["headers"] = {n: _text(v or "") for n, v in letter["headers"]}
    return {"number": row.number, **letter}


@dlq.command("list")
def list_letters(
    limit: Annotated[int, typer.Option("--limit", "-n", help="Maximum number to show.")] = 20,
    as_json: JsonOption = False,
    data: DataOption = None,
    config: ConfigOption = None,
) -> None:
    """List the newest dead letters, oldest first."""
    import asyncio

    from cauce.running import connected
    from streams.dead_letters import list_dead_letters

    settings = connected(settings_of(data, config))
    rows = asyncio.run(list_dead_letters(settings.kafka_servers, limit=limit))
    if as_json:
        print_json([_letter(row) for row in rows])
        return
    from cauce.screen import Listing

    table = Listing("number", "when", "group", "record", "reason")
    for row in rows:
        letter = row.letter
        where = f"{letter.topic}/{letter.partition}/{letter.offset}"
        table.add_row(row.number, f"{letter.at:%Y-%m-%d %H:%M:%S}", letter.group, where, letter.reason)
    console().print(table if rows else "There are no dead letters.")


@dlq.command()
def show(number: NumberArgument, data: DataOption = None, config: ConfigOption = None) -> None:
    """Show one dead letter as JSON: the original record, and why it could not be processed."""
    import asyncio

    from cauce.running import connected
    from streams.dead_letters import find_dead_letter

    settings = connected(settings_of(data, config))
    print_json(_letter(asyncio.run(find_dead_letter(settings.kafka_servers, number))))


@dlq.command()
def replay(
    numbers: Annotated[list[str], typer.Argument(help="Numbers of dead letters.")],
    data: DataOption = None,
    config: ConfigOption = None,
) -> None:
    """Send records again to the topic they came from, once the cause is fixed.

    Their ids stay the same, so nothing is done twice. Records that cannot be sent are listed, and the exit code is then 1; the
    others are sent.
    """
    import asyncio

    from cauce.operator_notes import note
    from cauce.running import connected
    from schemas import Action, NotFound
    from streams import dead_letters

    settings = connected(settings_of(data, config))
    kafka = settings.kafka_servers

    async def run() -> tuple[int, list[str]]:
        rows, problems = list[dead_letters.DeadLetterRow](), list[str]()
        for number in dict.fromkeys(numbers):
            try:
                row = await dead_letters.find_dead_letter(kafka, number)
                if not row.records:
                    raise NotFound("its batch has no records at the offsets that were given up")
                rows.append(row)
            except NotFound as error:
                problems.append(f"{number}: {error}")
        sent = await dead_letters.replay(kafka, rows) if rows else 0
        for row in rows:
            was = f"{row.letter.topic}/{row.letter.partition}/{row.letter.offset}"
            await note(kafka, Action.RECORD_REPLAYED, subject=was, dead_letter=row.number)
        return sent, problems

    sent, problems = asyncio.run(run())
    say_line(f"replayed {sent}")
    for problem in problems:
        say_line(f"not replayed: {problem}", err=True)
    if problems:
        raise typer.Exit(Exit.FAILED)
