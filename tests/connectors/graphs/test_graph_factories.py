"""Functions that make graphs: what they are given, and what stays of what they bind."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import pytest
from graph_threads import DictRows
from langgraph.pregel import Pregel

from connectors.graphs import READ, Graphs, StagingSaver, Use, UserStore, place, run_config, run_context
from schemas import GraphRequest, SettingsError

CODE = """
    from __future__ import annotations

    from dataclasses import dataclass
    from typing import Any, TypedDict

    from langchain_core.runnables import RunnableConfig
    from langgraph.graph import START, StateGraph
    from langgraph.runtime import Runtime
    from langgraph_sdk.runtime import ServerRuntime
    from pydantic import BaseModel

    @dataclass
    class Small:
        model: str = "small"

    class Model(BaseModel):
        model: str = "small"

    class Loose(TypedDict, total=False):
        model: str

    class State(TypedDict):
        told: Any

    def says(told, schema=None):
        def say(state: State, runtime: Runtime, config: RunnableConfig):
            return {"told": told(runtime, config)}
        return StateGraph(State, context_schema=schema).add_node("say", say).add_edge(START, "say")

    small = says(lambda runtime, config: repr(runtime.context), Small).compile()
    model = says(lambda runtime, config: repr(runtime.context), Model).compile()
    loose = says(lambda runtime, config: repr(runtime.context), Loose).compile()
    without = says(lambda runtime, config: repr(runtime.context)).compile()

    def knows(runtime, config):
        info, mine = runtime.server_info, config["configurable"]
        user = mine["langgraph_auth_user"]
        return {
            "run": runtime.execution_info.run_id,
            "user_id": mine["user_id"],
            "who": [mine["langgraph_auth_user_id"], user.identity, user.is_authenticated, info.user.identity],
            "may": user["permissions"],
            "permissions": mine["langgraph_auth_permissions"],
            "request": bool(mine["langgraph_request_id"]),
        }

    knowing = says(knows).compile()

    def name_of(value):
        return type(value).__name__

    def no_argument():
        return says(lambda r, c: "nothing")

    def of_config(config: RunnableConfig):
        return says(lambda r, c: config["configurable"]["model"])

    def of_something(given):
        return says(lambda r, c: sorted(given)[0])

    def of_mapping(given: dict[str, Any]):
        return says(lambda r, c: sorted(given)[0])

    def of_runtime(runtime: ServerRuntime):
        told = [name_of(runtime), runtime.access_context, runtime.ensure_user().identity, runtime.store is not None]
        return says(lambda r, c: [*told, getattr(runtime, "context", None)])

    def typed(runtime: ServerRuntime[Small]):
        return says(lambda r, c: name_of(runtime))

    def of_both(config: RunnableConfig, runtime: ServerRuntime):
        return says(lambda r, c: [sorted(config)[0], name_of(runtime)])

    def other_way(rt: ServerRuntime, /, *, conf: RunnableConfig, extra: int = 3):
        return says(lambda r, c: [sorted(conf)[0], name_of(rt), extra])

    def by_name(config, runtime):
        return says(lambda r, c: [sorted(config)[0], name_of(runtime)])

    async def asynchronous(runtime: ServerRuntime, config: RunnableConfig = None):
        return says(lambda r, c: [sorted(config)[0], name_of(runtime)])

    def binds(config: RunnableConfig):
        return says(lambda r, c: "bound").compile().with_config(config)
"""

USER = {"thread_id": "t", "assistant_id": "a", "tenant_id": "acme", "user_id": "ada"}
RUN_ID = "01980000-0000-7000-8000-000000000001"


@pytest.fixture
def graphs(tmp_path: Path) -> Graphs:
    (tmp_path / "making.py").write_text(textwrap.dedent(CODE))
    lines = [line.split("(")[0].split()[-1] for line in CODE.splitlines() if "def " in line and line.startswith("    ")]
    names = {"small", "model", "loose", "without", "knowing", *lines}
    return Graphs({name: f"./making.py:{name}" for name in names}, folder=tmp_path)


async def told(graphs: Graphs, store: UserStore, name: str, **asked: Any) -> Any:
    """What the graph's only node says in a run."""
    request = GraphRequest(graph=name, permissions=("read",), **asked)
    config = run_config(request, run_id=RUN_ID, **USER)
    hosted = await graphs.get(name)
    saver = StagingSaver(DictRows())
    async with hosted.bound(saver=saver, store=store, config=config, context=request.context) as graph:
        return (await graph.ainvoke({}, config, context=run_context(graph, request)))["told"]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("no_argument", "nothing"),
        ("of_config", "big"),
        ("of_something", "configurable"),
        ("of_mapping", "configurable"),
        ("of_runtime", ["_ExecutionRuntime", "threads.create_run", "acme:ada", True, {"model": "big"}]),
        ("typed", "_ExecutionRuntime"),
        ("of_both", ["configurable", "_ExecutionRuntime"]),
        ("other_way", ["configurable", "_ExecutionRuntime", 3]),
        ("by_name", ["configurable", "_ExecutionRuntime"]),
        ("asynchronous", ["configurable", "_ExecutionRuntime"]),
    ],
)
async def test_function_is_given_what_it_says_of_its_arguments(
    graphs: Graphs, user_store: UserStore, name: str, said: Any
) -> None:
    assert await told(graphs, user_store, name, context={"model": "big"}) == said


