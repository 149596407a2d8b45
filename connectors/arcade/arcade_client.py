"""Calls to Arcade's engine through arcadepy, each made once: retries belong to the tools processor and its ledger.

arcadepy 1.10 retries POSTs after timeouts and errors without an idempotency key, so a lost response would send a mail three
times; hence `max_retries=0`.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from connectors.arcade.outcomes import of_http_error, of_output
from connectors.arcade.reconcile import find_effect
from connectors.arcade.tool_spec import problems_with
from connectors.toolset import ToolOutcome, ToolSpec
from schemas import Unavailable, storable

if TYPE_CHECKING:
    from arcadepy import AsyncArcade
    from arcadepy.pagination import AsyncOffsetPage
    from arcadepy.types import ToolDefinition

DEFAULT_BASE_URL = "https://api.arcade.dev"
TIMEOUT = 35.0
"""Timeout of one call in seconds; the engine gives its workers 30."""
PAGE = 100
MAX_RESULT_CHARS = 64_000


def arcade_user_id(tenant_id: str, user_id: str) -> str:
    """The user's id at Arcade: opaque, and different for users of different tenants."""
    return f"t_{tenant_id}:u_{user_id}"


class ArcadeClient:
    """A client of one engine. Imports and connects at the first call."""

    def __init__(self, base_url: str | None, api_key: str, *, timeout: float = TIMEOUT) -> None:
        """`base_url`: Arcade's cloud when None; `timeout` in seconds."""
        self.base_url = base_url or DEFAULT_BASE_URL
        self._api_key, self._timeout = api_key, timeout
        self._made: AsyncArcade | None = None

    async def close(self) -> None:
        """Closes the connections."""
        if self._made:
            await self._made.close()

    async def list_tools(self) -> list[dict[str, Any]]:
        """All tool definitions, every page. Raises `Unavailable` when they cannot be read."""
        found = list[dict[str, Any]]()
        while True:
            page = await self._page(limit=PAGE, offset=len(found))
            items = [storable(tool.to_dict()) for tool in page.items]
            found += items
            if not items or len(found) >= (page.total_count or 0):
                return found

    async def healthy(self, seconds: float | None = None) -> str | None:
        """None if the engine answers in time and accepts the key; otherwise a description of the problem."""
        try:
            await self._page(limit=1, offset=0, seconds=seconds)
        except Unavailable as error:
            return str(error)
        return None

    async def execute(self, *, tool: ToolSpec, arguments: Mapping[str, Any], user_id: str) -> ToolOutcome:
        """Makes the call once. Failures of the call are outcomes, not exceptions."""
        if problems := problems_with(arguments, tool.parameters):
            return ToolOutcome("tell_model", message=f"{tool.name} was not called: {'; '.join(problems[:5])}.")
        # Models write null for "not given"; tools reject it as a value of the wrong type.
        given = {name: value for name, value in arguments.items() if value is not None}
        outcome = await self._execute(tool.qualified_name, tool.version, given, user_id)
        return _shortened(outcome)

    async def reconcile(
        self, *, tool: ToolSpec, arguments: Mapping[str, Any], user_id: str, since: datetime
    ) -> ToolOutcome | None:
        """Determines with a read whether a call sent at `since` was executed; None if that cannot be determined."""

        async def read(name: str, query: Mapping[str, Any]) -> ToolOutcome:
            return await self._execute(name, None, query, user_id)

        return await find_effect(tool, arguments, since, read)

    async def _execute(self, name: str, version: str | None, arguments: Mapping[str, Any], user_id: str) -> ToolOutcome:
        client = await self._client()
        import arcadepy

        try:
            answer = await client.tools.execute(
                tool_name=name,
                input=dict(arguments),
                user_id=user_id,
                tool_version=version or arcadepy.omit,
            )
        except arcadepy.APIConnectionError as error:
            # If no connection was made, nothing was sent; if one broke or timed out, the call may have been executed.
            late = isinstance(error, arcadepy.APITimeoutError)
            message = "no answer in time" if late else "the connection to Arcade failed"
            return ToolOutcome("retry" if _is_connect_error(error.__cause__) else "unknown", message=message)
        except arcadepy.APIStatusError as error:
            return of_http_error(error.status_code, error.body, _retry_after(error.response.headers))
        except ValueError:  # the body is not JSON
            return _NOT_ARCADE
        return _of_answer(answer)

    async def _page(self, *, limit: int, offset: int, seconds: float | None = None) -> AsyncOffsetPage[ToolDefinition]:
        """One page of the catalogue. Raises `Unavailable` with a description of what is wrong."""
        client, where = await self._client(), f"Arcade at {self.base_url}"
        import arcadepy

        try:
            page = await client.tools.list(limit=limit, offset=offset, timeout=seconds or self._timeout)
        except arcadepy.APIStatusError as error:
            key = " (check ARCADE_API_KEY)" if error.status_code == 401 else ""
            raise Unavailable(f"{where} answers HTTP {error.status_code}{key}") from error
        except arcadepy.APIConnectionError as error:
            raise Unavailable(f"{where} does not answer: {error}") from error
        except (AttributeError, ValueError) as error:  # not JSON, or not a page: arcadepy does not check
            raise Unavailable(f"what answers at {self.base_url} is not Arcade (check the address)") from error
        if not isinstance(page.items, list):
            raise Unavailable(f"what answers at {self.base_url} is not Arcade (check the address)")
        return page

    async def _client(self) -> AsyncArcade:
        if self._made is None:
            arcadepy = await asyncio.to_thread(__import__, "arcadepy")  # 0.4 s of imports, off the event loop
            self._made = self._made or arcadepy.AsyncArcade(
                api_key=self._api_key,
                base_url=self.base_url,
                max_retries=0,
                timeout=self._timeout,
                http_client=arcadepy.DefaultAioHttpClient(),  # takes half the CPU per call of the default one
            )
        return self._made


