"""`RunAgentInput` (AG-UI 1.0): what of it an agent takes, and what a hosted graph is given of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from connectors.gateway.client_messages import Listed, check_calls, fresh, listed, text_of
from core.agents import MESSAGE_MODES
from core.graph_assistants import Assistant
from core.refusals import Invalid, unfit
from schemas import GraphRequest, StoredMessage

_NOT_OF_AGENTS = {
    "tools": "tools that run in the client can be offered by a hosted graph, which finds them in its config",
    "state": "an agent has no state beside its messages; a hosted graph has one",
    "context": "say it in a message; a hosted graph finds it in its config",
    "forwardedProps": "an agent has no use for it; a hosted graph finds it in its config",
}


@dataclass(frozen=True, slots=True)
class RunInput:
    """A run that a client asks for. `run_id` is the client's own name for it."""

    thread_id: str
    run_id: str
    messages: Sequence[Listed]
    resume: Sequence[Mapping[str, Any]]
    body: Mapping[str, Any]

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> RunInput:
        """Reads a body. Raises `Refused`."""
        thread_id, run_id = body.get("threadId"), body.get("runId")
        if not isinstance(thread_id, str) or not isinstance(run_id, str) or not run_id:
            name, given = ("threadId", thread_id) if not isinstance(thread_id, str) else ("runId", run_id)
            raise unfit(name, given, "a string")
        messages = [listed(message) for message in _objects(body, "messages")]
        return cls(thread_id, run_id, messages, _objects(body, "resume"), body)

    def for_agent(self) -> None:
        """Raises `Refused` for what an agent of Cauce cannot be given, rather than leaving it out in silence."""
        for name, reason in _NOT_OF_AGENTS.items():
            if self.body.get(name):
                raise Invalid("not_supported", f"{name}: {reason}.")

    def for_graph(
        self, assistant: Assistant, known: Sequence[StoredMessage], values: Mapping[str, Any] | None
    ) -> GraphRequest:
        """What the assistant's graph is to do: what is new of the messages, and of the state beside its `values`.

        `tools`, `context` and `forwardedProps` are in `config["configurable"]["agui"]`. Raises `Refused` when nothing is new.
        """
        new = fresh(self.messages, known)
        check_calls(new, known)
        sent = [_message(m) for m in self.messages if m.role == "other"]
        users = [m for m in new if m.role == "user"]
        sent += [_message(m) for m in new if m.role == "tool"]
        if text := "\n\n".join(filter(None, (text_of(m.content) for m in users))):
            sent.append({"role": "user", "content": text, **_id(users[-1])})
        changed = {name: value for name, value in self._state().items() if (values or {}).get(name, _NOTHING) != value}
        if not changed and not any(m["role"] in ("user", "tool") for m in sent):
            raise Invalid("nothing_said", "There is no new user message.")
        config = dict(assistant.config)
        if about := {to: self.body[name] for name, to in _GIVEN_TO_GRAPHS.items() if self.body.get(name)}:
            config["configurable"] = {**config.get("configurable", {}), "agui": about}
        return GraphRequest(
            graph=assistant.graph_id,
            input={**changed, **({"messages": sent} if sent else {})},
            config=config,
            context=dict(assistant.context),
            modes=MESSAGE_MODES,
        )

    @property
    def has_state(self) -> bool:
        """Whether the client sends a graph's state."""
        return bool(self._state())

    def _state(self) -> Mapping[str, Any]:
        """The client's state without the messages, which are sent separately. Raises `Refused`."""
        state = self.body.get("state") or {}
        if not isinstance(state, Mapping):
            raise unfit("state", state, "an object", code="not_supported")
        return {name: value for name, value in state.items() if name != "messages"}


_NOTHING = object()
_GIVEN_TO_GRAPHS = {"tools": "tools", "context": "context", "forwardedProps": "forwarded_props"}


def _message(message: Listed) -> dict[str, Any]:
    """As LangGraph takes it."""
    call = {"tool_call_id": message.call_id} if message.role == "tool" else {}
    role = message.role if message.role != "other" else {"developer": "system"}.get(message.named, message.named)
    return {"role": role, "content": text_of(message.content), **call, **_id(message)}


def _id(message: Listed) -> dict[str, str]:
    return {"id": message.message_id} if message.message_id else {}


def _objects(body: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    found = body.get(name) or []
    if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
        raise unfit(name, found, "a list of objects")
    return found
