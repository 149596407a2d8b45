"""A leg of the tenant's own agent: its model is asked once, with its limits, time-outs and repeats.

The agent is a LangGraph graph, compiled once and shared by all tenants; what differs comes in by context. Tools are given as
schemas only, so the graph ends when the model asks for tools: nothing waits inside it, nothing is checkpointed, and the pipeline
makes the calls (docs/architecture.md). LangChain's `create_agent` would make the same graph around a loop over tools that never
runs here; with the middleware that it needs for a model per call it costs twice the CPU (docs/performance.md).
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypedDict

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AnyMessage, SystemMessage
from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime

from connectors.foreign import contained
from processors.turns.leg import DELTA_SECONDS, Work
from processors.turns.model_answers import to_answer
from processors.turns.model_errors import is_hopeless, model_error_message
from processors.turns.model_history import to_history
from processors.turns.profile import Profile, Profiles
from processors.turns.running_legs import Interrupted, RunningLegs
from processors.turns.written import Gathered, Written, shown_text
from schemas import (
    Delta,
    Envelope,
    Message,
    ModelSettings,
    Output,
    RawRecord,
    RunLimits,
    SettingsError,
    Tenant,
    ToolFinished,
    Topic,
    storable_text,
)
from schemas.common.clock import Clock, utc_now
from schemas.common.recent import pause_after
from threads.context_window import CHARACTERS_PER_TOKEN, tokens_of, window
from threads.draft import SOURCE, Draft
from threads.enclosure import RULES
from threads.leg_ends import Answer, Answered, Failed, LegResult, Stopped, message_id, over_limits, seconds_left

log = logging.getLogger("cauce.turns")

BACKOFF = (0.5, 120.0)
"""First and longest pause, in seconds, before a model call is tried again."""

_TOOL_FINISHED = ToolFinished.TYPE.encode()

FailureCode = Literal["model_error", "model_timeout", "limit_seconds"]


class ModelFailed(Exception):
    """All tries of a model call failed. `code` and the text are for the user."""

    def __init__(self, code: FailureCode, message: str) -> None:
        super().__init__(message)
        self.code: FailureCode = code


OnText = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class TurnContext:
    """What one turn's model call is made with."""

    model: BaseChatModel
    instructions: str
    tools: Sequence[Mapping[str, Any]] = field(default=())
    """Tools as JSON schemas in OpenAI's form."""
    on_text: OnText = lambda text: None
    """Gets the answer piece by piece."""
    model_key: str = ""
    """Names the model: what its provider gave with a message goes back to no other."""


class _State(TypedDict, total=False):
    messages: list[AnyMessage]
    answer: Written


class Agent:
    """Runs one leg: from a history to the model's next message."""

    def __init__(self) -> None:
        graph = StateGraph(_State, context_schema=TurnContext)
        graph.add_node("model", _ask)
        graph.add_edge(START, "model")
        graph.add_edge("model", END)
        self._graph = graph.compile(name="cauce-agent")

    async def leg(self, history: Sequence[Message], context: TurnContext) -> Answer:
        """Asks the model. Raises what the model raises."""
        inputs: _State = {"messages": to_history(history, context.model_key)}
        state = await self._graph.ainvoke(inputs, context=context)
        return to_answer(state["answer"], context.model_key)


async def _ask(state: _State, runtime: Runtime[TurnContext]) -> _State:
    context = runtime.context
    pieces = _Pieces(context.on_text)
    model = context.model.bind_tools([dict(t) for t in context.tools]) if context.tools else context.model
    gathered = Gathered()
    async for piece in model.astream([SystemMessage(context.instructions), *state["messages"]]):
        gathered.add(piece)
        if text := shown_text(piece):
            pieces.add(text)
    pieces.flush(last=True)
    return {"answer": gathered.whole()}


class _Pieces:
    def __init__(self, on_text: OnText) -> None:
        self._on_text, self._parts, self._sent = on_text, list[str](), float("-inf")

    def add(self, text: str) -> None:
        self._parts.append(text)
        if time.monotonic() - self._sent >= DELTA_SECONDS:
            self.flush()

    def flush(self, *, last: bool = False) -> None:
        text = "".join(self._parts)
        self._parts.clear()
        if not last and "\ud800" <= text[-1:] <= "\udbff":  # the other half of the character is still to come
            self._parts.append(text[-1])
            text = text[:-1]
        if text:
            self._on_text(storable_text(text))
            self._sent = time.monotonic()


