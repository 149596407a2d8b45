"""LangGraph's serialiser, which writes `?` for half an emoji and refuses whole numbers of more than 64 bits: here both are kept
as well as they can be. And what it has no form for, such as a URL of pydantic's, is kept as plain data, within the objects that
have one."""

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
    """Keys and texts that UTF-8 cannot say are written as `storable_text` has them.

    Of types, only whole numbers and LangGraph's safe ones are read back, until `with_msgpack_allowlist` names more.
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
    """Encodes what is prepared, and so what LangGraph makes of an object: plain data again, which comes back here."""

    def encoded(value: Any) -> bytes:
        return ormsgpack.packb(prepare(value), default=default, option=_OPTION)

    def default(value: Any) -> Any:
        if isinstance(value, int) and not isinstance(value, Enum):
            # In hexadecimal: decimals of any length are slow, and Python's end at 4,300.
            return Ext(EXT_CONSTRUCTOR_POS_ARGS, encoded(("builtins", "int", (f"{int(value):x}", 16))))
        return of_langgraph(value)

    names = {**vars(jsonplus), "_msgpack_enc": encoded}
    of_langgraph: Any = FunctionType(jsonplus._msgpack_default.__code__, names, "of_langgraph")
    return encoded


def _mended(value: Any) -> Any:
    """The plain data with storable texts in it."""
    if isinstance(value, str) and not isinstance(value, Enum):
        return storable_text(value)
    if isinstance(value, dict):
        return {_mended(name): _mended(inner) for name, inner in value.items()}
    if isinstance(value, list) or type(value) is tuple:
        return (tuple if isinstance(value, tuple) else list)(map(_mended, value))
    return value


_encoded, _mended_encoded = _encoder(lambda value: value), _encoder(_mended)


def _plain(value: Any) -> Any:
    """The value with plain data for what has no form of its own."""
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
