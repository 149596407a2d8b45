"""States of agents' threads: one checkpoint after each message, on every branch of the conversation."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from connectors.gateway.client_messages import listed, text_of
from connectors.gateway.gateway_core import GatewayCore
from connectors.gateway.protocols.lg import shapes
from connectors.gateway.protocols.lg.answer_list import AnswerList
from connectors.gateway.protocols.lg.graph_thread_states import where, where_of
from connectors.gateway.protocols.lg.message_shapes import message_object, to_langchain
from connectors.gateway.request_parts import mapping, number
from core.principal import Principal
from core.refusals import Invalid, checked, not_found, unfit
from core.thread_branches import Branches
from schemas import ChangeMessages, GivenMessage, StoredMessage, derived_id, own_id

NODES = (None, "__start__", "__input__", "agent", "model", "tools", "__end__", "__copy__")
"""Whom a change by hand may be written as: it makes no difference, since what comes next follows from the last message."""
MOST_GIVEN = 1_000
"""Messages of one change: as many as a state has."""
_AROUND = 300
"""Bytes of a message beside its text, about."""
REMOVE_ALL = "__remove_all__"
"""LangGraph's id of all messages."""


async def agent_state(core: GatewayCore, caller: Principal, thread_id: str, given: object) -> dict[str, Any]:
    """The newest state, or the one of a checkpoint. Raises `Refused` where there is none."""
    branches = await core.threads.branches(caller, thread_id, window=core.options.state_messages)
    seq = branches.head.newest_message
    if (checkpoint_id := where(given)[0]) is not None:
        seq = shapes.checkpoint_seq(thread_id, checkpoint_id)
        if not branches.has(seq):
            raise not_found("checkpoint", checkpoint_id)
    return state_at(branches, thread_id, seq)


async def agent_history(core: GatewayCore, caller: Principal, thread_id: str, body: Mapping[str, Any]) -> AnswerList:
    """The state after each message, of all branches: where the conversation stands, then the newest first, then its beginning.

    Each state has all messages before it, so that a history of few of them is large: it ends before its answer is.
    """
    branches = await core.threads.branches(caller, thread_id, window=core.options.state_messages)
    newest, limit = branches.head.newest_message, number(body.get("limit"), "limit", 10, 1000)
    places = sorted((s.seq for s in branches.rows), reverse=True)
    if places and (places[-1] == 1 or len(places) < core.options.state_messages):
        places.append(0)
    if newest in places:
        places.remove(newest)
        places.insert(0, newest)
    before, checkpoint = where(body.get("before"))[0], where(body.get("checkpoint"))[0]
    if before is not None:
        seq = shapes.checkpoint_seq(thread_id, before)
        places = places[places.index(seq) + 1 :] if seq in places else [p for p in places if p < seq]
    if checkpoint is not None:
        places = [p for p in places if p == shapes.checkpoint_seq(thread_id, checkpoint)]
    metadata = mapping(body.get("metadata"), "metadata")
    found = AnswerList(limit)
    sizes = {s.seq: len(s.message.text) + _AROUND for s in branches.rows}
    # Many messages are much to encode: other requests are answered meanwhile.
    return await asyncio.to_thread(_states, branches, thread_id, places, sizes, metadata, found)


def _states(
    branches: Branches,
    thread_id: str,
    places: Sequence[int],
    sizes: Mapping[int, int],
    metadata: Mapping[str, Any],
    found: AnswerList,
) -> AnswerList:
    rendered = {s.seq: to_langchain(s.message) for s in branches.rows}
    for seq in places:
        if not found.has_room(sum(sizes[s.seq] for s in branches.up_to(seq))):
            break
        state = state_at(branches, thread_id, seq, rendered)
        if all(state["metadata"].get(name) == value for name, value in metadata.items()) and not found.add(state):
            break
    return found


