from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage

from connectors.models import ModelCache, ModelChoice, chat_model, choice, detect_model, is_chat_model
from connectors.models.rules import RulesChatModel
from connectors.models.scripted import ScriptedChatModel
from schemas import SettingsError

RULES = ModelChoice("rules")


class Answers:
    """A server on loopback that answers GET requests by path, and remembers what it was asked."""

    def __init__(self, by_path: dict[str, Any], *, status: int = 200) -> None:
        self._by_path, self._status = by_path, status
        self.asked: list[str] = []
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        self.asked.append(head)
        found = self._by_path.get(head.split()[1])
        body = found if isinstance(found, bytes) else json.dumps(found).encode()
        status = 404 if found is None else self._status
        writer.write(f"HTTP/1.1 {status} x\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n".encode() + body)
        await writer.drain()
        writer.close()


@asynccontextmanager
async def answering(by_path: dict[str, Any], *, status: int = 200) -> AsyncIterator[Answers]:
    answers = Answers(by_path, status=status)
    async with await asyncio.start_server(answers.serve, "127.0.0.1", 0) as server:
        answers.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield answers


@pytest.fixture(autouse=True)
async def no_ollama(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Answers]:
    """Whatever runs on this machine: Ollama's port is one that knows no model."""
    async with answering({}) as nothing:
        monkeypatch.setattr(choice, "OLLAMA_URL", nothing.url)
        yield nothing


