"""What a reader has had of a graph's leg: each part once, each character once, however often and wherever it comes back."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from core.following.graph_reader import ActiveLegs, LegReader, Part
from core.following.position import Position
from schemas import GraphDelta, GraphPiece, GraphStreamed, left_out

LEG = "run.1"


def written(text: str, message_id: str = "m") -> list[Any]:
    return [{"type": "AIMessageChunk", "id": message_id, "content": text}, {"langgraph_node": "n"}]


def piece(index: int, data: Any, after: int = 0) -> GraphPiece:
    if not isinstance(data, list):
        return GraphPiece(index=index, mode="custom", data=data)
    return GraphPiece(index=index, mode="messages", data=data, after=after, chunks=1)


def event(index: int, data: Any, chunks: int = 0) -> GraphStreamed:
    mode = "messages" if isinstance(data, list) else "custom"
    about: dict[str, Any] = {"run_id": "run", "user_id": "u", "at": "2026-01-01T00:00:00Z", "chunks": chunks}
    return GraphStreamed(seq=index + 2, leg=LEG, index=index, mode=mode, data=data, **about)


parts_of_a_leg = st.lists(
    st.one_of(st.integers(0, 9).map(lambda n: {"n": n}), st.text("abc", min_size=1, max_size=12)),
    min_size=1,
    max_size=8,
)


@given(parts=parts_of_a_leg, data=st.data())
def test_reader_gets_each_part_once_wherever_it_comes_back(parts: list[Any], data: st.DataObject) -> None:
    pieces: list[GraphPiece] = []
    cuts: dict[int, int] = {}
    for index, part in enumerate(parts):
        if not isinstance(part, str):
            pieces.append(piece(index, part))
            continue
        cut = data.draw(st.integers(0, len(part) - 1), "cut")
        texts = [(0, part[:cut]), (cut, part[cut:])] if cut else [(0, part)]
        cuts[index] = len(texts)
        pieces += [piece(index, written(text, f"m{index}"), n) for n, (_, text) in enumerate(texts)]
    got: dict[int, Any] = {}
    position = Position(1)
    for _ in range(data.draw(st.integers(1, 3), "connections")):
        reader = LegReader(Position.parse(str(position)))
        missing = data.draw(st.integers(0, len(pieces)), "a piece that is lost")
        for n, one in enumerate(pieces[: data.draw(st.integers(0, len(pieces)), "pieces that come")]):
            if n != missing:
                take(got, reader.live(LEG, one))
                position = reader.at(1)
    reader = LegReader(Position.parse(str(position)))
    for index, part in enumerate(parts):
        whole = written(part, f"m{index}") if isinstance(part, str) else part
        take(got, reader.stored(event(index, whole, cuts.get(index, 0))))
    assert got == dict(enumerate(parts))
    assert str(reader.at(99)) == "99"


def take(got: dict[int, Any], part: Part | None) -> None:
    """As a client takes it: texts are put together, everything else comes once."""
    if part is None:
        return
    if isinstance(part.data, list):
        assert len(got.get(part.index, "")) == part.had.text
        got[part.index] = got.get(part.index, "") + part.data[0]["content"]
    else:
        assert part.index not in got
        got[part.index] = part.data


def test_leg_that_is_made_again_is_told_from_its_beginning_and_the_first_one_no_more() -> None:
    reader = LegReader(Position())
    assert reader.live("a", piece(0, {"n": 1}))
    assert reader.live("b", piece(1, {"n": 2})) is None, "its beginning was missed"
    assert reader.live("b", piece(0, {"n": 1}))
    assert reader.live("a", piece(1, {"n": 2})) is None
    assert reader.at(3).message_id == "b"


def test_part_that_was_too_large_comes_with_its_event() -> None:
    reader = LegReader(Position())
    assert reader.live(LEG, piece(0, left_out("custom", 900_000))) is None
    assert reader.live(LEG, piece(1, {"n": 1}))
    assert reader.stored(event(0, {"whole": True}))
    assert reader.stored(event(1, {"n": 1})) is None


def test_message_that_something_came_between_goes_on_in_another_part() -> None:
    reader = LegReader(Position())
    reader.live(LEG, piece(0, written("ab")))
    reader.live(LEG, piece(1, {"n": 1}))
    part = reader.live(LEG, piece(2, written("cd")))
    assert part
    assert (part.before, part.so_far) == (2, "abcd")


def test_late_reader_gets_what_is_kept_and_messages_as_texts() -> None:
    legs = ActiveLegs()
    for one in (piece(0, written("ab")), piece(1, {"n": 1}), piece(2, written("cd"))):
        legs.add(b"t", GraphDelta(run_id="run", leg=LEG, pieces=(one,)), 100)
    kept = legs.get(b"t")
    assert kept
    pieces, said = kept
    assert [one.index for one in pieces.pieces] == [0, 1, 2]
    assert [(text.message_id, text.offset, text.text) for text in said] == [("m", 0, "abcd")]
    legs.end(b"t")
    assert legs.get(b"t") is None


def test_leg_that_is_too_long_is_not_kept_and_begins_no_new_one() -> None:
    legs = ActiveLegs()
    for index in range(3):
        legs.add(b"t", GraphDelta(run_id="run", leg=LEG, pieces=(piece(index, {"n": index}),)), 3_000_000)
    assert legs.get(b"t") is None
