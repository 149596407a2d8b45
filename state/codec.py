"""The codec: how bodies look in rows.

Every body that a store keeps goes through it, in both twins: what is to be done to all of them, such as encrypting them with the
tenant's key, is done here. Ids, numbers, times and states are no bodies: conditions, order and expiry look at them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel

from state.readable import as_bytes, read, readable

Model = TypeVar("Model", bound=BaseModel)


class Codec:
    """Bodies as they are. Another codec overrides both methods, which are called from several threads."""

    def encode(self, tenant_id: str, body: bytes) -> bytes:
        """What is stored for a body of this tenant. It may differ from time to time: nobody but `decode` looks at it."""
        return body

    def decode(self, tenant_id: str, stored: bytes | str) -> bytes:
        """The body that was encoded. SQLite gives text where an older version stored it, which was never encoded.

        Whatever it raises means that this row cannot be read (`UnreadableRow`).
        """
        return as_bytes(stored)

    def models(
        self,
        model: type[Model],
        tenant_id: str,
        rows: Iterable[Sequence[Any]],
        name: Callable[[Any], str],
        *,
        wanted: str | None = None,
    ) -> Iterator[Model]:
        """Models of rows of ids and bodies, those that can be read. Raises `UnreadableRow` for the one that was wanted."""

        def decode(row: Sequence[Any]) -> Model:
            return model.model_validate_json(self.decode(tenant_id, row[1]))

        if wanted is None:
            return readable(rows, decode, lambda row: name(row[0]))
        return iter([read(name(row[0]), lambda row=row: decode(row)) for row in rows])  # type: ignore[misc]