@pytest.fixture
def provider_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Packages of the providers that can be found, whatever is installed; gone afterwards, also where they were imported."""
    names = ("langchain_openai", "langchain_ollama", "langchain_anthropic")
    for name in names:
        monkeypatch.delitem(sys.modules, name, raising=False)
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    yield
    for name in names:
        sys.modules.pop(name, None)


def without(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    monkeypatch.setitem(sys.modules, package, None)  # the import system's way to say that there is none


OPENAI_MODELS = {"object": "list", "data": [{"id": "qwen3-8b", "object": "model"}, {"id": "other", "object": "model"}]}


@pytest.mark.usefixtures("provider_packages")
async def test_a_server_that_the_user_names_is_taken_with_its_first_model() -> None:
    async with answering({"/v1/models": OPENAI_MODELS}) as server:
        found = await detect_model({}, url=f"{server.url}/v1/")
        assert found.choice == ModelChoice("openai:qwen3-8b", f"{server.url}/v1/", "none")
        assert found.why == f"the server at {server.url}/v1/ offers it"


@pytest.mark.parametrize(
    "other",
    [
        {"id": "text-embedding-nomic-embed-text-v1.5"},
        {"id": "BAAI/bge-m3"},
        {"id": "bge-reranker-v2-m3"},
        {"id": "openai/whisper-large-v3"},
        {"id": "gpt-4o-mini-tts"},
        {"id": "dall-e-3"},
        {"id": "stable-diffusion-xl"},
        {"id": "omni-moderation-latest"},
        {"id": "some-model", "type": "embeddings"},
        {"id": "some-model", "mode": "audio_transcription"},
        {"id": "some-model", "capabilities": {"completion_chat": False, "vision": False}},
        {"id": "some-model", "capabilities": ["embedding"]},
        {"id": "some-model", "task": "text-to-image"},
    ],
    ids=lambda row: "-".join(map(str, row.values()))[:30].replace("/", "-"),
)
@pytest.mark.usefixtures("provider_packages")
async def test_a_model_that_cannot_chat_is_never_offered_as_a_chat_model(other: dict[str, Any]) -> None:
    chat = {"id": "qwen2.5-7b-instruct", "object": "model", "type": "llm"}
    async with answering({"/v1/models": {"data": [other, chat]}}) as server:
        found = await detect_model({}, url=f"{server.url}/v1")
        assert found.choice.name == "openai:qwen2.5-7b-instruct"
    async with answering({"/v1/models": {"data": [other]}}) as server:
        found = await detect_model({}, url=f"{server.url}/v1")
        assert found.choice == RULES
        assert "no chat model" in found.why
        assert other["id"] in found.why
    async with answering(
        {"/v1/models": {"data": [{**chat, "id": "mistral-small", "capabilities": ["tools"]}]}}
    ) as server:
        assert (await detect_model({}, url=f"{server.url}/v1")).choice.name == "openai:mistral-small"


@pytest.mark.parametrize(
    "name",
    ["gpt-4o", "eclipse-7b", "qwen2.5-vl-7b-instruct", "smollm2", "stablelm-2-zephyr", "tinyllama", "gpt-oss-20b"],
)
def test_a_chat_model_is_not_taken_for_another_kind_by_its_name(name: str) -> None:
    assert is_chat_model(name)


@pytest.mark.usefixtures("provider_packages")
async def test_the_environment_names_a_server_and_its_key() -> None:
    async with answering({"/v1/models": OPENAI_MODELS}) as server:
        environment = {"OPENAI_BASE_URL": f"{server.url}/v1", "OPENAI_API_KEY": "sk-1"}
        found = await detect_model(environment)
        assert found.choice == ModelChoice("openai:qwen3-8b", f"{server.url}/v1", "sk-1")
        assert "authorization: bearer sk-1" in server.asked[0].lower()


@pytest.mark.usefixtures("provider_packages")
async def test_a_named_server_that_does_not_answer_is_said_and_nothing_else_is_taken() -> None:
    async with answering({}) as gone:
        pass
    found = await detect_model({"OPENAI_API_KEY": "sk-1"}, url=gone.url)
    assert (found.choice, found.why) == (RULES, f"no model answers at {gone.url}")


@pytest.mark.parametrize("url", ["nonsense", "http://[::1", "http://host:port", "ftp://127.0.0.1", "http://"])
async def test_an_address_that_is_none_is_said(url: str) -> None:
    found = await detect_model({}, url=url)
    assert (found.choice, found.why) == (RULES, f"no model answers at {url}")


@pytest.mark.parametrize(
    "body", [b"<html>", {}, [], "x", {"data": []}, {"data": [{}]}, {"data": ["x"]}, {"data": {"id": "x"}}]
)
async def test_a_server_that_lists_no_models_as_openai_does_has_none(body: Any) -> None:
    async with answering({"/models": body}) as server:
        assert (await detect_model({}, url=server.url)).choice == RULES


async def test_a_server_that_refuses_the_key_has_no_model() -> None:
    async with answering({"/models": OPENAI_MODELS}, status=401) as server:
        assert (await detect_model({}, url=server.url)).choice == RULES


@pytest.mark.parametrize(
    ("models", "expected"),
    [
        ([{"name": "llama3.2:3b"}], "llama3.2:3b"),
        ([{"name": "nomic-embed-text"}, {"name": "llama3.2:3b"}], "llama3.2:3b"),
        ([{"name": "gemma:2b", "capabilities": ["completion"]}, {"name": "qwen3", "capabilities": ["tools"]}], "qwen3"),
        ([{"name": "gemma:2b", "capabilities": None}], "gemma:2b"),
    ],
)
@pytest.mark.usefixtures("provider_packages")
async def test_a_local_ollama_is_taken_with_a_model_that_can_call_tools(
    monkeypatch: pytest.MonkeyPatch, models: list[dict[str, Any]], expected: str
) -> None:
    async with answering({"/api/tags": {"models": models}}) as server:
        monkeypatch.setattr(choice, "OLLAMA_URL", server.url)
        found = await detect_model({"OPENAI_API_KEY": "sk-1"})
        assert found.choice == ModelChoice(f"ollama:{expected}", server.url)
        assert found.why == "Ollama is running on this machine"


@pytest.mark.parametrize(
    "body", [{"models": []}, {"models": [{"name": "nomic-embed-text"}]}, {"models": [{}]}, {"models": ["x"]}, b"no"]
)
async def test_an_ollama_without_a_chat_model_is_passed_over(monkeypatch: pytest.MonkeyPatch, body: Any) -> None:
    async with answering({"/api/tags": body}) as server:
        monkeypatch.setattr(choice, "OLLAMA_URL", server.url)
        assert (await detect_model({})).choice == RULES


@pytest.mark.parametrize(
    ("environment", "name"),
    [
        ({"OPENAI_API_KEY": "sk-1"}, "openai:gpt-5-mini"),
        ({"ANTHROPIC_API_KEY": "sk-1"}, "anthropic:claude-sonnet-4-5"),
        ({"ANTHROPIC_API_KEY": "sk-2", "OPENAI_API_KEY": "sk-1"}, "openai:gpt-5-mini"),
    ],
)
@pytest.mark.usefixtures("provider_packages")
async def test_a_provider_s_key_is_taken_last(environment: dict[str, str], name: str) -> None:
    found = await detect_model(environment)
    assert found.choice == ModelChoice(name, None, "sk-1")
    assert found.why == f"{name.split(':')[0].upper()}_API_KEY is set"


async def test_without_anything_the_rules_answer_and_say_why(no_ollama: Answers) -> None:
    found = await detect_model({})
    assert (found.choice, found.why) == (RULES, "no model was found: no key is set, and Ollama is not running here")
    assert [request.split()[1] for request in no_ollama.asked] == ["/api/tags"]


async def test_a_found_model_whose_package_is_missing_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "langchain_openai")
    found = await detect_model({"OPENAI_API_KEY": "sk-1"})
    assert found.choice == RULES
    assert found.why == (
        'OPENAI_API_KEY is set, but a package is missing: pip install "cauce[openai]" to use openai:gpt-5-mini'
    )


async def test_a_server_that_takes_too_long_is_not_waited_for() -> None:
    async def never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()  # until the asker leaves
        writer.close()

    async with await asyncio.start_server(never, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        patient = asyncio.create_task(detect_model({}, url=url, timeout=120))
        assert (await detect_model({}, url=url, timeout=0.2)).choice == RULES
        assert not patient.done()
        patient.cancel()
        await asyncio.wait([patient])


def test_a_key_is_not_shown() -> None:
    assert "sk-1" not in repr(ModelChoice("openai:gpt-5-mini", None, "sk-1"))


def test_the_names_of_our_own_models_make_them() -> None:
    assert isinstance(chat_model(RULES), RulesChatModel)
    assert isinstance(chat_model(ModelChoice("scripted:delay=0.1")), ScriptedChatModel)


@pytest.mark.parametrize("name", ["", "gpt-5", "openai:", "rules2"])
def test_a_name_that_is_not_understood_says_how_to_write_one(name: str) -> None:
    with pytest.raises(SettingsError, match=r"write 'rules', or 'provider:model' such as 'ollama:llama3\.2'"):
        chat_model(ModelChoice(name))


@pytest.mark.parametrize(
    ("name", "package", "extra"),
    [
        ("openai:gpt-5", "langchain_openai", "openai"),
        ("google_genai:gemini", "langchain_google_genai", "google"),
        ("mistralai:large", "langchain_mistralai", "mistral"),
        ("groq:x", "langchain_groq", "groq"),
    ],
)
def test_a_missing_package_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, name: str, package: str, extra: str
) -> None:
    without(monkeypatch, package)
    with pytest.raises(SettingsError) as raised:
        chat_model(ModelChoice(name))
    assert str(raised.value) == f'the model {name!r} needs a package: pip install "cauce[{extra}]"'


@pytest.mark.usefixtures("provider_packages")
def test_a_package_that_makes_no_model_is_an_error_in_words() -> None:
    with pytest.raises(SettingsError, match="the model 'openai:gpt-5' cannot be used"):
        chat_model(ModelChoice("openai:gpt-5"))


def test_models_are_made_once_for_each_owner_and_choice() -> None:
    cache = ModelCache()
    one = cache.get("acme", ModelChoice("scripted:"))
    assert cache.get("acme", ModelChoice("scripted:")) is one
    assert cache.get("lumen", ModelChoice("scripted:")) is not one
    assert cache.get("acme", ModelChoice("scripted:", api_key="k")) is not one


def test_the_model_cache_drops_what_was_not_used_for_longest() -> None:
    cache = ModelCache(size=2)
    one, two = cache.get("a", RULES), cache.get("b", RULES)
    assert cache.get("a", RULES) is one
    cache.get("c", RULES)
    assert cache.get("a", RULES) is one
    assert cache.get("b", RULES) is not two


@pytest.mark.parametrize("text", ["delay", "delay=long", "speed=3", "calls=many"])
def test_a_script_that_is_not_understood_is_said(text: str) -> None:
    with pytest.raises(SettingsError, match=f"'scripted:{text}' is not understood"):
        ScriptedChatModel.parse(text)


async def test_the_scripted_model_asks_for_its_tool_and_then_answers() -> None:
    model = ScriptedChatModel.parse("tool=Bench_Echo,calls=2")
    asked = await model.ainvoke([HumanMessage("hello")])
    assert [call["name"] for call in asked.tool_calls] == ["Bench_Echo", "Bench_Echo"]
    assert len({call["id"] for call in asked.tool_calls}) == 2
    answer = await model.ainvoke([HumanMessage("hello"), asked, ToolMessage("x", tool_call_id="c0")])
    assert (answer.text.strip(), answer.tool_calls) == ("done", [])
    assert answer.usage_metadata is not None


async def test_the_scripted_model_streams_what_it_would_answer_at_once() -> None:
    model = ScriptedChatModel.parse("tokens=5")
    pieces = [piece.text async for piece in model.astream([HumanMessage("hello")]) if piece.text]
    assert pieces == ["done "] * 5
    whole = await ScriptedChatModel.parse("tokens=5").ainvoke([HumanMessage("hello")])
    assert "".join(pieces) == whole.text


async def test_a_streamed_tool_call_is_the_one_that_is_answered_at_once() -> None:
    model = ScriptedChatModel.parse("tool=Bench_Echo,tokens=5")
    whole: Any = None
    async for piece in model.astream([HumanMessage("hello")]):
        whole = piece if whole is None else whole + piece
    at_once = await model.ainvoke([HumanMessage("hello")])
    assert isinstance(at_once, AIMessage)
    assert [(c["name"], c["args"], c["id"]) for c in whole.tool_calls] == [
        (c["name"], c["args"], c["id"]) for c in at_once.tool_calls
    ]


async def test_the_scripted_model_fails_as_often_as_it_is_told_to() -> None:
    model = ScriptedChatModel.parse("fail=2")
    for count in (1, 2):
        with pytest.raises(RuntimeError, match=f"scripted failure {count} of 2"):
            await model.ainvoke([HumanMessage("hello")])
    assert (await model.ainvoke([HumanMessage("hello")])).text.strip() == "done"


async def test_the_scripted_model_takes_its_time_without_holding_up_others() -> None:
    slow = asyncio.create_task(ScriptedChatModel.parse("delay=120").ainvoke([HumanMessage("hello")]))
    model, before = ScriptedChatModel.parse("delay=0.2"), time.monotonic()
    await asyncio.gather(*(model.ainvoke([HumanMessage("hello")]) for _ in range(50)))
    assert time.monotonic() - before >= 0.2
    assert not slow.done()
    slow.cancel()
    await asyncio.wait([slow])
