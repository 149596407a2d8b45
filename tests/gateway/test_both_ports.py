"""The LangGraph API on a port of its own is behind the same limits: who has used them up there has none left here."""

from __future__ import annotations

from pathlib import Path

import httpx
from prometheus_client import CollectorRegistry

from connectors.gateway.app import make_app, make_core
from connectors.gateway.gateway_options import GatewayOptions
from connectors.gateway.limits import Rates
from connectors.graphs import Graphs
from core.principal import OPERATOR
from state import open_stores


async def test_both_ports_of_a_gateway_count_together(tmp_path: Path) -> None:
    stores = open_stores(f"sqlite://{tmp_path}")
    await stores.open()
    await stores.migrate()
    core = make_core("127.0.0.1:1", stores, GatewayOptions(), CollectorRegistry(), Graphs({}))
    await core.tenants.add(OPERATOR, "acme")
    key = (await core.keys.create(OPERATOR, "acme", "ana")).text
    first = make_app(core, rates=Rates(user="3/hour", strangers="1/hour"))
    ports = [(httpx.ASGITransport(first), "/lg"), (httpx.ASGITransport(first.state.langgraph_alone()), "")]
    statuses = []
    for n in range(5):
        transport, below = ports[n % 2]
        async with httpx.AsyncClient(transport=transport, base_url="http://x", headers={"x-api-key": key}) as client:
            statuses.append((await client.post(f"{below}/threads/search", json={})).status_code)
    assert statuses == [200] * 3 + [429] * 2
    await stores.close()
