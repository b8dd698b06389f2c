"""Models of OpenAI-compatible endpoints (vLLM, llama.cpp, LM Studio, hosted), through the optional package `openai`."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import cached_property
from typing import Any

from core.agents.base import AgentFailed
from core.agents.hooks import TextCallback
from core.agents.llm.connection import key, options, to_openai
from core.agents.llm.formats import Tier
from core.agents.llm.json_objects import Schema
from core.agents.llm.prompt import Message
from core.agents.llm.server import LONGEST, Answer, LevelRefused, Timeouts
from core.agents.llm.thinking import ENDPOINT, Setting, Thinking
from core.text import sanitize_line
from nanochat.contract.route import Route

CONTEXT = 32_768  # default context length in tokens, since the protocol does not tell it
ASKED_AGAIN = 2  # retries by the package


def package() -> Any:
    """Return the package openai. Raises AgentFailed if it is not installed."""
    try:
        import openai
    except ImportError:
        raise AgentFailed(
            "The agent openai needs the package openai. `.venv/bin/python -m pip install openai` installs it."
        ) from None
    return openai


class OpenAI:
    """A model of an endpoint. It answers in text blocks first, since not all endpoints support a schema."""

    start: Tier = "blocks"

    def __init__(self, model: str, *, context: int = 0, timeouts: Timeouts | None = None) -> None:
        """Raises AgentFailed if the package is not installed."""
        self.name, self._model, self._package = f"openai:{model}", model, package()
        self._context, self._timeouts = context or CONTEXT, timeouts or Timeouts()
        self.thinking = Thinking(ENDPOINT)

    @cached_property
    def _way(self) -> Route:
        """The route to the endpoint, computed with the first question, so that an invalid setting raises AgentFailed there."""
        return to_openai()

    async def context(self, least: int) -> int:
        del least
        return self._context

    async def ask(self, messages: Sequence[Message], schema: Schema | None, on_text: TextCallback) -> Answer:
        setting = self.thinking.setting
        extra = _of_thinking(setting)
        if schema is not None:
            extra["response_format"] = {"type": "json_schema", "json_schema": {"name": "proposal", "schema": schema}}
        timeouts = self._timeouts
        try:
            async with asyncio.timeout(timeouts.answer_s), self._client() as client:
                stream = await client.chat.completions.create(
                    model=self._model, messages=list(messages), stream=True, max_completion_tokens=setting.tokens,
                    stream_options={"include_usage": True}, **extra,
                )  # fmt: skip
                return await self._answer(stream, on_text)
        except AgentFailed:
            raise
        except TimeoutError:
            raise AgentFailed(f"{self.name} did not answer within {timeouts.answer_s:g} s.") from None
        except (self._package.BadRequestError, self._package.UnprocessableEntityError) as error:
            if setting != ENDPOINT[0]:
                raise LevelRefused(f"{self.name} cannot be asked with {setting.words}.") from error
            raise AgentFailed(self._refusal(error)) from error
        except self._package.APITimeoutError:
            raise AgentFailed(f"{self.name} at {self._way.words} took too long.") from None
        except self._package.APIConnectionError as error:
            cause = sanitize_line(str(error.__cause__ or ""), 120)
            raise AgentFailed(
                f"{self.name} cannot be reached at {self._way.words} ({cause or 'no reason given'}). OPENAI_BASE_URL names another place."
            ) from error
        except self._package.RateLimitError as error:
            raise AgentFailed(self._refusal(error), wait_s=_wait(error)) from error
        except (self._package.OpenAIError, ValueError) as error:
            raise AgentFailed(self._refusal(error)) from error
        except Exception as error:  # errors of the transport in the middle of a stream
            raise AgentFailed(
                f"The connection to {self.name} broke off ({type(error).__name__}).", again=True
            ) from error

    def _refusal(self, error: Exception) -> str:
        """Return the endpoint's message. With a proxy it names the route, since the proxy may be the sender."""
        through = f" at {self._way.words}" if self._way.proxy else ""
        return f"{self.name}{through}: {sanitize_line(str(error), 250)}"

    def _client(self) -> Any:
        """Return a client for one answer. Raises AgentFailed."""
        transport = self._package.DefaultAsyncHttpxClient(timeout=self._timeouts.idle_s, **options(self._way))
        return self._package.AsyncOpenAI(
            base_url=self._way.server.url, api_key=key("OPENAI_API_KEY") or "none", organization=key("OPENAI_ORG_ID") or None,
            project=key("OPENAI_PROJECT_ID") or None, http_client=transport,
            timeout=self._timeouts.idle_s, max_retries=ASKED_AGAIN,
        )  # fmt: skip

    async def _answer(self, stream: Any, on_text: TextCallback) -> Answer:
        text, thought, reason, used = "", "", "", None
        async for part in stream:
            used = part.usage or used
            for choice in part.choices:
                text += _words(choice.delta.content)
                thought += _words(
                    getattr(choice.delta, "reasoning_content", None) or getattr(choice.delta, "reasoning", None)
                )
                reason = choice.finish_reason or reason
            on_text(text or thought)
            if len(text) + len(thought) > LONGEST:
                return Answer(text=text[:LONGEST], thought=bool(thought), cut=True)
        if not reason:
            raise AgentFailed(f"{self.name} stopped in the middle of an answer.", again=True)
        details = getattr(used, "completion_tokens_details", None)
        return Answer(
            text=text,
            thought=bool(thought) or _count(details, "reasoning_tokens") > 0,
            prompt_tokens=_count(used, "prompt_tokens"),
            tokens=_count(used, "completion_tokens"),
            cut=reason == "length",
        )

    async def release(self, phase: TextCallback) -> str:
        del phase
        return ""


def _of_thinking(setting: Setting) -> dict[str, Any]:
    """Return the arguments for a setting of thinking: a level as for OpenAI, on and off as for vLLM and llama.cpp."""
    if isinstance(setting.level, str):
        return {"reasoning_effort": setting.level}
    if setting.level is None:
        return {}
    return {"extra_body": {"chat_template_kwargs": {"enable_thinking": setting.level}}}


def _words(content: object) -> str:
    """Return the text of a part. Some endpoints send a list of pieces; pieces with thoughts have no text."""
    if isinstance(content, list):
        pieces = (piece.get("text") for piece in content if isinstance(piece, dict))
        return "".join(text for text in pieces if isinstance(text, str))
    return content if isinstance(content, str) else ""


def _count(used: Any, name: str) -> int:
    """Return a count of the usage, or 0 if it is missing or not a number. The package does not check it."""
    value = getattr(used, name, 0)
    return value if isinstance(value, int) else 0


def _wait(error: Any) -> float:
    """Return the seconds that the endpoint asks to wait."""
    try:
        return max(0.0, float(error.response.headers.get("retry-after", "0")))
    except (AttributeError, ValueError):
        return 0.0
