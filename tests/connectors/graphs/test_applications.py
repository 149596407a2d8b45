"""Applications import their own modules, whatever these are called, and get the types of their states back."""

from __future__ import annotations

import builtins
import importlib
import importlib.util
import py_compile
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from typing import Any

import pytest
from graph_threads import DictRows

from connectors.graphs import Graphs, StagingSaver, UserStore, place
from connectors.graphs.applications import APPLICATIONS
from schemas import SettingsError, ThreadHead

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


NAMES = """
    import asyncio, sys
    from pathlib import Path
    from connectors.graphs import Graphs

    async def main(folder, file, *names):
        graphs = Graphs({name: f"{folder}/app-{name}/{file}.py:graph" for name in names}, folder=Path(folder))
        for name in names:
            module = (await graphs.get(name))._module
            print(*(f"{name}:{kind.__module__}" for kind in (module.Deal, module.Offer, module.Here)))

    asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.parametrize("file", ["graph", "my-graph"])
def test_types_have_the_same_names_in_every_process_and_wherever_the_application_is(tmp_path: Path, file: str) -> None:
    told = set()
    for folder, order in (("here", ("one", "two")), ("here", ("two", "one")), ("there", ("two", "one"))):
        for name in ("one", "two"):
            for module, kind in (("offer", "Offer"), ("state", "Deal")):
                write(tmp_path / folder, f"app-{name}/{module}.py", f"class {kind}: ...\n")
            imports = "from offer import Offer\nfrom state import Deal\nclass Here: ..."
            write_graph(tmp_path / folder, f"app-{name}/{file}.py", "1", imports=imports)
        command = [sys.executable, "-c", textwrap.dedent(NAMES), str(tmp_path / folder), file, *order]
        out = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout
        told.add(tuple(sorted(out.split())))
    assert len(told) == 1
    names = [name.partition(":")[2] for name in told.pop()]
    assert len(set(names)) == 6, "no two applications share one"


@pytest.mark.parametrize("link", ["folder", "file", "outside"])
async def test_graph_behind_a_link_finds_its_modules_and_gets_its_types_back(
    tmp_path: Path, user_store: UserStore, link: str
) -> None:
    real, settings = tmp_path / "real", tmp_path / "settings"
    settings.mkdir()
    write(real, "state.py", "class Deal:\n    def __init__(self, price):\n        self.price = price\n")
    write(real, "offer_of_links.py", OFFERS)
    made = "offer_of_links.Offer(price=5)"
    write_graph(real, "graph.py", made, imports="from state import Deal\nimport offer_of_links")
    if link == "file":
        (settings / "linked.py").symlink_to(real / "graph.py")
    else:
        (settings / "agents").symlink_to(real)
    place_of = {"folder": "./agents/graph.py", "file": "./linked.py", "outside": f"{settings}/agents/graph.py"}[link]
    graphs, rows, here = Graphs({"g": f"{place_of}:graph"}, folder=settings), DictRows(), place("t")
    hosted, saver = await graphs.get("g"), StagingSaver(rows)
    async with hosted.bound(saver=saver, store=user_store, config=here) as graph:
        await graph.ainvoke({}, here)
    rows.commit(saver)
    async with hosted.bound(saver=StagingSaver(rows), store=user_store, config=here) as graph:
        assert (await graph.aget_state(here)).values["told"].price == 5


READ = """
    import asyncio, sys
    from pathlib import Path
    from connectors.graphs import Graphs

    async def main(folder):
        graphs = Graphs({"g": f"{folder}/app-one/graph.py:graph"}, folder=Path(folder))
        hosted = await graphs.get("g")
        import _cauce_app1.offer as before
        print(before.Offer is hosted._module.Offer, ("_cauce_app1.offer", "Offer") in hosted._application.found())

    asyncio.run(main(*sys.argv[1:]))
