"""Emulated Asana REST API 1.0, limited to what the tools use: users, workspaces, projects, tasks.

Bodies are enveloped in `data`, ids are strings, errors are `{"errors": [{"message"}]}`, as Asana publishes them.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime
from typing import Any

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import JSONResponse

from connectors.emulators.emulated_data import Store
from connectors.emulators.seed import OWNER_ADDRESS

WORKSPACE = {"gid": "11", "resource_type": "workspace", "name": "Home and work"}


def routes(store: Store, now: Callable[[], datetime]) -> APIRouter:
    """The API's routes under `/api/1.0`."""
    router = APIRouter(prefix="/api/1.0")

    @router.get("/users/me")
    async def me() -> dict[str, Any]:
        return {"data": {"gid": "7", "name": "You", "email": OWNER_ADDRESS, "workspaces": [WORKSPACE]}}

    @router.get("/workspaces")
    async def workspaces() -> dict[str, Any]:
        return {"data": [WORKSPACE], "next_page": None}

    @router.get("/workspaces/{workspace}/projects")
    async def projects(workspace: str) -> dict[str, Any]:
        rows = [{**p, "resource_type": "project"} for p in store.data["projects"]]
        return {"data": rows, "next_page": None}

    @router.get("/workspaces/{workspace}/tasks/search")
    async def search(workspace: str, text: str = "", completed: bool | None = None, limit: int = 50) -> dict[str, Any]:
        wanted = text.lower()
        found = [
            task_of(t, store)
            for t in store.tasks
            if wanted in f"{t['name']} {t['notes']}".lower() and completed in (None, t["completed"])
        ]
        found.sort(key=lambda t: (t["due_on"] is None, t["due_on"] or ""))
        return {"data": found[:limit], "next_page": None}

    @router.post("/tasks")
    async def create(request: Request) -> JSONResponse:
        fields = (await request.json()).get("data") or {}
        if not fields.get("name"):
            raise HTTPException(400, "name: Missing input")
        number = store.next_id()
        task = {
            "gid": str(number),
            "name": fields["name"],
            "notes": fields.get("notes") or "",
            "project": _project(store, fields.get("projects")),
            "due_on": _day(fields.get("due_on")),
            "completed": False,
            "created_at": now().isoformat(timespec="seconds"),
        }
        store.tasks.append(task)
        store.effect("task", id=task["gid"], name=task["name"])
        store.save()
        return JSONResponse({"data": task_of(task, store)}, 201)

    @router.get("/tasks/{gid}")
    async def get(gid: str) -> dict[str, Any]:
        return {"data": task_of(_task(store, gid), store)}

    @router.put("/tasks/{gid}")
    async def update(gid: str, request: Request) -> dict[str, Any]:
        task, fields = _task(store, gid), (await request.json()).get("data") or {}
        task |= {k: fields[k] for k in ("name", "notes", "completed") if k in fields}
        if "due_on" in fields:
            task["due_on"] = _day(fields["due_on"])
        store.effect("update", id=gid, fields=sorted(fields))
        store.save()
        return {"data": task_of(task, store)}

    return router


def task_of(task: dict[str, Any], store: Store) -> dict[str, Any]:
    """A task in Asana's shape."""
    projects = [{**p, "resource_type": "project"} for p in store.data["projects"] if p["gid"] == task["project"]]
    fields = {k: task[k] for k in ("gid", "name", "notes", "due_on", "completed", "created_at")}
    return {**fields, "resource_type": "task", "projects": projects}


def _task(store: Store, gid: str) -> dict[str, Any]:
    task = next((t for t in store.tasks if t["gid"] == gid), None)
    if task is None:
        raise HTTPException(404, f"task: Unknown object: {gid}")
    return task


def _project(store: Store, wanted: list[str] | None) -> str | None:
    if not wanted:
        return None
    if wanted[0] not in {p["gid"] for p in store.data["projects"]}:
        raise HTTPException(400, f"projects: Not a recognized ID: {wanted[0]}")
    return wanted[0]


def _day(text: str | None) -> str | None:
    if text is None:
        return None
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError as error:
        raise HTTPException(400, f"due_on: Not a valid date: {text}") from error
