"""Bodies of records and rows with values of others in them: what is written is read back, whatever the values are."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib import import_module
from pkgutil import walk_packages
from types import UnionType
from typing import Annotated, Any, Literal, get_args, get_origin

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, TypeAdapter
from pydantic.fields import FieldInfo

import schemas
from schemas import DEEPEST_BODY, is_deep, storable
from schemas.base import Body

HALF = "\ud83d"
raw_texts = st.text(st.characters(), max_size=12) | st.sampled_from(
    [HALF, "\x00", "\u2028", HALF + "\ude00", '"[{\\', "NaN", "9" * 400]
)
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([2**64, -(2**1023), 10**4_200])
    | st.floats()
    | raw_texts
    | st.just(datetime(2026, 1, 1, tzinfo=UTC))
)


def _nested(levels: int, value: Any) -> Any:
    for n in range(levels):
        value = {"[": value} if n % 2 else [value]
    return value


hostile = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(raw_texts | st.integers(), inner, max_size=3),
    max_leaves=10,
) | st.builds(_nested, st.sampled_from([30, 89, 95, 101, 199, 254, 300, 5_000]), scalars)


def _all_bodies() -> Iterator[type[Body]]:
    """Every body that is sent or stored."""
    for module in walk_packages(schemas.__path__, f"{schemas.__name__}."):
        import_module(module.name)
    waiting: list[type[Body]] = [Body]
    while waiting:
        for kind in waiting.pop().__subclasses__():
            if kind.__module__.startswith(schemas.__name__):
                waiting.append(kind)
                yield kind


ALL = sorted(set(_all_bodies()), key=lambda body: str(body.__name__))


def _is_open(annotation: Any) -> bool:
    """Whether a field takes values of others: it is of any type, or has such values."""
    return annotation is Any or (get_origin(annotation) is dict and get_args(annotation)[1] is Any)


def _values_of(annotation: Any, clean: bool) -> st.SearchStrategy[Any]:
    """Values for a field: `Any` gets what others may give."""
    foreign = hostile.map(storable) if clean else hostile
    if annotation is Any:
        return foreign
    return st.dictionaries(raw_texts.map(lambda text: storable(text)) if clean else raw_texts, foreign, max_size=3)


def _bodies(kind: type[Body], clean: bool) -> st.SearchStrategy[Body]:
    """Bodies of this kind whose fields of any type have values of others; the rest has what fits."""
    open_fields = {
        name: _values_of(field.annotation, clean)
        for name, field in kind.model_fields.items()
        if _is_open(field.annotation)
    }
    return st.fixed_dictionaries(open_fields).map(lambda given: kind(**{**_needed(kind), **given}))


def _needed(kind: type[BaseModel]) -> dict[str, Any]:
    return {name: _fitting(field) for name, field in kind.model_fields.items() if field.is_required()}


def _fitting(field: FieldInfo) -> Any:
    annotation: Any = field.annotation
    if get_origin(annotation) is Literal:
        return get_args(annotation)[0]
    whole: Any = Annotated[(annotation, *field.metadata)] if field.metadata else annotation
    candidate: Any
    for candidate in ("x1", "https://x1", 1, 1.5, datetime(2026, 1, 1, tzinfo=UTC), {}, ()):
        try:
            TypeAdapter(whole).validate_python(candidate)
        except ValueError:
            continue
        return candidate
    return _needed(get_args(annotation)[0] if isinstance(annotation, UnionType) else annotation)


OPEN = [kind for kind in ALL if any(_is_open(field.annotation) for field in kind.model_fields.values())]
"""Those of which more than one value is interesting."""


def test_every_body_is_found() -> None:
    assert {body for topic in schemas.TOPICS for body in schemas.bodies_of(topic)} <= set(ALL)
    assert {schemas.ThreadHead, schemas.AcceptedRun} <= set(ALL)


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: str(kind.__name__))
def test_what_was_made_storable_is_read_back_equal(kind: type[Body]) -> None:
    @settings(max_examples=15 if kind in OPEN else 1)
    @given(_bodies(kind, clean=True))
    def read_back(body: Body) -> None:
        assert kind.model_validate_json(body.to_bytes()) == body

    read_back()


@pytest.mark.parametrize("kind", OPEN, ids=lambda kind: str(kind.__name__))
def test_nothing_of_others_keeps_a_body_from_being_written_and_read(kind: type[Body]) -> None:
    @settings(max_examples=15)
    @given(_bodies(kind, clean=False))
    def written(body: Body) -> None:
        text = body.to_bytes()
        again = kind.model_validate_json(text)
        assert not is_deep(text, DEEPEST_BODY)
        assert kind.model_validate_json(again.to_bytes()) == again
        json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))

    written()


@pytest.mark.parametrize("text", ['{"a":"[[[["}', '{"\\"[[":"\\\\"}', '[{"a":"]"},"[",[]]', "[[],[[]]]", "[]"])
def test_levels_are_counted_outside_of_texts(text: str) -> None:
    def levels(value: Any) -> int:
        inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
        return 0 if inner is None else 1 + max(map(levels, inner), default=0)

    deepest = levels(json.loads(text))
    assert not is_deep(text.encode(), deepest)
    assert is_deep(text.encode(), deepest - 1)
