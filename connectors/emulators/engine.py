"""Emulated Arcade engine: the part of `/v1` that arcadepy needs for the catalogue, user consent, and execution.

Tools run in a real arcade-serve worker, called over HTTP as a real engine does. Every user's account is connected from the
start, unless the emulator is started without connected accounts.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
import jwt
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from connectors.emulators.faults import Faults
from schemas.common.clock import utc_now
from schemas.ids import random_digits

OPENAI_TYPES = {"json": "object"}


@dataclass
class Engine:
    """The state of the engine. `connections` maps (user, provider) to the access token that the services accept."""

    worker_secret: str
    auto_connect: bool = True
    base_url: str = ""
    faults: Faults = field(default_factory=Faults)
    connections: dict[tuple[str, str], str] = field(default_factory=dict)
    executions: list[dict[str, Any]] = field(default_factory=list)
    in_hand: int = 0
    """Executions in progress."""
    _tools: list[dict[str, Any]] = field(default_factory=list)
    _client: httpx.AsyncClient | None = None

    async def tools(self) -> list[dict[str, Any]]:
        """The worker's tools in the engine's public shape, by name."""
        if not self._tools:
            async with httpx.AsyncClient(trust_env=False) as client:
                answer = await client.get(f"{self.base_url}/worker/tools", headers=self.worker_headers())
                answer.raise_for_status()
            self._tools = [_public(t) for t in sorted(answer.json(), key=lambda t: t["fully_qualified_name"])]
        return self._tools

    async def find(self, name: str) -> dict[str, Any] | None:
        """Finds a tool by `Toolkit.Tool` or `Toolkit_Tool`, with or without a version."""
        plain = name.partition("@")[0].replace("_", ".", 1) if "." not in name else name.partition("@")[0]
        return next((t for t in await self.tools() if t["qualified_name"].lower() == plain.lower()), None)

    async def invoke(self, payload: Mapping[str, Any]) -> httpx.Response:
        """What the worker answers to a call. All calls have one client: making one takes longer than a call."""
        self._client = self._client or httpx.AsyncClient(timeout=30, trust_env=False)
        where = f"{self.base_url}/worker/tools/invoke"
        return await self._client.post(where, json=payload, headers=self.worker_headers())

    def worker_headers(self) -> dict[str, str]:
        """The engine's token for its worker: HS256, audience `worker`, version 1."""
        claims = {"ver": "1", "aud": "worker", "exp": int(time.time()) + 60}
        return {"Authorization": f"Bearer {jwt.encode(claims, self.worker_secret, 'HS256')}"}

    def token_for(self, user_id: str, provider: str) -> str | None:
        """The user's provider token; None when the account is not connected."""
        if self.auto_connect:
            token = f"tok_{secrets.token_hex(12)}"  # noqa: TID251
            return self.connections.setdefault((user_id, provider), token)
        return self.connections.get((user_id, provider))


def _public(tool: Mapping[str, Any]) -> dict[str, Any]:
    authorization = tool["requirements"].get("authorization")
    toolkit = {"name": tool["toolkit"]["name"], "version": tool["toolkit"].get("version")}
    requirements: dict[str, Any] = {"met": True}
    if authorization:
        requirements["authorization"] = {
            "id": f"default-{authorization['provider_id']}",
            "provider_id": authorization["provider_id"],
            "provider_type": authorization["provider_type"],
            "oauth2": {"scopes": (authorization.get("oauth2") or {}).get("scopes") or []},
            "status": "active",
        }
    fields = ("name", "required", "description", "inferrable", "value_schema")
    return {
        "name": tool["name"],
        "qualified_name": f"{toolkit['name']}.{tool['name']}",
        "fully_qualified_name": tool["fully_qualified_name"],
        "description": tool["description"],
        "toolkit": toolkit,
        "input": {"parameters": [{k: p.get(k) for k in fields} for p in tool["input"]["parameters"]]},
        "output": {k: tool["output"].get(k) for k in ("description", "available_modes", "value_schema")},
        "requirements": requirements,
    }


