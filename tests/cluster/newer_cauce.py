"""`cauce` of a version that does not exist yet: bodies and stored heads have fields that this version does not know.

Run as `python newer_cauce.py work GROUP`.
"""

from __future__ import annotations

import sys
from typing import Any

import schemas
import schemas.base
import schemas.thread_head


def _with_more_fields(name: str, module: Any) -> type[Any]:
    """The body class with one more field that is always written, put in its place everywhere."""
    old = getattr(module, name)
    new: type[Any] = type(
        name,
        (old,),
        {"__annotations__": {"from_the_future": "str"}, "from_the_future": "yes", "__module__": old.__module__},
    )
    setattr(module, name, new)
    setattr(schemas, name, new)
    for bodies in schemas.base._BODIES.values():
        bodies.update({kind: new for kind, body in bodies.items() if body is old})
    return new


def main() -> None:
    _with_more_fields("ThreadHead", schemas.thread_head)
    for name in (
        "ToolRequest",
        "ToolResult",
        "UserMessage",
        "RunStarted",
        "RunCompleted",
        "MessageAdded",
        "AuditEvent",
    ):
        module = sys.modules[getattr(schemas, name).__module__]
        _with_more_fields(name, module)
    from cauce.cli import main as cauce

    cauce()


if __name__ == "__main__":
    main()
