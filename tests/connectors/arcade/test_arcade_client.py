"""Unmodified arcadepy against the emulated engine, over a socket."""

from __future__ import annotations

import asyncio
import secrets
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from emulated import Emulated, emulators

from connectors.arcade import ArcadeClient, Catalogue, arcade_user_id
from connectors.arcade import arcade_client as client_module
from connectors.arcade.reconcile import find_effect
from connectors.arcade.tool_spec import tool_spec
from connectors.emulators.asana_tools import TOOLS as ASANA_TOOLS
from connectors.emulators.gmail_tools import TOOLS as GMAIL_TOOLS
from connectors.toolset import ToolOutcome, ToolSpec
from schemas import Unavailable

USER = arcade_user_id("acme", "u1")


@pytest.fixture
async def arcade(emulated: Emulated) -> AsyncIterator[ArcadeClient]:
    client = ArcadeClient(emulated.base_url, emulated.api_key, timeout=120)
    yield client
    await client.close()


@pytest.fixture
def unique() -> str:
    return f"s{secrets.token_hex(6)}"


def spec(qualified_name: str, *parameters: str, version: str = "") -> ToolSpec:
    """A tool whose arguments are all text."""
    described = [{"name": name, "value_schema": {"val_type": "string"}} for name in parameters]
    toolkit = {"version": version}
    return tool_spec({"qualified_name": qualified_name, "toolkit": toolkit, "input": {"parameters": described}})


SEND = spec("Gmail.SendEmail", "subject", "body", "recipient")
CREATE = spec("Asana.CreateTask", "name", "project")
LIST_DRAFTS = spec("Gmail.ListDraftEmails")


def mail(subject: str) -> dict[str, str]:
    return {"subject": subject, "body": "Hello", "recipient": "ana@correo.example"}


@asynccontextmanager
async def answering(answer: bytes, content_type: str = "application/json", status: int = 200) -> AsyncIterator[str]:
    """A server that gives every request this answer; yields its address."""
    head = f"HTTP/1.1 {status} x\r\ncontent-type: {content_type}\r\ncontent-length: {len(answer)}\r\n"

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(head.encode() + b"connection: close\r\n\r\n" + answer)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


def test_a_user_s_id_at_arcade_differs_between_tenants() -> None:
    assert arcade_user_id("acme", "ana") == "t_acme:u_ana"
    assert arcade_user_id("acme", "ana") != arcade_user_id("lumen", "ana")


@pytest.mark.parametrize("page", [1, 5, 8, 16, 100])
async def test_every_page_of_the_catalogue_is_read(
    arcade: ArcadeClient, monkeypatch: pytest.MonkeyPatch, page: int
) -> None:
    monkeypatch.setattr(client_module, "PAGE", page)
    names = [definition["qualified_name"] for definition in await arcade.list_tools()]
    assert len(names) == len(set(names)) == len(GMAIL_TOOLS) + len(ASANA_TOOLS)


async def test_the_catalogue_knows_the_tools_by_the_names_that_models_use(arcade: ArcadeClient) -> None:
    tool = await Catalogue(arcade.list_tools).get("Gmail_SendEmail")
    assert tool is not None
    assert tool.parameters["required"] == ["subject", "body", "recipient"]
    assert (tool.provider, tool.read_only, tool.idempotent) == ("google", False, False)
    assert tool.scopes == ("https://www.googleapis.com/auth/gmail.send",)


async def test_a_tool_of_the_catalogue_can_be_called_as_it_is_described(
    arcade: ArcadeClient, emulated: Emulated, unique: str
) -> None:
    tool = (await Catalogue(arcade.list_tools).tools())["Gmail_SendEmail"]
    outcome = await arcade.execute(tool=tool, arguments={**mail(unique), "cc": ["b@c.example"]}, user_id=USER)
    assert outcome.kind == "ok"
    assert outcome.value["subject"] == unique
    assert outcome.execution_id
    assert len(await emulated.effects(unique)) == 1


async def test_an_empty_result_is_a_result(arcade: ArcadeClient) -> None:
    outcome = await arcade.execute(tool=LIST_DRAFTS, arguments={}, user_id=USER)
    assert (outcome.kind, outcome.value) == ("ok", {"drafts": []})


@pytest.mark.parametrize("value", ["[]", "0", '""', "false", "null", "{}"])
async def test_a_falsy_value_in_the_answer_is_a_result(value: str) -> None:
    body = f'{{"id": "te_1", "success": true, "status": "completed", "output": {{"value": {value}}}}}'
    async with answering(body.encode()) as address:
        client = ArcadeClient(address, "key")
        assert (await client.execute(tool=LIST_DRAFTS, arguments={}, user_id=USER)).kind == "ok"
        await client.close()


