"""The audit trail: each action has an emitter, and says who did it, with what, from where."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from kept_trail import trail_of

import schemas
from core.principal import ALL_SCOPES, OPERATOR, SCOPES, Principal
from core.refused_requests import MOST_KINDS, RefusedRequests
from core.request_context import RequestContext, enter
from core.store_core import StoreCore
from core.tenant_settings import TenantChange
from core.user_settings import UserChange
from schemas import SYSTEM_TENANT, Action, AuditEvent, IdentityProvider
from state import AuditRow, Stores

AT = datetime(2026, 1, 2, tzinfo=UTC)
ROOT = Path(schemas.__file__).parents[1]
ROOMS = ("threads", "streams", "core", "connectors", "processors", "cauce")
BOSS = Principal("acme", "boss", ALL_SCOPES, "key", "k1")
ANA = Principal("acme", "ana", SCOPES, "session", "0123456789ab")


def emitted() -> Iterator[tuple[str, str]]:
    """Actions that the product's code names, and where."""
    for room in ROOMS:
        for file in (ROOT / room).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "Action":
                    yield node.attr, f"{file.relative_to(ROOT)}:{node.lineno}"


def test_every_action_has_an_emitter() -> None:
    assert set(Action.__members__) == {name for name, _ in emitted()}


def test_no_event_is_written_under_a_name_that_is_not_in_the_list() -> None:
    """Types say so where events are made by functions; this looks for those that are made by hand."""
    for room in ROOMS:
        for file in (ROOT / room).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("AuditEvent", "audit_output"):
                    (given,) = [word.value for word in node.keywords if word.arg == "action"]
                    assert not isinstance(given, ast.Constant), f"{file}:{node.lineno}"


async def test_administration_is_told_with_who_did_it(core: StoreCore, stores: Stores) -> None:
    provider = IdentityProvider(name="corp", issuer="https://id.example", client_id="c")
    made = await core.keys.create(BOSS, "acme", "ana", name="phone")
    link = await core.sessions.link(BOSS, "acme", "ana")
    cookie = await core.sessions.redeem(link)
    assert cookie
    await core.users.change(ANA, "acme", "ana", UserChange(time_zone="Europe/Madrid"))
    await core.keys.revoke(BOSS, "acme", made.key.key_id)
    await core.tenants.put_provider(BOSS, "acme", provider)
    linked = await core.identities.link(BOSS, "acme", "ana", provider_name="corp", subject="s")
    await core.identities.unlink(BOSS, "acme", linked.link_id)
    await core.ends.remove_provider(BOSS, "acme", "corp")
    await core.ends.add_user(BOSS, "acme", "ben")
    await core.ends.block(BOSS, "acme", "ben")
    await core.ends.unblock(BOSS, "acme", "ben")
    await core.ends.sign_out(BOSS, "acme", "ana")
    change = TenantChange(agent={"approvals": {"always": ["*"]}, "instructions": "never told"}, time_zone="Asia/Tokyo")
    await core.tenants.change(BOSS, "acme", change, check_model=lambda _: None)
    await core.ends.pause(BOSS, "acme")
    await core.ends.resume(BOSS, "acme")
    await core.erasures.request(BOSS, "acme", "ben")
    await core.erasures.request(OPERATOR, "acme")

    told = await trail_of(stores, "acme")
    assert [event.action for event in told] == [
        "tenant.added",
        "key.made",
        "login_link.made",
        "session.begun",
        "user.added",
        "key.revoked",
        "provider.set",
        "identity.linked",
        "identity.unlinked",
        "provider.removed",
        "user.added",
        "user.blocked",
        "user.unblocked",
        "user.signed_out",
        "session.ended",
        "tenant.changed",
        "agent.changed",
        "policy.changed",
        "tenant.paused",
        "tenant.resumed",
        "user.erased",
        "user.blocked",
        "tenant.erased",
        "tenant.closed",
    ]
    by = {(event.actor, event.credential) for event in told[1:-2]}
    session = next(event.credential for event in told if event.action == "session.begun")
    assert by == {("user:boss", "key:k1"), ("user:ana", "session:0123456789ab"), ("user:ana", session)}
    assert {(event.actor, event.credential) for event in (told[0], *told[-2:])} == {("operator", "operator")}
    policy = next(event for event in told if event.action == "policy.changed")
    assert policy.details["new"]["approvals"]["always"] == ["*"]
    text = "\n".join(event.to_bytes().decode() for event in told)
    for secret in (made.text.rpartition(".")[2], link.rpartition(".")[2], cookie.rpartition(".")[2], "never told"):
        assert secret not in text


