"""A field of the wrong type is refused in words, and not taken as absent; null is as if it was not given."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

SEARCHED: dict[str, list[dict[str, Any]]] = {
    "/lg/threads/search": [
        *({"sort_by": v} for v in ("title", 1, ["created_at"], {})),
        *({"sort_order": v} for v in ("up", 1, {}, "ASC")),
        *({"ids": v} for v in ("t1", [1], {})),
        *({"select": v} for v in ("values", [1])),
        *({"limit": v} for v in ({}, -1, "x")),
        {"status": []},
        {"metadata": []},
        {"values": "x"},
        {"offset": []},
        {"extract": {"last": "values.messages[-1]"}},
    ],
    "/lg/threads/count": [{"ids": "t1"}, {"status": {}}],
    "/lg/threads": [{"thread_id": 7}, {"thread_id": {}}, {"if_exists": "no"}, {"metadata": ""}],
    "/lg/assistants/search": [{"sort_by": []}, {"sort_order": "up"}, {"select": "name"}, {"graph_id": {}}, {"name": 3}],
    "/lg/assistants": [
        {"graph_id": {}},
        {"assistant_id": 7, "graph_id": "both"},
        {"if_exists": 1, "graph_id": "both"},
    ],
    "/lg/runs/cancel": [
        *({"status": v} for v in ([], {}, ["all"], 1, "nope")),
        *({"run_ids": v} for v in ("r", [1], {})),
        *({"thread_id": v, "status": "all"} for v in (7, {}, [])),
    ],
}
WRONG = [(path, body) for path, bodies in SEARCHED.items() for body in bodies]
RUNS: list[dict[str, Any]] = [
    *({"checkpoint_id": v} for v in ({}, [], 0, 7, False)),
    {"checkpoint": {"checkpoint_id": {}}},
    {"config": {"configurable": {"checkpoint_id": []}}},
    {"checkpoint": []},
    {"stream_resumable": "no"},
    {"if_not_exists": "maybe"},
    {"on_disconnect": {}},
    {"on_completion": []},
    {"multitask_strategy": {}},
    {"multitask_strategy": ""},
    {"metadata": []},
    {"context": "x"},
    {"stream_mode": {}},
]


@pytest.mark.parametrize(("path", "body"), WRONG, ids=lambda value: str(value)[:60])
async def test_a_field_of_the_wrong_type_is_refused_in_words(
    ana: httpx.AsyncClient, path: str, body: dict[str, Any]
) -> None:
    refused = await ana.post(path, json=body)
    assert refused.status_code == 422, refused.text
    assert any(name in refused.json()["detail"] for name in body), refused.text


@pytest.mark.parametrize("body", RUNS, ids=str)
async def test_a_run_with_a_field_of_the_wrong_type_is_not_begun(ana: httpx.AsyncClient, body: dict[str, Any]) -> None:
    thread = (await ana.post("/lg/threads", json={})).json()["thread_id"]
    whole = {"assistant_id": "default", "input": {"messages": [{"role": "user", "content": "hello"}]}, **body}
    for path in (f"/lg/threads/{thread}/runs", "/lg/runs/wait"):
        refused = await ana.post(path, json=whole)
        assert refused.status_code == 422, refused.text
    assert (await ana.get(f"/lg/threads/{thread}/runs")).json() == []


@pytest.mark.parametrize("given", [{}, [], 0, 7, False], ids=str)
async def test_a_state_is_not_changed_at_a_checkpoint_that_is_no_text(ana: httpx.AsyncClient, given: Any) -> None:
    thread = (await ana.post("/lg/threads", json={})).json()["thread_id"]
    body = {"values": {"messages": [{"role": "user", "content": "x"}]}, "as_node": "agent", "checkpoint_id": given}
    refused = await ana.post(f"/lg/threads/{thread}/state", json=body)
    assert refused.status_code == 422
    assert "checkpoint_id" in refused.json()["detail"]


async def test_null_is_as_if_it_was_not_given(ana: httpx.AsyncClient) -> None:
    names = ("metadata", "values", "ids", "status", "limit", "offset", "sort_by", "sort_order", "select", "extract")
    nothing = dict.fromkeys(names)
    assert (await ana.post("/lg/threads/search", json=nothing)).status_code == 200
    assert (await ana.post("/lg/threads/count", json=nothing)).status_code == 200
    assert (
        await ana.post("/lg/assistants/search", json={**nothing, "graph_id": None, "name": None})
    ).status_code == 200
    made = await ana.post("/lg/threads", json={"metadata": None, "thread_id": None, "if_exists": None, "ttl": None})
    assert made.status_code == 200
    thread = made.json()["thread_id"]
    assert (await ana.patch(f"/lg/threads/{thread}", json={"metadata": None})).status_code == 200
    fields = ("metadata", "config", "context", "checkpoint", "checkpoint_id", "command", "webhook", "durability")
    flags = ("stream_resumable", "stream_subgraphs", "if_not_exists", "on_disconnect", "multitask_strategy")
    body = {"assistant_id": "default", "input": {"messages": [{"role": "user", "content": "hello"}]}}
    answer = await ana.post(f"/lg/threads/{thread}/runs/wait", json=dict.fromkeys((*fields, *flags)) | body)
    assert answer.status_code == 200, answer.text


async def test_a_search_among_no_ids_finds_no_threads_and_sorts_as_it_says(ana: httpx.AsyncClient) -> None:
    threads = [
        (await ana.post("/lg/threads", json={"metadata": {"of": "sorting"}})).json()["thread_id"] for _ in range(3)
    ]
    assert (await ana.post("/lg/threads/search", json={"ids": []})).json() == []
    assert (await ana.post("/lg/threads/count", json={"ids": []})).json() == 0
    for by in ("created_at", "state_updated_at"):
        for order, expected in (("asc", threads), ("desc", threads[::-1]), (None, threads[::-1])):
            body = {"metadata": {"of": "sorting"}, "sort_by": by, "sort_order": order}
            found = (await ana.post("/lg/threads/search", json=body)).json()
            assert [thread["thread_id"] for thread in found] == expected


async def test_no_thread_is_not_all_threads_where_runs_are_cancelled(ana: httpx.AsyncClient) -> None:
    refused = await ana.post("/lg/runs/cancel", json={"thread_id": "", "status": "all"})
    assert (refused.status_code, refused.json()["code"]) == (404, "thread_not_found"), refused.text