async def change_agent_state(
    core: GatewayCore, caller: Principal, thread_id: str, body: Mapping[str, Any]
) -> dict[str, Any]:
    """Adds, replaces and removes messages as LangGraph's `add_messages` does; the answer names the new checkpoint."""
    checkpoint_id, namespace = where_of(body)
    if namespace:
        raise Invalid("not_supported", "checkpoint: an agent has no subgraphs.")
    if body.get("as_node") not in NODES:
        raise Invalid("invalid", f"as_node: an agent has the nodes agent and tools, not {str(body['as_node'])[:40]!r}.")
    branches = await core.threads.branches(caller, thread_id, window=core.options.state_messages)
    after = None
    if checkpoint_id is not None:
        after = shapes.checkpoint_seq(thread_id, checkpoint_id)
        if not branches.has(after):
            raise not_found("checkpoint", checkpoint_id)
    change = _change(caller, branches, body.get("values"), after)
    seq = branches.head.newest_message
    if change.messages or change.clear or after not in (None, seq):
        seq = await core.threads.change_messages(caller, thread_id, branches.head, change)
    made = shapes.checkpoint(thread_id, seq)
    configurable = {"thread_id": thread_id, "checkpoint_ns": "", "checkpoint_id": made["checkpoint_id"]}
    return {"checkpoint": made, "configurable": configurable, "checkpoint_id": made["checkpoint_id"]}


def state_at(
    branches: Branches, thread_id: str, seq: int, known: Mapping[int, dict[str, Any]] | None = None
) -> dict[str, Any]:
    """The state after a message. `known` has messages by their numbers as the API has them, where there are many states."""
    messages = branches.up_to(seq)
    rendered = [known[s.seq] if known else to_langchain(s.message) for s in messages]
    waiting = shapes.interrupts(thread_id, branches.head) if seq == branches.head.newest_message else []
    state = shapes.state(thread_id, messages, rendered, waiting=waiting, at=branches.head.created_at)
    if seq == 0 and branches.rows:
        state["checkpoint"] = shapes.checkpoint(thread_id, 0)
        state["next"] = ["__start__"]
    return state


def _change(caller: Principal, branches: Branches, values: object, after: int | None) -> ChangeMessages:
    """Raises `Refused`."""
    given = mapping(values, "values") if not isinstance(values, list) else {"messages": values}
    if unknown := [name for name in given if name != "messages"]:
        raise Invalid("not_supported", f"{unknown[0][:40]}: the state of an agent has only messages.")
    found = given.get("messages") or []
    made, clear, known = list[GivenMessage](), False, branches.by_id()
    found = found if isinstance(found, list) else [found]
    if len(found) > MOST_GIVEN:
        raise unfit("messages", f"{len(found)} messages", f"at most {MOST_GIVEN} at a time")
    for index, one in enumerate(found):
        message = message_object(one)
        if message.get("type") == "remove" or message.get("role") == "remove":
            if message.get("id") == REMOVE_ALL:
                made, clear = [], True
                continue
            made.append(_removed(message))
        else:
            made.append(_given(branches, known, message, index))
    return checked(ChangeMessages, user_id=caller.user_id, after=after, clear=clear, messages=tuple(made))


def _removed(message: Mapping[str, Any]) -> GivenMessage:
    message_id = own_id("msg", str(message.get("id")))
    return checked(GivenMessage, message_id=message_id, role="user", remove=True)


def _given(
    branches: Branches, rows: Mapping[str, StoredMessage], message: Mapping[str, Any], index: int
) -> GivenMessage:
    given = listed(message)
    if given.role == "other":
        raise Invalid("invalid", f"A message with the role {given.named!r} cannot be added to a thread of an agent.")
    known = rows.get(given.message_id) if given.message_id else None
    if message.get("tool_calls") and known is None:
        raise Invalid("not_supported", "tool_calls: only the model makes calls; they cannot be added.")
    message_id = given.message_id or derived_id("msg", branches.head.next_event, branches.head.next_message, index)
    return checked(GivenMessage, message_id=message_id, role=given.role, text=text_of(given.content))
