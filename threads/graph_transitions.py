"""What inputs and legs do to a thread whose runs are a graph's: pure functions on a draft, beside `transitions`.

idle ──input──> leg ──end──────────> idle
                 │ └─interrupt──> paused ──answer──> leg, the same run
                 │                      └──input───> leg, a new run; the one that waited is abandoned
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from schemas import (
    Action,
    GraphInput,
    GraphInterrupt,
    GraphRequest,
    Input,
    Message,
    MessageAdded,
    MultitaskStrategy,
    RunLimits,
    RunPaused,
    RunResumed,
    StateUpdated,
    is_left_out,
    left_out,
)
from threads.context_window import tokens_of
from threads.draft import Draft
from threads.transitions import Next, fail_run, on_input, refuse

_NOT_OPEN = "the interrupt that this answers is not open any more"


def on_any_input(draft: Draft, new: Input, limits: RunLimits, strategy: MultitaskStrategy = "enqueue") -> Next:
    """Accepts an input that may be an answer to a graph: it resumes the paused run, or is an input like any other."""
    request, run = new.graph, draft.head.run
    if request is None or draft.head.deleted or not continues(request):
        return on_input(draft, new, limits, strategy)
    if run and run.paused:
        if run.graph_name != request.graph:
            return refuse(draft, f"the run that waits is of the graph {run.graph_name!r}, not of {request.graph!r}")
        if not _fits(request, draft):
            return refuse(draft, _NOT_OPEN)
        draft.event(RunResumed, run_id=run.run_id, input_id=new.input_id, graph=request.without_input())
        draft.audit(Action.QUESTION_ANSWERED, actor=f"user:{new.user_id}", run_id=run.run_id)
        draft.request = request
        return Next.LEG
    if answers(request) and not (run is None and draft.head.interrupts):
        return refuse(draft, "no run of the thread waits for an answer")
    if answers(request) and not _fits(request, draft):
        return refuse(draft, _NOT_OPEN)
    return on_input(draft, new, limits, strategy)


def _fits(request: GraphRequest, draft: Draft) -> bool:
    """Whether all that the request answers is still asked."""
    return request.command is None or set(request.command.answers) <= {asked.id for asked in draft.head.interrupts}


def answers(request: GraphRequest) -> bool:
    """Whether this can only be the answer to a paused run."""
    return request.command is not None and request.command.resumes


def continues(request: GraphRequest) -> bool:
    """Whether this resumes a paused run: with an answer, or with nothing, after a stop before or after a node."""
    return answers(request) or (request.command is None and request.input is None and request.checkpoint_id is None)


def concerns_the_run(draft: Draft, body: GraphInput) -> bool:
    """Whether the input would resume the paused run."""
    run = draft.head.run
    return bool(run and run.paused and continues(body.request))


def pause_graph(draft: Draft, interrupts: Sequence[GraphInterrupt]) -> None:
    """The graph waits for its user; the time until they answer does not count. What it asks has to fit into an event."""
    run = draft.run
    if problem := too_large_to_ask(draft, interrupts):
        fail_run(draft, "graph_error", problem)
        return
    about: dict[str, Any] = {"interrupts": tuple(interrupts), "state_before": draft.state_before}
    draft.event(RunPaused, run_id=run.run_id, reason="interrupt", **about)


def too_large_to_ask(draft: Draft, interrupts: Sequence[GraphInterrupt]) -> str | None:
    """Why the questions cannot be asked: no event is large enough for them. None where they can."""
    run_id = draft.head.run.run_id if draft.head.run else draft.input_id
    if draft.fits(RunPaused, run_id=run_id, reason="interrupt", interrupts=tuple(interrupts)):
        return None
    size = sum(len(asked.to_bytes()) for asked in interrupts)
    return f"What the graph asks has {size:,} bytes, which is more than fits. Ask with less, such as the key of a store item."


def add_messages(draft: Draft, messages: Sequence[Message]) -> None:
    """Messages that the state gained join the thread; those of models count for the run."""
    known = {message.message_id for message in draft.history}
    for message in messages:
        if message.message_id in known:
            continue
        known.add(message.message_id)
        kept, estimated = _fitted(draft, message), 0 if message.usage else tokens_of(message)
        draft.event(MessageAdded, run_id=message.run_id, message=kept, estimated_tokens=estimated)


def _fitted(draft: Draft, message: Message) -> Message:
    """A message of a graph's state as the thread stores it: arguments that do not fit are left out, then the text is truncated.
    The state keeps all of it."""
    while not draft.fits(MessageAdded, run_id=message.run_id, message=message):
        sizes = [0 if is_left_out(call.arguments) else _size(call.arguments) for call in message.tool_calls]
        if sizes and max(sizes) > 0:
            calls, largest = list(message.tool_calls), sizes.index(max(sizes))
            calls[largest] = calls[largest].model_copy(update={"arguments": left_out("arguments", sizes[largest])})
            message = message.model_copy(update={"tool_calls": tuple(calls)})
        elif len(message.text) > 1:
            message = message.model_copy(update={"text": message.text[: len(message.text) // 2 - 1] + "…"})
        else:
            break
    return message


def _size(arguments: Mapping[str, Any]) -> int:
    """Bytes as JSON."""
    return len(json.dumps(arguments, ensure_ascii=False).encode())


def state_updated(
    draft: Draft, checkpoint_id: str, interrupts: Sequence[GraphInterrupt], *, graph: str, agent_id: str
) -> None:
    """The state was changed by hand. A paused run stays paused, perhaps with other questions."""
    about = {"checkpoint_id": checkpoint_id, "graph": graph, "agent_id": agent_id, "interrupts": tuple(interrupts)}
    draft.event(StateUpdated, run_id=draft.input_id, input_id=draft.input_id, **about)
    draft.audit(Action.STATE_UPDATED, actor=f"user:{draft.head.user_id}")


def first_text(request: GraphRequest) -> str:
    """The text of the first message of a person in the input, for the thread's title; empty when there is none."""
    found = request.input.get("messages") if isinstance(request.input, Mapping) else request.input
    for message in found if isinstance(found, list) else [found]:
        if text := _text_of(message):
            return text
    return ""


def _text_of(message: Any) -> str:
    """The text of a message as LangChain takes them: a text, a pair of role and text, or a mapping."""
    if isinstance(message, str):
        return message
    if isinstance(message, Mapping):
        role, content = message.get("role") or message.get("type"), message.get("content")
    elif isinstance(message, list) and len(message) == 2:
        role, content = message
    else:
        return ""
    if role not in ("human", "user"):
        return ""
    if isinstance(content, list):
        texts = (block.get("text") if isinstance(block, Mapping) else block for block in content)
        return " ".join(text for text in texts if isinstance(text, str))
    return content if isinstance(content, str) else ""
