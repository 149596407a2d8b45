"""Asana tools on arcade-tdk, with the names, arguments and scopes of Arcade's published catalogue (Asana 1.2.2).

Annotations are not postponed here: arcade-tdk reads them as types when it registers a tool.
"""

from typing import Annotated, Any

from arcade_tdk import ToolContext, tool
from arcade_tdk.auth import Asana
from arcade_tdk.errors import RetryableToolError

from connectors.emulators.services import SERVICES

API = "/api/1.0"
_AUTH = Asana(scopes=["default"])


def _row(task: dict[str, Any]) -> dict[str, Any]:
    kept = {k: task[k] for k in ("name", "notes", "due_on", "completed", "created_at")}
    return {"id": task["gid"], **kept, "projects": [p["name"] for p in task["projects"]]}


async def _workspace(context: ToolContext) -> str:
    return str((await SERVICES.call(context, "GET", f"{API}/workspaces"))["data"][0]["gid"])


async def _projects(context: ToolContext) -> list[dict[str, Any]]:
    path = f"{API}/workspaces/{await _workspace(context)}/projects"
    rows: list[dict[str, Any]] = (await SERVICES.call(context, "GET", path))["data"]
    return rows


@tool(requires_auth=_AUTH)
async def create_task(
    context: ToolContext,
    name: Annotated[str, "The name of the task"],
    due_date: Annotated[str | None, "The due date, YYYY-MM-DD"] = None,
    description: Annotated[str | None, "A description of the task"] = None,
    project: Annotated[str | None, "The id or name of the project"] = None,
) -> Annotated[dict[str, Any], "The created task"]:
    """Create a task in Asana."""
    fields: dict[str, Any] = {"name": name, "notes": description or "", "due_on": due_date}
    if project:
        known = await _projects(context)
        match = next((p for p in known if project in (p["gid"], p["name"])), None)
        if match is None:
            names = ", ".join(p["name"] for p in known)
            raise RetryableToolError(
                f"There is no project {project!r}", additional_prompt_content=f"The projects are: {names}"
            )
        fields["projects"] = [match["gid"]]
    made = await SERVICES.call(context, "POST", f"{API}/tasks", json={"data": fields})
    return {"task": _row(made["data"])}


@tool(requires_auth=_AUTH)
async def get_tasks_without_id(
    context: ToolContext,
    keywords: Annotated[str | None, "Text that the task contains"] = None,
    completed: Annotated[bool | None, "Only completed, or only open tasks"] = None,
    limit: Annotated[int, "The most tasks to return"] = 20,
) -> Annotated[dict[str, Any], "The tasks found, the next due first"]:
    """Search the user's tasks."""
    params: dict[str, Any] = {"limit": max(1, min(limit, 100))}
    if keywords:
        params["text"] = keywords
    if completed is not None:
        params["completed"] = completed
    path = f"{API}/workspaces/{await _workspace(context)}/tasks/search"
    return {"tasks": [_row(t) for t in (await SERVICES.call(context, "GET", path, params=params))["data"]]}


@tool(requires_auth=_AUTH)
async def get_task_by_id(
    context: ToolContext, task_id: Annotated[str, "The id of the task"]
) -> Annotated[dict[str, Any], "The task"]:
    """Read one task."""
    return {"task": _row((await SERVICES.call(context, "GET", f"{API}/tasks/{task_id}"))["data"])}


@tool(requires_auth=_AUTH)
async def mark_task_as_completed(
    context: ToolContext, task_id: Annotated[str, "The id of the task"]
) -> Annotated[dict[str, Any], "The task as it is now"]:
    """Mark a task as completed."""
    done = await SERVICES.call(context, "PUT", f"{API}/tasks/{task_id}", json={"data": {"completed": True}})
    return {"task": _row(done["data"])}


@tool(requires_auth=_AUTH)
async def update_task(
    context: ToolContext,
    task_id: Annotated[str, "The id of the task"],
    name: Annotated[str | None, "The new name"] = None,
    completed: Annotated[bool | None, "Whether it is completed"] = None,
    due_date: Annotated[str | None, "The new due date, YYYY-MM-DD"] = None,
    description: Annotated[str | None, "The new description"] = None,
) -> Annotated[dict[str, Any], "The task as it is now"]:
    """Change a task."""
    wanted = {"name": name, "completed": completed, "due_on": due_date, "notes": description}
    fields = {key: value for key, value in wanted.items() if value is not None}
    changed = await SERVICES.call(context, "PUT", f"{API}/tasks/{task_id}", json={"data": fields})
    return {"task": _row(changed["data"])}


@tool(requires_auth=_AUTH)
async def list_projects(
    context: ToolContext, limit: Annotated[int, "The most projects to return"] = 20
) -> Annotated[dict[str, Any], "The projects"]:
    """List the user's projects."""
    return {"projects": [{"id": p["gid"], "name": p["name"]} for p in (await _projects(context))[:limit]]}


@tool(requires_auth=_AUTH)
async def list_workspaces(
    context: ToolContext, limit: Annotated[int, "The most workspaces to return"] = 20
) -> Annotated[dict[str, Any], "The workspaces"]:
    """List the user's workspaces."""
    found = await SERVICES.call(context, "GET", f"{API}/workspaces")
    return {"workspaces": [{"id": w["gid"], "name": w["name"]} for w in found["data"][:limit]]}


TOOLS = (
    create_task,
    get_tasks_without_id,
    get_task_by_id,
    mark_task_as_completed,
    update_task,
    list_projects,
    list_workspaces,
)
