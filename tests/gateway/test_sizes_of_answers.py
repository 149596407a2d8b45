"""However much is kept, an answer has so many bytes at most: every list route, asked for as much as it gives."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from graphs_sample import SPECS
from prometheus_client import CollectorRegistry

from connectors.gateway.answer_bytes import ANSWER_BYTES
from connectors.gateway.app import make_app, make_core
from connectors.gateway.gateway_options import GatewayOptions
from connectors.graphs import Graphs
from connectors.graphs.graph_states import STATE_BYTES
from core.audit_writer import AuditWriter
from core.graph_assistants import Assistants
from core.principal import OPERATOR, Principal
from schemas import AcceptedRun, Message, StateRow, StoredEvent, StoredMessage, StoredRun, ThreadHead
from schemas.common.clock import utc_now
from state import Commit, Stores, open_stores

ANA = Principal("acme", "ana")
NOW = utc_now()
LARGE = "x" * 190_000
GRAPH = next(iter(SPECS))
ONE_MORE = 600_000
"""The entry with which a list ends may be so large."""


def _head(**fields: Any) -> ThreadHead:
    return ThreadHead(user_id="ana", created_at=NOW, updated_at=NOW, **fields)


async def _fill(stores: Stores, assistants: Assistants, tenant: Any) -> str:
    """More than an answer may have of each kind; the id of an assistant with many versions."""
    count = 36
    for version, n in enumerate(range(1, count + 1, 12)):
        numbers = range(n, n + 12)
        said = [
            Message(message_id=f"m{m}", role="user", text=LARGE, run_id=f"r{m}", at=NOW, metadata={"n": m})
            for m in numbers
        ]
        batch = Commit(
            input_id=f"i{n}",
            expected_version=version,
            head=_head(next_message=count + 1, next_event=count + 1, next_row=count + 1),
            outputs=b"",
            messages=tuple(StoredMessage(seq=m, message=one) for m, one in zip(numbers, said, strict=True)),
            events=tuple(StoredEvent(seq=m, type="cauce.run.started", body=json.dumps({"x": LARGE})) for m in numbers),
            runs=tuple(
                StoredRun(
                    run_id=f"r{m}",
                    input_id=f"r{m}",
                    agent_id="default",
                    outcome="completed",
                    accepted_at=NOW,
                    ended_at=NOW,
                    first_event=m,
                    last_event=m,
                    metadata={"note": LARGE},
                )
                for m in numbers
            ),
            rows=tuple(StateRow(seq=m, kind="value", body=LARGE.encode()) for m in numbers),
        )
        await stores.journal.commit("acme", "t", batch)
    for n in range(20):
        details = {"config": {"tags": [LARGE]}}
        run = AcceptedRun(run_id=f"open{n}", user_id="ana", agent_id="default", at=NOW, details=details)
        await stores.journal.accept("acme", "t", run)
        await stores.items.put("acme", "ana", ["notes"], f"k{n}", {"text": LARGE})
    for n in range(200):
        head = _head(metadata={"note": "x" * 15_000}, title="x" * 200)
        await stores.journal.commit(
            "acme", f"t{n}", Commit(input_id=f"i{n}", expected_version=0, head=head, outputs=b"")
        )
    made = ""
    for _ in range(14):
        given = {"graph_id": GRAPH, "context": {"note": LARGE[:100_000]}}  # which is in the config, too
        made = (
            await assistants.create(ANA, tenant, given, assistant_id=None, if_exists="raise", shared=False)
        ).assistant_id
    for n in range(14):
        await assistants.change(ANA, tenant, made, {"context": {"note": LARGE[:100_000], "n": n}})
    return made


@pytest.fixture
async def asks(tmp_path: Path) -> AsyncIterator[tuple[httpx.AsyncClient, str]]:
    """A client of a gateway, which needs no Kafka for what it reads; and an assistant."""
    stores = open_stores(f"sqlite://{tmp_path}")
    await stores.open()
    await stores.migrate()
    core = make_core("127.0.0.1:1", stores, GatewayOptions(), CollectorRegistry(), Graphs(SPECS))
    await core.tenants.add(OPERATOR, "acme")
    key = (await core.keys.create(OPERATOR, "acme", "ana")).text
    assistants = Assistants(stores.assistants, core.quotas, tuple(SPECS), trail=AuditWriter(stores.timers))
    made = await _fill(stores, assistants, await core.tenants.get(OPERATOR, "acme"))
    transport = httpx.ASGITransport(make_app(core), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://x", headers={"x-api-key": key}) as client:
        yield client, made
    await stores.close()


LISTS: dict[str, tuple[str, str, Any]] = {
    "v1 threads": ("GET", "/v1/threads?limit=500", None),
    "v1 messages": ("GET", "/v1/threads/t/messages?limit=500", None),
    "v1 runs": ("GET", "/v1/threads/t/runs?limit=500", None),
    "lg threads": ("POST", "/lg/threads/search", {"limit": 1000}),
    "lg threads with values": ("POST", "/lg/threads/search", {"limit": 1000, "select": ["thread_id", "values"]}),
    "lg history": ("POST", "/lg/threads/t/history", {"limit": 1000}),
    "lg history by address": ("GET", "/lg/threads/t/history?limit=1000", None),
    "lg runs": ("GET", "/lg/threads/t/runs?limit=1000", None),
    "lg items": ("POST", "/lg/store/items/search", {"namespace_prefix": [], "limit": 1000}),
    "lg assistants": ("POST", "/lg/assistants/search", {"limit": 1000}),
    "lg versions": ("POST", "/lg/assistants/ASSISTANT/versions", {"limit": 1000}),
}
STATES = {"lg threads", "lg threads with values", "lg history", "lg history by address"}
"""Lists of whole states: they end with the first one, whatever its size."""


async def test_no_answer_has_more_than_its_bytes(asks: tuple[httpx.AsyncClient, str]) -> None:
    client, assistant = asks
    sizes: dict[str, int] = {}
    for name, (method, path, body) in LISTS.items():
        answer = await client.request(method, path.replace("ASSISTANT", assistant), json=body)
        assert answer.status_code == 200, (name, answer.text[:500])
        sizes[name] = len(answer.content)
    assert {name: size for name, size in sizes.items() if size > STATE_BYTES + ONE_MORE} == {}
    assert {name for name, size in sizes.items() if size > ANSWER_BYTES + ONE_MORE} <= STATES
    assert {name: size for name, size in sizes.items() if size < 180_000} == {}, "there is more than it shows"
    for path in ("/lg/threads/t/state", "/lg/threads/t"):
        answer = await client.get(path)
        assert answer.status_code == 200, answer.text[:500]
        assert len(answer.content) < STATE_BYTES + ONE_MORE, path
