"""Hosted graphs that a function makes by its config, fail, or are not there any more: they cost themselves, and nothing else."""

from __future__ import annotations

import json
import textwrap
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from langgraph_sdk import get_client
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.errors import InternalServerError, NotFoundError
from running_system import RunningSystem

CODE = """
    import contextlib
    import operator
    import os
    from typing import Annotated, TypedDict

    from langgraph.graph import START, StateGraph
    from langgraph.types import interrupt

    class State(TypedDict, total=False):
        n: Annotated[list, operator.add]

    def makes(*say):
        graph = StateGraph(State)
        for at, what in enumerate(say):
            graph.add_node(f"say{at}", lambda state, what=what: {"n": [what]})
            graph.add_edge(f"say{at - 1}" if at else START, f"say{at}")
        return graph

    plain = makes(1, 10, 100).compile()
    gone = makes("gone").compile()

    def told():
        with open("made.log", "a") as log:
            log.write("made\\n")

    def chosen(config):
        told()
        return makes(config["configurable"]["model"], 2, 3)

    def binds(config):
        return makes(1, 10).compile().with_config(config)

    class Dry(Exception):
        pass

    def fails(state):
        raise Dry("the well is dry")

    failing = StateGraph(State).add_node("fail", fails).add_edge(START, "fail").compile()

    def silent(state):
        raise Dry

    wordless = StateGraph(State).add_node("fail", silent).add_edge(START, "fail").compile()

    def leaves(config):
        raise SystemExit(3)

    class Stop(BaseException):
        pass

    @contextlib.asynccontextmanager
    async def left(config):
        how = config["configurable"].get("how")
        try:
            yield plain
        except Exception:
            if how != "hides":
                raise
        finally:
            if how == "stops":
                raise Stop("not cleaned up")
            if how == "fails":
                raise Dry("not cleaned up")
            if how == "exits":
                raise SystemExit(1)

    dies = StateGraph(State).add_node("die", lambda state: os._exit(9)).add_edge(START, "die").compile()

    asks = StateGraph(State).add_node("ask", lambda state: {"n": [interrupt("Sure?")]}).add_edge(START, "ask").compile()
"""
NAMES = ("plain", "gone", "chosen", "binds", "failing", "wordless", "leaves", "asks", "left", "dies")


def settings(*names: str) -> str:
    return "[graphs]\n" + "".join(f'{name} = "./making.py:{name}"\n' for name in names) + 'broken = "./broken.py:g"\n'


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSystem]:
    folder = tmp_path_factory.mktemp("failing-graphs")
    (folder / "making.py").write_text(textwrap.dedent(CODE))
    (folder / "broken.py").write_text("import nothing_of_this_name\n")
    (folder / "cauce.toml").write_text(settings(*NAMES))
    running = RunningSystem(folder, CAUCE_GATEWAY_PORT="0")
    try:
        yield running.start()
    finally:
        running.end()


async def calling(system: RunningSystem, user: str) -> LangGraphClient:
    from cauce.running import find_gateway
    from cauce.settings import load_settings

    note = find_gateway(load_settings(environment=system.environment))
    assert note
    key = system.told("tenant", "key", "create", "home", "--user", user).strip()
    return get_client(url=f"{note.url}/lg", api_key=key)


@pytest.fixture
async def client(system: RunningSystem) -> AsyncIterator[LangGraphClient]:
    async with await calling(system, f"u{uuid.uuid4().hex[:8]}") as client:
        yield client


async def new_thread(client: LangGraphClient, **fields: Any) -> str:
    return (await client.threads.create(**fields))["thread_id"]


@asynccontextmanager
async def refused(words: str) -> AsyncIterator[None]:
    with pytest.raises(httpx.HTTPStatusError) as raised:
        yield
    response = raised.value.response
    assert response.status_code == 422
    assert words in response.json()["detail"]


def made(system: RunningSystem) -> int:
    log = Path(system.data.parent, "made.log")
    return log.read_text().count("made") if log.exists() else 0


async def test_states_of_a_graph_that_its_config_makes_are_read_with_the_runs_own(client: LangGraphClient) -> None:
    thread, config = await new_thread(client), {"configurable": {"model": "large"}}
    values: Any = await client.runs.wait(thread, "chosen", input={}, config=config)
    assert values == {"n": ["large", 2, 3]}
    assert (await client.threads.get(thread))["values"] == values
    assert (await client.threads.get_state(thread))["values"] == values
    assert len(await client.threads.get_history(thread)) == 5
    await client.threads.update_state(thread, {"n": ["by hand"]})
    assert (await client.threads.get_state(thread))["values"]["n"][-1] == "by hand"
    (found,) = await client.threads.search()
    assert found["values"]["n"][0] == "large"