"""


def test_types_that_were_stored_with_the_number_of_their_folder_are_read(tmp_path: Path) -> None:
    write(tmp_path, "app-one/offer.py", "from dataclasses import dataclass\n@dataclass\nclass Offer:\n    price: int\n")
    write_graph(tmp_path, "app-one/graph.py", "1", imports="from offer import Offer")
    command = [sys.executable, "-c", textwrap.dedent(READ), str(tmp_path)]
    out = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert (out.stdout.split(), out.stderr) == (["True", "True"], "")


async def test_what_is_put_into_builtins_or_replaced_there_is_seen(tmp_path: Path, user_store: UserStore) -> None:
    write(tmp_path, "schemas.py", "def say():\n    return [cauce_test_word, len([])]\n")
    late = (
        "with mock.patch('builtins.len', lambda given: 42), mock.patch('builtins.cauce_test_word', 'hi', create=True):"
    )
    imports = "import schemas\nfrom unittest import mock"
    write_graph(tmp_path, "graph.py", "said", imports=imports, late=f"{late} said = schemas.say()")
    assert not hasattr(builtins, "cauce_test_word")
    assert await told(Graphs({"g": "./graph.py:graph"}, folder=tmp_path), "g", user_store) == ["hi", 42]


@pytest.mark.parametrize("where", ["app/lib", "shared"])
async def test_folders_that_an_application_puts_on_the_path_win_over_cauces_packages(
    tmp_path: Path, user_store: UserStore, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    write(tmp_path, f"{where}/schemas/__init__.py", "from threads import NAME\n")
    write(tmp_path, f"{where}/threads.py", "NAME = 'mine'\n")
    imports = f"import sys\nsys.path.insert(0, {str(tmp_path / where)!r})\nimport schemas"
    write_graph(tmp_path, "app/graph.py", "schemas.NAME", imports=imports)
    graphs = Graphs({"g": "./graph.py:graph"}, folder=tmp_path / "app")
    assert await told(graphs, "g", user_store) == "mine"


async def test_namespace_package_may_lie_in_two_folders(tmp_path: Path, user_store: UserStore) -> None:
    for folder, part in (("one", "a"), ("two", "b")):
        write(tmp_path, f"{folder}/company_of_test/{part}.py", "import state\nNAME = state.NAME\n")
        write(tmp_path, f"{folder}/state.py", f"NAME = {folder!r}\n")
    imports = "from company_of_test import a, b"
    write_graph(tmp_path, "app/graph.py", "[a.NAME, b.NAME]", imports=imports)
    graphs = Graphs(
        {"g": "./graph.py:graph"}, folder=tmp_path / "app", dependencies=[tmp_path / "one", tmp_path / "two"]
    )
    assert await told(graphs, "g", user_store) == ["one", "two"]


async def test_file_is_one_module_by_whatever_name_it_is_asked_for(
    tmp_path: Path, user_store: UserStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        sys, "path", [*sys.path, str(tmp_path / "src")]
    )  # as of a project that is installed where it lies
    write(tmp_path, "src/agent_of_test/__init__.py", "from agent_of_test.graph import graph\n")
    write(tmp_path, "src/agent_of_test/kinds_of_test.py", "class Kind: ...\n")
    imports = "import importlib\nfrom agent_of_test import kinds_of_test as kinds"
    names = ("agent_of_test.kinds_of_test", "src.agent_of_test.kinds_of_test", "kinds_of_test")
    same = ", ".join(f"importlib.import_module({name!r}) is kinds" for name in names)
    write_graph(
        tmp_path,
        "src/agent_of_test/graph.py",
        f"[{same}, importlib.import_module('agent_of_test').graph is graph]",
        imports=imports,
    )
    graphs = Graphs({"g": "./src/agent_of_test/graph.py:graph"}, folder=tmp_path)
    assert await told(graphs, "g", user_store) == [True, True, True, True]


async def test_module_that_failed_once_is_made_anew(tmp_path: Path) -> None:
    write(tmp_path, "flat/broken_of_test.py", "import missing_of_test\nNAME = 1\n")
    write_graph(tmp_path, "flat/graph.py", "1", imports="import broken_of_test")
    with pytest.raises(SettingsError, match="missing_of_test"):
        await Graphs({"g": "./flat/graph.py:graph"}, folder=tmp_path).get("g")
    write(tmp_path, "flat/missing_of_test.py", "")
    importlib.invalidate_caches()
    await Graphs({"g": "./flat/graph.py:graph"}, folder=tmp_path).get("g")
    assert importlib.import_module("broken_of_test").NAME == 1


async def test_syntax_error_is_told_with_its_own_file_and_line(tmp_path: Path) -> None:
    write(tmp_path, "wrong_of_test.py", "fine = 1\nfine =\n")
    write_graph(tmp_path, "graph.py", "1", imports="import wrong_of_test")
    with pytest.raises(SettingsError, match=r"wrong_of_test\.py, line 2"):
        await Graphs({"g": "./graph.py:graph"}, folder=tmp_path).get("g")


async def test_module_of_bytecode_alone_finds_its_own(tmp_path: Path, user_store: UserStore) -> None:
    write(tmp_path, "state.py", "NAME = 'mine'\n")
    write(tmp_path, "schemas.py", "from state import NAME\n")
    for name in ("state", "schemas"):
        py_compile.compile(str(tmp_path / f"{name}.py"), cfile=str(tmp_path / f"{name}.pyc"))
        (tmp_path / f"{name}.py").unlink()
    write_graph(tmp_path, "graph.py", "schemas.NAME", imports="import schemas")
    assert await told(Graphs({"g": "./graph.py:graph"}, folder=tmp_path), "g", user_store) == "mine"


def test_folders_may_come_while_other_threads_import(tmp_path: Path) -> None:
    failed, done = list[BaseException](), threading.Event()

    def look() -> None:
        while not done.is_set():
            try:
                importlib.util.find_spec("nothing_of_test")
            except BaseException as error:
                failed.append(error)

    threads = [threading.Thread(target=look) for _ in range(3)]
    switch, path = sys.getswitchinterval(), list(sys.path)
    sys.setswitchinterval(1e-6)
    for thread in threads:
        thread.start()
    try:
        for n in range(40):
            (tmp_path / f"app-{n}").mkdir()
            APPLICATIONS.add(tmp_path / f"app-{n}", home=True)
    finally:
        done.set()
        for thread in threads:
            thread.join()
        sys.setswitchinterval(switch)
        sys.path[:] = path
    assert not failed