async def test_bad_arguments_are_told_and_not_sent(arcade: ArcadeClient, emulated: Emulated, unique: str) -> None:
    tool = (await Catalogue(arcade.list_tools).tools())["Gmail_SendEmail"]
    user = arcade_user_id("acme", unique)
    arguments = {"subject": unique, "body": 3, "colour": "red"}
    outcome = await arcade.execute(tool=tool, arguments=arguments, user_id=user)
    assert outcome.kind == "tell_model"
    assert all(words in outcome.message for words in ("recipient is missing", "body must be", "no argument 'colour'"))
    assert await emulated.executions("Gmail.SendEmail", user) == 0


async def test_null_stands_for_an_argument_that_is_not_given(arcade: ArcadeClient) -> None:
    tool = (await Catalogue(arcade.list_tools).tools())["Gmail_ListEmails"]
    arguments = {"n_emails": None, "exclude_automated": None}
    outcome = await arcade.execute(tool=tool, arguments=arguments, user_id=USER)
    assert outcome.kind == "ok"


async def test_a_tool_that_the_engine_does_not_know_is_told_to_the_model(arcade: ArcadeClient) -> None:
    outcome = await arcade.execute(tool=spec("Gmail.ReadMinds"), arguments={}, user_id=USER)
    assert (outcome.kind, outcome.message, outcome.status) == ("tell_model", "tool not found", 404)


async def test_a_hint_of_a_tool_reaches_the_model(arcade: ArcadeClient, unique: str) -> None:
    arguments = {"name": unique, "project": "Garden"}
    outcome = await arcade.execute(tool=CREATE, arguments=arguments, user_id=USER)
    assert outcome.kind == "tell_model"
    assert "The projects are: Work, Home" in outcome.message


async def test_a_wrong_key_halts(emulated: Emulated) -> None:
    client = ArcadeClient(emulated.base_url, "wrong")
    outcome = await client.execute(tool=LIST_DRAFTS, arguments={}, user_id=USER)
    assert (outcome.kind, outcome.status) == ("halt", 401)
    words = await client.healthy()
    assert words == f"Arcade at {emulated.base_url} answers HTTP 401 (check ARCADE_API_KEY)"
    with pytest.raises(Unavailable, match="401"):
        await client.list_tools()
    await client.close()


async def test_an_engine_that_answers_is_healthy(arcade: ArcadeClient) -> None:
    assert await arcade.healthy() is None


async def test_a_user_without_a_connected_account_needs_authorization(tmp_path: Path, unique: str) -> None:
    async with emulators(tmp_path, auto_connect=False) as emulated:
        client = ArcadeClient(emulated.base_url, emulated.api_key)
        outcome = await client.execute(tool=SEND, arguments=mail(unique), user_id=USER)
        assert (outcome.kind, outcome.status) == ("needs_authorization", 403)
        assert await emulated.effects(unique) == []
        await client.close()


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "status_after", "status": 502},
        {"kind": "status_after", "status": 504},
        {"kind": "status_after", "status": 408},
        {"kind": "cut_after"},
    ],
    ids=lambda fault: "-".join(map(str, fault.values())),
)
@pytest.mark.parametrize("tool", [SEND, CREATE], ids=lambda tool: tool.name)
async def test_an_answer_lost_after_the_effect_is_unknown_found_by_a_read_and_never_repeated(
    arcade: ArcadeClient, emulated: Emulated, unique: str, tool: ToolSpec, fault: dict[str, Any]
) -> None:
    arguments = mail(unique) if tool is SEND else {"name": unique}
    since = datetime.now(UTC)
    await emulated.fault(**fault, match=tool.qualified_name, times=3)
    outcome = await arcade.execute(tool=tool, arguments=arguments, user_id=USER)
    assert outcome.kind == "unknown"
    effects = await emulated.effects(unique)
    assert len(effects) == 1

    found = await arcade.reconcile(tool=tool, arguments=arguments, user_id=USER, since=since)
    assert found is not None
    assert (found.kind, found.value["id"]) == ("ok", effects[0]["id"])
    assert len(await emulated.effects(unique)) == 1


@pytest.mark.parametrize("tool", [SEND, CREATE], ids=lambda tool: tool.name)
async def test_what_was_never_made_is_not_found(arcade: ArcadeClient, unique: str, tool: ToolSpec) -> None:
    arguments = mail(unique) if tool is SEND else {"name": unique}
    assert await arcade.reconcile(tool=tool, arguments=arguments, user_id=USER, since=datetime.now(UTC)) is None


