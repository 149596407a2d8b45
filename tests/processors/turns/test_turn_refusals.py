"""What turns fail with and what the processor refuses: models, limits, strangers, things that are not there."""

from __future__ import annotations

import json

import pytest
from turns_kit import System, kinds, messages, record, requests, result_of, say, system

from schemas import ApprovalDecision, CancelRun, RunLimits, Topic, UserMessage
from schemas.base import Body
from streams import Reject

__all__ = ["system"]


async def test_a_model_that_fails_twice_is_asked_a_third_time(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("processors.turns.agent_leg.BACKOFF", (0.01, 0.01))
    await system.tenant("scripted:fail=2")
    assert kinds(await system.processor().process(say("hi")))[-1] == "run.completed"


async def test_a_model_that_always_fails_ends_in_a_failure_that_the_user_sees(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("processors.turns.agent_leg.BACKOFF", (0.01, 0.01))
    await system.tenant("scripted:fail=99")
    outputs = await system.processor().process(say("hi"))
    assert kinds(outputs)[-1] == "run.failed"
    failed = json.loads([o.value for o in outputs if o.topic is Topic.CHAT_RESPONSES][-1])
    assert failed["code"] == "model_error"
    assert "Try again" in failed["message"]


async def test_a_model_that_does_not_answer_in_time_ends_in_a_failure(system: System) -> None:
    await system.tenant("scripted:delay=30", timeout_seconds=0.05, attempts=1)
    outputs = await system.processor().process(say("hi"))
    assert json.loads([o.value for o in outputs if o.topic is Topic.CHAT_RESPONSES][-1])["code"] == "model_timeout"


async def test_a_run_stops_at_its_seconds(system: System) -> None:
    await system.tenant("scripted:delay=30", limits=RunLimits(seconds=0.2))
    outputs = await system.processor().process(say("hi"))
    assert json.loads([o.value for o in outputs if o.topic is Topic.CHAT_RESPONSES][-1])["code"] in (
        "limit_seconds",
        "model_timeout",
    )


async def test_an_unknown_tool_of_the_model_is_refused_and_the_run_goes_on(system: System) -> None:
    await system.tenant("scripted:tool=Nope_Nothing")
    outputs = await system.processor().process(say("hi"))
    assert kinds(outputs)[-1] == "run.completed"
    assert any("There is no tool named" in m for m in await messages(system))
    assert any(b"tool.refused" in o.value for o in outputs if o.topic is Topic.AUDIT_EVENTS)


@pytest.mark.parametrize(
    "body", [CancelRun(user_id="u"), ApprovalDecision(user_id="u", call_id="c", decision="approve")]
)
async def test_what_steers_a_thread_that_does_not_exist_is_rejected(system: System, body: Body) -> None:
    await system.tenant("scripted:")
    with pytest.raises(Reject, match="does not exist"):
        await system.processor().process(record(body, "nowhere"))


async def test_unknown_tenants_agents_and_strangers_are_rejected(system: System) -> None:
    with pytest.raises(Reject, match="no tenant"):
        await system.processor().process(say("hi"))
    await system.tenant("scripted:")
    with pytest.raises(Reject, match="no agent"):
        await system.processor().process(say("hi", agent_id="nobody"))
    await system.processor().process(say("hi"))
    with pytest.raises(Reject, match="does not belong"):
        await system.processor().process(record(UserMessage(user_id="other", text="let me in")))


async def test_a_result_for_a_call_that_nobody_made_is_rejected(system: System) -> None:
    await system.tenant("scripted:")
    await system.processor().process(say("hi"))
    with pytest.raises(Reject, match="nothing requested the tool call"):
        await system.processor().process(result_of({"call_id": "made-up", "run_id": "r", "name": "x"}))


async def test_giving_up_on_a_message_fails_its_run_once_with_an_id_to_quote(system: System) -> None:
    await system.tenant("scripted:")
    message = say("poison")
    first = await system.processor().give_up(message, "it killed its worker")
    assert kinds(first) == ["run.failed"]
    (failed,) = [json.loads(output.value) for output in first if output.topic is Topic.CHAT_RESPONSES]
    assert f"Quote the id {failed['run_id']} to your administrator" in failed["message"]
    assert list(await system.processor().give_up(message, "again")) == list(first)
    assert list(await system.processor().process(message)) == list(first)


async def test_giving_up_on_a_tool_result_ends_the_run_that_waits_for_it(system: System) -> None:
    await system.tenant("scripted:tool=Bench_Look")
    (request,) = requests(await system.processor().process(say("look")))
    assert kinds(await system.processor().give_up(result_of(request), "poison"))[-1] == "run.failed"
    thread = await system.stores.journal.hydrate("acme", "t1", window=10)
    assert thread.head
    assert thread.head.run is None