async def test_assistant_that_has_the_config_says_what_its_graph_is(client: LangGraphClient) -> None:
    made = await client.assistants.create("chosen", config={"configurable": {"model": "small"}})
    name = made["assistant_id"]
    assert set((await client.assistants.get_schemas(name))["state_schema"]["properties"]) == {"n"}  # type: ignore[index]
    assert "say0" in [node["id"] for node in (await client.assistants.get_graph(name))["nodes"]]
    assert await client.assistants.get_subgraphs(name) == {}
    told: Any = await client.runs.wait(await new_thread(client), name, input={})
    assert told == {"n": ["small", 2, 3]}
    with pytest.raises(InternalServerError, match="cannot be created with this configuration: KeyError: 'model'"):
        await client.assistants.get_schemas("chosen")


@pytest.mark.parametrize(("name", "error"), [("chosen", "KeyError"), ("leaves", "SystemExit")])
async def test_function_that_fails_costs_the_values_of_its_threads_and_no_list(
    client: LangGraphClient, name: str, error: str
) -> None:
    good, bad = await new_thread(client), await new_thread(client, graph_id=name)
    await client.runs.wait(good, "plain", input={})
    with pytest.raises(InternalServerError, match=error):
        await client.threads.get_state(bad)
    with pytest.raises(InternalServerError, match=error):
        await client.assistants.get_graph(name)
    found = {thread["thread_id"]: thread["values"] for thread in await client.threads.search()}
    assert found == {good: {"n": [1, 10, 100]}, bad: None}
    assert (await client.threads.get(bad))["values"] is None
    assert (await client.threads.update(bad, metadata={"x": 1}))["metadata"]["x"] == 1
    assert (await client.threads.copy(bad))["thread_id"] != bad


async def test_graph_of_a_stream_is_made_once_for_all_its_states(
    system: RunningSystem, client: LangGraphClient
) -> None:
    thread, config = await new_thread(client), {"configurable": {"model": "m"}}
    run = await client.runs.create(thread, "chosen", input={}, config=config, stream_mode="values")
    await client.runs.join(thread, run["run_id"])
    before = made(system)
    told = [
        part.data
        async for part in client.runs.join_stream(thread, run["run_id"], stream_mode="values", last_event_id="-1")
        if part.event == "values"
    ]
    assert [len(state["n"]) for state in told] == [1, 2, 3]
    assert made(system) == before + 1


async def test_exception_is_told_by_its_class_and_words(client: LangGraphClient) -> None:
    thread, dry = await new_thread(client), {"error": "Dry", "message": "the well is dry"}
    failed: Any = await client.runs.wait(thread, "failing", input={}, raise_error=False)
    assert failed == {"__error__": dry}
    shown: Any = await client.threads.get(thread)
    assert (shown["status"], shown["error"]) == ("error", dry)
    told = [part async for part in client.runs.stream(await new_thread(client), "failing", input={})]
    assert dry in [part.data for part in told if part.event == "error"]
    await client.runs.wait(thread, "plain", input={})
    again: Any = await client.threads.get(thread)
    assert (again["status"], again["error"]) == ("idle", None)
    silent: Any = await client.runs.wait(await new_thread(client), "wordless", input={}, raise_error=False)
    assert silent["__error__"]["error"] == "Dry"
    assert "has no message" in silent["__error__"]["message"]
    late: Any = await client.runs.wait(await new_thread(client), "chosen", input={}, raise_error=False)
    assert late == {"__error__": {"error": "KeyError", "message": "'model'"}}


@pytest.mark.parametrize("graph", ["plain", "binds"])
async def test_run_forks_from_the_checkpoint_that_is_named_in_any_way(client: LangGraphClient, graph: str) -> None:
    thread = await new_thread(client)
    first: Any = await client.runs.wait(thread, graph, input={})
    at = (await client.threads.get_history(thread))[-2]["checkpoint"]
    assert at["checkpoint_id"]
    for way in (
        {"checkpoint_id": at["checkpoint_id"]},
        {"checkpoint": at},
        {"config": {"configurable": {"checkpoint_id": at["checkpoint_id"]}}},
    ):
        assert await client.runs.wait(thread, graph, input=None, **way) == first  # type: ignore[call-overload]
        assert (await client.threads.get(thread))["status"] == "idle"
    for way in ({"checkpoint_id": "no-such"}, {"config": {"configurable": {"checkpoint_id": "no-such"}}}):
        told: Any = await client.runs.wait(thread, graph, input=None, raise_error=False, **way)  # type: ignore[call-overload]
        assert "no checkpoint 'no-such'" in told["__error__"]["message"]


async def test_run_that_waits_is_over_when_nothing_is_left_to_do(client: LangGraphClient) -> None:
    thread = await new_thread(client)
    await client.runs.wait(thread, "asks", input={})
    assert (await client.threads.get(thread))["status"] == "interrupted"
    await client.threads.update_state(thread, None, as_node="__end__")
    state = await client.threads.get_state(thread)
    assert (state["next"], state["tasks"]) == ([], [])
    assert (await client.threads.get(thread))["status"] == "idle"
    assert [run["status"] for run in await client.runs.list(thread)] == ["success"]
    assert await client.threads.search(status="interrupted") == []


