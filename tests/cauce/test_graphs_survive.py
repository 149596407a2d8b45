"""What a hosted graph's run comes to when processes die under it, and when several people drive it at once."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from langgraph_sdk import get_client
from langgraph_sdk.client import LangGraphClient
from running_system import RunningSystem
from waiting import until

from cauce.running import find_gateway
from cauce.settings import load_settings
from state import open_stores

GRAPHS = Path(__file__).parent / "surviving_graphs.py"
MODES: Any = ["messages-tuple", "values", "updates", "custom"]


class Hosting:
    """A system that hosts the graphs, the folder that they write to, and a key of its owner."""

    def __init__(self, folder: Path) -> None:
        self.effects = folder / "effects"
        self.effects.mkdir()
        graphs = ",".join(f"{name}={GRAPHS}:{name}" for name in ("writer", "steps", "twice", "echo"))
        self.system = RunningSystem(
            folder, CAUCE_GATEWAY_PORT="0", CAUCE_GRAPHS=graphs, EFFECTS=str(self.effects)
        ).start()
        self.key = self.system.told("tenant", "key", "create", "home").strip()
        note = find_gateway(load_settings(environment=self.system.environment))
        assert note
        self.url = note.url

    def client(self) -> LangGraphClient:
        return get_client(url=f"{self.url}/lg", api_key=self.key)

    def done(self, thread: str) -> list[str]:
        """What the thread's graphs have done, in order."""
        file = self.effects / thread
        return file.read_text().split("\n")[:-1] if file.exists() else []

    def kill(self, part: str) -> None:
        """Ends a part as `kill -9` does."""
        assert self.system.running
        os.kill(self.system.running.children[part], signal.SIGKILL)

    async def events(self, thread: str) -> list[str]:
        """Kinds of the thread's events, in order."""
        stores = open_stores(load_settings(environment=self.system.environment).state_url)
        await stores.open()
        try:
            return [row.type.removeprefix("cauce.") for row in await stores.journal.events("home", thread)]
        finally:
            await stores.close()


@pytest.fixture(scope="module")
def hosting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosting]:
    made = None
    try:
        made = Hosting(tmp_path_factory.mktemp("surviving"))
        yield made
    finally:
        if made:
            made.system.end()


@pytest.fixture
async def client(hosting: Hosting) -> AsyncIterator[LangGraphClient]:
    async with hosting.client() as client:
        yield client


def says(text: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}]}


async def new_thread(client: LangGraphClient) -> str:
    return (await client.threads.create())["thread_id"]


def written(told: list[Any]) -> dict[str, str]:
    """By message, as a client adds its chunks up."""
    texts: dict[str, str] = {}
    for part in told:
        if part.event == "messages":
            texts[part.data[0]["id"]] = texts.get(part.data[0]["id"], "") + part.data[0]["content"]
    return texts


def plain(values: Any) -> Any:
    """A state without the ids that each run makes anew."""
    return {**values, "messages": [(m["type"], m["content"]) for m in values["messages"]]}


async def begun(client: LangGraphClient, thread: str, chunks: int) -> tuple[str, list[Any]]:
    """Starts the writer; its run and what came until so many chunks had."""
    started: list[Any] = []
    had: list[Any] = []
    stream = client.runs.stream(
        thread,
        "writer",
        input=says("write"),
        stream_mode=MODES,
        stream_resumable=True,
        on_run_created=started.append,
    )
    async for part in stream:
        had.append(part)
        if sum(p.event == "messages" for p in had) == chunks:
            break
    await stream.aclose()  # type: ignore[attr-defined]
    return started[0]["run_id"], had


async def test_worker_killed_in_a_streaming_run_the_reader_gets_the_end(
    hosting: Hosting, client: LangGraphClient
) -> None:
    calm, stormy = await new_thread(client), await new_thread(client)
    without: Any = await client.runs.wait(calm, "writer", input=says("write"))
    run, had = await begun(client, stormy, 5)
    hosting.kill("worker")
    rest = [part async for part in client.runs.join_stream(stormy, run, stream_mode=MODES, last_event_id=had[-1].id)]
    assert rest[-1].event == "end"
    assert (await client.runs.get(stormy, run))["status"] == "success"
    state = await client.threads.get_state(stormy)
    assert state["next"] == []
    assert plain(state["values"]) == plain(without)
    assert [p.data for p in rest if p.event == "values"][-1] == state["values"]
    answer: Any = state["values"]["messages"][-1]  # type: ignore[index,call-overload]
    assert written(rest)[answer["id"]] == answer["content"]
    kinds = Counter(await hosting.events(stormy))
    assert (kinds["run.started"], kinds["run.completed"], kinds["message.added"]) == (1, 1, 3)
    assert hosting.done(stormy) == ["first", "write", "first", "write"]


