"""The objects of the LangGraph Server API, made of ours."""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from core import RunView
from core.agent_names import assistant_id, graph_id
from core.graph_assistants import NAMESPACE, Assistant
from core.refusals import not_found
from schemas import (
    AgentSettings,
    FinishedRun,
    GraphInterrupt,
    Question,
    RunFailed,
    StoredMessage,
    Tenant,
    ThreadCondition,
    ThreadHead,
    ThreadSummary,
    derived_id,
)

_UUID = re.compile(r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")
DECISIONS = ["approve", "edit", "reject", "respond"]

THREAD_STATUS: dict[ThreadCondition, str] = {
    "idle": "idle",
    "busy": "busy",
    "approval": "interrupted",
    "failed": "error",
}
RUN_STATUS = {
    "pending": "pending",
    "running": "running",
    "paused": "interrupted",
    "completed": "success",
    "failed": "error",
    "cancelled": "interrupted",
}


def iso(at: datetime) -> str:
    """As the clients parse it."""
    return at.isoformat()


def assistant(tenant: Tenant, agent: AgentSettings) -> dict[str, Any]:
    """An agent as an assistant."""
    at = iso(tenant.created_at)
    return {
        "assistant_id": assistant_id(tenant.tenant_id, agent.agent_id),
        "graph_id": graph_id(agent.agent_id),
        "name": agent.name,
        "description": None,
        "config": {},
        "context": {},
        "metadata": {"created_by": "system", "agent_id": agent.agent_id},
        "version": tenant.version,
        "created_at": at,
        "updated_at": at,
    }


def graph_assistant(of: Assistant) -> dict[str, Any]:
    """An assistant of a hosted graph."""
    return {
        "assistant_id": of.assistant_id,
        "graph_id": of.graph_id,
        "name": of.name,
        "description": of.description,
        "config": dict(of.config),
        "context": dict(of.context),
        "metadata": dict(of.metadata),
        "shared": of.shared,
        "version": of.version,
        "created_at": iso(of.created_at),
        "updated_at": iso(of.updated_at),
    }


def run(view: RunView, tenant_id: str) -> dict[str, Any]:
    """A run."""
    return {
        "run_id": view.run_id,
        "thread_id": view.thread_id,
        "assistant_id": assistant_id(tenant_id, view.agent_id or "default"),
        "created_at": iso(view.created_at),
        "updated_at": iso(view.updated_at),
        "status": RUN_STATUS[view.status],
        "metadata": dict(view.metadata),
        "kwargs": dict(view.details.get("kwargs", {})),
        "multitask_strategy": view.multitask_strategy,
    }


def failure(of: RunFailed | RunView | FinishedRun) -> dict[str, str]:
    """How a run failed: class and message of a graph's exception, as in LangGraph's server; a code for everything else."""
    if of.error:
        message = of.message.removeprefix(of.error).removeprefix(": ")
        return {
            "error": of.error,
            "message": message or "The exception has no message; the worker's log shows where it was raised.",
        }
    return {"error": of.code, "message": of.message}


def graph_interrupts(found: Iterable[GraphInterrupt | Question]) -> list[dict[str, Any]]:
    """What a graph asks."""
    return [{"id": asked.id, "value": asked.value} for asked in found]


def interrupts(thread_id: str, head: ThreadHead) -> list[dict[str, Any]]:
    """What a paused thread waits for: what its graph asks, or one interrupt in the shape of LangChain's human-in-the-loop
    middleware."""
    if head.run and head.status == "approval":
        return [interrupt(thread_id, head.run.run_id, head.approvals)]
    return graph_interrupts(head.interrupts)


def interrupt(thread_id: str, run_id: str, approvals: Sequence[Question]) -> dict[str, Any]:
    """The interrupt of calls that wait; its id is the same whenever they are the same."""
    ids = [asked.id for asked in approvals]
    return {
        "id": derived_id("int", thread_id, run_id, *ids),
        "value": {
            "action_requests": [{"name": a.name, "args": dict(a.value), "description": a.sentence} for a in approvals],
            "review_configs": [
                {"action_name": name, "allowed_decisions": DECISIONS}
                for name in dict.fromkeys(a.name for a in approvals)
            ],
            "call_ids": ids,
        },
    }


def thread_metadata(of: ThreadHead | ThreadSummary, tenant_id: str, graph: str | None = None) -> dict[str, Any]:
    """A thread's metadata, with its title and with what chat pages look for the threads of their assistant by."""
    metadata = dict(of.metadata)
    if of.agent_id:
        metadata |= {"graph_id": graph or graph_id(of.agent_id), "assistant_id": assistant_id(tenant_id, of.agent_id)}
    return {**({"title": of.title} if of.title else {}), **metadata}


def thread(
    thread_id: str, head: ThreadHead, values: Mapping[str, Any] | None, *, tenant_id: str, graph: str | None = None
) -> dict[str, Any]:
    """A thread; its values are None unless they were requested. `graph` is the hosted graph that runs in it."""
    waiting = interrupts(thread_id, head)
    failed = head.last if head.condition == "failed" else None
    return {
        "thread_id": thread_id,
        "created_at": iso(head.created_at),
        "updated_at": iso(head.updated_at),
        "state_updated_at": iso(head.updated_at),
        "metadata": thread_metadata(head, tenant_id, graph),
        "status": THREAD_STATUS[head.condition],
        "config": {},
        "values": values,
        "error": failure(failed) if failed else None,
        "interrupts": {_task_id(i["id"]): [i] for i in waiting},
    }


def ttl(head: ThreadHead) -> dict[str, Any]:
    """When a thread's time is up, for those who ask for it."""
    if (said := head.ttl) is None:
        return {"ttl": None}
    return {
        "ttl": {"strategy": said.strategy, "ttl_minutes": said.minutes, "expires_at": iso(said.expires_at)},
    }


def line(found: ThreadSummary, *, tenant_id: str) -> dict[str, Any]:
    """A thread of which no more than its line in the list can be read."""
    return {
        "thread_id": found.thread_id,
        "created_at": iso(found.created_at),
        "updated_at": iso(found.updated_at),
        "state_updated_at": iso(found.updated_at),
        "metadata": thread_metadata(found, tenant_id),
        "status": THREAD_STATUS[found.condition],
        "config": {},
        "values": None,
        "error": None,
        "interrupts": {},
    }


def checkpoint(thread_id: str, seq: int) -> dict[str, Any]:
    """The thread after its message of this number."""
    digest = hashlib.blake2b(thread_id.encode(), digest_size=6).hexdigest()
    return {
        "thread_id": thread_id,
        "checkpoint_ns": "",
        "checkpoint_id": f"{seq:08x}-0000-6000-8000-{digest}",
        "checkpoint_map": None,
    }


def checkpoint_seq(thread_id: str, given: object) -> int:
    """The inverse: the message that a checkpoint comes after. Raises `Refused` for one of another thread."""
    text = given.get("checkpoint_id") if isinstance(given, Mapping) else given
    if isinstance(text, str) and len(text) == 36:
        try:
            seq = int(text[:8], 16)
        except ValueError:
            seq = -1
        if seq >= 0 and checkpoint(thread_id, seq)["checkpoint_id"] == text:
            return seq
    raise not_found("checkpoint", str(text))


def state(
    thread_id: str,
    messages: Sequence[StoredMessage],
    rendered: Sequence[Mapping[str, Any]],
    *,
    waiting: Sequence[Mapping[str, Any]] = (),
    at: datetime | None = None,
    failed: str = "",
) -> dict[str, Any]:
    """The thread's state after the last of `messages`; `rendered` are the same in their form."""
    last = messages[-1] if messages else None
    seq = last.seq if last else 0
    before = messages[-2].seq if len(messages) > 1 else 0
    following = _next_node(last)
    return {
        "values": {"messages": list(rendered)},
        "next": [following] if following else [],
        "tasks": [
            {
                "id": _task_id(waiting[0]["id"]) if waiting else str(uuid.uuid5(NAMESPACE, f"{thread_id}:{seq}")),
                "name": following,
                "path": ["__pregel_pull", following],
                "error": failed or None,
                "interrupts": list(waiting),
                "checkpoint": None,
                "state": None,
                "result": None,
            }
        ]
        if following
        else [],
        "checkpoint": checkpoint(thread_id, seq) if last else {**checkpoint(thread_id, 0), "checkpoint_id": None},
        "parent_checkpoint": checkpoint(thread_id, before) if last else None,
        "metadata": {
            "step": len(messages) - 1,
            "source": "input" if last and last.message.role == "user" else "loop",
            "run_id": last.message.run_id if last else None,
            "parents": {},
        },
        "created_at": iso(last.message.at) if last else (iso(at) if at else None),
        "interrupts": list(waiting),
    }


def _next_node(last: StoredMessage | None) -> str | None:
    """What would come after this message."""
    if last is None or (last.message.role == "assistant" and not last.message.tool_calls):
        return None
    return "tools" if last.message.role == "assistant" else "agent"


def _task_id(interrupt_id: str) -> str:
    return str(uuid.uuid5(NAMESPACE, interrupt_id))
