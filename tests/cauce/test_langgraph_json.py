"""A `langgraph.json` is read as it is: what it names is served, or refused by name."""

from __future__ import annotations

import json
import os
import textwrap
import uuid
from pathlib import Path
from typing import Any

import pytest
from langgraph_sdk import get_client
from prometheus_client import CollectorRegistry
from running_system import RunningSystem

from cauce.hosting import hosting_of
from cauce.langgraph_http import CorsRules, HttpPart
from cauce.langgraph_json import read_langgraph_file
from cauce.running import find_gateway
from cauce.settings import Settings, load_settings
from cauce.worker_parts import WorkerParts
from schemas import SettingsError
from schemas.common.metrics import RuntimeMetrics
from state import open_stores


def write(folder: Path, **settings: Any) -> Path:
    file = folder / "langgraph.json"
    file.write_text(json.dumps({"graphs": {"g": "./g.py:graph"}, **settings}))
    return file


def test_graphs_dependencies_env_and_origins_are_taken_from_the_file(tmp_path: Path) -> None:
    (tmp_path / "libs").mkdir()
    lines = [
        "# of the shop",
        "export A=1 # one",
        "B='two words # no comment'",
        'C="a\\nb"',
        "D=",
        "E = x#y",
        "not a line",
    ]
    (tmp_path / ".env").write_text("\n".join(lines))
    graphs = {"g": {"path": "./src/g.py:graph", "description": "Helps"}, "m": "package.module:make"}
    file = write(
        tmp_path,
        graphs=graphs,
        dependencies=[".", "./libs", "pydantic>=2", "langgraph-sdk[x] ; python_version > '3'"],
        env=".env",
        http={"cors": {"allow_origins": ["https://a.example"]}},
        python_version="3.11",
        checkpointer={"ttl": {"default_ttl": 60, "strategy": "delete", "sweep_interval_minutes": 10, "sweep_limit": 5}},
    )
    found = read_langgraph_file(file)
    assert found.graphs == {"g": f"{tmp_path}/src/g.py:graph", "m": "package.module:make"}
    assert found.descriptions == {"g": "Helps"}
    assert found.folders == (tmp_path, tmp_path / "libs")
    assert found.env == {"A": "1", "B": "two words # no comment", "C": "a\nb", "D": "", "E": "x#y"}
    assert found.http == HttpPart(cors=CorsRules(allow_origins=("https://a.example",)))
    assert found.thread_ttl == (60, "delete")
    assert found.not_served == ()
    assert read_langgraph_file(write(tmp_path, env={"N": 5})).env == {"N": "5"}


def test_what_nobody_serves_is_said_by_name(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        graphs={"g": "./g.py:graph", "js": "./agent.ts:graph"},
        dependencies=["no-such-package-anywhere==1"],
        store={"index": {"dims": 3}, "ttl": {"default_ttl": 60}},
        checkpointer={"path": "./saver.py:make"},
        http={
            "mount_prefix": "/api",
            "configurable_headers": {"include": ["x-*"]},
            "logging_headers": {"exclude": ["x-*"]},
            "cors": {"allow_credentials": True},
            "disable_mcp": True,
        },
        shining=True,
    )
    found = read_langgraph_file(file)
    assert list(found.graphs) == ["g"]
    told = "\n".join(found.not_served)
    for name in (
        *("store.index of", "store.ttl of", "checkpointer.path of", "shining of", "http.mount_prefix of"),
        *("http.configurable_headers of", "http.logging_headers of", "http.cors.allow_credentials of"),
        *("the graph 'js' (./agent.ts:graph)", "the dependency 'no-such-package-anywhere==1'"),
    ):
        assert name in told
    assert len(found.not_served) == 10


def test_each_setting_of_http_that_is_served_is_taken(tmp_path: Path) -> None:
    cors = {
        "allow_origins": ["https://a.example"],
        "allow_origin_regex": r"https://.*\.b\.example",
        "allow_methods": ["GET"],
        "allow_headers": ["x-api-key"],
        "expose_headers": ["x-mine"],
        "max_age": 5,
    }
    off = {
        f"disable_{name}": True
        for name in ("assistants", "threads", "runs", "store", "meta", "mcp", "a2a", "ui", "webhooks")
    }
    order = {"enable_custom_route_auth": False, "middleware_order": "auth_first"}
    file = write(tmp_path, http={"app": "./src/app.py:app", **order, **off, "cors": cors})
    found = read_langgraph_file(file)
    assert found.not_served == ()
    assert found.http == HttpPart(
        app=f"{tmp_path}/src/app.py:app",
        opened=True,
        auth_first=True,
        without=frozenset({"assistants", "threads", "runs", "store", "meta"}),
        cors=CorsRules(("https://a.example",), r"https://.*\.b\.example", ("GET",), ("x-api-key",), ("x-mine",), 5),
    )
    for signed_in in ({}, {"enable_custom_route_auth": True}, {"enable_custom_route_auth": None}):
        assert not read_langgraph_file(write(tmp_path, http={"app": "app.routes:app", **signed_in})).http.opened
    assert read_langgraph_file(write(tmp_path, http={"disable_runs": False})).http.without == frozenset()


