"""Names of models in settings: which are valid, checked where they are written."""

from __future__ import annotations

from connectors.models.choice import _PACKAGES, RULES
from schemas import SettingsError

AUTO = "auto"
_OWN = (AUTO, RULES, "scripted")


def check_model_name(name: str) -> None:
    """Raises `SettingsError`, with what is known, for a name that no worker understands.

    A provider is known when an extra of ours installs it, or LangChain's `init_chat_model` names it.
    """
    provider, colon, model = name.partition(":")
    if name in (AUTO, RULES) or (provider == "scripted" and colon):
        return
    if provider not in _OWN and colon and model.strip() and _is_known(provider):
        return
    known = ", ".join(f"{one}:MODEL" for one in sorted(_PACKAGES))
    raise SettingsError(
        f"the model {name[:100]!r} is not understood: there are auto, rules, {known}, "
        "and PROVIDER:MODEL of LangChain's other providers"
    )


def _is_known(provider: str) -> bool:
    if provider in _PACKAGES:
        return True
    from langchain.chat_models import base

    return provider in getattr(base, "_BUILTIN_PROVIDERS", {})
