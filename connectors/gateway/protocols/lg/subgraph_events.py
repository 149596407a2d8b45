"""The lives of subgraphs, as their tasks show them: begun with the first task in a namespace, over with the task that ran it.

What is sent follows LangGraph's own `LifecycleTransformer`, so that clients find subgraphs and subagents the same way.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from connectors.gateway.protocols.lg.message_events import ChannelEvent
from connectors.gateway.protocols.lg.thread_state import dumps

Namespace = tuple[str, ...]


class Subgraphs:
    """The subgraphs of one run's leg."""

    def __init__(self, run_id: str, leg: str) -> None:
        self._run_id, self._leg = run_id, leg
        self._seen: set[Namespace] = set()
        self._open: dict[Namespace, str] = {}
        """Active subgraphs and their names."""
        self._calls: dict[str, str] = {}
        """Calls of tools, by the tasks that make them."""

    def task(self, namespace: Namespace, data: Any) -> list[ChannelEvent]:
        """What a task's begin or end says of subgraphs."""
        if not isinstance(data, Mapping) or not isinstance(data.get("id"), str):
            return []
        if "result" in data:
            return self._over(namespace, data)
        if call_id := _call_of(data.get("input")):
            self._calls[data["id"]] = call_id
        if not namespace or namespace in self._seen:
            return []
        self._seen.add(namespace)
        node, _, task_id = namespace[-1].partition(":")
        metadata = data.get("metadata")
        agent = metadata.get("lc_agent_name") if isinstance(metadata, Mapping) else None
        self._open[namespace] = name = str(agent or node)
        started: dict[str, Any] = {"event": "started", "namespace": list(namespace), "graph_name": name}
        if task_id:
            started["trigger_call_id"] = task_id
        if agent and task_id in self._calls:
            started["cause"] = {"type": "toolCall", "tool_call_id": self._calls[task_id]}
        return [self._event(namespace, started)]

    def _over(self, namespace: Namespace, data: Mapping[str, Any]) -> list[ChannelEvent]:
        made = []
        for child in [c for c in self._open if c[:-1] == namespace and c[-1].partition(":")[2] == data["id"]]:
            ended: dict[str, Any] = {"event": "completed", "graph_name": self._open.pop(child)}
            if data.get("interrupts"):
                ended["event"] = "interrupted"
            elif error := data.get("error"):
                ended |= {"event": "failed", "error": str(error)}
            made.append(self._event(child, ended))
        return made

    def end(self, what: str) -> list[ChannelEvent]:
        """The leg is over, and with it its active subgraphs: deepest first."""
        made = []
        for child in sorted(self._open, key=len, reverse=True):
            made.append(self._event(child, {"event": what, "graph_name": self._open.pop(child)}))
        return made

    def _event(self, namespace: Namespace, data: Mapping[str, Any]) -> ChannelEvent:
        event_id = f"synth:{self._run_id}:lc|{'|'.join(namespace)}|{data['event']}|{self._leg.rpartition('.')[2]}"
        return ChannelEvent("lifecycle", dumps(data), event_id, namespace)


def _call_of(given: Any) -> str | None:
    """The call that a task of a ToolNode makes: its input has it, alone or in a list."""
    if isinstance(given, Mapping):
        given = [given.get("tool_call")]
    for call in given if isinstance(given, list) else ():
        if isinstance(call, Mapping) and isinstance(call.get("id"), str):
            return str(call["id"])
    return None
