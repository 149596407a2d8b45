"""Models of OpenAI and compatible servers, with the parts of a stream that langchain-openai drops."""

from __future__ import annotations

from typing import Any

from langchain_core.outputs import ChatGenerationChunk
from langchain_openai import ChatOpenAI


class OpenAIModel(ChatOpenAI):
    """Puts pieces of a refusal into `additional_kwargs["refusal"]` of their chunks, as langchain-openai does for whole
    messages."""

    def _convert_chunk_to_generation_chunk(
        self, chunk: dict[str, Any], default_chunk_class: type, base_generation_info: dict[str, Any] | None
    ) -> ChatGenerationChunk | None:
        made = super()._convert_chunk_to_generation_chunk(chunk, default_chunk_class, base_generation_info)
        choices = chunk.get("choices")
        refusal = (choices[0].get("delta") or {}).get("refusal") if choices else None
        if made and isinstance(refusal, str):
            made.message.additional_kwargs["refusal"] = refusal
        return made