_NOT_ARCADE = ToolOutcome("unknown", message="the response was not from Arcade")


def _of_answer(answer: Any) -> ToolOutcome:
    """The outcome of a response with status 200. arcadepy does not validate it, and a proxy may have written it."""
    from arcadepy import BaseModel

    execution_id = getattr(answer, "execution_id", None) or getattr(answer, "id", None)
    output = getattr(answer, "output", None)
    reported: dict[str, Any] = output.to_dict(warnings=False) if isinstance(output, BaseModel) else {}
    if reported.keys() & {"value", "error", "authorization"} or getattr(answer, "success", None):
        return of_output(reported, execution_id)
    return _NOT_ARCADE


def _is_connect_error(cause: BaseException | None) -> bool:
    """Whether no connection was made. httpx-aiohttp reports every broken connection as a ConnectTimeout, even if it carried
    the request; the exception of aiohttp itself distinguishes the two."""
    import aiohttp

    broken = cause.__cause__ if cause else None
    return isinstance(broken, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError)


def _retry_after(headers: Mapping[str, str]) -> float | None:
    for name, scale in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        try:
            seconds = float(headers[name]) / scale
        except (KeyError, ValueError):
            continue
        if 0 <= seconds < math.inf:
            return seconds
    return None


def _shortened(outcome: ToolOutcome) -> ToolOutcome:
    """Truncates a very large result, which would fill the model's context window and the journal."""
    if outcome.kind != "ok":
        return outcome
    text = outcome.value if isinstance(outcome.value, str) else json.dumps(outcome.value, ensure_ascii=False)
    if len(text) <= MAX_RESULT_CHARS:
        return outcome
    note = f"\n[cut: the result has {len(text):,} characters, the first {MAX_RESULT_CHARS:,} are shown]"
    return ToolOutcome("ok", text[:MAX_RESULT_CHARS] + note, execution_id=outcome.execution_id)
