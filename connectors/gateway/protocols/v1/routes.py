"""The routes of `/v1`, one tag each for threads, runs, approvals and the rest."""

from __future__ import annotations

from fastapi import APIRouter

from connectors.gateway.protocols.v1 import approvals, runs, tenant, threads
from connectors.gateway.protocols.v1.parameters import ERRORS

router = APIRouter(prefix="/v1", responses=ERRORS)
for part in (threads, runs, approvals, tenant):
    router.include_router(part.router)