def test_time_to_live_that_keeps_the_newest_state_deletes_nothing(tmp_path: Path) -> None:
    ttl = {"default_ttl": 60, "strategy": "keep_latest"}
    found = read_langgraph_file(write(tmp_path, checkpointer={"ttl": ttl}))
    assert found.thread_ttl is None
    assert "checkpointer.ttl of langgraph.json: with the strategy keep_latest" in found.not_served[0]


def test_python_that_is_older_than_the_file_asks_for_is_said(tmp_path: Path) -> None:
    assert (
        "it requires 3.99, but this is Python 3."
        in read_langgraph_file(write(tmp_path, python_version="3.99")).not_served[0]
    )
    for fine in ("3.11", "3", "", None, 3.99):
        assert not read_langgraph_file(write(tmp_path, python_version=fine)).not_served


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"auth": {"path": "./auth.py:auth"}}, r"names auth.path, which is not served: users sign in"),
        ({"encryption": {"path": "./e.py:e"}}, "names encryption.path"),
        ({"graphs": {}}, "names no graphs"),
        ({"graphs": {"g": 3}}, "the graph 'g' must be"),
        ({"graphs": {"g": {"description": "x"}}}, "the graph 'g' must be"),
        ({"dependencies": ["./none"]}, "the dependency './none' is not a folder"),
        ({"env": ".nothing"}, "the file '.nothing' of env cannot be read"),
        ({"env": 3}, "env must be an object, or the path"),
        ({"http": "./app.py:app"}, "http must be an object, not './app.py:app'"),
        ({"store": ["x"]}, "store must be an object"),
        ({"auth": "./auth.py:auth"}, "auth must be an object"),
        ({"http": {"app": "./app.py"}}, "http.app must be ./path/file.py:object"),
        ({"http": {"app": 3}}, "http.app must be ./path/file.py:object"),
        ({"http": {"app": "./app.ts:app"}}, "http.app './app.ts:app', which is JavaScript"),
        ({"http": {"disable_everything": True}}, "names http.disable_everything, which is not supported"),
        ({"http": {"disable_threads": "yes"}}, "http.disable_threads must be true or false"),
        ({"http": {"enable_custom_route_auth": "no"}}, "http.enable_custom_route_auth must be true or false"),
        ({"http": {"middleware_order": "last"}}, "http.middleware_order must be one of"),
        ({"http": {"cors": {"allow_origin_regex": "("}}}, "http.cors.allow_origin_regex must be a regular expression"),
        ({"http": {"cors": {"max_age": "5"}}}, "http.cors.max_age must be a number"),
        ({"http": {"cors": {"allow_methods": "GET"}}}, "http.cors.allow_methods must be a list"),
        ({"checkpointer": {"ttl": 60}}, "default_ttl must be a number of minutes above 0, not 60"),
        ({"checkpointer": {"ttl": {"default_ttl": -1}}}, "default_ttl must be a number of minutes above 0"),
        ({"checkpointer": {"ttl": {"default_ttl": "1 day"}}}, "default_ttl must be a number of minutes above 0"),
        ({"checkpointer": {"ttl": {"default_ttl": 1, "strategy": "burn"}}}, "strategy must be delete or keep_latest"),
        ({"http": {"cors": "*"}}, "http.cors must be an object"),
        ({"http": {"cors": {"allow_origins": "https://a.example"}}}, "http.cors.allow_origins must be a list"),
    ],
)
def test_file_that_cannot_be_served_is_refused_in_words(tmp_path: Path, given: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        read_langgraph_file(write(tmp_path, **given))


def test_file_that_is_none_is_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="does not exist"):
        read_langgraph_file(tmp_path / "langgraph.json")
    (tmp_path / "langgraph.json").write_text("{")
    with pytest.raises(SettingsError, match="cannot be read"):
        read_langgraph_file(tmp_path / "langgraph.json")


