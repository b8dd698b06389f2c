"""Any OpenAI-compatible endpoint (vLLM, llama.cpp, LM Studio, hosted), through the `openai` package, which is an extra."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import cached_property
from typing import Any

from core.agents.base import AgentFailed
from core.agents.hooks import TextCallback
from core.agents.llm.chat import LONGEST, Answer, LevelRefused, Timeouts
from core.agents.llm.connection import key, options, to_openai
from core.agents.llm.formats import Tier
from core.agents.llm.prompt import Message
from core.agents.llm.thinking import ENDPOINT, Setting, Thinking
from core.text import sanitize_line
from nanochat.contract.route import Route

CONTEXT = 32_768  # tokens, where none are given; the protocol does not tell
ASKED_AGAIN = 2  # times by the package, when a server stumbles


def package() -> Any:
    """The package openai. Raises AgentFailed where it is missing."""
    try:
        import openai
    except ImportError:
        raise AgentFailed(
            "The agent openai needs the package openai. `.venv/bin/python -m pip install openai` installs it."
        ) from None
    return openai


class OpenAI:
    """One model of one endpoint. Replacements come as text blocks: not every endpoint keeps to a schema."""

    start: Tier = "blocks"

    def __init__(self, model: str, *, context: int = 0, timeouts: Timeouts | None = None) -> None:
        """Raises AgentFailed where the package is missing."""
        self.name, self._model, self._package = f"openai:{model}", model, package()
        self._context, self._timeouts = context or CONTEXT, timeouts or Timeouts()
        self.thinking = Thinking(ENDPOINT)

    @cached_property
    def _way(self) -> Route:
        """Found when something is asked: a wrong setting is then a reason like any other. Raises AgentFailed."""
        return to_openai()

    async def context(self, least: int) -> int:
        del least
        return self._context

    async def ask(self, messages: Sequence[Message], schema: dict[str, Any] | None, on_text: TextCallback) -> Answer:
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
        except Exception as error:  # the transport's own, in the middle of a stream
            raise AgentFailed(
                f"The connection to {self.name} broke off ({type(error).__name__}).", again=True
            ) from error

    def _refusal(self, error: Exception) -> str:
        """What the endpoint said; with the way to it where a proxy may have said it."""
        through = f" at {self._way.words}" if self._way.proxy else ""
        return f"{self.name}{through}: {sanitize_line(str(error), 250)}"

    def _client(self) -> Any:
        """A client for one answer: nothing is left open. Raises AgentFailed."""
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
    """The arguments of a question that ask for a setting: a level in OpenAI's way, on and off in that of vLLM and llama.cpp."""
    if isinstance(setting.level, str):
        return {"reasoning_effort": setting.level}
    if setting.level is None:
        return {}
    return {"extra_body": {"chat_template_kwargs": {"enable_thinking": setting.level}}}


def _words(content: object) -> str:
    """The text of a part; some endpoints send a list of pieces, of which those with thoughts have none of their own."""
    if isinstance(content, list):
        pieces = (piece.get("text") for piece in content if isinstance(piece, dict))
        return "".join(text for text in pieces if isinstance(text, str))
    return content if isinstance(content, str) else ""


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