class AgentLeg:
    """See `Leg`. `emit` publishes deltas, best effort."""

    def __init__(
        self,
        agent: Agent,
        profiles: Profiles,
        emit: Callable[[Output], None],
        *,
        now: Clock = utc_now,
    ) -> None:
        self._agent, self._profiles, self._emit, self._now = agent, profiles, emit, now
        self._running = RunningLegs()

    def arrived(self, raw: RawRecord) -> None:
        """See `Leg`."""
        self._running.arrived(raw)

    def limits(self, tenant: Tenant, agent_id: str) -> RunLimits | None:
        """The agent's."""
        agent = tenant.agent(agent_id)
        return agent.limits if agent else None

    async def run(self, work: Work) -> LegResult:
        """Asks the model."""
        draft, run, tenant = work.draft, work.run, work.tenant
        agent = tenant.agent(run.agent_id)
        if agent is None:
            return LegResult(Failed("internal_error", f"The agent {run.agent_id!r} does not exist any more."))
        if over := over_limits(draft, agent.limits):
            return LegResult(Failed(*over))
        self._announce_results(draft)
        try:
            profile = await self._profiles.profile(tenant, agent, run.user_id, run.time_zone)
            seconds = seconds_left(draft, agent.limits)
            asking = self._ask(draft, profile, seconds)
            answer = await self._running.run(str(draft.thread), run.run_id, run.user_id, asking, work.waiting)
        except Interrupted as interrupted:
            return LegResult(Stopped(interrupted.reason), self._now())
        except (ModelFailed, SettingsError) as error:
            code = error.code if isinstance(error, ModelFailed) else "model_error"
            return LegResult(Failed(code, str(error)), self._now())
        return LegResult(Answered(answer, profile.policy, profile.notice), self._now())

    def _announce_results(self, draft: Draft) -> None:
        """Shows the tool results that the model is about to read: their events come only with the whole turn."""
        for output in draft.outputs:
            if output.topic is Topic.CHAT_RESPONSES and ("ce_type", _TOOL_FINISHED) in output.headers:
                self._emit(dataclasses.replace(output, topic=Topic.CHAT_DELTAS))

    async def _ask(self, draft: Draft, profile: Profile, seconds: float) -> Answer:
        settings = profile.agent.model
        deadline = asyncio.get_running_loop().time() + seconds
        history = window(draft.history, settings.context_tokens - len(RULES) // CHARACTERS_PER_TOKEN)
        instructions = profile.instructions(draft.now)
        failure: ModelFailed | None = None
        for attempt in range(1, settings.attempts + 1):
            left = deadline - asyncio.get_running_loop().time()
            if left <= 0:
                raise ModelFailed("limit_seconds", f"The run was stopped: it may take {seconds:.0f} s at most.")
            on_text = self._deltas(draft, attempt)
            context = TurnContext(profile.model, instructions, profile.tools, on_text, profile.model_key)
            try:
                async with asyncio.timeout(min(settings.timeout_seconds, left)):
                    answer = await contained(self._agent.leg(history, context))
                    return _finished(answer, profile, instructions, history)
            except TimeoutError:
                failure = ModelFailed("model_timeout", _timeout_message(settings))
            except Exception as error:
                log.warning("model %s failed, attempt %d: %r", settings.name, attempt, error)
                message = model_error_message(settings, error)
                failure = ModelFailed("model_error", f"{message} {profile.notice}".strip())
                if is_hopeless(error):
                    break
            if attempt < settings.attempts:
                await asyncio.sleep(pause_after(attempt, *BACKOFF))
        assert failure
        raise failure

    def _deltas(self, draft: Draft, attempt: int) -> Callable[[str], None]:
        run = draft.run
        turn, index = run.turns + 1, 0

        def on_text(text: str) -> None:
            nonlocal index
            delta = Delta(
                run_id=run.run_id,
                message_id=message_id(run.run_id, turn),
                turn=turn,
                attempt=attempt,
                index=index,
                text=text,
            )
            record_id = f"{run.run_id}.{turn}.{attempt}.{index}"
            envelope = Envelope(record_id, Delta.TYPE, SOURCE, draft.thread.tenant_id, self._now(), draft.traceparent)
            index += 1
            self._emit(Output.of(Topic.CHAT_DELTAS, str(draft.thread), delta, envelope))

        return on_text


def _finished(answer: Answer, profile: Profile, instructions: str, history: Sequence[Message]) -> Answer:
    """The answer with the tools' own names, and with an estimate of its tokens where the provider did not count them."""
    tools = tuple(dataclasses.replace(a, name=profile.names.get(a.name, a.name)) for a in answer.tools)
    if answer.usage is not None:
        return dataclasses.replace(answer, tools=tools)
    asked = profile.tool_tokens + sum(tokens_of(message) for message in history)
    text = len(instructions) + len(answer.text) + sum(len(json.dumps(a.arguments)) for a in tools)
    return dataclasses.replace(answer, tools=tools, estimated_tokens=asked + text // CHARACTERS_PER_TOKEN + 1)


def _timeout_message(settings: ModelSettings) -> str:
    return f"The model {settings.name} did not answer within {settings.timeout_seconds:g} s, {settings.attempts} times."