def test_graphs_of_both_files_are_hosted_together_and_a_name_is_given_once(tmp_path: Path) -> None:
    write(tmp_path)
    config = tmp_path / "cauce.toml"
    config.write_text('langgraph = "langgraph.json"\n[graphs]\nother = "./other.py:graph"\n')
    assert list(hosting_of(load_settings(config, environment={})).specs) == ["other", "g"]
    config.write_text('langgraph = "langgraph.json"\n[graphs]\ng = "./other.py:graph"\n')
    with pytest.raises(SettingsError, match="the graph 'g' is defined in both"):
        hosting_of(load_settings(config, environment={}))


APPLICATION = """
    import os
    from dataclasses import dataclass
    from typing import TypedDict

    import pricing
    from langgraph.graph import START, StateGraph
    from langgraph.runtime import Runtime

    @dataclass
    class Context:
        model: str = "small"

    class State(TypedDict, total=False):
        told: list

    def say(state: State, runtime: Runtime[Context]) -> State:
        return {"told": [os.environ["SHOP"], pricing.PRICE, runtime.context.model]}

    graph = StateGraph(State, context_schema=Context).add_node("say", say).add_edge(START, "say").compile()
"""


async def test_application_runs_from_its_langgraph_json_alone(tmp_path: Path) -> None:
    (tmp_path / "app" / "shop").mkdir(parents=True)
    (tmp_path / "libs").mkdir()
    (tmp_path / "libs" / "pricing.py").write_text("PRICE = 5\n")
    (tmp_path / "app" / "shop" / "agent.py").write_text(textwrap.dedent(APPLICATION))
    (tmp_path / "app" / ".env").write_text("SHOP=corner\n")
    graphs = {"shop": {"path": "./shop/agent.py:graph", "description": "Sells"}, "same": "shop.agent:graph"}
    index = {"index": {"embed": "openai:text-embedding-3-small", "dims": 1536}}
    file = write(tmp_path / "app", graphs=graphs, dependencies=[".", "../libs"], env=".env", store=index)
    system = RunningSystem(tmp_path, CAUCE_GATEWAY_PORT="0", CAUCE_LANGGRAPH=str(file), SHOP="of the process")
    default = str(uuid.uuid5(uuid.UUID("6ba7b821-9dad-11d1-80b4-00c04fd430c8"), "shop"))
    try:
        system.start()
        output = system.output.read_text()
        assert "shop, same" in output
        assert "store.index of langgraph.json" in output
        note = find_gateway(load_settings(environment=system.environment))
        assert note
        key = system.told("tenant", "key", "create", "home").strip()
        async with get_client(url=f"{note.url}/lg", api_key=key) as client:
            for name in ("shop", "same", default):
                told: Any = await client.runs.wait(None, name, input={})
                assert told == {"told": ["corner", 5, "small"]}
            shown = await client.assistants.get(default)
            assert (shown["graph_id"], shown["name"], shown["description"]) == ("shop", "shop", "Sells")
            assert shown == await client.assistants.get("shop")
            assert default in [a["assistant_id"] for a in await client.assistants.search(graph_id="shop")]
            thread = await client.threads.create()
            run = await client.runs.create(thread["thread_id"], "shop", input={})
            assert run["assistant_id"] == default
            assert (await client.assistants.get_schemas(default))["graph_id"] == "shop"
    finally:
        system.end()


def test_option_names_the_file_and_what_must_not_be_left_out_is_refused_at_start(tmp_path: Path) -> None:
    file = write(tmp_path, auth={"path": "./auth.py:auth"})
    system = RunningSystem(tmp_path)
    told = system.told("up", "--langgraph", str(file), code=2)
    assert "auth.path" in told
    assert "remove `auth`" in told
    for command in (("work", "turns"), ("gateway",)):
        assert "--langgraph" in system.told(*command, "--help")


async def test_models_are_looked_for_with_the_variables_that_the_file_sets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [*os.environ, "OPENAI_API_KEY"]:
        if name.endswith("_API_KEY"):
            monkeypatch.setenv(name, "")
            monkeypatch.delenv(name)
    (tmp_path / "g.py").write_text("graph = None")
    settings = Settings(data=tmp_path, langgraph=write(tmp_path, env={"OPENAI_API_KEY": "sk-test"}))
    parts = WorkerParts(settings, open_stores(settings.state_url), RuntimeMetrics(CollectorRegistry()), lambda _: None)
    await parts.models()
    assert parts.model.choice.name.startswith("openai:")
