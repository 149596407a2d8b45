"""Tasks that serve everybody: what they contain does not end them, and their end is the end of their process."""

from __future__ import annotations

import ast
import asyncio
import gc
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from prometheus_client import CollectorRegistry, generate_latest

from cauce.service import Process, Service, run_service
from cauce.settings import Settings, load_settings
from schemas.common.serving import ItemFailures, ServingTask, TaskWatch, again_and_again

ROOT = Path(__file__).parents[2]
PRODUCT = ("schemas", "threads", "state", "streams", "core", "connectors", "processors", "cauce")
HELPER = "schemas/common/serving.py"

BOUNDED = {
    "cauce/asking.py": (2, "a question, as long as it is asked"),
    "cauce/chatting.py": (2, "a line of the chat"),
    "cauce/service.py": (2, "waits for work of a start, or for its stop"),
    "connectors/arcade/arcade_catalogue.py": (1, "one read of the catalogue"),
    "connectors/emulators/__main__.py": (1, "the process's own work, which its main task awaits"),
    "connectors/foreign.py": (1, "one execution of foreign code"),
    "connectors/gateway/auth/oidc.py": (1, "one read of a provider"),
    "connectors/gateway/own_lifespan.py": (1, "the lifespan of somebody else's application, whose end is reported"),
    "connectors/gateway/patient.py": (2, "a request"),
    "connectors/gateway/sse.py": (2, "a request"),
    "connectors/gateway/protocols/lg/thread_socket.py": (4, "a request"),
    "connectors/graphs/graph_states.py": (1, "a stream"),
    "connectors/graphs/saver.py": (1, "one call of a saver from a thread"),
    "core/changes.py": (1, "a request"),
    "core/stateless.py": (1, "a run, best effort"),
    "processors/audit/processor.py": (1, "one write"),
    "processors/turns/graph_saving.py": (1, "a leg"),
    "processors/turns/underway.py": (1, "one write"),
    "schemas/common/recent.py": (1, "one load"),
    "streams/group_runtime.py": (3, "one record, or the opening or closing of a slot"),
    "streams/kafka_clients.py": (1, "the end of a producer"),
}
"""Files that start tasks in another way: in how many places, and what ends these tasks."""


def starts(tree: ast.AST) -> int:
    """How many places there are that start tasks."""
    names = ("create_task", "ensure_future", "TaskGroup", "create_task_group", "run_coroutine_threadsafe")
    return sum(isinstance(node, ast.Attribute) and node.attr in names for node in ast.walk(tree))


def test_no_task_without_an_end_is_started_beside_the_helper() -> None:
    found = {
        str(path.relative_to(ROOT)): count
        for folder in PRODUCT
        for path in sorted((ROOT / folder).rglob("*.py"))
        if (count := starts(ast.parse(path.read_text())))
    }
    assert found.pop(HELPER) == 1
    known = {file: count for file, (count, _) in BOUNDED.items()}
    assert found == known, "start what is to run all the time as a ServingTask; else say here what ends the task"


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[Settings]:
    thresholds = gc.get_threshold()
    yield load_settings(environment={}, data=tmp_path / "var", kafka="127.0.0.1:1", arcade_api_key="no emulators")
    gc.unfreeze()
    gc.set_threshold(*thresholds)


async def returns() -> None:
    return


async def fails() -> None:
    raise ValueError("what nobody foresaw")


async def is_cancelled() -> None:
    raise asyncio.CancelledError


@pytest.mark.parametrize(
    ("work", "reason"),
    [(returns, "it returned"), (fails, "ValueError: what nobody foresaw"), (is_cancelled, "it was cancelled")],
)
async def test_task_that_ends_by_itself_makes_the_process_unhealthy_and_stops_it(
    settings: Settings, work: object, reason: str
) -> None:
    seen: list[tuple[int, str]] = []
    ends: list[str] = []

    async def run(process: Process) -> None:
        async with process.opened(), httpx.AsyncClient(trust_env=False, timeout=120) as client:
            before = await client.get(f"{process.health_address}/healthz")
            ServingTask("the feed", work).start()  # type: ignore[arg-type]
            await process.stop.wait()
            after = await client.get(f"{process.health_address}/healthz")
            seen.extend((one.status_code, one.text) for one in (before, after))
            metrics = (await client.get(f"{process.health_address}/metrics/")).text
            assert 'cauce_tasks_ended_total{task="the feed"} 1.0' in metrics

    trouble = await run_service(Service(name="slow", run=run), settings, on_end=lambda: ends.append("once"))
    assert trouble == f"the feed has ended: {reason}"
    assert [status for status, _ in seen] == [200, 503]
    assert trouble in seen[1][1]
    assert ends == ["once"]


