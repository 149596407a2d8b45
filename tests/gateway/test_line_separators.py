"""Characters that some readers take for ends of lines are texts like any other, on the wire and in the terminal."""

from __future__ import annotations

import json
import subprocess
import sys
import uuid

import httpx
import pytest
from door import Door, frames

from connectors.chat_client.http_client import _event
from connectors.chat_client.kafka_client import Unread
from connectors.gateway.sse import frame

ODD = "a\u2028b\u2029c\x85d\x0b\x0c\x1c\u2026"
RAW = (b"\xe2\x80\xa8", b"\xe2\x80\xa9", b"\xc2\x85")


def test_a_frame_has_escapes_for_what_readers_take_for_ends_of_lines() -> None:
    made = frame("updates|a\u2028b\nc", json.dumps({"text": ODD}, ensure_ascii=False), position="1")
    assert not any(raw in made for raw in RAW)
    name, data, position, *rest = made.decode().splitlines()
    assert (name, position, rest) == ("event: updates|a b c", "id: 1", [""])
    assert json.loads(data.removeprefix("data: ")) == {"text": ODD}


@pytest.mark.parametrize("mode", ["values", "updates", "custom"])
async def test_no_stream_has_raw_line_separators(ana: httpx.AsyncClient, mode: str) -> None:
    thread = (await ana.post("/lg/threads", json={})).json()["thread_id"]
    body = {"assistant_id": "both", "input": {"answers": [ODD]}, "stream_mode": [mode, "values"]}
    async with ana.stream("POST", f"/lg/threads/{thread}/runs/stream", json=body) as response:
        raw = await response.aread()
    assert not any(separator in raw for separator in RAW)
    assert b"a\\u2028b\\u2029c\\u0085d" in raw


async def test_a_stream_of_a_thread_tells_the_message_whole(ana: httpx.AsyncClient) -> None:
    thread = (await ana.post("/v1/threads", json={})).json()["thread_id"]
    async with ana.stream("POST", f"/v1/threads/{thread}/runs/stream", json={"text": f"hello {ODD}"}) as response:
        told = [event async for event in frames(response)]
    added = [json.loads(event.data)["message"]["text"] for event in told if event.event == "message.added"]
    assert added[0] == f"hello {ODD}"


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\x85"])
def test_the_terminal_over_http_shows_the_whole_answer(door: Door, home_key: str, separator: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "cauce", "chat", "--url", door.url, "--thread", f"s-{uuid.uuid4().hex}"],
        env={**door.environment, "CAUCE_KEY": home_key, "PYTHONIOENCODING": "utf-8"},
        input=f"hello{separator}there\n/history\n".encode(),
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("agent ›".encode()) == 2
    assert b"Error" not in done.stderr


@pytest.mark.parametrize("kind", ["message.added", "message.delta", "run.completed"])
@pytest.mark.parametrize("data", ["", "{", "{}", "[]", '"x"', "null"])
def test_a_frame_that_cannot_be_read_costs_itself(kind: str, data: str) -> None:
    told = _event(kind, data)
    assert isinstance(told, Unread)
    assert kind in told.message
    assert told.ends == (kind == "run.completed")
