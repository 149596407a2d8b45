"""What `[graphs]` may name, and what is said of what it may not."""

from __future__ import annotations

import asyncio
import sys
import textwrap
import threading
from pathlib import Path
from typing import Any

import pytest
from graph_threads import DictRows
from langchain_core.messages import HumanMessage
from langgraph.pregel import Pregel

from connectors.graphs import DESCRIBE, Graphs, StagingSaver, Use, UserStore
from schemas import SettingsError

CONFIG: Any = {"configurable": {"thread_id": "t", "checkpoint_ns": "", "word": "hello"}}

FACTORIES = """
    from contextlib import asynccontextmanager, contextmanager
    from langgraph.func import entrypoint
    from langgraph.graph import START, StateGraph
    from typing_extensions import TypedDict
    from words_of_catalogue_test import join

    class State(TypedDict):
        text: str

    open_now = []

    def builder(word="built"):
        graph = StateGraph(State).add_node("say", lambda state: {"text": join(state["text"], word)})
        return graph.add_edge(START, "say")

    build = builder()
    compiled = builder("compiled").compile()

    @entrypoint()
    def function(text: str) -> dict:
        return {"text": join(text, "function")}

    def no_argument():
        return builder("none")

    def with_config(config):
        return builder(config["configurable"]["word"]).compile()

    async def asynchronous(config):
        return builder("async " + config["configurable"]["word"])

    @asynccontextmanager
    async def managed(config):
        open_now.append("managed")
        yield builder("managed").compile()
        open_now.clear()

    @contextmanager
    def managed_plainly():
        open_now.append("managed")
        yield builder("plain").compile()
        open_now.clear()

    def needy(config, database):
        return compiled

    def nothing():
        return None

    number = 5
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "app" / "inner").mkdir(parents=True)
    (tmp_path / "words_of_catalogue_test.py").write_text("def join(a, b):\n    return f'{a} {b}'\n")
    (tmp_path / "app" / "inner" / "the-graphs.py").write_text(textwrap.dedent(FACTORIES))
    return tmp_path


async def run(graphs: Graphs, name: str, store: UserStore, value: Any) -> Any:
    hosted = await graphs.get(name)
    async with hosted.bound(saver=StagingSaver(DictRows()), store=store, config=CONFIG) as graph:
        assert isinstance(graph, Pregel)
        return await graph.ainvoke(value, CONFIG)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("build", "built"),
        ("compiled", "compiled"),
        ("no_argument", "none"),
        ("with_config", "hello"),
        ("asynchronous", "async hello"),
        ("managed", "managed"),
        ("managed_plainly", "plain"),
    ],
)
async def test_graphs_builders_and_functions_that_make_them_are_graphs(
    folder: Path, user_store: UserStore, name: str, said: str
) -> None:
    graphs = Graphs({"g": f"./app/inner/the-graphs.py:{name}"}, folder=folder)
    assert await run(graphs, "g", user_store, {"text": "say"}) == {"text": f"say {said}"}
    assert await run(graphs, "g", user_store, {"text": "say"}) == {"text": f"say {said}"}


async def test_an_entrypoint_of_the_functional_api_is_a_graph(folder: Path, user_store: UserStore) -> None:
    graphs = Graphs({"g": "./app/inner/the-graphs.py:function"}, folder=folder)
    assert await run(graphs, "g", user_store, "say") == {"text": "say function"}


async def test_a_context_manager_is_left_after_the_leg(folder: Path, user_store: UserStore) -> None:
    graphs = Graphs({"g": "./app/inner/the-graphs.py:managed"}, folder=folder)
    hosted = await graphs.get("g")
    opened = hosted._module.open_now
    async with hosted.bound(saver=StagingSaver(DictRows()), store=user_store, config=CONFIG):
        assert opened == ["managed"]
    assert opened == []


async def test_a_graph_is_imported_once_and_by_the_name_that_others_import_it_by(tmp_path: Path) -> None:
    package = tmp_path / "package_of_catalogue_test"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "state.py").write_text("from typing import TypedDict\n\nclass State(TypedDict):\n    text: str\n")
    (package / "agent.py").write_text(
        "from langgraph.graph import START, StateGraph\nfrom .state import State\n"
        "graph = StateGraph(State).add_node('n', lambda s: s).add_edge(START, 'n')\n"
    )
    spec = "./package_of_catalogue_test/agent.py:graph"
    graphs = Graphs({"a": spec, "b": "package_of_catalogue_test.agent:graph"}, folder=tmp_path)
    assert graphs.names == ("a", "b")
    assert (await graphs.get("a")) is (await graphs.get("a"))
    assert (await graphs.get("a"))._module is (await graphs.get("b"))._module
    assert (await graphs.get("a"))._module.__name__ == "package_of_catalogue_test.agent"


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("./app/none.py:graph", "there is no file .*none.py. Paths are relative to the folder of the settings file"),
        ("./app/inner/the-graphs.py:grpah", "has no 'grpah'. It has: .*compiled"),
        ("./app/inner/the-graphs.py:number", "is a int. It must be a compiled graph"),
        ("./app/inner/the-graphs.py:State", "must be a compiled graph"),
        ("./app/inner/the-graphs.py:needy", "needs database, which nothing provides"),
        ("./app/inner/the-graphs.py", "not of the form module:object"),
        ("module_that_is_not_there.graph:graph", "there is no module 'module_that_is_not_there'"),
        ("./broken.py:graph", r"its import fails: ZeroDivisionError: .*broken.py, line 2"),
        ("./lacks.py:graph", "its import fails: ModuleNotFoundError: No module named 'not_installed_here'"),
    ],
)
async def test_what_is_not_a_graph_is_refused_in_words(folder: Path, spec: str, words: str) -> None:
    (folder / "broken.py").write_text("x = 1\ny = x / 0\n")
    (folder / "lacks.py").write_text("import not_installed_here\n")
    with pytest.raises(SettingsError, match=words):
        await Graphs({"g": spec}, folder=folder).get("g")


async def test_a_graph_that_is_loaded_does_not_wait_for_the_import_of_another(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, may_end = threading.Event(), threading.Event()
    monkeypatch.setattr(sys, "import_events", (begun, may_end), raising=False)
    (folder / "slow_import.py").write_text(
        "import sys\nbegun, may_end = sys.import_events\nbegun.set()\nmay_end.wait()\ngraph = None\n"
    )
    graphs = Graphs({"quick": "app/inner/the-graphs.py:compiled", "slow": "./slow_import.py:graph"}, folder=folder)
    await graphs.get("quick")
    slow = asyncio.create_task(graphs.get("slow"))
    try:
        assert await asyncio.to_thread(begun.wait, 120)
        await asyncio.wait_for(graphs.get("quick"), 120)
        assert not slow.done()
    finally:
        may_end.set()
        with pytest.raises(SettingsError):
            await slow


async def test_a_name_that_is_not_there_is_refused_with_those_that_are() -> None:
    with pytest.raises(SettingsError, match=r"no graph 'nobody'.*The hosted graphs are chat"):
        await Graphs({"chat": "sample_graphs:chat"}).get("nobody")


async def test_a_function_that_makes_no_graph_is_refused_when_it_is_called(folder: Path, user_store: UserStore) -> None:
    graphs = Graphs({"g": "./app/inner/the-graphs.py:nothing"}, folder=folder)
    with pytest.raises(SettingsError, match="creates a NoneType"):
        await run(graphs, "g", user_store, {"text": ""})


async def test_schemas_and_drawing_say_what_a_graph_is(user_store: UserStore) -> None:
    use = Use(DESCRIBE, CONFIG, user_store)
    graphs = Graphs({name: f"sample_graphs:{name}" for name in ("outer", "profile", "counter")})
    outer = await graphs.get("outer")
    schemas = await outer.schemas(use)
    assert set(schemas["input_schema"]["properties"]) == {"messages", "steps"}
    assert set(schemas["state_schema"]["properties"]) == {"messages", "steps"}
    assert schemas["context_schema"] is None
    assert schemas["config_schema"]["properties"]["configurable"]
    assert set((await (await graphs.get("profile")).schemas(use))["state_schema"]["properties"]) >= {"name", "visits"}
    assert (await (await graphs.get("counter")).schemas(use))["input_schema"]["type"] == "integer"
    drawing = await outer.drawing(use)
    assert [node["id"] for node in drawing["nodes"]] == ["__start__", "think", "sub", "__end__"]
    assert {"source": "think", "target": "sub"} in drawing["edges"]
    assert "sub:ask" in [node["id"] for node in (await outer.drawing(use, xray=True))["nodes"]]
    assert set(await outer.subgraphs(use)) == {"sub"}
    assert "output_schema" in (await outer.subgraphs(use, "sub"))["sub"]
    assert await outer.subgraphs(use, "other") == {}


async def test_two_threads_use_one_graph_at_a_time_without_meeting(user_store: UserStore) -> None:
    hosted = await Graphs({"chat": "sample_graphs:chat"}).get("chat")
    one, two = StagingSaver(DictRows()), StagingSaver(DictRows())
    async with (
        hosted.bound(saver=one, store=user_store, config=CONFIG) as first,
        hosted.bound(saver=two, store=user_store, config=CONFIG) as second,
    ):
        await first.ainvoke({"messages": [HumanMessage("a")]}, CONFIG)
        assert (await second.ainvoke({"messages": [HumanMessage("b")]}, CONFIG))["messages"][-1].text == "1: b"
    assert one.staged()
    assert two.staged()
