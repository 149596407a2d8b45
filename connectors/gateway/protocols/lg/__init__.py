"""The LangGraph Server API, classic and v2, for clients that speak it already (`docs/gateway.md` says what and what not).

Agents are assistants, threads are threads, runs are runs. A resumed run keeps its id. Shapes and their traps: `shapes.py`,
`projection.py`; what the JavaScript and Python clients do with them is held by `tests/gateway`.
"""

from __future__ import annotations

from collections.abc import Collection

from fastapi import FastAPI

from connectors.gateway.gateway_core import GatewayCore
from connectors.gateway.protocol import Protocol


def _mount(app: FastAPI, core: GatewayCore, without: Collection[str]) -> None:
    from connectors.gateway.protocols.lg.application import application

    app.mount("/lg", application(core, without))


PROTOCOL = Protocol(
    name="lg",
    mount=_mount,
    open_paths=("/lg/ok",),
)
