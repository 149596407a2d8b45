"""Values of others: whatever comes can be written into a record, and is read back as it was written."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import DEEPEST, storable, storable_error, storable_text

HALF = "\ud83d"
texts = st.text(st.characters(), max_size=20) | st.sampled_from([HALF, "a" + HALF, "\x00", "\u2028", HALF + "\ude00"])
scalars = st.none() | st.booleans() | st.integers() | st.floats() | texts | st.binary(max_size=4) | st.complex_numbers()
keys = texts | st.integers() | st.none() | st.booleans() | st.tuples(st.integers())
hostile = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(keys, inner, max_size=4)
        | st.tuples(inner, inner)
        | st.frozensets(st.integers(), max_size=3)
    ),
    max_leaves=20,
)


@given(hostile)
def test_whatever_others_give_is_the_same_after_it_was_written_and_read(value: Any) -> None:
    made = storable(value)
    assert json.loads(json.dumps(made, ensure_ascii=False, allow_nan=False).encode()) == made


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_good_text_stays_as_it_is(text: str) -> None:
    assert storable_text(text) == text
    assert storable({text: [text]}) == {text: [text]}


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("x " + HALF, "x \ufffd"),
        ("\ude00 x", "\ufffd x"),
        (HALF + "\ude00", "😀"),
        (HALF + HALF + "\ude00", "\ufffd😀"),
        ("ä" + HALF + "!", "ä\ufffd!"),
    ],
)
def test_half_an_emoji_is_replaced_and_two_halves_are_put_together(given: str, kept: str) -> None:
    assert storable_text(given) == kept


@pytest.mark.parametrize("digits", [20, 300, 1000, 4000, 6000, 100_000])
def test_a_whole_number_is_its_digits_for_every_reader_of_json(digits: int) -> None:
    number, text = 10 ** (digits - 1), "1" + "0" * (digits - 1)
    (made, negative), (key,) = storable([number, -number]), storable({number: 1})
    assert (str(made), str(negative), key) == (text, f"-{text}", text)
    assert orjson.loads(json.dumps([made, negative]))


def test_list_that_contains_itself_is_cut_at_the_deepest_level() -> None:
    loop: list[Any] = []
    loop.append(loop)
    levels, made = 0, storable(loop)
    while isinstance(made, list):
        levels, made = levels + 1, made[0]
    assert (levels, made) == (DEEPEST, "...")


class _Mute(Exception):
    def __str__(self) -> str:
        raise ValueError("no words")


class _Leaves(Exception):
    def __str__(self) -> str:
        raise SystemExit(1)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ValueError("x " + HALF), "ValueError: x \ufffd"),
        (ValueError(), "ValueError"),
        (_Mute(), "_Mute"),
        (_Leaves(), "_Leaves"),
        (ValueError("m" * 10_000_000), "ValueError: " + "m" * 488),
    ],
    ids=["half an emoji", "no words", "cannot say", "leaves", "too many words"],
)
def test_every_error_has_words_that_fit_into_a_record(error: Exception, words: str) -> None:
    assert storable_error(error) == words
