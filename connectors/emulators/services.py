"""How the emulated tools reach the emulated services: over HTTP, as the real ones do."""

from __future__ import annotations

from typing import Any

import httpx
from arcade_tdk import ToolContext


class Services:
    """The HTTP client of the tools. `base_url` is set once the server knows its port."""

    def __init__(self) -> None:
        self.base_url = ""
        self._client: httpx.AsyncClient | None = None

    async def call(self, context: ToolContext, method: str, path: str, **options: Any) -> Any:
        """The JSON response of a service. Raises `httpx.HTTPStatusError`, which arcade-tdk's adapters classify."""
        if self._client is None:
            self._client = httpx.AsyncClient(timeout=20, trust_env=False)
        token = context.get_auth_token_or_empty()
        headers = {"Authorization": f"Bearer {token}"}
        answer = await self._client.request(method, f"{self.base_url}{path}", headers=headers, **options)
        answer.raise_for_status()
        return answer.json()


SERVICES = Services()
