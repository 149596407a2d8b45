"""Whatever keeps something new is refused where there is no room for it, over every protocol and before anything is sent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
from graphs_sample import SPECS
from prometheus_client import CollectorRegistry

from connectors.gateway.app import make_app, make_core
from connectors.gateway.gateway_options import GatewayOptions
from connectors.graphs import Graphs
from core.principal import OPERATOR
from core.quotas import QuotaLimits
from schemas import ThreadHead
from schemas.common.clock import utc_now
from state import Commit, open_stores

SAYS = {"messages": [{"role": "user", "content": "hello"}]}
RUN = {"assistant_id": "agent", "input": SAYS}
NEW = {**RUN, "if_not_exists": "create"}
AGUI: dict[str, Any] = {
    "threadId": "new",
    "runId": "r",
    "state": {},
    "messages": [{"id": "1", "role": "user", "content": "hello"}],
    "tools": [],
    "context": [],
    "forwardedProps": {},
}
WAYS: dict[str, tuple[str, str, str, Any]] = {
    "v1 thread": ("threads", "POST", "/v1/threads", {}),
    "lg thread": ("threads", "POST", "/lg/threads", {}),
    "lg copy": ("threads", "POST", "/lg/threads/t/copy", None),
    "lg run": ("threads", "POST", "/lg/threads/new/runs", NEW),
    "lg run that is waited for": ("threads", "POST", "/lg/threads/new/runs/wait", NEW),
    "lg run that is streamed": ("threads", "POST", "/lg/threads/new/runs/stream", NEW),
    "lg later run": ("threads", "POST", "/lg/threads/new/runs", {**NEW, "after_seconds": 60}),
    "lg stateless run": ("threads", "POST", "/lg/runs", RUN),
    "lg stateless run that is waited for": ("threads", "POST", "/lg/runs/wait", RUN),
    "lg stateless run that is streamed": ("threads", "POST", "/lg/runs/stream", RUN),
    "lg batch": ("threads", "POST", "/lg/runs/batch", [RUN]),
    "lg command": ("threads", "POST", "/lg/threads/new/commands", {"id": 1, "method": "run.start", "params": RUN}),
    "agui": ("threads", "POST", "/agui", AGUI),
    "lg item": ("items", "PUT", "/lg/store/items", {"namespace": ["a"], "key": "k", "value": {"x": 1}}),
    "lg assistant": ("assistants", "POST", "/lg/assistants", {"graph_id": next(iter(SPECS))}),
}
"""What is full, and the request."""


async def test_every_way_to_keep_something_new_is_refused_where_there_is_no_room(tmp_path: Path) -> None:
    stores = open_stores(f"sqlite://{tmp_path}")
    await stores.open()
    await stores.migrate()
    options = GatewayOptions(quotas=QuotaLimits(threads=1, items=0, assistants=0))
    core = make_core("127.0.0.1:1", stores, options, CollectorRegistry(), Graphs(SPECS))
    await core.tenants.add(OPERATOR, "acme")
    key = (await core.keys.create(OPERATOR, "acme", "ana")).text
    head = ThreadHead(user_id="ana", created_at=utc_now(), updated_at=utc_now())
    await stores.journal.commit("acme", "t", Commit(input_id="i", expected_version=0, head=head, outputs=b""))
    transport = httpx.ASGITransport(make_app(core), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://x", headers={"x-api-key": key}) as client:
        for name, (full, method, path, body) in WAYS.items():
            answer = await client.request(method, path, json=body)
            assert "quota_exceeded" in answer.text or "There is no room for more" in answer.text, (name, answer.text)
            if name != "lg command":
                assert (answer.status_code, answer.json()["quota"]) == (403, full), (name, answer.text)
    assert [place.thread_id for place in await stores.journal.places("acme", "ana")] == ["t"]
    await stores.close()