def test_process_of_an_ended_task_exits_with_the_reason(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "ending_service.py").write_text(
        "import asyncio, sys\n"
        "from pathlib import Path\n"
        "from cauce.service import Process, Service, run_here\n"
        "from cauce.settings import Settings\n"
        "from schemas.common.serving import ServingTask\n"
        "async def ends(): raise ValueError('nobody foresaw it')\n"
        "async def run(process):\n"
        "    async with process.opened():\n"
        "        ServingTask('the feed', ends).start()\n"
        "        await process.stop.wait()\n"
        "run_here(Service(name='ending', run=run), Settings(data=Path(sys.argv[1]), kafka='127.0.0.1:1'))\n"
    )
    done = subprocess.run(
        [sys.executable, str(tmp_path / "ending_service.py"), str(settings.data)],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
    )
    assert done.returncode == 1
    assert "cauce: the feed has ended: ValueError: nobody foresaw it" in done.stderr


async def test_task_that_is_stopped_or_may_return_is_no_trouble() -> None:
    watch = TaskWatch()
    with watch.watching():
        lasting, short = ServingTask("lasting", asyncio.Event().wait), ServingTask("short", returns, may_return=True)
        for task in (lasting, short):
            task.start()
        await asyncio.sleep(0)
        assert lasting.running
        await lasting.stop()
        await short.until_over()
        assert not lasting.running
        assert await watch.trouble() is None
        short.start()
        await short.until_over()
        failing = ServingTask("failing", fails, may_return=True)
        failing.start()
        while not watch.ended:
            await asyncio.sleep(0)
        assert await watch.trouble() == "failing has ended: ValueError: what nobody foresaw"


async def test_stray_cancellation_is_a_failure_and_a_real_one_an_order() -> None:
    tried: list[int] = []

    async def work() -> None:
        tried.append(1)
        if len(tried) < 3:
            raise asyncio.CancelledError  # as of a future that a client has left
        await asyncio.Event().wait()

    failures: list[BaseException] = []
    task = ServingTask("work", lambda: again_and_again(work, failed=failures.append, pause=0))
    task.start()
    while len(tried) < 3:
        await asyncio.sleep(0)
    assert [type(one) for one in failures] == [asyncio.CancelledError] * 2
    await task.stop()
    assert not task.running


async def test_failed_items_are_counted_and_a_flood_of_them_is_logged_in_a_few_lines(
    caplog: pytest.LogCaptureFixture,
) -> None:
    counted: list[str] = []
    now = [0.0]
    with TaskWatch(on_item=counted.append).watching():
        failures = ItemFailures("the feed", clock=lambda: now[0])
    for number in range(1000):
        failures.note(f"chat.deltas/0/{number}", ValueError("deep"))
    now[0] = 11
    failures.note("chat.deltas/0/1000", ValueError("deep"))
    assert len(counted) == 1001
    assert [record.message for record in caplog.records] == [
        "the feed: chat.deltas/0/0 failed and is passed over: ValueError: deep",
        "the feed: chat.deltas/0/1000 failed and is passed over: ValueError: deep (999 others since the last line like this)",
    ]


def test_services_have_metrics_of_their_tasks(settings: Settings) -> None:
    process = Process(
        Service(name="s", run=lambda process: returns()),
        settings,
        supervised=False,
        port=None,
        on_ready=lambda n: None,
        on_end=lambda: None,
    )
    assert isinstance(process.registry, CollectorRegistry)
    process.tasks.item_failed("the feed")
    assert b'cauce_items_failed_total{task="the feed"} 1.0' in generate_latest(process.registry)
