"""Every request of docs/gateway.md is sent, in its order, and answered as it says there."""

from __future__ import annotations

import json
import re
import shlex
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
from door import Door, frames

PAGE = Path(__file__).parents[2] / "docs" / "gateway.md"
README = Path(__file__).parents[2] / "README.md"
_BLOCK = re.compile(r"^```(http|json|sse)\n(.*?)^```$", re.M | re.S)
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT")
_ANY = "..."


class Names:
    """Ids as the page writes them, and what they are in this conversation."""

    def __init__(self) -> None:
        self.real: dict[str, str] = {}

    def put_in(self, text: str) -> str:
        return _UUID.sub(lambda found: self.real[found[0]], text)

    def same(self, written: Any, got: Any, where: str) -> None:
        """Objects have the same fields; ids stand for ids, times for times, `...` and counts of tokens for any."""
        if isinstance(written, dict):
            assert isinstance(got, dict), where
            assert written.keys() == got.keys(), where
            for name, value in written.items():
                if not name.endswith("_tokens"):
                    self.same(value, got[name], f"{where}.{name}")
        elif isinstance(written, list):
            assert len(written) == len(got), where
            for n, (one, other) in enumerate(zip(written, got, strict=True)):
                self.same(one, other, f"{where}[{n}]")
        elif isinstance(written, str) and _TIME.match(written):
            datetime.fromisoformat(got)
        elif isinstance(written, str) and (found := _UUID.search(written)):
            actual = _UUID.search(got)
            assert actual, where
            assert self.real.setdefault(found[0], actual[0]) == actual[0], where
            assert self.put_in(written) == got, where
        elif written == _ANY:
            assert isinstance(got, str), where
            assert got, where
        elif not (isinstance(written, str) and re.fullmatch(r"\d{4}-\d\d-\d\d", written)):
            assert written == got, where


def examples() -> list[tuple[str, str, str]]:
    """Request, kind of answer, answer."""
    blocks = _BLOCK.findall(PAGE.read_text())
    return [(request, kind, answer) for (_, request), (kind, answer) in zip(blocks[::2], blocks[1::2], strict=True)]


async def send(client: httpx.AsyncClient, request: str) -> httpx.Response:
    first, *rest = request.strip().split("\n")
    method, path = first.split(" ", 1)
    body = rest.pop() if rest and rest[-1].startswith("{") else None
    headers = dict(line.split(": ", 1) for line in rest)
    return await client.request(method, path, content=body, headers={"content-type": "application/json", **headers})


def test_page_has_examples_of_every_kind() -> None:
    kinds = [kind for _, kind, _ in examples()]
    assert kinds.count("json") > 6
    assert kinds.count("sse") == 3


async def test_requests_of_the_page_are_answered_as_it_says(door: Door, home_key: str) -> None:
    names = Names()
    async with door.caller(home_key) as ana:
        for request, kind, answer in examples():
            got = await send(ana, names.put_in(request))
            if kind == "json":
                names.same(json.loads(answer), got.json(), request)
                continue
            written = [frame async for frame in frames(httpx.Response(200, text=answer))]
            told = [frame async for frame in frames(got) if frame.event not in ("message.delta", "tool.result")]
            assert [(f.event, f.id) for f in told] == [(f.event, f.id) for f in written], request
            for one, other in zip(written, told, strict=True):
                names.same(json.loads(one.data), json.loads(other.data), f"{request} {one.event}")


async def test_curl_lines_of_the_readme_do_what_they_say(door: Door, home_key: str) -> None:
    lines = [shlex.split(line) for line in re.findall(r"^\$ curl (.*)$", README.read_text(), re.M)]
    assert len(lines) == 2
    async with door.caller(home_key) as owner:
        for words in lines:
            (address,) = (word for word in words if word.startswith("$CAUCE_URL"))
            body = words[words.index("--json") + 1]
            assert "x-api-key: $CAUCE_KEY" in words
            path = address.removeprefix("$CAUCE_URL")
            got = await owner.post(path, content=body, headers={"content-type": "application/json"})
            assert got.is_success, got.text
    assert "event: run.completed" in got.text
