"""`cauce chat` in a real terminal (a pseudo-terminal), as a person uses it."""

from __future__ import annotations

import httpx
from running_system import RunningSystem
from terminal import Terminal, chatting
from waiting import until

from cauce.running import find_workers
from cauce.settings import load_settings


def test_a_conversation_with_a_tool_and_an_approval_by_one_key(system: RunningSystem) -> None:
    with chatting(system.environment, "--thread", "talk") as terminal:
        terminal.type("What mail do I have?")
        terminal.sees("→ Gmail_ListEmails")
        terminal.sees("✓ Gmail_ListEmails ok")
        terminal.sees("Ana Ferrer")
        terminal.sees("you ›")
        terminal.type("create a task to call Zoe tomorrow")
        assert "Zoe" in terminal.sees("[a]pprove")
        assert system.effects("all Zoe") == 0
        terminal.press("a")
        terminal.sees("✓ Asana_CreateTask ok")
        terminal.sees("you ›")
        assert system.effects("all Zoe") == 1
        terminal.type("/quit")
        assert terminal.process.wait(120) == 0


def test_a_rejected_call_is_not_made(system: RunningSystem) -> None:
    with chatting(system.environment) as terminal:
        terminal.type("create a task to call Max tomorrow")
        terminal.sees("[r]eject")
        terminal.press("r")
        terminal.sees("reason")
        terminal.type("no time")
        terminal.sees("✗ Asana_CreateTask")
        terminal.sees("you ›")
        assert system.effects("all Max") == 0


def test_edited_arguments_are_those_that_are_used(system: RunningSystem) -> None:
    with chatting(system.environment) as terminal:
        terminal.type("create a task to call Tom tomorrow")
        terminal.sees("[e]dit")
        terminal.press("e")
        while (found := terminal.sees_one_of("name [", "]: ", "(edited)")) != "(edited)":
            if found == "name [":
                assert "Tom" in terminal.sees("]: ")
                terminal.type("Write to Tom instead")
            else:
                terminal.type("")
        terminal.sees("[a]pprove")
        assert system.effects("Write to Tom instead") == 0
        terminal.press("a")
        terminal.sees("✓ Asana_CreateTask ok")
        terminal.sees("you ›")
        assert (system.effects("all Tom"), system.effects("Write to Tom instead")) == (0, 1)


def test_what_was_left_open_is_asked_again_when_the_thread_is_opened(system: RunningSystem) -> None:
    with chatting(system.environment, "--thread", "later") as terminal:
        terminal.type("create a task to call Kim tomorrow")
        terminal.sees("[l]ater")
        terminal.press("l")
        terminal.sees("you ›")
    terminal = Terminal(system.environment, "--thread", "later")
    try:
        assert "Kim" in terminal.sees("[a]pprove")
        terminal.press("y")
        terminal.sees("✓ Asana_CreateTask ok")
        terminal.sees("you ›")
    finally:
        terminal.close()
    assert system.effects("all Kim") == 1


def test_threads_are_listed_opened_and_begun_with_commands(system: RunningSystem) -> None:
    system.told("ask", "what can you do?", "--thread", "earlier")
    with chatting(system.environment) as terminal:
        terminal.type("/threads")
        terminal.sees("earlier")
        terminal.sees("you ›")
        terminal.type("/open earlier")
        terminal.sees("what can you do?")
        terminal.sees("you ›")
        terminal.type("/new")
        assert "earlier" not in terminal.sees("/help for more").rpartition("thread ")[2]
        terminal.sees("you ›")
        terminal.type("/nonsense")
        terminal.sees("unknown command /nonsense")
        terminal.sees("you ›")
        terminal.press("\x04")
        assert terminal.process.wait(120) == 0


def test_a_message_that_cannot_be_taken_is_answered_with_the_reason(system: RunningSystem) -> None:
    with chatting(system.environment, "--tenant", "nobody") as terminal:
        terminal.type("is anybody there?")
        terminal.sees("there is no tenant 'nobody'")
        terminal.sees("you ›")


def test_ctrl_c_stops_the_run_and_the_conversation_goes_on(system: RunningSystem) -> None:
    system.told("tenant", "add", "slow")
    system.told("tenant", "set", "slow", "--model", "scripted:delay=30")
    with chatting(system.environment, "--tenant", "slow", "--thread", "slow") as terminal:
        terminal.type("take your time")
        terminal.sees("take your time")
        _until_it_runs(system)
        terminal.press("\x03")
        terminal.sees("stopping ...")
        terminal.sees("you ›", 10)
        terminal.type("/history")
        terminal.sees("take your time")
        terminal.sees("you ›")
        terminal.leave()


def _until_it_runs(system: RunningSystem) -> None:
    worker = find_workers(load_settings(environment=system.environment))[0]
    running = 'cauce_records_running{group="turns"} 1.0'
    until(lambda: running in httpx.get(f"{worker.health}/metrics", trust_env=False, verify=False, timeout=120).text)