async def test_an_event_says_which_request_it_came_of_and_from_where(core: StoreCore, stores: Stores) -> None:
    request = RequestContext.of(address="192.0.2.7")
    enter(request)
    await core.items.put(ANA, ["notes"], "first", {"a": 1}, lifetime=timedelta(days=1))
    await core.items.delete(ANA, ["notes"], "first")
    found = (await trail_of(stores, "acme"))[-2:]
    for event, action in zip(found, ("item.put", "item.deleted"), strict=True):
        assert (event.action, event.actor, event.subject) == (action, "user:ana", found[0].subject)
        assert (event.subject or "").startswith("item:"), "names are the user's words"
        assert "notes" not in event.to_bytes().decode()
        assert (event.request_id, event.address) == (request.request_id, "192.0.2.7")
        assert event.credential == "session:0123456789ab"


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


async def refusals(stores: Stores) -> list[AuditEvent]:
    return [event for event in await trail_of(stores, SYSTEM_TENANT) if event.action == Action.REQUEST_REFUSED]


async def test_many_refusals_of_one_caller_are_two_events(core: StoreCore, stores: Stores) -> None:
    refused = RefusedRequests(core.trail, clock=Clock())
    for _ in range(500):
        refused.note(
            SYSTEM_TENANT, Action.REQUEST_REFUSED, actor="anonymous", reason="bad_credential", address="192.0.2.1"
        )
    refused.note(SYSTEM_TENANT, Action.REQUEST_REFUSED, actor="anonymous", reason="bad_credential", address="192.0.2.2")
    await refused.stop()
    told = [(event.address, event.outcome, event.details.get("more")) for event in await refusals(stores)]
    assert sorted(told, key=str) == [
        ("192.0.2.1", "refused", 499),
        ("192.0.2.1", "refused", None),
        ("192.0.2.2", "refused", None),
    ]


async def test_refusals_from_very_many_addresses_are_bounded(core: StoreCore, stores: Stores) -> None:
    refused = RefusedRequests(core.trail, clock=Clock())
    for number in range(MOST_KINDS + 300):
        address = f"192.0.{number // 256}.{number % 256}"
        refused.note(SYSTEM_TENANT, Action.REQUEST_REFUSED, actor="anonymous", reason="bad_credential", address=address)
    await refused.stop()
    told = await refusals(stores)
    assert len(told) == MOST_KINDS + 2
    assert [event.details.get("more") for event in told if event.address is None] == [None, 299]


@pytest.mark.parametrize("seconds", [59, 61])
async def test_what_was_refused_again_is_told_when_its_minute_is_over(
    core: StoreCore, stores: Stores, seconds: int
) -> None:
    clock = Clock()
    refused = RefusedRequests(core.trail, clock=clock)
    for now in (0, seconds):
        clock.now = now
        refused.note("acme", Action.REQUEST_REFUSED, actor="user:ana", reason="scope_missing")
        await refused.write_due()
    found = [event.details for event in await trail_of(stores, "acme") if event.action == "request.refused"]
    assert found == ([{}] if seconds < 60 else [{}, {"more": 1, "within_seconds": 60.0}])


async def test_an_event_that_was_sent_twice_is_shown_once(core: StoreCore, stores: Stores) -> None:
    times = [AT + timedelta(seconds=number) for number in range(3)]
    once, twice, last = (AuditEvent(at=at, action=Action.ITEM_PUT, actor="user:ana", user_id="ana") for at in times)
    rows = [AuditRow(*row) for row in (("a", 0, once), ("b", 1, twice), ("b", 2, twice), ("c", 3, last))]
    await stores.audit.append("acme", rows)
    for page in (
        await core.audit.tail(BOSS, "acme", limit=10),
        await core.audit.tail(BOSS, "acme", limit=10, user_id="ana"),
        await core.audit.own(ANA, limit=10),
        [row async for row in core.audit.export(BOSS, "acme")],
    ):
        assert [row.event_id for row in page] == ["a", "b", "c"]