async def test_metadata_of_a_run_finds_its_states(client: LangGraphClient) -> None:
    thread = await new_thread(client)
    config: Any = {"metadata": {"of": {"team": ["a"]}}}
    await client.runs.wait(thread, "plain", input={}, metadata={"r": "run"}, config=config)
    found = await client.threads.get_history(thread, metadata={"r": "run"})
    assert len(found) == 5
    assert found[0]["metadata"]["of"] == {"team": ["a"]}


async def test_threads_of_a_graph_that_was_taken_out_are_still_there(system: RunningSystem) -> None:
    user = f"u{uuid.uuid4().hex[:8]}"
    async with await calling(system, user) as client:
        thread, other = await new_thread(client), await new_thread(client)
        await client.runs.wait(thread, "gone", input={})
        await client.runs.wait(other, "plain", input={})
    assert system.stop() == 0
    file = system.data.parent / "cauce.toml"
    file.write_text(settings(*(name for name in NAMES if name != "gone")))
    system.start()
    async with await calling(system, user) as client:
        found = {t["thread_id"]: t["values"] for t in await client.threads.search()}
        assert found == {thread: None, other: {"n": [1, 10, 100]}}
        assert (await client.threads.get(thread))["values"] is None
        assert (await client.threads.update(thread, metadata={"x": 1}))["metadata"]["x"] == 1
        copy = (await client.threads.copy(thread))["thread_id"]
        assert len(await client.threads.search()) == 3
        with pytest.raises(NotFoundError):
            await client.threads.get_state(copy)
        await client.threads.delete(copy)


@pytest.mark.parametrize("how", ["stops", "fails", "exits", "hides"])
async def test_graph_that_fails_when_it_is_left_costs_its_thread_nothing_that_was_read(
    client: LangGraphClient, how: str
) -> None:
    good, bad = await new_thread(client), await new_thread(client)
    await client.runs.wait(good, "plain", input={})
    config: Any = {"configurable": {"how": how}}
    await client.runs.wait(bad, "left", input={}, config=config, raise_error=False)
    values = {"n": [1, 10, 100]}
    assert (await client.threads.get(bad))["values"] == values
    assert (await client.threads.get_state(bad))["values"] == values
    assert len(await client.threads.get_history(bad)) == 5
    found = {thread["thread_id"]: thread["values"] for thread in await client.threads.search()}
    assert found == {good: values, bad: values}
    with pytest.raises(NotFoundError):
        await client.threads.get_state(bad, checkpoint_id="no-such")


async def test_thread_whose_run_killed_its_worker_stands_as_failed_until_another_run_is_over(
    client: LangGraphClient,
) -> None:
    thread = await new_thread(client)
    failed: Any = await client.runs.wait(thread, "dies", input={}, raise_error=False)
    assert failed["__error__"]["error"] == "internal_error"
    shown: Any = await client.threads.get(thread)
    assert (shown["status"], shown["error"]) == ("error", failed["__error__"])
    assert [t["thread_id"] for t in await client.threads.search(status="error")] == [thread]
    await client.runs.wait(thread, "plain", input={})
    assert (await client.threads.get(thread))["status"] == "idle"


@pytest.mark.parametrize("goto", [5, [1], {"input": {}}, [["plain"]], {"node": 5}, ["ask", None]])
async def test_goto_that_names_no_node_is_refused_and_what_waits_still_does(client: LangGraphClient, goto: Any) -> None:
    thread = await new_thread(client)
    await client.runs.wait(thread, "asks", input={})
    async with refused("command.goto"):
        await client.runs.wait(thread, "asks", command={"goto": goto})
    assert await client.runs.wait(thread, "asks", command={"resume": "yes"}) == {"n": ["yes"]}


@pytest.mark.parametrize(
    "config",
    [
        *({"tags": tags} for tags in (5, "a", [5], {"a": 1}, True)),
        *({"recursion_limit": limit} for limit in (0, -5, "a", 1.5, True, [])),
        *({"max_concurrency": most} for most in (-1, "a", {})),
    ],
)
async def test_config_that_no_run_can_have_is_refused_in_words(client: LangGraphClient, config: Any) -> None:
    thread = await new_thread(client)
    (name,) = config
    async with refused(f"config.{name} is {json.dumps(config[name])}, but must be"):
        await client.runs.wait(thread, "plain", input={}, config=config)
    async with refused(f"config.{name} is {json.dumps(config[name])}, but must be"):
        await client.assistants.create("plain", config=config)
    assert await client.runs.list(thread) == []


@pytest.mark.parametrize("odd", [{}, [], 5, {"a": [1]}, "zz"])
async def test_search_by_a_status_that_there_is_not_is_refused_in_words(client: LangGraphClient, odd: Any) -> None:
    for path in ("/threads/search", "/threads/count"):
        async with refused(f"status is {json.dumps(odd)}, but must be one of"):
            await client.http.post(path, json={"status": odd})
