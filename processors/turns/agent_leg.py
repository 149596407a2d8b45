"""A leg of the tenant's own agent: its model is asked once, with its limits, time-outs and repeats."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import logging
from collections.abc import Callable, Sequence
from typing import Literal

from connectors.foreign import contained
from processors.turns.agent import Agent, TurnContext
from processors.turns.leg import Work
from processors.turns.model_errors import is_hopeless, model_error_words
from processors.turns.profile import Profile, Profiles
from processors.turns.running_legs import Interrupted, RunningLegs
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
)
from schemas.common.clock import Clock, utc_now
from schemas.common.recent import pause_after
from threads.answers import Answer, message_id, over_limits, seconds_left
from threads.context_window import CHARACTERS_PER_TOKEN, tokens_of, window
from threads.draft import SOURCE, Draft
from threads.leg_ends import Answered, Failed, LegResult, Stopped

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
        history = window(draft.history, settings.context_tokens)
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
                failure = ModelFailed("model_timeout", _timeout_words(settings))
            except Exception as error:
                log.warning("model %s failed, attempt %d: %r", settings.name, attempt, error)
                words = model_error_words(settings, error)
                failure = ModelFailed("model_error", f"{words} {profile.notice}".strip())
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


def _timeout_words(settings: ModelSettings) -> str:
    return f"The model {settings.name} did not answer within {settings.timeout_seconds:g} s, {settings.attempts} times."