async def test_committed_supersteps_are_not_run_again_after_a_crash(hosting: Hosting, client: LangGraphClient) -> None:
    thread = await new_thread(client)
    run = (await client.runs.create(thread, "steps", input={"log": ["in"]}, durability="sync"))["run_id"]
    await asyncio.to_thread(until, lambda: "three" in hosting.done(thread))
    hosting.kill("worker")
    (hosting.effects / "go").touch()
    joined: Any = await client.runs.join(thread, run)
    assert joined["log"] == ["in", "one", "two", "three", "four"]
    assert hosting.done(thread) == ["one", "two", "three", "three", "four"]
    assert (await client.runs.get(thread, run))["status"] == "success"
    assert Counter(await hosting.events(thread))["run.completed"] == 1
    history = await client.threads.get_history(thread, limit=50)
    assert [s["metadata"]["step"] for s in history] == [4, 3, 2, 1, 0, -1]


async def test_gateway_killed_in_a_stream_costs_no_part_of_it(hosting: Hosting, client: LangGraphClient) -> None:
    thread = await new_thread(client)
    run, had = await begun(client, thread, 5)
    again = client.runs.join_stream(thread, run, stream_mode=MODES, last_event_id=had[-1].id)
    assert hosting.system.running
    old = hosting.system.running.children["gateway"]
    killed = False
    while had[-1].event != "end":
        try:
            async for part in again:
                had.append(part)
                if not killed and sum(p.event == "messages" for p in had) == 9:
                    hosting.kill("gateway")
                    killed = True
        except httpx.TransportError:
            pass
        last = next(part.id for part in reversed(had) if part.id)
        again = client.runs.join_stream(thread, run, stream_mode=MODES, last_event_id=last)
        if had[-1].event != "end":
            await asyncio.sleep(0.05)  # the port is closed until the gateway is back
    assert killed
    assert hosting.system.running.children["gateway"] != old
    state: Any = (await client.threads.get_state(thread))["values"]
    assert [p.data for p in had if p.event == "custom"] == [{"step": "begun"}]
    assert [next(iter(p.data)) for p in had if p.event == "updates"] == ["first", "write"]
    assert [len(p.data["messages"]) for p in had if p.event == "values"] == [1, 2, 3]
    assert written(had) == {m["id"]: m["content"] for m in state["messages"] if m["type"] == "ai"}
    assert hosting.done(thread) == ["first", "write"]


async def test_of_two_answers_to_one_question_one_counts(hosting: Hosting, client: LangGraphClient) -> None:
    thread = await new_thread(client)
    await client.runs.wait(thread, "twice", input={"log": []})

    async def answer(text: str) -> Any:
        async with hosting.client() as one:
            return await one.runs.wait(thread, "twice", command={"resume": text})

    came = await asyncio.gather(*(answer(text) for text in ("ana", "ben")), return_exceptions=True)
    late = [one for one in came if isinstance(one, httpx.HTTPStatusError) and one.response.status_code == 409]
    told = [one["log"] for one in came if isinstance(one, dict)]
    assert len(late) + len(told) == 2, came
    state: Any = await client.threads.get_state(thread)
    assert state["next"] == ["ask_again"], "nobody has answered this question"
    assert len(state["values"]["log"]) == len(hosting.done(thread)) == 1
    assert told == [state["values"]["log"]] * len(told), "both see what became of the answer that counts"
    async with asyncio.timeout(120):
        while (kinds := await hosting.events(thread)).count("input.refused") + len(late) < 1:
            await asyncio.sleep(0.05)
    assert kinds.count("run.paused") == 2


async def test_inputs_posted_at_once_are_answered_one_after_the_other(
    hosting: Hosting, client: LangGraphClient
) -> None:
    thread = await new_thread(client)
    texts = [f"question {n}" for n in range(20)]
    runs = await asyncio.gather(
        *(client.runs.create(thread, "echo", input=says(t), multitask_strategy="enqueue") for t in texts)
    )
    for run in runs:
        await client.runs.join(thread, run["run_id"])
    assert {r["status"] for r in await client.runs.list(thread, limit=50)} == {"success"}
    said = [m["content"] for m in (await client.threads.get_state(thread))["values"]["messages"]]  # type: ignore[index,call-overload]
    assert sorted(said[::2]) == sorted(texts)
    assert said[1::2] == [f"to {text}" for text in said[::2]]
    kinds = [kind for kind in await hosting.events(thread) if kind in ("run.started", "run.completed")]
    assert kinds == ["run.started", "run.completed"] * 20
