"""A person's way through `cauce up`: ask, approve, look, stop, start again."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys

import httpx
import pytest
from aiokafka import TopicPartition
from odd_batches import batch_of, write
from running_system import RunningSystem
from waiting import until

from cauce.holdings import FILE_HOLDINGS
from cauce.running import find_workers, is_alive
from cauce.settings import load_settings


def test_a_question_about_mail_is_answered_with_a_tool(system: RunningSystem) -> None:
    answer = system.json("ask", "What mail do I have?", "--thread", "mail")
    assert set(answer) >= {"thread", "run", "text", "tool_calls", "state"}
    assert (answer["thread"], answer["state"]) == ("mail", "completed")
    assert "Ana Ferrer" in answer["text"]
    assert [(call["name"], call["status"]) for call in answer["tool_calls"]] == [("Gmail_ListEmails", "ok")]
    assert "Ana Ferrer" in system.told("ask", "What mail do I have?")


def test_everything_in_the_data_folder_says_what_it_keeps_of_people(system: RunningSystem) -> None:
    assert {entry.name for entry in system.data.iterdir()} <= {holding.name for holding in FILE_HOLDINGS}


def test_nothing_in_the_data_folder_is_for_other_users_of_the_machine(system: RunningSystem) -> None:
    system.told("ask", "hello", "--thread", "private")
    kept = [system.data, *system.data.rglob("*")]
    assert {"state.db", "accounts.json", "logs"} <= {path.name for path in kept}
    assert [str(path) for path in kept if path.lstat().st_mode & 0o077] == []


def test_what_changes_something_waits_for_approval_and_is_done_once(system: RunningSystem) -> None:
    waiting = system.json("ask", "create a task to call Ana tomorrow", "--thread", "task", code=4)
    assert waiting["state"] == "approval"
    assert system.effects("all Ana") == 0
    words = system.told("ask", "create a task to call Eva tomorrow", "--thread", "other", code=4)
    assert "cauce chat" in words
    assert "Traceback" not in words
    done = system.json("ask", "create a task to call Bea tomorrow", "--thread", "done", "--yes")
    assert done["state"] == "completed"
    assert (system.effects("all Ana"), system.effects("all Bea")) == (0, 1)


def test_threads_are_listed_and_shown(system: RunningSystem) -> None:
    system.told("ask", "hello", "--thread", "shown")
    assert "shown" in {row["thread"] for row in system.json("threads", "list")}
    assert "hello" in system.told("threads", "list")
    shown = system.json("threads", "show", "shown")
    assert "hello" in json.dumps(shown)
    assert "hello" in system.told("threads", "show", "shown")
    assert "no thread" in system.told("threads", "show", "never-begun", code=1)


def test_a_thread_whose_newest_run_failed_is_shown_with_the_reason(system: RunningSystem) -> None:
    system.told("tenant", "add", "broken")
    system.told("tenant", "set", "broken", "--model", "openai:nothing", "--api-key-env", "NO_SUCH_KEY")
    assert "key NO_SUCH_KEY" in system.told("tenant", "show", "broken")
    system.told("ask", "hello", "--thread", "sad", "--tenant", "broken", code=1)
    failed = system.json("threads", "show", "sad", "--tenant", "broken")["failed"]
    assert failed["code"] == "model_error"
    assert "NO_SUCH_KEY of the agent's API key is not set where the worker runs" in failed["message"]
    assert failed["code"] in system.told("threads", "show", "sad", "--tenant", "broken")
    system.told("tenant", "set", "broken", "--model", "rules", "--api-key-env", "")
    until(lambda: system.cauce("ask", "hello", "--thread", "sad", "--tenant", "broken").returncode == 0)
    assert system.json("threads", "show", "sad", "--tenant", "broken")["failed"] is None


def test_the_audit_trail_says_what_was_done_with_which_tool(system: RunningSystem) -> None:
    run = system.json("ask", "What mail do I have?")["run"]

    def actions() -> set[str]:
        rows = [json.loads(line) for line in system.told("audit", "export").splitlines()]
        return {row["action"] for row in rows if row.get("run_id") == run}

    until(lambda: {"run.completed", "tool.executed"} <= actions())
    assert "run.completed" in system.told("audit", "tail")


def test_operators_find_everything_in_order(system: RunningSystem) -> None:
    assert "There are no dead letters" in system.told("dlq", "list")
    assert {state["topic"] for state in system.json("topics", "show")} >= {"chat.messages", "audit.events"}
    assert "all migrations are applied" in system.told("state", "status")
    findings = system.json("doctor")
    assert findings
    assert not [f for f in findings if f["verdict"] == "problem"]


def test_the_doctor_names_records_that_could_not_be_processed(system: RunningSystem) -> None:
    assert {f["subject"]: f["words"] for f in system.json("doctor")}["Dead letters"] == "none"
    lost = batch_of((b"no-tenant", b"{}", []))
    assert asyncio.run(write(system.kafka, TopicPartition("chat.messages", 0), lost))[0] == "NoError"

    def finding() -> dict[str, str]:
        return next(f for f in system.json("doctor") if f["subject"] == "Dead letters")

    until(lambda: finding()["verdict"] == "warning")
    words = finding()["words"]
    assert "1 record could not be processed in the last 24 hours, the last one in chat.messages, partition 0" in words
    number = words.rsplit(" ", 1)[1]
    assert json.loads(system.told("dlq", "show", number))["key"] == "no-tenant"


def test_the_doctor_names_a_worker_that_something_blocks(system: RunningSystem) -> None:
    assert system.running
    worker = system.running.children["worker"]
    os.kill(worker, signal.SIGSTOP)
    try:
        findings = {f["subject"]: f for f in json.loads(system.told("doctor", "--json", code=1))}
    finally:
        os.kill(worker, signal.SIGCONT)
    found = findings["Worker turns+tools+audit"]
    assert found["verdict"] == "problem"
    assert f"process {worker} does not answer" in found["words"]
    assert findings["Gateway"]["verdict"] == "ok"
    system.told("ask", "hello")
    until(lambda: system.cauce("doctor").returncode == 0)


def test_tenants_are_added_changed_and_kept_apart(system: RunningSystem) -> None:
    system.told("tenant", "add", "acme", "--name", "Acme")
    assert "acme" in system.told("tenant", "list")
    system.told("tenant", "set", "acme", "--model", "scripted:tokens=3")
    assert system.json("tenant", "show", "acme")["agents"][0]["model"]["name"] == "scripted:tokens=3"
    answer = system.json("ask", "hello", "--tenant", "acme", "--thread", "mail")
    assert answer["text"].split() == ["done"] * 3
    assert "Ana Ferrer" not in json.dumps(system.json("threads", "show", "mail", "--tenant", "acme"))
    assert "exists" in system.told("tenant", "add", "acme", code=2)


def test_a_second_system_on_the_same_folder_is_refused_in_words(system: RunningSystem) -> None:
    words = system.told("up", code=1)
    assert "already" in words
    assert "Traceback" not in words


def test_a_worker_beside_the_running_system_takes_slots_and_leaves_them(system: RunningSystem) -> None:
    settings = load_settings(environment=system.environment)
    before = {worker.pid for worker in find_workers(settings)}
    second = subprocess.Popen([sys.executable, "-m", "cauce", "work", "turns"], env=system.environment)
    try:
        until(lambda: second.pid in {worker.pid for worker in find_workers(settings)})
        health = next(worker.health for worker in find_workers(settings) if worker.pid == second.pid)
        metrics = httpx.Client(base_url=health, trust_env=False, timeout=120)
        wanted = 'cauce_slots_open{group="turns"} 4.0'
        until(lambda: wanted in metrics.get("/metrics").text)
        assert metrics.get("/healthz").status_code == metrics.get("/readyz").status_code == 200
        metrics.close()
        for n in range(4):
            system.told("ask", "hello", "--thread", f"beside-{n}")
    finally:
        second.terminate()
    assert second.wait(120) == 0
    assert {worker.pid for worker in find_workers(settings)} == before
    system.told("ask", "hello", "--thread", "afterwards")


@pytest.mark.parametrize("part", ["worker", "emulators", "broker"])
def test_a_part_that_is_killed_comes_back_and_the_conversation_goes_on(system: RunningSystem, part: str) -> None:
    system.told("ask", "What mail do I have?", "--thread", f"killed-{part}")
    assert system.running
    old = system.running.children[part]
    os.kill(old, signal.SIGKILL)
    until(lambda: system.running is not None and system.running.children[part] != old)
    until(lambda: "Ana Ferrer" in system.cauce("ask", "What mail do I have?", "--thread", f"killed-{part}").stdout, 120)
    said = [m["text"] for m in system.json("threads", "show", f"killed-{part}")["messages"] if m["role"] == "user"]
    assert len(said) >= 2


def test_stopped_and_started_again_the_conversation_is_still_there(system: RunningSystem) -> None:
    system.told("ask", "create a task to water the plants", "--thread", "kept", code=4)
    assert system.running
    children = list(system.running.children.values())
    assert system.stop() == 0
    assert not [pid for pid in children if is_alive(pid)]
    assert "not running" in system.told("ask", "hello", code=3)
    assert "water the plants" in json.dumps(system.json("threads", "show", "kept")), "threads are read without it, too"
    system.start()
    assert "needs approval" in system.told("threads", "show", "kept")
    system.told("ask", "hello", "--thread", "new")


def test_nothing_outlives_a_killed_system_and_the_next_start_goes_on(system: RunningSystem) -> None:
    system.told("ask", "What mail do I have?", "--thread", "survivor")
    assert system.process
    assert system.running
    children = list(system.running.children.values())
    system.process.kill()
    system.process.wait()
    until(lambda: not [pid for pid in children if is_alive(pid)], 120)
    assert "not running" in system.told("ask", "hello", code=3)
    system.start()
    system.told("ask", "hello", "--thread", "survivor")
    said = [m["text"] for m in system.json("threads", "show", "survivor")["messages"] if m["role"] == "user"]
    assert said == ["What mail do I have?", "hello"]
