"""LangGraph's serializer, extended: the original writes `?` for an unpaired surrogate and rejects integers of more than 64 bits;
this one keeps both as well as possible. Values without a serialized form, such as pydantic's URLs, become plain data, also inside
other objects."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from enum import Enum
from types import FunctionType
from typing import Any

import ormsgpack
from langgraph.checkpoint.serde import jsonplus
from langgraph.checkpoint.serde.jsonplus import EXT_CONSTRUCTOR_POS_ARGS, EXT_PYDANTIC_V2, JsonPlusSerializer
from ormsgpack import Ext
from pydantic import BaseModel

from connectors.graphs.json_shapes import to_json
from schemas import storable_text

_OPTION = (jsonplus._option | ormsgpack.OPT_PASSTHROUGH_BIG_INT) & ~ormsgpack.OPT_REPLACE_SURROGATES


class StorableSerializer(JsonPlusSerializer):
    """Keys and texts that UTF-8 cannot represent are written as `storable_text` returns them.

    Only integers and LangGraph's safe types are restored, until `with_msgpack_allowlist` allows more.
    """

    def __init__(self) -> None:
        super().__init__(allowed_msgpack_modules=[("builtins", "int")])

    def dumps_typed(self, obj: Any) -> tuple[str, bytes]:
        """See `JsonPlusSerializer`."""
        if obj is None or isinstance(obj, bytes | bytearray):
            return super().dumps_typed(obj)
        try:
            return "msgpack", _encoded(obj)
        except (TypeError, UnicodeEncodeError) as error:
            for encode in (_mended_encoded, _plain_encoded):
                try:
                    return "msgpack", encode(obj)
                except Exception:
                    continue
            raise error from None


def _encoder(prepare: Callable[[Any], Any]) -> Callable[[Any], bytes]:
    """Encodes prepared data. LangGraph converts objects to plain data, which passes through here again."""

    def encoded(value: Any) -> bytes:
        return ormsgpack.packb(prepare(value), default=default, option=_OPTION)

    def default(value: Any) -> Any:
        if isinstance(value, int) and not isinstance(value, Enum):
            # In hexadecimal: long decimals are slow, and Python limits them to 4,300 digits.
            return Ext(EXT_CONSTRUCTOR_POS_ARGS, encoded(("builtins", "int", (f"{int(value):x}", 16))))
        return of_langgraph(value)

    names = {**vars(jsonplus), "_msgpack_enc": encoded}
    of_langgraph: Any = FunctionType(jsonplus._msgpack_default.__code__, names, "of_langgraph")
    return encoded


def _mended(value: Any) -> Any:
    """The plain data with all texts made storable."""
    if isinstance(value, str) and not isinstance(value, Enum):
        return storable_text(value)
    if isinstance(value, dict):
        return {_mended(name): _mended(inner) for name, inner in value.items()}
    if isinstance(value, list) or type(value) is tuple:
        return (tuple if isinstance(value, tuple) else list)(map(_mended, value))
    return value


_encoded, _mended_encoded = _encoder(lambda value: value), _encoder(_mended)


def _plain(value: Any) -> Any:
    """The value, with plain data in place of objects that have no serialized form."""
    try:
        _mended_encoded(value)
        return value
    except Exception:
        pass
    if type(value) is dict:
        return {name: _plain(inner) for name, inner in value.items()}
    if type(value) in (list, tuple):
        return type(value)(_plain(inner) for inner in value)
    if isinstance(value, BaseModel):
        kind, fields = type(value), to_json(value.model_dump())
        return Ext(EXT_PYDANTIC_V2, _encoded((kind.__module__, kind.__name__, fields, "model_validate_json")))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        made = copy.copy(value)
        for field in dataclasses.fields(value):
            object.__setattr__(made, field.name, _plain(getattr(value, field.name)))
        return made
    return to_json(value)


def _plain_encoded(value: Any) -> bytes:
    return _mended_encoded(_plain(value))
