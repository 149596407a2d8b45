"""LangGraph's serialiser, which takes half an emoji in a text and fails on one in a key: here it takes both. And what it has no
form for, such as a URL of pydantic's, is kept as plain data, within the objects that have one."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

from langgraph.checkpoint.serde.jsonplus import EXT_PYDANTIC_V2, JsonPlusSerializer, _msgpack_enc
from ormsgpack import Ext
from pydantic import BaseModel

from connectors.graphs.shapes import to_json
from schemas import storable_text


class StorableSerializer(JsonPlusSerializer):
    """Keys and texts that UTF-8 cannot say are written as `storable_text` has them."""

    def dumps_typed(self, obj: Any) -> tuple[str, bytes]:
        """See `JsonPlusSerializer`."""
        try:
            return super().dumps_typed(obj)
        except (TypeError, UnicodeEncodeError) as error:
            for mend in (_mended, _plain):
                try:
                    return super().dumps_typed(mend(obj))
                except Exception:
                    continue
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


def _plain(value: Any) -> Any:
    """The value with plain data for what has no form of its own."""
    try:
        _msgpack_enc(value)
        return value
    except Exception:
        pass
    if type(value) is dict:
        return {_mended(name): _plain(inner) for name, inner in value.items()}
    if type(value) in (list, tuple):
        return type(value)(_plain(inner) for inner in value)
    if isinstance(value, BaseModel):
        kind, fields = type(value), _mended(to_json(value.model_dump()))
        return Ext(EXT_PYDANTIC_V2, _msgpack_enc((kind.__module__, kind.__name__, fields, "model_validate_json")))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        made = copy.copy(value)
        for field in dataclasses.fields(value):
            object.__setattr__(made, field.name, _plain(getattr(value, field.name)))
        return made
    return _mended(to_json(value))
