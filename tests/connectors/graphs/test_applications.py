"""Applications import their own modules, whatever these are called, and get the types of their states back."""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
from graph_threads import DictRows

from connectors.graphs import Graphs, StagingSaver, UserStore, place
from schemas import ThreadHead

GRAPH = """
    from typing import Any, TypedDict
    from langgraph.graph import START, StateGraph
    {imports}

    class State(TypedDict, total=False):
        told: Any
        kept: Any

    def say(state):
        {late}
        return {{"told": {told}}}

    graph = StateGraph(State).add_node("say", say).add_edge(START, "say").compile()
"""


def write(folder: Path, file: str, text: str) -> None:
    (folder / file).parent.mkdir(parents=True, exist_ok=True)
    (folder / file).write_text(textwrap.dedent(text))


def write_graph(folder: Path, file: str, told: str, *, imports: str = "", late: str = "pass") -> None:
    write(folder, file, textwrap.dedent(GRAPH).format(imports=imports, told=told, late=late))


async def told(graphs: Graphs, name: str, store: UserStore) -> Any:
    hosted, here = await graphs.get(name), place("t")
    async with hosted.bound(saver=StagingSaver(DictRows()), store=store, config=here) as graph:
        return (await graph.ainvoke({}, here))["told"]


async def test_names_of_cauces_own_packages_are_free_for_an_application(tmp_path: Path, user_store: UserStore) -> None:
    write(tmp_path, "state.py", "NAME = 'my state'\n")
    write(
        tmp_path,
        "schemas.py",
        "import state\nfrom processors.inner import NAME as INNER\nNAME = f'mine, {state.NAME}, {INNER}'\n",
    )
    write(tmp_path, "processors/inner.py", "NAME = 'inner'\n")
    write(tmp_path, "connectors/__init__.py", "from . import deep\n")
    write(tmp_path, "connectors/deep.py", "import state as st\nNAME = st.NAME\n")
    write_graph(
        tmp_path,
        "graph.py",
        "[schemas.NAME, NAME, connectors.deep.NAME, late.NAME, processors.inner.NAME]",
        imports="import schemas, connectors.deep, processors.inner\nfrom state import NAME",
        late="import state as late",
    )
    graphs = Graphs({"g": "./graph.py:graph"}, folder=tmp_path)
    assert await told(graphs, "g", user_store) == ["mine, my state, inner", "my state", "my state", "my state", "inner"]
    assert sys.modules["schemas"].ThreadHead is ThreadHead


@pytest.mark.parametrize("named", [("one", "two"), ("two", "one")])
async def test_two_folders_have_modules_of_the_same_names(
    tmp_path: Path, user_store: UserStore, named: tuple[str, str]
) -> None:
    for folder in ("one", "two"):
        write(
            tmp_path,
            f"apps-of-{folder}/tools_of_test.py",
            f"import helpers_of_test\nNAME = '{folder} ' + helpers_of_test.NAME\n",
        )
        write(tmp_path, f"apps-of-{folder}/helpers_of_test/__init__.py", "from common_of_test import NAME\n")
        late = "import helpers_of_test"
        told_of = "[NAME, helpers_of_test.NAME]"
        write_graph(
            tmp_path, f"apps-of-{folder}/graph.py", told_of, imports="from tools_of_test import NAME", late=late
        )
    write(tmp_path, "common_of_test.py", "NAME = 'common'\n")
    graphs = Graphs({name: f"./apps-of-{name}/graph.py:graph" for name in named}, folder=tmp_path)
    for name in named:
        assert await told(graphs, name, user_store) == [f"{name} common", "common"]


async def test_module_and_file_lead_to_the_same_graph_where_the_name_is_taken(tmp_path: Path) -> None:
    write(tmp_path, "streams/__init__.py", "")
    write_graph(tmp_path, "streams/agent.py", "1")
    specs = {"file": "./streams/agent.py:graph", "module": "streams.agent:graph"}
    graphs = Graphs(specs, folder=tmp_path)
    assert (await graphs.get("file"))._module is (await graphs.get("module"))._module


async def test_folder_of_another_place_is_importable_as_a_dependency(tmp_path: Path, user_store: UserStore) -> None:
    write(tmp_path, "elsewhere/shared_of_test/__init__.py", "NAME = 'shared'\n")
    write_graph(tmp_path, "app/graph.py", "NAME", imports="from shared_of_test import NAME")
    graphs = Graphs({"g": "./graph.py:graph"}, folder=tmp_path / "app", dependencies=[tmp_path / "elsewhere"])
    assert await told(graphs, "g", user_store) == "shared"


OFFERS = """
    from dataclasses import dataclass
    from enum import Enum
    from pydantic import BaseModel, HttpUrl

    class Size(Enum):
        BIG = "big"

    class Offer(BaseModel):
        price: int
        url: HttpUrl = HttpUrl("http://example.org/")

    @dataclass
    class Inner:
        offer: Offer
        size: Size
        url: HttpUrl
"""


@pytest.mark.parametrize("service", ["app_of_test/service.py", "state.py", "flat/service_of_test.py"])
async def test_types_of_the_applications_own_modules_come_back(
    tmp_path: Path, user_store: UserStore, service: str
) -> None:
    write(tmp_path, service, OFFERS)
    module = {"app_of_test/service.py": "app_of_test.service", "state.py": "state"}.get(service, "service_of_test")
    write(tmp_path, "flat/makes_of_test.py", f"def make():\n    import {module} as s\n    return s\n")
    made = "Inner(s.Offer(price=5), s.Size.BIG, s.HttpUrl('http://a.b/'))"
    write_graph(tmp_path, "flat/graph.py", "''", imports="from makes_of_test import make", late="s = make()")
    text = (tmp_path / "flat/graph.py").read_text()
    kept = f"{{'kept': {{'inner': s.{made}, 'url': s.HttpUrl('http://c.d/'), 'n': 1}}, 'told'"
    (tmp_path / "flat/graph.py").write_text(text.replace('{"told"', kept))
    graphs, rows, here = Graphs({"g": "./flat/graph.py:graph"}, folder=tmp_path), DictRows(), place("t")
    hosted = await graphs.get("g")
    saver = StagingSaver(rows)
    async with hosted.bound(saver=saver, store=user_store, config=here) as graph:
        await graph.ainvoke({}, here)
    rows.commit(saver)
    async with hosted.bound(saver=StagingSaver(rows), store=user_store, config=here) as graph:
        found = (await graph.aget_state(here)).values["kept"]
    inner = found["inner"]
    assert type(inner).__name__ == "Inner"
    assert (type(inner.offer).__name__, inner.offer.price, inner.size.name) == ("Offer", 5, "BIG")
    assert (str(inner.url), found["url"], found["n"]) == ("http://a.b/", "http://c.d/", 1)