def test_config_of_a_look_at_a_graph_names_no_run_and_no_thread() -> None:
    config = run_config(GraphRequest(graph="g"), thread_id="", assistant_id="a", tenant_id="acme", user_id="ada")
    assert {"thread_id", "run_id"} & {*config["configurable"], *config["metadata"], *config} == set()
    assert config["configurable"]["assistant_id"] == "a"


async def test_function_is_told_that_a_state_is_only_looked_at(graphs: Graphs, user_store: UserStore) -> None:
    config = run_config(GraphRequest(graph="of_runtime"), **USER)
    async with (await graphs.get("of_runtime")).made(Use(READ, config, user_store)) as graph:
        assert isinstance(graph, Pregel)
        assert (await graph.ainvoke({"told": ""}))["told"] == ["_ReadRuntime", "threads.read", "acme:ada", True, None]


async def test_place_that_a_function_binds_to_its_graph_does_not_hide_the_newest_state(
    graphs: Graphs, user_store: UserStore
) -> None:
    saver, hosted = StagingSaver(DictRows()), await graphs.get("binds")
    here = run_config(GraphRequest(graph="binds"), **USER)
    async with hosted.bound(saver=saver, store=user_store, config=here) as graph:
        await graph.ainvoke({"told": "first"}, here)
        first = (await graph.aget_state(place("t"))).config["configurable"]["checkpoint_id"]
    there = run_config(GraphRequest(graph="binds", checkpoint_id=first), **USER)
    async with hosted.bound(saver=saver, store=user_store, config=there) as graph:
        await graph.ainvoke({"told": "forked"}, there)
        newest = await graph.aget_state(place("t"))
        assert newest.next == ()
        assert newest.config["configurable"]["checkpoint_id"] != first


@pytest.mark.parametrize(
    ("asked", "small", "loose"),
    [
        ({}, "Small(model='small')", "None"),
        ({"config": {"configurable": {"model": "big"}}}, "Small(model='big')", "{'model': 'big'}"),
        ({"context": {"model": "big"}}, "Small(model='big')", "{'model': 'big'}"),
        ({"context": {"model": "big", "x": 1}}, "Small(model='big')", "{'model': 'big', 'x': 1}"),
        ({"config": {"configurable": {"x": 1, "thread_id": "other"}}}, "Small(model='small')", "{'x': 1}"),
    ],
)
async def test_context_is_made_as_langgraphs_server_makes_it(
    graphs: Graphs, user_store: UserStore, asked: dict[str, Any], small: str, loose: str
) -> None:
    assert await told(graphs, user_store, "small", **asked) == small
    assert await told(graphs, user_store, "model", **asked) == small.replace("Small", "Model")
    assert await told(graphs, user_store, "loose", **asked) == loose
    assert await told(graphs, user_store, "without", **asked) == loose


async def test_nodes_find_their_run_and_user_under_langgraphs_names(graphs: Graphs, user_store: UserStore) -> None:
    known = {
        "run": RUN_ID,
        "user_id": "ada",
        "who": ["acme:ada", "acme:ada", True, "acme:ada"],
        "may": ["read"],
        "permissions": ["read"],
        "request": True,
    }
    assert await told(graphs, user_store, "knowing") == known
    given = {"configurable": {"user_id": "u-7", "langgraph_auth_user_id": "mallory", "langgraph_auth_user": {}}}
    assert await told(graphs, user_store, "knowing", config=given) == known


async def test_metadata_of_the_run_is_that_of_its_checkpoints(graphs: Graphs, user_store: UserStore) -> None:
    request = GraphRequest(graph="no_argument", config={"metadata": {"x": {"y": [1]}, "z": 2, "graph_id": "other"}})
    config = run_config(request, run_id=RUN_ID, metadata={"r": "run"}, **USER)
    saver, hosted = StagingSaver(DictRows()), await graphs.get("no_argument")
    async with hosted.bound(saver=saver, store=user_store, config=config) as graph:
        await graph.ainvoke({}, config)
        found = (await graph.aget_state(place("t"))).metadata
    assert found
    wanted = {"x": {"y": [1]}, "z": 2, "r": "run", "graph_id": "no_argument", "run_id": RUN_ID}
    assert {name: dict(found).get(name) for name in wanted} == wanted


async def test_one_graph_that_cannot_be_loaded_is_told_and_the_others_are_there(graphs: Graphs, tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("import nothing_of_this_name\n")
    specs = {"broken": "./broken.py:graph", "small": "./making.py:small"}
    both = Graphs(specs, folder=tmp_path)
    assert list(await both.missing()) == ["broken"]
    assert (await both.get("small")).name == "small"
    with pytest.raises(SettingsError, match="nothing_of_this_name"):
        await both.get("broken")
