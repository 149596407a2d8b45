"""The choice of a chat model: the one in the settings, one found on this machine, or the rules."""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from connectors.models.kinds import is_chat_model
from connectors.models.model_requests import complete
from schemas import SettingsError
from schemas.common.recent import Recent

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

RULES = "rules"
OLLAMA_URL = "http://127.0.0.1:11434"

_PACKAGES = {
    "openai": ("langchain_openai", "openai"),
    "anthropic": ("langchain_anthropic", "anthropic"),
    "ollama": ("langchain_ollama", "ollama"),
    "google_genai": ("langchain_google_genai", "google"),
    "mistralai": ("langchain_mistralai", "mistral"),
}
"""For each provider, the package that it needs, and our extra that installs it."""


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """A chat model by name: `rules`, `scripted:...` (for measurements), or `provider:model` as for `init_chat_model`."""

    name: str
    base_url: str | None = None
    api_key: str | None = field(default=None, repr=False)
    temperature: float | None = None
    max_output_tokens: int | None = None
    """Limit of one answer; `connectors.models.model_requests` decides when absent."""


@dataclass(frozen=True, slots=True)
class Detected:
    """The model that was found, and a sentence on why it was chosen."""

    choice: ModelChoice
    why: str


def chat_model(choice: ModelChoice) -> BaseChatModel:
    """Creates the chat model. Raises `SettingsError` if a package is missing or the name is invalid."""
    if choice.name == RULES:
        from connectors.models.rules import RulesChatModel

        return RulesChatModel()
    provider, colon, model = choice.name.partition(":")
    if provider == "scripted":
        from connectors.models.scripted import ScriptedChatModel

        return ScriptedChatModel.parse(model)
    if not colon or not model:
        raise SettingsError(
            f"the model {choice.name!r} is not understood: write 'rules', or 'provider:model' such as 'ollama:llama3.2'"
        )
    package, extra = _PACKAGES.get(provider, (f"langchain_{provider}", provider))
    if importlib.util.find_spec(package) is None:
        raise SettingsError(f'the model {choice.name!r} needs a package: pip install "cauce[{extra}]"')
    from langchain.chat_models import init_chat_model

    options: dict[str, Any] = {"base_url": choice.base_url, "temperature": choice.temperature}
    if choice.api_key:
        options["api_key"] = choice.api_key
    # Retries belong to the pipeline, which limits them and informs the user.
    try:
        given = {k: v for k, v in options.items() if v is not None}
        made: BaseChatModel
        if provider == "openai":
            from connectors.models.openai import OpenAIModel

            made = OpenAIModel(model=model, max_retries=0, **given)
        else:
            made = init_chat_model(model, model_provider=provider, max_retries=0, **given)
        complete(made, provider, choice.max_output_tokens)
        return made
    except Exception as error:
        raise SettingsError(f"the model {choice.name!r} cannot be used: {error}") from error


def model_identity(model: BaseChatModel) -> str:
    """Identifies a model by its kind, its name and its server, without keys."""
    attributes = ("model_name", "model", "model_id", "deployment_name")
    name = next((found for a in attributes if isinstance(found := getattr(model, a, None), str)), "")
    servers = ("openai_api_base", "anthropic_api_url", "azure_endpoint", "base_url", "endpoint")
    server = next((str(found) for a in servers if (found := getattr(model, a, None))), "")
    return f"{model._llm_type}/{name}@{hashlib.blake2b(server.encode(), digest_size=4).hexdigest()}"


class ModelCache:
    """Caches chat models by their choice; creating one takes milliseconds and opens connections."""

    def __init__(self, size: int = 256) -> None:
        self._kept: Recent[Hashable, BaseChatModel] = Recent(size)

    def get(self, owner: Hashable, choice: ModelChoice) -> BaseChatModel:
        """The model of this choice; `owner` separates tenants, which must not share a client with a key in it."""
        key = (owner, choice)
        model = self._kept.get(key)
        if model is None:
            model = self._kept[key] = chat_model(choice)
        self._kept.touch(key)
        return model


async def detect_model(environment: Mapping[str, str], *, url: str | None = None, timeout: float = 0.5) -> Detected:
    """Finds a model: at an OpenAI-compatible URL, in a local Ollama, by a provider's key, otherwise the rules.

    Contacts only what the user configured and Ollama's port on this machine; `timeout` in seconds for each request.
    """
    base = url or environment.get("OPENAI_BASE_URL")
    if base:
        models = await _models(f"{base.rstrip('/')}/models", environment.get("OPENAI_API_KEY"), timeout)
        if offered := next((name for name, row in models.items() if is_chat_model(name, row)), None):
            key = environment.get("OPENAI_API_KEY") or "none"
            return _if_installed(ModelChoice(f"openai:{offered}", base, key), f"the server at {base} offers it")
        if models:
            return Detected(
                ModelChoice(RULES), f"the server at {base} offers no chat model, only {', '.join(models)[:200]}"
            )
        return Detected(ModelChoice(RULES), f"no model answers at {base}")
    if local := await _first_ollama_model(timeout):
        return _if_installed(ModelChoice(f"ollama:{local}", OLLAMA_URL), "Ollama is running on this machine")
    for variable, name in (
        ("OPENAI_API_KEY", "openai:gpt-5-mini"),
        ("ANTHROPIC_API_KEY", "anthropic:claude-sonnet-4-5"),
    ):
        if secret := environment.get(variable):
            return _if_installed(ModelChoice(name, None, secret), f"{variable} is set")
    return Detected(ModelChoice(RULES), "no model was found: no key is set, and Ollama is not running here")


def _if_installed(choice: ModelChoice, why: str) -> Detected:
    package, extra = _PACKAGES[choice.name.partition(":")[0]]
    if importlib.util.find_spec(package):
        return Detected(choice, why)
    reason = f'{why}, but a package is missing: pip install "cauce[{extra}]" to use {choice.name}'
    return Detected(ModelChoice(RULES), reason)


async def _models(url: str, key: str | None, timeout: float) -> dict[str, dict[str, Any]]:
    """The rows of an OpenAI-compatible server's model list by id, in its order."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    return {str(row["id"]): row for row in _rows(await _ask(url, headers, timeout), "data") if row.get("id")}


async def _first_ollama_model(timeout: float) -> str | None:
    """The first model of the local Ollama that reports support for tools; otherwise the first one."""
    models = [m for m in _rows(await _ask(f"{OLLAMA_URL}/api/tags", {}, timeout), "models") if m.get("name")]
    models = [m for m in models if is_chat_model(str(m["name"]), m)]
    names = [str(m["name"]) for m in models]
    able = [str(m["name"]) for m in models if "tools" in (m.get("capabilities") or ())]
    return next(iter([*able, *names]), None)


def _rows(answer: object, key: str) -> list[dict[str, Any]]:
    """The objects of a list in an untrusted server's response."""
    rows = answer.get(key) if isinstance(answer, dict) else None
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


async def _ask(url: str, headers: Mapping[str, str], timeout: float) -> Any:
    import httpx

    try:
        async with httpx.AsyncClient(timeout=timeout, trust_env=False) as client:
            answer = await client.get(url, headers=dict(headers))
            return answer.json() if answer.is_success else None
    except (httpx.HTTPError, httpx.InvalidURL, ValueError):
        return None
