"""Any OpenAI-compatible endpoint (vLLM, llama.cpp, LM Studio, hosted), through the `openai` package, which is an extra."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Sequence
from typing import Any

from core.agents.base import AgentFailed
from core.agents.chat import Answer, Hear
from core.agents.formats import Tier
from core.agents.prompt import ANSWER_TOKENS, Message
from core.plain import clean

WHOLE_S, IDLE_S = 900.0, 120.0
CONTEXT = int(os.environ.get("AUTORESEARCH_CONTEXT", "32768"))  # tokens; the protocol does not tell
LONGEST = 200_000


class OpenAI:
    """One model of one endpoint. Replacements come as text blocks: not every endpoint keeps to a schema."""

    start: Tier = "blocks"

    def __init__(self, model: str) -> None:
        """Raises AgentFailed where the package or the key is missing."""
        try:
            import openai
        except ImportError:
            raise AgentFailed("The agent openai needs the package: .venv/bin/python -m pip install openai") from None
        self.name, self._model, self._package = f"openai:{model}", model, openai
        key = os.environ.get("OPENAI_API_KEY") or ("none" if os.environ.get("OPENAI_BASE_URL") else "")
        if not key:
            raise AgentFailed("The agent openai needs OPENAI_API_KEY, or OPENAI_BASE_URL of an endpoint without keys.")
        self._client = openai.AsyncOpenAI(api_key=key, timeout=IDLE_S, max_retries=2)

    async def context(self, least: int) -> int:
        del least
        return CONTEXT

    async def ask(self, messages: Sequence[Message], schema: dict[str, Any] | None, hear: Hear) -> Answer:
        extra: dict[str, Any] = {}
        if schema is not None:
            extra["response_format"] = {"type": "json_schema", "json_schema": {"name": "proposal", "schema": schema}}
        text, reason, used = "", "", None
        try:
            async with asyncio.timeout(WHOLE_S):
                stream = await self._client.chat.completions.create(
                    model=self._model, messages=list(messages), stream=True, max_completion_tokens=ANSWER_TOKENS,
                    stream_options={"include_usage": True}, **extra,
                )  # fmt: skip
                async for part in stream:
                    used = part.usage or used
                    for choice in part.choices:
                        text += choice.delta.content or ""
                        reason = choice.finish_reason or reason
                    hear(text)
                    if len(text) > LONGEST:
                        break
        except TimeoutError:
            raise AgentFailed(f"{self.name} did not answer within {WHOLE_S / 60:.0f} minutes.") from None
        except (self._package.OpenAIError, ValueError) as error:
            raise AgentFailed(f"{self.name}: {clean(str(error), 250)}") from error
        return Answer(
            text=text,
            prompt_tokens=used.prompt_tokens if used else 0,
            tokens=used.completion_tokens if used else 0,
            cut=reason == "length",
        )

    async def release(self) -> None:
        with contextlib.suppress(Exception):
            await self._client.close()
