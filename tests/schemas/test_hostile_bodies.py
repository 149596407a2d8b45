"""Bodies of records with values of others in them: what is written is read back, whatever the values are."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Literal, get_args, get_origin

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, TypeAdapter
from pydantic.fields import FieldInfo

from schemas import TOPICS, bodies_of, storable
from schemas.base import Body

HALF = "\ud83d"
raw_texts = st.text(st.characters(), max_size=12) | st.sampled_from([HALF, "\x00", "\u2028", HALF + "\ude00"])
scalars = (
    st.none() | st.booleans() | st.integers() | st.floats() | raw_texts | st.just(datetime(2026, 1, 1, tzinfo=UTC))
)
hostile = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(raw_texts | st.integers(), inner, max_size=3),
    max_leaves=10,
)
ALL = sorted({body for topic in TOPICS for body in bodies_of(topic)}, key=lambda body: str(body.__name__))


def _values_of(annotation: Any, clean: bool) -> st.SearchStrategy[Any]:
    """Values for a field: `Any` gets what others may give."""
    foreign = hostile.map(storable) if clean else hostile
    if annotation is Any:
        return foreign
    if get_origin(annotation) is dict:
        return st.dictionaries(raw_texts.map(lambda text: storable(text)) if clean else raw_texts, foreign, max_size=3)
    return st.nothing()


def _bodies(kind: type[Body], clean: bool) -> st.SearchStrategy[Body]:
    """Bodies of this kind whose fields of any type have values of others; the rest has what fits."""
    open_fields = {
        name: _values_of(field.annotation, clean)
        for name, field in kind.model_fields.items()
        if field.annotation is Any or get_origin(field.annotation) is dict
    }
    return st.fixed_dictionaries(open_fields).map(lambda given: kind(**{**_needed(kind), **given}))


def _needed(kind: type[BaseModel]) -> dict[str, Any]:
    return {name: _fitting(field) for name, field in kind.model_fields.items() if field.is_required()}


def _fitting(field: FieldInfo) -> Any:
    annotation: Any = field.annotation
    if get_origin(annotation) is Literal:
        return get_args(annotation)[0]
    for candidate in ("x1", 1, 1.5, datetime(2026, 1, 1, tzinfo=UTC), {}, ()):
        try:
            TypeAdapter(annotation).validate_python(candidate)
        except ValueError:
            continue
        return candidate
    return _needed(annotation)


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: str(kind.__name__))
def test_what_was_made_storable_is_read_back_equal(kind: type[Body]) -> None:
    @given(_bodies(kind, clean=True))
    def read_back(body: Body) -> None:
        assert kind.model_validate_json(body.to_bytes()) == body

    read_back()


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: str(kind.__name__))
def test_nothing_of_others_keeps_a_body_from_being_written_and_read(kind: type[Body]) -> None:
    @given(_bodies(kind, clean=False))
    def written(body: Body) -> None:
        kind.model_validate_json(body.to_bytes())

    written()
