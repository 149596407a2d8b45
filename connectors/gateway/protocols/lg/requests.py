"""What the handlers have in common: bodies, ids, stream modes, the run that a body asks for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from starlette.responses import Response

from connectors.gateway.gateway_core import GatewayCore
from connectors.gateway.given_json import given_json
from connectors.gateway.protocols.lg.projection import MODES
from connectors.gateway.protocols.lg.thread_state import dumps
from connectors.gateway.request_parts import flag, mapping, one_of, text
from core.delayed import LONGEST_DELAY
from core.graph_assistants import Assistant
from core.graph_configuration import check_configuration
from core.principal import Principal
from core.refusals import Conflict, Invalid, Refused, checked, known_time_zone, unfit
from core.reserved_names import check_names
from core.thread_expiry import MOST_MINUTES, from_now
from schemas import GraphCommand, GraphRequest, ThreadTtl

LONGEST_TITLE = 200
"""Characters of a thread's own title, as its line in a list has it."""
STRATEGIES = ("enqueue", "reject", "interrupt", "rollback")
_KWARGS = (
    "input",
    "command",
    "config",
    "context",
    "checkpoint",
    "interrupt_before",
    "interrupt_after",
    "stream_mode",
    "stream_subgraphs",
    "durability",
)
_DURABILITIES = ("sync", "async", "exit")
_NOT_YET = {
    "webhook": "webhooks are not supported; follow the run's stream, or read chat.responses",
}
NOT_DELAYED = "after_seconds: an input that resumes a waiting run cannot be delayed; leave after_seconds out."
_NOT_OF_AGENTS = {
    "interrupt_before": "an agent has no nodes of its own to stop before",
    "interrupt_after": "an agent has no nodes of its own to stop after",
}


