"""Any OpenAI-compatible endpoint (vLLM, llama.cpp, LM Studio, hosted), through the `openai` package, which is an extra."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from typing import Any

from core.agents.base import AgentFailed, Ear
from core.agents.chat import LONGEST, Answer, Patience
from core.agents.formats import Tier
from core.agents.prompt import ANSWER_TOKENS, Message
from core.plain import clean

CONTEXT = 32_768  # tokens, where none are given; the protocol does not tell
ASKED_AGAIN = 2  # times by the package, when a server stumbles


class OpenAI:
    """One model of one endpoint. Replacements come as text blocks: not every endpoint keeps to a schema."""

    start: Tier = "blocks"

    def __init__(self, model: str, *, context: int = 0, patience: Patience | None = None) -> None:
        """Raises AgentFailed where the package or the key is missing."""
        try:
            import openai
        except ImportError:
            raise AgentFailed(
                "The agent openai needs the package openai. `.venv/bin/python -m pip install openai` installs it."
            ) from None
        self.name, self._model, self._package = f"openai:{model}", model, openai
        self._context, self._patience = context or CONTEXT, patience or Patience()
        self._key = os.environ.get("OPENAI_API_KEY") or ("none" if os.environ.get("OPENAI_BASE_URL") else "")
        if not self._key:
            raise AgentFailed("The agent openai needs OPENAI_API_KEY, or OPENAI_BASE_URL of an endpoint without keys.")

    async def context(self, least: int) -> int:
        del least
        return self._context

    async def ask(self, messages: Sequence[Message], schema: dict[str, Any] | None, hear: Ear) -> Answer:
        extra: dict[str, Any] = {}
        if schema is not None:
            extra["response_format"] = {"type": "json_schema", "json_schema": {"name": "proposal", "schema": schema}}
        patience = self._patience
        try:
            async with asyncio.timeout(patience.answer_s), self._client() as client:
                stream = await client.chat.completions.create(
                    model=self._model, messages=list(messages), stream=True, max_completion_tokens=ANSWER_TOKENS,
                    stream_options={"include_usage": True}, **extra,
                )  # fmt: skip
                return await self._answer(stream, hear)
        except AgentFailed:
            raise
        except TimeoutError:
            raise AgentFailed(f"{self.name} did not answer within {patience.answer_s:g} s.") from None
        except self._package.RateLimitError as error:
            raise AgentFailed(f"{self.name}: {clean(str(error), 250)}", wait_s=_wait(error)) from error
        except (self._package.OpenAIError, ValueError) as error:
            raise AgentFailed(f"{self.name}: {clean(str(error), 250)}") from error
        except Exception as error:  # the transport's own, in the middle of a stream
            raise AgentFailed(
                f"The connection to {self.name} broke off ({type(error).__name__}).", again=True
            ) from error

    def _client(self) -> Any:
        """A client for one answer: nothing is left open."""
        return self._package.AsyncOpenAI(api_key=self._key, timeout=self._patience.idle_s, max_retries=ASKED_AGAIN)

    async def _answer(self, stream: Any, hear: Ear) -> Answer:
        text, reason, used = "", "", None
        async for part in stream:
            used = part.usage or used
            for choice in part.choices:
                text += choice.delta.content or ""
                reason = choice.finish_reason or reason
            hear(text)
            if len(text) > LONGEST:
                return Answer(text=text[:LONGEST], cut=True)
        if not reason:
            raise AgentFailed(f"{self.name} stopped in the middle of an answer.", again=True)
        return Answer(
            text=text,
            prompt_tokens=_count(used, "prompt_tokens"),
            tokens=_count(used, "completion_tokens"),
            cut=reason == "length",
        )

    async def release(self, phase: Ear) -> str:
        del phase
        return ""


def _count(used: Any, name: str) -> int:
    """A figure of the bill, 0 where an endpoint has it missing or as something else: the package passes on what it gets."""
    value = getattr(used, name, 0)
    return value if isinstance(value, int) else 0


def _wait(error: Any) -> float:
    """Seconds that the endpoint asks for."""
    try:
        return max(0.0, float(error.response.headers.get("retry-after", "0")))
    except (AttributeError, ValueError):
        return 0.0
