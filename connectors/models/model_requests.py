"""Settings of every model request: token usage is reported, and the length of the answer is limited."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

OUTPUT_TOKENS = 8_192
"""Limit of one answer of an unknown model: self-hosted servers often have contexts of 16,000 to 32,000 tokens and
reject a request that could exceed them."""
KNOWN_OUTPUT_TOKENS = 16_384
"""Limit of one answer of a model whose maximum, according to LangChain's package, is at least that."""
REASONING_TOKENS = 32_768
"""Limit of one answer of a reasoning model: reasoning tokens count as well."""

_LIMITS = ("max_tokens", "max_output_tokens", "num_predict")
"""Names of the limit in LangChain's packages: most, Google's, Ollama's."""


def complete(model: BaseChatModel, provider: str, wanted: int | None) -> None:
    """Completes the settings of a new model. `wanted`: output tokens of an answer, if configured.

    langchain-openai requests the usage of a stream only at OpenAI's own address, and sends no limit. It also renames the limit to
    `max_completion_tokens`, which compatible servers may not know; for them it is renamed back to `max_tokens`.
    """
    fields, changed = type(model).model_fields, model  # pydantic's models of LangChain are not frozen
    if "stream_usage" in fields:
        changed.stream_usage = True  # type: ignore[attr-defined]
    limit = output_limit(model, wanted)
    if provider == "openai" and "extra_body" in fields and not _at_openai(model):
        given: dict[str, Any] = getattr(model, "extra_body", None) or {}
        changed.extra_body = {"max_tokens": limit, **given}  # type: ignore[attr-defined]
        return
    for name in _LIMITS:
        if name in fields:
            setattr(changed, name, limit)
            return


def output_limit(model: BaseChatModel, wanted: int | None) -> int:
    """Output tokens of one answer: the configured limit, otherwise one derived from the package's profile, otherwise a guess."""
    if wanted is not None:
        return wanted
    profile: Any = getattr(model, "profile", None) or {}
    known = profile.get("max_output_tokens")
    if not isinstance(known, int) or known < 1:
        return OUTPUT_TOKENS
    return min(known, REASONING_TOKENS if profile.get("reasoning_output") else KNOWN_OUTPUT_TOKENS)


def _at_openai(model: BaseChatModel) -> bool:
    address = getattr(model, "openai_api_base", None) or os.environ.get("OPENAI_BASE_URL") or "https://api.openai.com"
    return "//api.openai.com" in str(address)