def answer(value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A JSON response."""
    return Response(dumps(value), status, dict(headers or {}), media_type="application/json")


def modes_of(given: object, default: Sequence[str] = ("values",)) -> tuple[str, ...]:
    """Stream modes: one, a list, or the JSON of a list. Raises `Refused` for an unknown one."""
    if given in (None, "", []):
        return tuple(default)
    found: list[Any] = [mode for mode in given if mode != ""] if isinstance(given, list) else [given]
    if not found:  # the Python client asks for stream_mode= where it has none
        return tuple(default)
    if len(found) == 1 and isinstance(found[0], str) and found[0].startswith("["):
        try:
            found = given_json(found[0], "stream_mode")
        except Refused:
            found = [given]
    for mode in found:
        if mode not in MODES:
            raise Invalid("invalid", f"{str(mode)[:40]!r} is not a stream mode; the modes are {', '.join(MODES)}.")
    return tuple(found)


@dataclass(frozen=True, slots=True)
class RunRequest:
    """`RunCreate` as far as it means something here, for an agent or for a graph."""

    assistant: object
    body: Mapping[str, Any]
    command: Mapping[str, Any]
    modes: tuple[str, ...]
    resumable: bool
    strategy: str
    metadata: Mapping[str, Any]
    create_thread: bool
    cancel_when_left: bool
    delay: timedelta | None

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> RunRequest:
        """Reads a body. Raises `Refused` for what cannot be done, rather than leaving it out in silence."""
        for name, reason in _NOT_YET.items():
            if body.get(name):
                raise Invalid("not_supported", f"{name}: {reason}.")
        if not body.get("assistant_id"):
            raise Invalid("invalid_argument", "assistant_id is missing. Give an assistant's id or a graph's name.")
        one_of(body, "on_completion", ("delete", "keep"))
        return cls(
            assistant=text(body, "assistant_id"),
            body=body,
            command=mapping(body.get("command"), "command"),
            modes=modes_of(body.get("stream_mode")),
            resumable=flag(body, "stream_resumable"),
            strategy=one_of(body, "multitask_strategy", STRATEGIES) or "enqueue",
            metadata=_metadata_of(body),
            create_thread=one_of(body, "if_not_exists", ("create", "reject")) == "create",
            cancel_when_left=one_of(body, "on_disconnect", ("cancel", "continue")) == "cancel",
            delay=_delay(body.get("after_seconds")),
        )

    @property
    def given(self) -> object:
        """The input of an agent; None when there is none."""
        return self.body.get("input") or None

    @property
    def kwargs(self) -> dict[str, Any]:
        """What is shown of the run again."""
        return {name: self.body[name] for name in _KWARGS if self.body.get(name) is not None}

    def for_agent(self) -> None:
        """Raises `Refused` for what only graphs can do."""
        for name, reason in _NOT_OF_AGENTS.items():
            if self.body.get(name):
                raise Invalid("not_supported", f"{name}: {reason}.")
        if self.command.get("goto") or self.command.get("update"):
            raise Invalid("not_supported", "command: an agent supports only resume.")
        self._durability()

    async def refuse_if_busy(self, core: GatewayCore, caller: Principal, thread_id: str) -> None:
        """Raises `Conflict` where a run of the thread is active and the strategy is `reject`."""
        if self.strategy == "reject" and not self.delay and await core.runs.any_active(caller, thread_id):
            raise Conflict(
                "thread_busy",
                "Another run of this thread is active; use multitask_strategy enqueue, or wait for its end.",
            )

    @property
    def time_zone(self) -> str | None:
        """Where the user of an agent is: `time_zone` of the context, or in `config.configurable`. Raises `Refused`."""
        configurable = mapping(mapping(self.body.get("config"), "config").get("configurable"), "config.configurable")
        context = mapping(self.body.get("context"), "context")
        given = context.get("time_zone") or configurable.get("time_zone")
        return known_time_zone(given) if given else None

    def for_graph(self, caller: Principal, assistant: Assistant) -> GraphRequest:
        """What the assistant's graph is to do. Raises `Refused`."""
        given, context = mapping(self.body.get("config"), "config"), mapping(self.body.get("context"), "context")
        check_configuration(given, context)
        check_names(given, context, caller)
        config, context = assistant.configuration(given, context)
        return checked(
            GraphRequest,
            graph=assistant.graph_id,
            input=self.body.get("input"),
            command=_command(self.command),
            config=config,
            context=context,
            checkpoint_id=self.checkpoint_id,
            interrupt_before=_nodes(self.body, "interrupt_before"),
            interrupt_after=_nodes(self.body, "interrupt_after"),
            modes=tuple(dict.fromkeys("messages" if m == "messages-tuple" else m for m in self.modes)),
            subgraphs=flag(self.body, "stream_subgraphs"),
            durability=self._durability(),
        )

    @property
    def checkpoint_id(self) -> str | None:
        """The checkpoint to resume from: a field of its own, in a checkpoint, or in the config, where LangGraph has it."""
        config = mapping(self.body.get("config"), "config")
        checkpoint = mapping(self.body.get("checkpoint"), "checkpoint")
        configurable = mapping(config.get("configurable"), "config.configurable")
        ways = ((self.body, ""), (checkpoint, "checkpoint."), (configurable, "config.configurable."))
        found = [text(way, "checkpoint_id", where) for way, where in ways]
        if checkpoint.get("checkpoint_ns") or configurable.get("checkpoint_ns"):
            detail = "checkpoint: a run starts at a checkpoint of the graph itself, not of a subgraph."
            raise Invalid("not_supported", detail)
        return next((one for one in found if one), None)

    def _durability(self) -> str:
        given, during = one_of(self.body, "durability", _DURABILITIES), flag(self.body, "checkpoint_during")
        if given is None and self.body.get("checkpoint_during") is not None:
            return "async" if during else "exit"
        return given or "async"


def _metadata_of(body: Mapping[str, Any]) -> dict[str, Any]:
    """Metadata of a run and of the thread created for it: the request's own override those of its config."""
    config = mapping(body.get("config"), "config")
    return {**mapping(config.get("metadata"), "config.metadata"), **mapping(body.get("metadata"), "metadata")}


def thread_fields(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Title and metadata of a thread that is made with these. The assistant is that of its runs."""
    return {"title": own_title(metadata), "metadata": {k: v for k, v in metadata.items() if k != "assistant_id"}}


def own_title(metadata: Mapping[str, Any]) -> str | None:
    """The title that the thread gets of its metadata, which keep what was given as it is: the beginning of a text, none where it
    is taken away, and otherwise the one that it has."""
    if "title" not in metadata:
        return None
    given = metadata["title"]
    return given[:LONGEST_TITLE] if isinstance(given, str) else "" if given is None else None


def _delay(given: object) -> timedelta | None:
    """`after_seconds` of a run. Raises `Refused`."""
    if not given and not isinstance(given, bool):
        return None
    longest = LONGEST_DELAY.total_seconds()
    if isinstance(given, bool) or not isinstance(given, int | float) or not 0 < given <= longest:
        raise unfit("after_seconds", given, f"a number of seconds above 0, at most {longest:.0f}")
    return timedelta(seconds=given)


def ttl_of(given: object) -> ThreadTtl | None:
    """When a thread's time is up: minutes, or an object with `ttl` in minutes and a `strategy`. Raises `Refused`."""
    if given is None:
        return None
    minutes, strategy = (given.get("ttl"), given.get("strategy")) if isinstance(given, Mapping) else (given, None)
    if isinstance(minutes, bool) or not isinstance(minutes, int | float) or not 0 < minutes <= MOST_MINUTES:
        raise unfit("ttl", minutes, f"a number of minutes above 0, at most {MOST_MINUTES}")
    if strategy not in (None, "delete", "keep_latest"):
        raise unfit("ttl.strategy", strategy, "delete or keep_latest")
    if strategy == "keep_latest":
        raise Invalid(
            "not_supported",
            "ttl.strategy: keep_latest is not supported, because a thread's history is kept whole; use delete.",
        )
    return from_now(minutes, strategy or "delete")


def usual_ttl(core: GatewayCore) -> ThreadTtl | None:
    """The time to live of a new thread whose client sets none."""
    minutes = core.options.thread_minutes
    return from_now(minutes, core.options.thread_strategy) if minutes else None


def _command(given: Mapping[str, Any]) -> GraphCommand | None:
    """A resume of null counts where the command has nothing else."""
    if not given:
        return None
    update, goto, resume = given.get("update"), given.get("goto"), given.get("resume")
    for to in goto if isinstance(goto, list) else [] if goto is None else [goto]:
        if not isinstance(to.get("node") if isinstance(to, Mapping) else to, str):
            raise unfit("command.goto", to, "the name of a node, an object with node and input, or a list of these")
    resumes = resume is not None or ("resume" in given and update is None and goto is None)
    return GraphCommand(resumes=resumes, resume=resume, update=update, goto=goto)


def _nodes(body: Mapping[str, Any], name: str) -> tuple[str, ...]:
    given = body.get(name)
    found = [given] if isinstance(given, str) else given or []
    if not isinstance(found, list) or not all(isinstance(node, str) for node in found):
        raise unfit(name, given, "a list of names of nodes, or *")
    return tuple(found)
