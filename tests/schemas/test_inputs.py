"""What starts a run, while it waits and while its run goes."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from schemas import AcceptedRun, ActiveRun, GraphRequest, Input, RunStarted, StoredRun, ThreadHead
from threads.evolve import evolve

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
EARLIER = datetime(2026, 1, 31, 11, tzinfo=UTC)


def an_input(**fields: object) -> Input:
    return Input.model_validate(
        {"input_id": "i", "run_id": "r", "user_id": "u", "agent_id": "a", "at": EARLIER} | fields
    )


def test_run_that_begins_has_all_of_its_input_but_the_text() -> None:
    waiting = an_input(
        text="hello", metadata={"a": 1}, message_id="m", after=3, time_zone="Europe/Madrid", of_a_newer_version=1
    )
    head = ThreadHead(user_id="u", created_at=EARLIER, updated_at=NOON, next_message=4, next_event=7)
    about = {
        name: getattr(waiting, name) for name in ("run_id", "user_id", "input_id", "agent_id", "metadata", "time_zone")
    }
    run = evolve(head, RunStarted(seq=7, at=NOON, **about, input=waiting.started())).run
    assert run
    of_run = run.model_dump()
    assert {name: of_run[name] for name in waiting.model_dump()} == waiting.model_dump() | {"text": ""}
    assert (run.started_at, run.resumed_at, run.first_message, run.first_event) == (NOON, NOON, 4, 7)


def test_heads_that_an_older_version_wrote_are_read() -> None:
    ids = {"input_id": "i", "run_id": "r", "user_id": "u", "agent_id": "a"}
    run = {**ids, "started_at": NOON.isoformat(), "resumed_at": NOON.isoformat(), "first_message": 1}
    queued = {**ids, "text": "hello", "at": EARLIER.isoformat()}
    times = {"created_at": EARLIER.isoformat(), "updated_at": NOON.isoformat()}
    head = ThreadHead.model_validate_json(json.dumps({"user_id": "u", **times, "run": run, "queued": [queued]}))
    assert head.run == ActiveRun(**ids, at=NOON, started_at=NOON, resumed_at=NOON, first_message=1)
    assert head.queued == (an_input(text="hello"),)


def test_what_kind_of_run_it_is_is_stored_and_made_of_what_older_versions_wrote() -> None:
    request = GraphRequest(graph="mail", input={"a": 1})
    assert (an_input().kind, an_input().graph_name) == ("agent", "")
    older = an_input(graph=request.model_dump())
    assert (older.kind, older.graph_name) == ("graph", "mail")
    run = ActiveRun.of(older.started(), NOON, first_message=1)
    assert run.model_dump(mode="json")["kind"] == "graph"
    assert ActiveRun.model_validate_json(run.to_bytes()) == run
    without = {name: value for name, value in run.model_dump().items() if name != "kind"}
    assert ActiveRun.model_validate(without) == run


def test_promises_of_older_versions_are_of_the_graph_that_their_details_name() -> None:
    promise = {"run_id": "r", "user_id": "u", "agent_id": "a", "at": NOON}
    older = AcceptedRun.model_validate(promise | {"details": {"graph": "mail"}})
    assert (older.kind, older.graph) == ("graph", "mail")
    assert AcceptedRun.model_validate(promise).kind is None
    assert AcceptedRun.model_validate(promise | {"kind": "agent", "details": {"graph": "mail"}}).kind == "agent"


def test_rows_of_runs_that_are_over_tell_the_kind_where_their_writer_knew_it() -> None:
    over = {"run_id": "r", "input_id": "i", "outcome": "completed", "accepted_at": EARLIER, "ended_at": NOON}
    numbers = {"first_event": 1, "last_event": 2}
    assert StoredRun.model_validate(over | numbers).kind is None
    told = StoredRun.model_validate(over | numbers | {"kind": "graph", "graph": "mail"})
    assert StoredRun.model_validate_json(told.to_bytes()) == told
