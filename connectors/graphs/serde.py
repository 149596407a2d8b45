"""LangGraph's serialiser, which takes half an emoji in a text and fails on one in a key: here it takes both."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from pydantic import BaseModel

from schemas import storable_text


class StorableSerializer(JsonPlusSerializer):
    """Keys and texts that UTF-8 cannot say are written as `storable_text` has them."""

    def dumps_typed(self, obj: Any) -> tuple[str, bytes]:
        """See `JsonPlusSerializer`. Raises `TypeError` for what has no form."""
        try:
            return super().dumps_typed(obj)
        except (TypeError, UnicodeEncodeError) as error:
            try:
                return super().dumps_typed(_mended(obj))
            except Exception:
                raise error from None


def _mended(value: Any) -> Any:
    """The value with storable texts in it, as far as its containers are known here."""
    if isinstance(value, str):
        return storable_text(value)
    if type(value) is dict:
        return {_mended(name): _mended(inner) for name, inner in value.items()}
    if type(value) in (list, tuple, set, frozenset):
        return type(value)(_mended(inner) for inner in value)
    if isinstance(value, BaseModel):
        fields = {name: _mended(getattr(value, name, None)) for name in value.model_fields_set}
        return value.model_copy(update=fields)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        made = copy.copy(value)
        for field in dataclasses.fields(value):
            object.__setattr__(made, field.name, _mended(getattr(value, field.name)))
        return made
    return value
