"""The kind of a listed model, as far as the list shows it: servers list embedding and speech models beside chat models."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_OTHER_NAMES = re.compile(
    r"""
    embed | rerank | re-rank | ranker | colbert | moderation | guard | reward | classif |
    whisper | transcri | speech | realtime | parakeet | kokoro | wav2vec | musicgen | -audio |
    image | diffusion | dall-?e | sdxl | upscal | siglip |
    (^|[-_/:.])(bge|e5|gte|tts|stt|asr|vae|flux|minilm|mpnet|uae|stella|veo|lyria|sora|piper|clip|dino|sd[0-9.]*)([-_/:.0-9]|$) |
    all-minilm | sentence-t5 | paraphrase- | (^|/)(babbage|davinci|ada)-
    """,
    re.IGNORECASE | re.VERBOSE,
)
"""Names of models for embedding, ranking, speech, images or moderation, from the lists of Hugging Face, OpenAI and Ollama."""

_CHAT_KINDS = re.compile(r"chat|complet|llm|vlm|language|text|generat|vision|multimodal|conversation|tools|responses")
_OTHER_KINDS = re.compile(
    r"embed|extract|similarity|rank|^score|classif|reward|moderat|audio|speech|voice|transcri|tts|stt|asr|^images?$|to-image"
    r"|image.generation|video"
)
"""Values for a model's purpose in servers' lists. One of the second set decides if there is none of the first."""


def is_chat_model(name: str, row: Mapping[str, Any] | None = None) -> bool:
    """Whether a listed model can chat: decided by the purpose in its row if there is one, otherwise by its name.

    Servers use different fields: LM Studio and Together `type`, LiteLLM `mode`, others `task`, Ollama and Mistral `capabilities`.
    """
    said = _said(row or {})
    other = {word for word in said if _OTHER_KINDS.search(word)}
    if other and not any(_CHAT_KINDS.search(word) for word in said - other):
        return False
    return not _OTHER_NAMES.search(name)


def _said(row: Mapping[str, Any]) -> set[str]:
    said: set[str] = set()
    for key in ("type", "model_type", "mode", "task", "pipeline_tag", "capabilities", "supported_tasks"):
        value = row.get(key)
        if isinstance(value, str):
            said.add(value.lower())
        elif isinstance(value, list | tuple):
            said |= {item.lower() for item in value if isinstance(item, str)}
        elif isinstance(value, Mapping):
            for name, able in value.items():
                if name == "completion_chat" and isinstance(able, bool):  # Mistral's
                    said.add("chat" if able else "embedding")
                elif able is True and isinstance(name, str):
                    said.add(name.lower())
    return said
