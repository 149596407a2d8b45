"""AG-UI 1.0: one POST endpoint, for CopilotKit and other clients of that protocol."""

from __future__ import annotations

from collections.abc import Collection

from fastapi import FastAPI

from connectors.gateway.gateway_core import GatewayCore
from connectors.gateway.protocol import Protocol


def _mount(app: FastAPI, core: GatewayCore, without: Collection[str]) -> None:
    from connectors.gateway.protocols.agui.routes import router

    app.include_router(router)


PROTOCOL = Protocol(name="agui", mount=_mount)
