"""A stand-in for Arcade's engine with one tool, Bench.Echo, that takes 50 ms and counts its calls by their text. For
measurements and fault tests only."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from collections import Counter
from typing import Any

from bench.in_process import TOOL_SECONDS

TOOL = {
    "name": "Echo",
    "qualified_name": "Bench.Echo",
    "fully_qualified_name": "Bench.Echo@1.0.0",
    "description": "Returns its argument.",
    "toolkit": {"name": "Bench", "version": "1.0.0"},
    "input": {
        "parameters": [{"name": "text", "required": True, "description": "", "value_schema": {"val_type": "string"}}]
    },
    "output": {"available_modes": ["value"]},
    "requirements": {"met": True},
}
calls: Counter[str] = Counter()


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    body = b""
    while scope["method"] == "POST":
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    if scope["path"] == "/v1/tools":
        answer: Any = {"items": [TOOL], "limit": 100, "offset": 0, "page_count": 1, "total_count": 1}
    elif scope["path"] == "/v1/tools/execute":
        value = json.loads(body)["input"]["text"]
        calls[value] += 1
        await asyncio.sleep(TOOL_SECONDS)
        answer = {"id": "te", "execution_id": "tc", "status": "completed", "success": True, "output": {"value": value}}
    else:
        answer = {"calls": calls.total(), "by_text": calls}
    payload = json.dumps(answer).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(payload)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": payload})


def main() -> None:
    import uvicorn

    sock = socket.create_server(("127.0.0.1", 0))
    print(f"http://127.0.0.1:{sock.getsockname()[1]}", flush=True)
    config = uvicorn.Config(app, log_level="warning", access_log=False, lifespan="off", interface="asgi3")
    asyncio.run(uvicorn.Server(config).serve(sockets=[sock]))


if __name__ == "__main__":
    sys.exit(main())
