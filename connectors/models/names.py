"""Validates the names of models when settings are written."""

from __future__ import annotations

from connectors.models.choice import _PACKAGES, RULES
from schemas import SettingsError

AUTO = "auto"
_OWN = (AUTO, RULES, "scripted")


def check_model_name(name: str) -> None:
    """Raises `SettingsError`, which lists the valid forms, for an invalid name.

    A provider is known if one of our extras installs it, or if LangChain's `init_chat_model` lists it.
    """
    provider, colon, model = name.partition(":")
    if name in (AUTO, RULES) or (provider == "scripted" and colon):
        return
    if provider not in _OWN and colon and model.strip() and _is_known(provider):
        return
    known = ", ".join(f"{one}:MODEL" for one in sorted(_PACKAGES))
    raise SettingsError(
        f"the model {name[:100]!r} is not valid: use auto, rules, {known}, "
        "or PROVIDER:MODEL for LangChain's other providers"
    )


def _is_known(provider: str) -> bool:
    if provider in _PACKAGES:
        return True
    from langchain.chat_models import base

    return provider in getattr(base, "_BUILTIN_PROVIDERS", {})