def routes(engine: Engine) -> APIRouter:
    """The engine's routes under `/v1`."""
    router = APIRouter(prefix="/v1")

    @router.get("/health")
    async def health() -> dict[str, bool]:
        return {"healthy": True}

    @router.get("/tools")
    async def list_tools(limit: int = 25, offset: int = 0, toolkit: str | None = None) -> dict[str, Any]:
        found = [t for t in await engine.tools() if not toolkit or t["toolkit"]["name"].lower() == toolkit.lower()]
        limit = max(1, min(limit, 100))
        return {
            "items": found[offset : offset + limit],
            "limit": limit,
            "offset": offset,
            "page_count": -(-len(found) // limit),
            "total_count": len(found),
        }

    @router.get("/tools/{name}", response_model=None)
    async def get_tool(name: str, user_id: str | None = None) -> dict[str, Any] | JSONResponse:
        tool = await engine.find(name)
        if tool is None:
            return problem(404, "not_found", "tool not found")
        authorization = tool["requirements"].get("authorization")
        if authorization and user_id:
            connected = engine.token_for(user_id, authorization["provider_id"]) is not None
            status = "completed" if connected else "not_started"
            described = {**authorization, "token_status": status}
            return {**tool, "requirements": {"met": connected, "authorization": described}}
        return tool

    @router.post("/tools/authorize", response_model=None)
    async def authorize(request: Request) -> dict[str, Any] | JSONResponse:
        body = await request.json()
        tool = await engine.find(body.get("tool_name") or "")
        if tool is None:
            return problem(404, "not_found", "tool not found")
        if not body.get("user_id"):
            return problem(400, "bad_request", "user_id is required when calling with an API key")
        authorization = tool["requirements"]["authorization"]
        connected = engine.token_for(body["user_id"], authorization["provider_id"])
        return {
            "id": f"ac_{random_digits(20)}",
            "user_id": body["user_id"],
            "provider_id": authorization["provider_id"],
            "scopes": authorization["oauth2"]["scopes"],
            "status": "completed" if connected else "pending",
        }

    @router.post("/tools/execute", response_model=None)
    async def execute(request: Request) -> dict[str, Any] | JSONResponse:
        body = await request.json()
        engine.in_hand += 1
        try:
            return await _execute(engine, body)
        finally:
            engine.in_hand -= 1

    return router


async def _execute(engine: Engine, body: dict[str, Any]) -> dict[str, Any] | JSONResponse:
    tool = await engine.find(body.get("tool_name") or "")
    if tool is None:
        return problem(404, "not_found", "tool not found")
    name, user = tool["qualified_name"], body.get("user_id")
    if fault := await engine.faults.before(name):
        return problem(fault.status, "injected", "an injected fault", fault.headers)
    authorization, token = tool["requirements"].get("authorization"), None
    if authorization:
        token = engine.token_for(user or "", authorization["provider_id"])
        if token is None:
            return problem(403, "tool_authorization_required", "authorization required")
    te, tc = f"te_{random_digits(20)}", f"tc_{random_digits(20)}"
    payload = {
        "run_id": te,
        "execution_id": tc,
        "created_at": utc_now().isoformat(),
        "tool": {"name": tool["name"], "toolkit": tool["toolkit"]["name"], "version": tool["toolkit"]["version"]},
        "inputs": body.get("input") or {},
        "context": {"user_id": user, "authorization": {"token": token}},
    }
    answer = await engine.invoke(payload)
    if answer.status_code >= 400:
        return problem(502, "worker_error", answer.text[:200])
    worked = answer.json()
    engine.executions.append({"tool": name, "user_id": user, "success": worked["success"]})
    if fault := engine.faults.after(name):
        return problem(fault.status, "injected", "the response was lost", fault.headers)
    return {
        "id": te,
        "execution_id": tc,
        "execution_type": "immediate",
        "status": "completed" if worked["success"] else "failed",
        "duration": worked["duration"],
        "finished_at": utc_now().strftime("%Y-%m-%dT%H:%M:%SZ"),
        "success": worked["success"],
        "output": _output(worked.get("output") or {}, stacktrace=bool(body.get("include_error_stacktrace"))),
    }


def _output(output: dict[str, Any], *, stacktrace: bool) -> dict[str, Any]:
    public = {"logs": output["logs"]} if output.get("logs") else {}
    if error := output.get("error"):
        hidden = () if stacktrace else ("stacktrace",)
        return {**public, "error": {k: v for k, v in error.items() if v is not None and k not in hidden}}
    return {**public, "value": output.get("value")}


def problem(status: int, name: str, message: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """The engine's error shape."""
    return JSONResponse({"name": name, "message": message}, status, headers=dict(headers or {}))
