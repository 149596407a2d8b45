"""How filters of metadata and values match: the same wherever something is searched for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def contains(has: Any, wanted: Any) -> bool:
    """Whether a JSON value has all that is wanted of it.

    An object contains another when each of its pairs is contained, at every depth, so that an empty one is contained in every
    object; anything else, lists as well, must be equal. As the filters of LangGraph's server; true and 1 are two values.
    """
    if isinstance(wanted, Mapping):
        return isinstance(has, Mapping) and all(
            name in has and contains(has[name], value) for name, value in wanted.items()
        )
    return bool(has == wanted) and isinstance(has, bool) == isinstance(wanted, bool)
