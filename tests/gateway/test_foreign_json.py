"""JSON that no store can keep is refused in words, whatever the protocol; all other JSON is read back as it was sent."""

from __future__ import annotations

import json
import uuid
from typing import Any

import httpx
import pytest
from door import Door

HALF = "\\ud83d"
"""As it stands in JSON text."""


def _bad(name: str) -> dict[str, tuple[str, str]]:
    """By kind: a JSON object's text with it under this name, and a word of the refusal."""
    values = {
        "half an emoji": (f'"x {HALF}"', "surrogate"),
        "half an emoji in a key": (f'{{"{HALF}": 1}}', "surrogate"),
        "half an emoji in a list": (f'[1, ["{HALF}"]]', "surrogate"),
        "nan": ("NaN", "NaN"),
        "infinity": ("[-Infinity]", "Infinity"),
        "too large a number": ("1e999", "too large"),
        "more than 64 bits": ("18446744073709551616", "64 bits"),
        "5,000 digits": ("1" * 5_000, "64 bits"),
        "33 levels": ('{"a":' * 31 + "1" + "}" * 31, "32 levels"),  # it stands in two of them
    }
    return {kind: (f'{{"{name}": {{"v": {text}}}}}', words) for kind, (text, words) in values.items()}


KINDS = list(_bad(""))


async def _thread(ana: httpx.AsyncClient) -> str:
    return str((await ana.post("/v1/threads", json={})).json()["thread_id"])


@pytest.mark.parametrize("kind", KINDS)
async def test_what_no_store_can_keep_is_refused_in_words_everywhere(
    door: Door, ana: httpx.AsyncClient, kind: str
) -> None:
    thread = await _thread(ana)
    metadata, word = _bad("metadata")[kind]
    part = metadata[1:-1]
    said = '"messages": [{"role": "user", "content": "hi"}]'
    cases = [
        ("POST", "/v1/threads", metadata),
        ("PATCH", f"/v1/threads/{thread}", metadata),
        ("POST", f"/v1/threads/{thread}/messages", f'{{"text": "hi", {part}}}'),
        ("POST", f"/v1/threads/{thread}/runs/wait", f'{{"text": "hi", {part}}}'),
        ("POST", "/lg/threads", metadata),
        ("PATCH", f"/lg/threads/{thread}", metadata),
        ("POST", f"/lg/threads/{thread}/runs", f'{{"assistant_id": "helper", "input": {{{said}}}, {part}}}'),
        ("POST", f"/lg/threads/{thread}/runs/wait", f'{{"assistant_id": "agent", "input": {{{said}, {part}}}}}'),
        ("POST", f"/lg/threads/{thread}/runs", f'{{"assistant_id": "helper", "input": null, "config": {metadata}}}'),
        ("POST", f"/lg/threads/{thread}/state", f'{{"values": {metadata}}}'),
        ("POST", "/lg/runs/wait", f'{{"assistant_id": "helper", "input": {metadata}}}'),
        ("POST", "/lg/runs/batch", f'[{{"assistant_id": "helper", "input": {metadata}}}]'),
        ("POST", "/lg/assistants", f'{{"graph_id": "helper", {part}}}'),
        ("PUT", "/lg/store/items", f'{{"namespace": ["a"], "key": "k", "value": {metadata}}}'),
        ("POST", "/lg/store/items/search", f'{{"namespace_prefix": [], "filter": {metadata}}}'),
        ("POST", "/lg/threads/search", metadata),
        (
            "POST",
            f"/lg/threads/{thread}/commands",
            f'{{"id": 1, "method": "run.start", "params": {{"assistant_id": "helper", "input": {metadata}}}}}',
        ),
        ("POST", "/agui", f'{{"threadId": "{thread}", "runId": "r1", "messages": [], "forwardedProps": {metadata}}}'),
    ]
    for method, path, text in cases:
        refused = await ana.request(method, path, content=text, headers={"content-type": "application/json"})
        assert refused.status_code == 422, (path, refused.text)
        assert word in refused.json()["detail"], (path, refused.text)
    assert (await ana.get(f"/v1/threads/{thread}/runs")).json()["runs"] == []


@pytest.mark.parametrize("raw", [b"\xed\xa0\xbd", b"\xff", b"\xc3"], ids=["a raw half", "no UTF-8", "cut off"])
async def test_bytes_that_are_not_utf8_are_refused(ana: httpx.AsyncClient, raw: bytes) -> None:
    for path in ("/v1/threads", "/lg/threads"):
        text = b'{"metadata": {"v": "' + raw + b'"}}'
        refused = await ana.post(path, content=text, headers={"content-type": "application/json"})
        assert refused.status_code in (400, 422)
        assert "UTF-8" in refused.json()["detail"] or "utf-8" in refused.json()["detail"], refused.text


def _odd() -> dict[str, Any]:
    deep: Any = "the bottom"
    for n in range(27):
        deep = {"d": deep} if n % 2 else [deep]
    return {
        "nul": "a\x00b",
        "": "empty",
        "line\u2028separators": "\u2028\u2029\x85",
        "emoji": "😀 \U0010ffff \ufffe",
        "whole": [2**64 - 1, -(2**63), 2**53 + 1, 0],
        "broken": [1.7976931348623157e308, 5e-324, -0.0, 0.1],
        "nothing": None,
        "deep": deep,
    }


async def test_all_other_json_is_read_back_as_it_was_sent(ana: httpx.AsyncClient) -> None:
    odd = {name: value for name, value in _odd().items() if name != "nothing"}  # null takes a key away
    sent = json.dumps({"metadata": odd})  # pairs of surrogates are written as two escapes here
    for api in ("/v1", "/lg"):
        made = await ana.post(f"{api}/threads", content=sent, headers={"content-type": "application/json"})
        assert made.status_code in (200, 201), made.text
        thread = made.json()["thread_id"]
        kept = (await ana.get(f"{api}/threads/{thread}")).json()["metadata"]
        assert {name: kept[name] for name in odd} == odd
    item = {"namespace": [f"odd{uuid.uuid4().hex}"], "key": "k\u2028", "value": _odd()}
    assert (await ana.put("/lg/store/items", json=item)).status_code == 204
    found = await ana.get("/lg/store/items", params={"namespace": item["namespace"][0], "key": item["key"]})
    assert found.json()["value"] == _odd()


async def test_a_graph_is_given_odd_json_as_it_was_sent_and_its_state_has_it(ana: httpx.AsyncClient) -> None:
    thread = (await ana.post("/lg/threads", json={})).json()["thread_id"]
    message = {"role": "user", "content": "hi", "additional_kwargs": _odd()}
    body = {"assistant_id": "helper", "input": {"messages": [message]}, "metadata": _odd()}
    done = await ana.post(f"/lg/threads/{thread}/runs/wait", json=body)
    assert done.status_code == 200, done.text
    state = (await ana.get(f"/lg/threads/{thread}/state")).json()
    assert state["values"]["messages"][0]["additional_kwargs"] == _odd()
    (run,) = (await ana.get(f"/lg/threads/{thread}/runs")).json()
    assert run["metadata"]["deep"] == _odd()["deep"]
