"""Graphs that end, or do not end, in ways that no caller expects."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypedDict

from langgraph.graph import END, START, StateGraph


class State(TypedDict, total=False):
    done: str


class Panic(BaseException):
    """As an extension written in Rust raises it."""


def one_node(node: Callable[..., Any]) -> Any:
    graph = StateGraph(State)
    graph.add_node("node", node)
    graph.add_edge(START, "node")
    graph.add_edge("node", END)
    return graph.compile()


def raising(error: BaseException, *, sync: bool = False) -> Any:
    def plain(state: State) -> State:
        raise error

    async def node(state: State) -> State:
        raise error

    return one_node(plain if sync else node)


async def _fine(state: State) -> State:
    return {"done": "yes"}


def _fine_in_a_thread(state: State) -> State:
    return {"done": "yes"}


fine, plain = one_node(_fine), one_node(_fine_in_a_thread)
exits, sync_exits = raising(SystemExit(3)), raising(SystemExit(3), sync=True)
interrupted, sync_interrupted = raising(KeyboardInterrupt()), raising(KeyboardInterrupt(), sync=True)
panics, sync_panics = raising(Panic("out of bounds")), raising(Panic("out of bounds"), sync=True)
closes, stops = raising(GeneratorExit()), raising(StopIteration(), sync=True)
several = raising(BaseExceptionGroup("several", [Panic(), ValueError()]))
cancelled = raising(asyncio.CancelledError())


async def _by_the_way(state: State) -> State:
    """Exits in a task and in a callback that nobody waits for."""

    async def leave() -> None:
        sys.exit(4)

    task = asyncio.ensure_future(leave())
    asyncio.get_running_loop().call_soon(sys.exit, 5)
    await asyncio.wait([task])
    await asyncio.sleep(0.05)
    return {"done": "yes"}


by_the_way = one_node(_by_the_way)


def make_exits() -> Any:
    sys.exit("no licence")


async def make_exits_later() -> Any:
    await asyncio.sleep(0)
    sys.exit("no licence")


def make_panics() -> Any:
    raise Panic("no memory")


def make_stops() -> Any:
    raise StopIteration


async def make_cancelled() -> Any:
    """As a client does whose cancel scope was left by another task."""
    task = asyncio.current_task()
    assert task
    task.cancel()
    await asyncio.sleep(0)
    return fine


@asynccontextmanager
async def make_cleans_up_for_ever() -> AsyncIterator[Any]:
    try:
        yield fine
    finally:
        await asyncio.Event().wait()


async def _refuses(state: State) -> State:
    """Goes on whoever cancels it."""
    (Path(os.environ["MARKS"]) / "refuses").touch()
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            continue


async def make_refuses() -> Any:
    await _refuses({})


def _blocks(state: State) -> State:
    (Path(os.environ["MARKS"]) / "blocks").touch()
    threading.Event().wait()
    return {}


def _waits(state: State) -> State:
    """Keeps a thread until the file is there."""
    (Path(os.environ["MARKS"]) / f"waits-{threading.get_ident()}").touch()
    while not (Path(os.environ["MARKS"]) / "enough").exists():
        time.sleep(0.02)
    return {"done": "yes"}


def _kills(state: State) -> State:
    with (Path(os.environ["MARKS"]) / "kills").open("a") as file:
        file.write("x")
    os._exit(9)


refuses, blocks, waits, kills = one_node(_refuses), one_node(_blocks), one_node(_waits), one_node(_kills)
