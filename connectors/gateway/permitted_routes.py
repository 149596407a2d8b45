"""Routes with the operations that they are (`core/permissions.py`): who may do none of them is refused before the route's own
code, whatever else is wrong with the request. What a body asks for beyond that is refused by the use cases.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import Depends
from starlette.requests import Request
from starlette.routing import Route

from connectors.gateway.auth.middleware import principal_of
from core.permissions import Operation, is_for_anybody, require_any

Handler = Callable[[Request], Awaitable[Any]]
Operations = Operation | tuple[Operation, ...]


class PermittedRoute(Route):
    """A route of Starlette's whose methods are operations. Several of one method: which one it is follows from the body."""

    def __init__(self, path: str, endpoint: Handler, **by_method: Operations) -> None:
        """`by_method`: such as `GET=Operation.READ`."""
        self.operations = {
            method: given if isinstance(given, tuple) else (given,) for method, given in by_method.items()
        }

        async def permitted(request: Request) -> Any:
            operations = self.operations["GET" if request.method == "HEAD" else request.method]
            if not is_for_anybody(operations):
                require_any(principal_of(request), operations)
            return await endpoint(request)

        super().__init__(path, permitted, methods=list(by_method), name=endpoint.__name__)


class Permitted:
    """A dependency of FastAPI that is satisfied when the caller may do one of the operations."""

    def __init__(self, operations: tuple[Operation, ...]) -> None:
        self.operations = operations

    async def __call__(self, request: Request) -> None:
        """Raises `Forbidden`."""
        require_any(principal_of(request), self.operations)


def permitted(*operations: Operation) -> Any:
    """What a route of FastAPI has among its `dependencies`."""
    return Depends(Permitted(operations))
