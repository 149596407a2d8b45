"""What a model's server is asked and what comes of its answers, with the real packages of LangChain over a socket."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from model_servers import ModelServer, Refusal, anthropic_server, anthropic_stream, calls, openai_server, refuses, says
from turns_kit import System, kinds, messages, opened_stores, requests, result_of, say

from schemas import RunCompleted, RunLimits, StoredRun


@pytest.fixture
async def system(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[System]:
    async with opened_stores(request, tmp_path, "sqlite") as stores:
        system = System(stores)
        await system.tenant("scripted:")
        yield system


def use(system: System, server: ModelServer, **options: Any) -> None:
    system.models["scripted:"] = server.model(**options)


async def run_of(system: System, message: Any) -> StoredRun:
    (run,) = await system.stores.journal.runs("acme", "t1", run_id=message.envelope.id)
    return run


LOOK = {"index": 0, "id": "call_abc", "name": "Bench_Look", "args": '{"text": "x"}'}
ECHO = {"index": 0, "id": "call_e", "name": "Bench_Echo", "args": '{"text": "x"}'}


async def test_tokens_are_asked_for_counted_and_bound_by_max_tokens(system: System) -> None:
    async with openai_server(calls(LOOK, usage=(1000, 500))) as server:
        use(system, server)
        await system.tenant("scripted:", limits=RunLimits(tokens=2000))
        message = say("look")
        done = await system.processor().process(message)
        while asked := requests(done):
            done = await system.processor().process(result_of(asked[0]))
        run = await run_of(system, message)
        assert (run.outcome, run.code) == ("failed", "limit_tokens")
        assert len(server.asked) == 2
        assert server.asked[0]["stream_options"] == {"include_usage": True}
        assert server.asked[0]["max_tokens"] > 0
        assert run.usage
        assert (run.usage.input_tokens, run.usage.output_tokens) == (2000, 1000)


async def test_a_server_that_counts_nothing_has_no_usage_and_its_runs_are_limited_by_an_estimate(
    system: System,
) -> None:
    async with openai_server(calls(LOOK, usage=None)) as server:
        use(system, server)
        await system.tenant("scripted:", limits=RunLimits(tokens=1000))
        message = say("word " * 400)
        done = await system.processor().process(message)
        while asked := requests(done):
            done = await system.processor().process(result_of(asked[0]))
        run = await run_of(system, message)
        assert (run.outcome, run.code, run.usage) == ("failed", "limit_tokens", None)
        assert "about" in run.message
        assert len(server.asked) == 2


async def test_a_count_that_is_repeated_with_every_piece_counts_once(system: System) -> None:
    pieces = says("a", "b", "c", usage=None)
    for n, piece in enumerate(pieces):
        piece["usage"] = {"prompt_tokens": 100, "completion_tokens": n, "total_tokens": 100 + n}
    async with openai_server(pieces) as server:
        use(system, server)
        message = say("hi")
        await system.processor().process(message)
        run = await run_of(system, message)
        assert run.usage
        assert (run.usage.input_tokens, run.usage.output_tokens) == (100, 3)


async def test_a_chosen_limit_of_output_tokens_is_sent(system: System) -> None:
    async with openai_server(says("hi")) as server, anthropic_server(anthropic_stream()) as claude:
        use(system, server, max_output_tokens=77)
        await system.processor().process(say("hi"))
        use(system, claude, max_output_tokens=78)
        await system.processor().process(say("hi", "t2"))
        assert server.asked[0]["max_tokens"] == 77
        assert claude.asked[0]["max_tokens"] == 78


async def test_a_refusal_is_shown_while_it_is_written_and_kept_as_the_answer(system: System) -> None:
    async with openai_server(refuses("I cannot ", "help with that \ud83d", "\ude00."), says("fine")) as server:
        use(system, server)
        message = say("hi")
        done = await system.processor().process(message)
        words = "I cannot help with that 😀."
        assert (await messages(system))[-1] == f"assistant: {words}"
        assert "".join(delta.text for delta in system.deltas) == words
        assert (kinds(done)[-1], len(server.asked)) == ("run.completed", 1)
        await system.processor().process(say("and now?"))
        assert (await messages(system))[-1] == "assistant: fine"
        assert server.asked[1]["messages"][-2] == {"role": "assistant", "content": words}


THINKING = {"type": "thinking", "thinking": "I shall look.", "signature": "sig"}
USE = {"type": "tool_use", "id": "toolu_1", "name": "Bench_Look", "json": '{"text": "x"}'}


def needs_the_thinking(request: dict[str, Any]) -> Any:
    """As Anthropic does where thinking is on."""
    answer = next(m for m in request["messages"] if m["role"] == "assistant")
    first = answer["content"][0] if isinstance(answer["content"], list) else {}
    ids = [b["id"] for b in answer["content"] if isinstance(b, dict) and b["type"] == "tool_use"]
    blocks = [b for m in request["messages"] for b in m["content"] if isinstance(b, dict)]
    results = [b["tool_use_id"] for b in blocks if b["type"] == "tool_result"]
    if first != {"type": "thinking", "thinking": "I shall look.", "signature": "sig"} or ids != results:
        return Refusal(400, {"type": "error", "error": {"type": "invalid_request_error", "message": "no thinking"}})
    return anthropic_stream({"type": "text", "text": "It is 42."})


async def test_signed_thinking_goes_back_to_the_model_that_wrote_it_with_its_own_ids(system: System) -> None:
    async with anthropic_server(anthropic_stream(THINKING, USE, stop="tool_use"), needs_the_thinking) as server:
        use(system, server)
        (asked,) = requests(await system.processor().process(say("look")))
        done = await system.processor().process(result_of(asked))
        assert kinds(done)[-1] == "run.completed"
        assert [b["id"] for b in server.asked[1]["messages"][1]["content"] if b["type"] == "tool_use"] == ["toolu_1"]


async def test_another_model_gets_plain_text_and_our_ids(system: System) -> None:
    first = anthropic_stream(THINKING, {"type": "text", "text": "Looking."}, USE, stop="tool_use")
    async with anthropic_server(first) as server, openai_server(says("It is 42.")) as other:
        use(system, server)
        (asked,) = requests(await system.processor().process(say("look")))
        use(system, other)
        await system.processor().process(result_of(asked))
        _, _, answer, result = other.asked[0]["messages"]
        assert answer["content"] == "Looking."
        assert answer["tool_calls"][0]["id"] == result["tool_call_id"] == asked["call_id"]
        assert "sig" not in json.dumps(other.asked[0]["messages"])


async def test_a_server_gets_its_own_ids_of_calls_back(system: System) -> None:
    async with openai_server(calls(LOOK), says("done")) as server:
        use(system, server)
        (asked,) = requests(await system.processor().process(say("look")))
        await system.processor().process(result_of(asked))
        _, _, answer, result = server.asked[1]["messages"]
        assert answer["tool_calls"][0]["id"] == result["tool_call_id"] == "call_abc"
        assert asked["call_id"] != "call_abc"


@pytest.mark.parametrize(
    "finish", ["length", "content_filter", "max_tokens", "MAX_TOKENS", "model_length", "SAFETY", "error"]
)
@pytest.mark.parametrize("args", ['{"text": "The total is 1', '{"text": "whole"}', ""])
@pytest.mark.parametrize("tool", [LOOK, ECHO], ids=["reads", "writes"])
async def test_a_call_that_was_cut_off_is_neither_made_nor_offered(
    system: System, tool: dict[str, Any], args: str, finish: str
) -> None:
    async with openai_server(calls({**tool, "args": args}, finish=finish), says("sorry")) as server:
        use(system, server)
        done = await system.processor().process(say("send it"))
        assert requests(done) == []
        assert kinds(done)[-1] == "run.completed"
        assert "approval.requested" not in kinds(done)
        assert len(server.asked) == 2
        failed = server.asked[1]["messages"][-1]
        assert failed["role"] == "tool"
        assert "was cut off" in failed["content"]


NOT_WHOLE = [
    '{"text": "The total is 1',
    "[1]",
    "3",
    "null",
    "NaN",
    '{"n": NaN}',
    '"x"',
    '{"a": 1} {"b": 2}',
    "{" * 5000,
]


@pytest.mark.parametrize("args", NOT_WHOLE, ids=range(len(NOT_WHOLE)))
async def test_arguments_that_are_no_whole_object_go_back_to_the_model(system: System, args: str) -> None:
    async with openai_server(calls({**ECHO, "args": args}), says("sorry")) as server:
        use(system, server)
        done = await system.processor().process(say("send it"))
        assert (requests(done), kinds(done)[-1], len(server.asked)) == ([], "run.completed", 2)
        assert "not made" in server.asked[1]["messages"][-1]["content"]


async def test_calls_that_are_cut_off_again_and_again_end_the_run_in_words(system: System) -> None:
    async with openai_server(calls({**LOOK, "args": '{"te'}, finish="length")) as server:
        use(system, server)
        message = say("look")
        await system.processor().process(message)
        run = await run_of(system, message)
        assert (run.outcome, run.code, len(server.asked)) == ("failed", "model_error", 3)
        assert "cut off" in run.message
        assert "--max-output-tokens" in run.message


async def test_a_cut_off_call_beside_thinking_keeps_the_thinking_and_leaves_the_pieces_out(system: System) -> None:
    cut = {**USE, "json": '{"text": "x'}
    script = (anthropic_stream(THINKING, cut, stop="max_tokens"), needs_the_thinking)
    async with anthropic_server(*script) as server:
        use(system, server)
        done = await system.processor().process(say("look"))
        assert (requests(done), kinds(done)[-1]) == ([], "run.completed")


@pytest.mark.parametrize(("finish", "ending"), [("length", "cut"), ("content_filter", "filtered")])
async def test_a_text_that_is_not_whole_is_said_to_be_so(system: System, finish: str, ending: str) -> None:
    async with openai_server(says("The first half of", finish=finish)) as server:
        use(system, server)
        message = say("tell me")
        done = await system.processor().process(message)
        completed = next(
            RunCompleted.model_validate_json(o.value)
            for o in done
            if ("ce_type", RunCompleted.TYPE.encode()) in o.headers
        )
        assert completed.notice
        assert "not whole" in completed.notice
        assert "not whole" in (await run_of(system, message)).message
        rows = await system.stores.journal.messages("acme", "t1")
        assert (rows[-1].message.text, rows[-1].message.ending) == ("The first half of", ending)


async def test_an_answer_whose_server_stops_without_an_end_is_said_to_be_perhaps_not_whole(system: System) -> None:
    async with openai_server(says("half an ans", finish=None), says("all of it")) as server:
        use(system, server)
        broken, whole = say("tell me"), say("again")
        await system.processor().process(broken)
        await system.processor().process(whole)
        run = await run_of(system, broken)
        assert (run.outcome, "may not be whole" in run.message) == ("completed", True)
        assert (await run_of(system, whole)).message == ""


@pytest.mark.parametrize("text", ["", " \n"])
async def test_an_empty_answer_is_asked_for_again(system: System, text: str) -> None:
    async with openai_server(says(text), says("Here I am.")) as server:
        use(system, server)
        done = await system.processor().process(say("hi"))
        assert kinds(done)[-1] == "run.completed"
        assert await messages(system) == ["user: hi", "assistant: Here I am."]


def refuses_empty_messages(request: dict[str, Any]) -> Any:
    empty = [
        m for m in request["messages"] if m["role"] == "assistant" and not (m.get("content") or m.get("tool_calls"))
    ]
    return Refusal(400, {"error": {"message": "an assistant message is empty"}}) if empty else says("fine")


async def test_empty_answers_end_the_run_in_words_and_the_thread_goes_on(system: System) -> None:
    async with openai_server(says(""), says(""), refuses_empty_messages) as server:
        use(system, server)
        first = say("hi")
        await system.processor().process(first)
        run = await run_of(system, first)
        assert (run.outcome, run.code) == ("failed", "model_error")
        assert "empty answer" in run.message
        assert kinds(await system.processor().process(say("again")))[-1] == "run.completed"


@pytest.mark.parametrize(("finish", "words"), [("content_filter", "filter"), ("length", "--max-output-tokens")])
async def test_an_answer_of_which_nothing_was_let_through_says_why(system: System, finish: str, words: str) -> None:
    async with openai_server(says(finish=finish)) as server:
        use(system, server)
        message = say("hi")
        await system.processor().process(message)
        run = await run_of(system, message)
        assert run.outcome == "failed"
        assert words in run.message


@pytest.mark.parametrize("name", ["", None, "x" * 200, "Bench Look! ünï", "\ud83d"])
async def test_whatever_a_model_calls_a_tool_goes_back_to_it_as_a_failed_call(system: System, name: str | None) -> None:
    async with openai_server(calls({**LOOK, "name": name, "args": "{"}), says("sorry")) as server:
        use(system, server)
        done = await system.processor().process(say("look"))
        assert (requests(done), kinds(done)[-1], len(server.asked)) == ([], "run.completed", 2)
        assert server.asked[1]["messages"][-1]["role"] == "tool"
        sent = server.asked[1]["messages"][-2]["tool_calls"][0]["function"]["name"]
        assert sent.replace("_", "").replace("-", "").isalnum()
        assert len(sent) <= 64


async def test_pieces_of_a_call_without_an_index_are_one_call(system: System) -> None:
    pieces = [
        {"index": None, "id": "c1", "name": "Bench_Look", "args": ""},
        {"index": None, "args": '{"text": '},
        {"index": None, "args": '"x"}'},
        {"index": None, "id": "c2", "name": "Bench_Look", "args": '{"text": "y"}'},
    ]
    async with openai_server(calls(*pieces)) as server:
        use(system, server)
        asked = requests(await system.processor().process(say("look")))
        assert [(a["name"], a["arguments"]) for a in asked] == [
            ("Bench_Look", {"text": "x"}),
            ("Bench_Look", {"text": "y"}),
        ]


async def test_several_calls_under_one_index_are_several(system: System) -> None:
    pieces = [{**LOOK, "id": f"c{n}", "args": json.dumps({"text": f"{n}"})} for n in range(3)]
    async with openai_server(calls(*pieces)) as server:
        use(system, server)
        asked = requests(await system.processor().process(say("look")))
        assert [a["arguments"]["text"] for a in asked] == ["0", "1", "2"]


async def test_thousands_of_calls_at_once_are_refused_together(system: System) -> None:
    pieces = [{**LOOK, "index": n, "id": f"c{n}"} for n in range(3000)]
    async with openai_server(calls(*pieces), says("sorry")) as server:
        use(system, server)
        done = await system.processor().process(say("look"))
        assert (requests(done), kinds(done)[-1]) == ([], "run.completed")
        assert "3,000 calls" in server.asked[1]["messages"][-1]["content"]


@pytest.mark.parametrize("status", [400, 404, 413, 422])
async def test_a_refusal_that_will_come_again_says_why_and_shows_no_key(system: System, status: int) -> None:
    secret = "sk-proj-abcdefghijklmnopqrstuvwxyz123456"
    body = {"error": {"message": f"Invalid 'tools': array too long; your key is {secret}\x00\u2028" + "x" * 5000}}
    async with openai_server(Refusal(status, body)) as server:
        use(system, server)
        message = say("hi")
        await system.processor().process(message)
        run = await run_of(system, message)
        assert len(server.asked) == 1
        assert f"HTTP {status}: Invalid 'tools': array too long" in run.message
        assert "in a while" not in run.message
        assert secret not in run.message
        assert len(run.message) < 700
