"""Every command shows what others wrote, and the terminal obeys none of it."""

from __future__ import annotations

import asyncio
import json
import unicodedata
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from running_system import RunningSystem
from typer.testing import CliRunner
from waiting import until

from cauce.cli import app
from cauce.settings import load_settings
from core.principal import OPERATOR
from core.store_core import StoreCore
from core.tenant_settings import TenantChange
from core.user_settings import UserChange
from schemas import (
    ActiveRun,
    AuditEvent,
    Commit,
    Envelope,
    FinishedRun,
    Message,
    Output,
    PendingCall,
    StoredMessage,
    ThreadHead,
    ToolCall,
    Topic,
    UserMessage,
    new_id,
)
from state import AuditRow, Stores
from streams.record_producer import RecordProducer

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ACTS = [chr(n) for n in range(0x110000) if unicodedata.category(chr(n)) in ("Cc", "Cf", "Zl", "Zp")]
HOSTILE = "\u202e[/nonsense]" + "".join(c for c in ACTS if c != "\0")
"""All of them but NUL, which no store takes."""

SHOWN = [
    ("threads", "list", "--tenant", "acme", "--user", "ana"),
    ("threads", "list", "--tenant", "acme", "--user", "ana", "--json"),
    ("threads", "show", "t", "--tenant", "acme", "--user", "ana"),
    ("threads", "show", "t", "--tenant", "acme", "--user", "ana", "--json"),
    ("audit", "tail", "--tenant", "acme"),
    ("audit", "tail", "--tenant", "acme", "--json"),
    ("audit", "export", "--tenant", "acme"),
    ("tenant", "list"),
    ("tenant", "list", "--json"),
    ("tenant", "show", "acme"),
    ("tenant", "show", "acme", "--json"),
    ("tenant", "key", "list", "acme"),
    ("tenant", "key", "list", "acme", "--json"),
    ("user", "list", "acme"),
    ("user", "list", "acme", "--json"),
]
"""Commands that read a store which others have written to."""


async def fill(stores: Stores) -> None:
    """As people, models, tools and mails could."""
    core = StoreCore(stores)
    await core.tenants.add(OPERATOR, "acme", name=HOSTILE)
    change = TenantChange(agent_id="default", agent={"instructions": HOSTILE, "tools": (HOSTILE,)})
    await core.tenants.change(OPERATOR, "acme", change, check_model=lambda name: None)
    await core.users.change(OPERATOR, "acme", "ana", UserChange(name=HOSTILE))
    await core.keys.create(OPERATOR, "acme", "ana", name=HOSTILE)
    row = AuditRow("e", 0, AuditEvent(at=NOW, action=HOSTILE[:100], actor=HOSTILE, subject=HOSTILE, reason=HOSTILE))
    await stores.audit.append("acme", [row])
    run: dict[str, Any] = {"input_id": "i", "run_id": "r", "user_id": "ana", "agent_id": "default", "at": NOW}
    call = ToolCall(call_id="c", name="\x1b[2J\u202e[/nonsense]", arguments={HOSTILE: HOSTILE})
    head = ThreadHead(
        user_id="ana",
        created_at=NOW,
        updated_at=NOW,
        title=HOSTILE,
        next_message=4,
        run=ActiveRun(**run, first_message=1, started_at=NOW, resumed_at=NOW),
        pending=(PendingCall(call=call, state="approval", concerns={HOSTILE: HOSTILE}),),
        last=FinishedRun(run_id="r", outcome="failed", code="x", message=HOSTILE),
    )
    said = {"message_id": "m", "text": HOSTILE, "run_id": "r", "at": NOW}
    messages = (
        Message(**said, role="user"),
        Message(**said, role="assistant", tool_calls=(call,)),
        Message(**said, role="tool", call_id="c", tool_name="\x1b[2J\u202e"),
    )
    stored = tuple(StoredMessage(seq=n, message=message) for n, message in enumerate(messages, 1))
    batch = Commit(input_id="i", expected_version=0, head=head, outputs=b"", messages=stored)
    await stores.journal.commit("acme", "t", batch)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from cauce.opened_stores import opened_stores

    folder = tmp_path_factory.mktemp("shown")

    async def make() -> None:
        async with opened_stores(load_settings(data=folder), create=True) as stores:
            await stores.migrate()
            await fill(stores)

    asyncio.run(make())
    return folder


def check(shown: str) -> None:
    assert {ascii(c) for c in shown if c in ACTS and c != "\n"} == set()


@pytest.mark.parametrize("command", SHOWN, ids=" ".join)
def test_command_shows_it_and_obeys_none_of_it(data: Path, command: tuple[str, ...]) -> None:
    done = CliRunner().invoke(app, [*command, "--data", str(data)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    check(done.output)
    assert "\\u202e" in done.stdout
    assert "[/nonsense]" in done.stdout
    if "--json" in command:
        first = done.stdout.splitlines()[0] if command[0] == "audit" else done.stdout
        assert "\u202e" in json.dumps(json.loads(first), ensure_ascii=False)


def test_commands_of_dead_letters_and_answers_show_it_too(system: RunningSystem) -> None:
    async def send() -> None:
        envelope = Envelope(new_id("m"), UserMessage.TYPE, "test", "home", NOW)
        head = (*envelope.headers(), ("x\u202ey", HOSTILE.encode()))
        producer = RecordProducer(system.kafka, seconds=120)
        await producer.connect()
        await producer.send(Output(Topic.CHAT_MESSAGES, "home:t", HOSTILE.encode(), head))
        await producer.stop()

    asyncio.run(send())
    until(lambda: bool(system.json("dlq", "list", "--json")))
    number = system.json("dlq", "list", "--json")[0]["number"]
    check(system.cauce("dlq", "list").stdout)
    check(system.cauce("dlq", "show", number).stdout)
    check(system.cauce("dlq", "list", "--json").stdout)
    for asked in (system.cauce("ask", HOSTILE), system.cauce("ask", HOSTILE, "--json")):
        check(asked.stdout + asked.stderr)
    for wrong in (("threads", "show", HOSTILE), ("tenant", "show", HOSTILE), ("audit", "export", "--since", HOSTILE)):
        refused = system.cauce(*wrong)
        assert refused.returncode
        check(refused.stdout + refused.stderr)
