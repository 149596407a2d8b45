"""What a model writes is storable: half an emoji is replaced, and costs neither the answer nor a second model call."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, ToolMessage
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from pydantic import PrivateAttr
from turns_kit import System, kinds, messages, opened_stores, requests, result_of, say

from processors.turns.model_errors import is_hopeless, model_error_message, reason_of, status_of
from schemas import ModelSettings

HALF = "\ud83d"


@pytest.fixture
async def system(request: pytest.FixtureRequest, tmp_path: Any) -> AsyncIterator[System]:
    async with opened_stores(request, tmp_path, "sqlite") as stores:
        system = System(stores)
        await system.tenant("scripted:")
        yield system


class _Model(BaseChatModel):
    """Streams these pieces; with `call` it asks for a tool first, with these arguments."""

    pieces: tuple[str, ...] = ("done",)
    call: dict[str, Any] | None = None
    calls: int = 1
    _made: int = PrivateAttr(default=0)

    @property
    def _llm_type(self) -> str:
        return "pieces"

    def bind_tools(self, tools: Any, **kwargs: Any) -> _Model:
        return self

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=AIMessage(""))])

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        self._made += 1
        if self.call is not None and not isinstance(messages[-1], ToolMessage):
            asked = [
                tool_call_chunk(name="Bench_Look", args=json.dumps(self.call), id=f"c{n}", index=n)
                for n in range(self.calls)
            ]
            yield ChatGenerationChunk(message=AIMessageChunk(content="", tool_call_chunks=asked))
            return
        for piece in self.pieces:
            yield ChatGenerationChunk(message=AIMessageChunk(content=piece))


async def test_half_an_emoji_in_an_answer_costs_that_character(system: System) -> None:
    system.models["scripted:"] = model = _Model(pieces=("it is " + HALF, " cold"))
    done = await system.processor().process(say("hi"))
    assert kinds(done)[-1] == "run.completed"
    assert (await messages(system))[-1] == "assistant: it is \ufffd cold"
    assert model._made == 1


async def test_an_emoji_that_comes_in_two_halves_is_one(system: System) -> None:
    system.models["scripted:"] = _Model(pieces=("it is " + HALF, "\ude00 nice"))
    await system.processor().process(say("hi"))
    assert (await messages(system))[-1] == "assistant: it is 😀 nice"
    assert "".join(delta.text for delta in system.deltas) == "it is 😀 nice", "what was shown while it was written"


async def test_half_an_emoji_in_arguments_goes_out_as_text(system: System) -> None:
    system.models["scripted:"] = model = _Model(call={"subject": "x " + HALF, HALF: [HALF]})
    asked = await system.processor().process(say("look"))
    (request,) = requests(asked)
    assert request["arguments"] == {"subject": "x \ufffd", "\ufffd": ["\ufffd"]}
    assert model._made == 1
    done = await system.processor().process(result_of(request))
    assert kinds(done)[-1] == "run.completed"
    assert json.dumps(await messages(system)).count("user: look") == 1


class Odd(Exception):
    """As a provider's library may have them: what is asked of it is nothing that a status can be, or raises."""

    @property
    def status_code(self) -> object:
        return {"code": [429]}

    @property
    def code(self) -> object:
        return [500]

    @property
    def response(self) -> object:
        raise RuntimeError("no response")

    @property
    def body(self) -> object:
        raise RuntimeError("no body")

    original = "not an error"


def test_an_error_with_a_status_that_is_none_is_put_in_words() -> None:
    assert status_of(Odd("oh")) is None
    assert not is_hopeless(Odd("oh"))
    assert model_error_message(ModelSettings(name="m"), Odd("oh")).startswith("The model m failed")
    assert reason_of(Odd("oh")) == "oh"