@pytest.mark.parametrize("tool", [SEND, CREATE], ids=lambda tool: tool.name)
async def test_what_was_made_before_the_call_is_not_taken_for_it(
    arcade: ArcadeClient, unique: str, tool: ToolSpec
) -> None:
    arguments = mail(unique) if tool is SEND else {"name": unique}
    assert (await arcade.execute(tool=tool, arguments=arguments, user_id=USER)).kind == "ok"
    later = datetime.now(UTC) + timedelta(minutes=1)
    assert await arcade.reconcile(tool=tool, arguments=arguments, user_id=USER, since=later) is None


@pytest.mark.parametrize(
    "other",
    [{"recipient": "na@correo.example"}, {"recipient": "joana@correo.example"}, {"subject": "another {}"}],
    ids=["end of the address", "longer address", "other subject"],
)
async def test_a_mail_that_only_looks_alike_is_not_taken_for_the_call(
    arcade: ArcadeClient, unique: str, other: dict[str, str]
) -> None:
    since = datetime.now(UTC)
    asked = {**mail(unique), **{key: text.format(unique) for key, text in other.items()}}
    assert (await arcade.execute(tool=SEND, arguments=mail(unique), user_id=USER)).kind == "ok"
    assert await arcade.reconcile(tool=SEND, arguments=asked, user_id=USER, since=since) is None


@pytest.mark.parametrize(
    ("subject", "recipient"),
    [
        ("two\n lines {}", "ana@correo.example"),
        ('she said "{}" twice', "ana@correo.example"),
        ("{}", "Ana Ferrer <ana@correo.example>"),
        ("{} für Łódź 日本", "ana@correo.example"),
    ],
)
async def test_a_mail_is_found_again_whatever_its_subject_and_recipient_look_like(
    arcade: ArcadeClient, unique: str, subject: str, recipient: str
) -> None:
    since = datetime.now(UTC)
    arguments = {"subject": subject.format(unique), "body": "Hello", "recipient": recipient}
    assert (await arcade.execute(tool=SEND, arguments=arguments, user_id=USER)).kind == "ok"
    found = await arcade.reconcile(tool=SEND, arguments=arguments, user_id=USER, since=since)
    assert found is not None


async def test_a_tool_without_a_read_for_it_cannot_be_told(arcade: ArcadeClient) -> None:
    tool = spec("Gmail.ReplyToEmail", "body")
    assert await arcade.reconcile(tool=tool, arguments={"body": "x"}, user_id=USER, since=datetime.now(UTC)) is None


async def test_a_read_that_fails_tells_nothing(arcade: ArcadeClient, emulated: Emulated, unique: str) -> None:
    await emulated.fault("status_before", match="Gmail.SearchEmailsByQuery", status=503)
    since = datetime.now(UTC)
    assert await arcade.reconcile(tool=SEND, arguments=mail(unique), user_id=USER, since=since) is None


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "7"}, 7.0),
        ({"retry-after-ms": "250", "Retry-After": "7"}, 0.25),
        ({}, None),
        ({"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}, None),
        ({"Retry-After": "nan"}, None),
        ({"Retry-After": "inf"}, None),
        ({"Retry-After": "-1"}, None),
    ],
)
async def test_too_many_requests_is_for_later(
    arcade: ArcadeClient, emulated: Emulated, unique: str, headers: dict[str, str], seconds: float | None
) -> None:
    await emulated.fault("status_before", match="Gmail.SendEmail", status=429, headers=headers)
    outcome = await arcade.execute(tool=SEND, arguments=mail(unique), user_id=USER)
    assert (outcome.kind, outcome.retry_after) == ("retry", seconds)
    assert await emulated.effects(unique) == []


async def test_a_rate_limit_of_the_service_behind_the_tool_is_for_later(
    arcade: ArcadeClient, emulated: Emulated
) -> None:
    await emulated.fault("status_before", match="/gmail/", status=429, headers={"Retry-After": "7"})
    outcome = await arcade.execute(tool=LIST_DRAFTS, arguments={}, user_id=USER)
    assert (outcome.kind, outcome.retry_after) == ("retry", 7.0)


@pytest.mark.parametrize("status", [500, 503])
async def test_a_failure_of_the_service_behind_a_writing_tool_is_unknown(
    arcade: ArcadeClient, emulated: Emulated, unique: str, status: int
) -> None:
    await emulated.fault("status_before", match="/messages/send", status=status)
    outcome = await arcade.execute(tool=SEND, arguments=mail(unique), user_id=USER)
    assert outcome.kind == "unknown"


