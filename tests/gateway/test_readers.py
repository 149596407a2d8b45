"""Whoever shows events to clients has thought of every kind of event."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from cauce.asking import Answer
from cauce.transcript import Transcript
from connectors.gateway.protocols.agui.projection import AguiProjection
from connectors.gateway.protocols.lg.agent_projection import AgentProjection
from connectors.gateway.protocols.lg.graph_projection import GraphProjection
from connectors.gateway.protocols.lg.thread_projection import ThreadProjection
from connectors.gateway.protocols.v1.event_frames import EventFrames
from core.following.event_methods import EventMethods, kinds, method_of
from core.following.position import Position
from core.following.thread_stream import EventReader
from schemas import StateUpdated, ThreadChanged

READERS = (AguiProjection, AgentProjection, GraphProjection, ThreadProjection, Transcript, Answer)


def test_reader_that_forgets_a_kind_cannot_be_defined() -> None:
    with pytest.raises(
        TypeError,
        match="Forgetful neither shows MessageAdded nor leaves them out: it has to define on_message_added, or",
    ):
        type(
            "Forgetful",
            (EventReader,),
            {"LEAVES_OUT": frozenset(kind for kind in kinds() if kind.__name__ != "MessageAdded")},
        )


@pytest.mark.parametrize("reader", READERS)
def test_no_kind_is_shown_and_left_out(reader: type[EventMethods]) -> None:
    assert not [kind.__name__ for kind in reader.LEAVES_OUT if hasattr(reader, method_of(kind))]


def test_frames_keep_to_themselves_what_only_a_thread_needs() -> None:
    about = {"seq": 1, "run_id": "r", "user_id": "u", "at": datetime(2026, 1, 1, tzinfo=UTC), "input_id": "i"}
    changed = ThreadChanged(**about, action="copy", agent_id="a", graph="g", next_message=7)
    updated = StateUpdated(**about, checkpoint_id="c", agent_id="a", graph="g")
    for event in (changed, updated):
        shown = b"".join(EventFrames(Position()).dispatch(event))
        assert not [name for name in (b"agent_id", b"graph", b"next_message", b"interrupts") if name in shown]


def test_own_protocol_shows_every_kind() -> None:
    """Each frame is the event's own JSON under its type's name."""
    assert EventFrames.dispatch is not EventMethods.dispatch
    assert not EventFrames.LEAVES_OUT