async def test_an_answer_that_comes_too_late_is_unknown(emulated: Emulated) -> None:
    await emulated.fault("slow", match="Gmail.ListDraftEmails", seconds=60)
    client = ArcadeClient(emulated.base_url, emulated.api_key, timeout=2)
    outcome = await client.execute(tool=LIST_DRAFTS, arguments={}, user_id=USER)
    assert (outcome.kind, outcome.message) == ("unknown", "no answer in time")
    await client.close()


async def test_a_refused_connection_was_never_sent() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: the port is nobody else's, and refuses
        client = ArcadeClient(f"http://127.0.0.1:{taken.getsockname()[1]}", "key")
        outcome = await client.execute(tool=SEND, arguments=mail("x"), user_id=USER)
        assert outcome.kind == "retry"
        words = await client.healthy()
        assert words is not None
        assert "does not answer" in words
        await client.close()


async def test_a_connection_that_takes_too_long_to_make_was_never_sent() -> None:
    with socket.socket() as full, socket.socket() as waiting:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        waiting.connect(full.getsockname())  # fills the backlog; the kernel answers no further SYN
        client = ArcadeClient(f"http://127.0.0.1:{full.getsockname()[1]}", "key", timeout=0.3)
        outcome = await client.execute(tool=SEND, arguments=mail("x"), user_id=USER)
        assert outcome.kind == "retry"
        await client.close()


async def test_a_connection_that_breaks_after_the_request_is_unknown() -> None:
    async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.transport.abort()

    async with await asyncio.start_server(cut, "127.0.0.1", 0) as server:
        client = ArcadeClient(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", "key")
        assert (await client.execute(tool=SEND, arguments=mail("x"), user_id=USER)).kind == "unknown"
        await client.close()


@pytest.mark.parametrize(
    ("answer", "content_type"),
    [
        (b"<html>Please log in</html>", "text/html"),
        (b"{cut off", "application/json"),
        (b"[]", "application/json"),
        (b"null", "application/json"),
        (b"{}", "application/json"),
        (b'{"success": true, "output": {"error": "broken"}}', "application/json"),
        (b'{"output": 3}', "application/json"),
    ],
)
async def test_an_answer_that_is_not_arcade_s_is_unknown_and_no_catalogue(answer: bytes, content_type: str) -> None:
    async with answering(answer, content_type) as address:
        client = ArcadeClient(address, "key")
        assert (await client.execute(tool=SEND, arguments=mail("x"), user_id=USER)).kind == "unknown"
        with pytest.raises(Unavailable, match="is not Arcade"):
            await client.list_tools()
        await client.close()


async def test_a_very_large_result_is_cut_and_says_so() -> None:
    text = "x" * (client_module.MAX_RESULT_CHARS + 1000)
    body = f'{{"id": "te_1", "success": true, "output": {{"value": {{"text": "{text}"}}}}}}'
    async with answering(body.encode()) as address:
        client = ArcadeClient(address, "key")
        outcome = await client.execute(tool=LIST_DRAFTS, arguments={}, user_id=USER)
        await client.close()
    assert outcome.kind == "ok"
    assert outcome.value.startswith('{"text": "xxx')
    assert outcome.value.endswith("[cut: the result has 65,012 characters, the first 64,000 are shown]")


async def test_many_calls_at_once_are_all_made_once(arcade: ArcadeClient, emulated: Emulated, unique: str) -> None:
    user = arcade_user_id("acme", unique)
    calls = (arcade.execute(tool=spec("Gmail.WhoAmI"), arguments={}, user_id=user) for _ in range(30))
    outcomes = await asyncio.gather(*calls)
    assert {outcome.kind for outcome in outcomes} == {"ok"}
    assert await emulated.executions("Gmail.WhoAmI", user) == 30


@pytest.mark.parametrize(
    ("date", "is_it"),
    [
        ("Mon, 23 Nov 2026 18:00:05 +0000 (UTC)", True),
        ("Mon, 23 Nov 2026 10:00:05 -0800", True),
        ("23 Nov 2026 18:00:05 GMT", True),
        ("2026-11-23T18:00:05+00:00", True),
        ("Mon, 23 Nov 2026 09:00:05 -0800", False),
        ("2026-11-23T17:00:05Z", False),
        ("yesterday", False),
        (None, False),
    ],
)
async def test_a_sent_mail_is_found_by_its_date_however_the_mailbox_writes_it(date: object, is_it: bool) -> None:
    async def read(name: str, arguments: Mapping[str, Any]) -> ToolOutcome:
        return ToolOutcome("ok", {"emails": [{"id": "m1", "to": "ana@correo.example", "subject": "Hi", "date": date}]})

    asked = {"recipient": "ana@correo.example", "subject": "Hi"}
    found = await find_effect(SEND, asked, datetime(2026, 11, 23, 18, 0, 3, tzinfo=UTC), read)
    assert (found is not None) == is_it
