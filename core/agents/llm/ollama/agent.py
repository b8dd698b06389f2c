"""Models of an Ollama server, through its own Python client. All its errors become AgentFailed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from functools import cached_property
from typing import Any

import httpx

from core.agents.base import AgentFailed
from core.agents.hooks import TextCallback
from core.agents.llm import thinking
from core.agents.llm.connection import ollama, ollama_client, to_ollama
from core.agents.llm.counting import Counting
from core.agents.llm.formats import Tier
from core.agents.llm.json_objects import Schema
from core.agents.llm.ollama.models import MOST, Installed, billions, described, failure, full, sized
from core.agents.llm.prompt import ANSWER_TOKENS, Message, estimate
from core.agents.llm.server import LONGEST, Answer, LevelRefused, Timeouts, Truncated
from core.agents.llm.thinking import Thinking
from core.agents.llm.tiers import first
from core.machine import stats
from nanochat.contract.route import Route

FREED_BYTES = 200_000_000  # memory use must drop by this, or by half of smaller weights, to count as freed
KEEP = "15m"


class Ollama:
    """A model of an Ollama server.

    Args:
        model: Its name on the server.
        host: The address of the server; None for OLLAMA_HOST.
        on_gpu: Whether it shares the training GPU and is unloaded by `release`.
        no_gpu: Whether the server is asked not to use a GPU.
        context: The context length in tokens; 0 to fit the task.
        timeouts: How long to wait.
    """

    def __init__(
        self,
        model: str,
        host: str | None = None,
        *,
        on_gpu: bool = False,
        no_gpu: bool = False,
        context: int = 0,
        timeouts: Timeouts | None = None,
    ) -> None:
        self.name = f"ollama:{model}"
        self.start: Tier = first(billions(model))
        self.thinking = Thinking()
        self._model, self._host = model, host
        self._timeouts = timeouts or Timeouts()
        self._given, self._context, self._grown = context, 0, False
        self._facts: Installed | None = None
        self._counting = Counting()
        self._on_gpu, self._no_gpu = on_gpu, no_gpu
        self._held = False  # whether it was asked since it was last released
        self._foreign = self._stuck = self._told = False  # see `_look` and `release`
        self._lags = False  # whether the driver did not show its memory as free the last time

    @cached_property
    def _way(self) -> Route:
        """The route to the server, computed with the first question, so that an invalid setting raises AgentFailed there."""
        return to_ollama(self._host)

    @cached_property
    def _client(self) -> ollama.AsyncClient:
        """The client. Raises AgentFailed."""
        return ollama_client(self._way, httpx.Timeout(None, connect=self._timeouts.connect_s))

    def _about_thinking(self, error: Exception) -> bool:
        """Return whether the server refused the setting for thinking. Older servers have no levels, and some models no thinking."""
        if not isinstance(error, ollama.ResponseError) or error.status_code != 400:
            return False
        return "think" in (error.error or "").replace(self._model, "").lower()

    def _failure(self, error: Exception) -> AgentFailed:
        return error if isinstance(error, AgentFailed) else failure(error, self._way, self._model)

    async def context(self, least: int) -> int:
        """Return the context length. It is enlarged at most once, since the server then loads the model again."""
        if self._context and (self._given or self._grown or least <= self._context):
            return self._context
        facts = await self._described()
        wanted = self._given or min(sized(least), MOST)
        self._grown = self._context > 0
        self._context = max(self._context, min(wanted, facts.context or wanted))
        return self._context

    async def _described(self) -> Installed:
        if self._facts is None:
            try:
                info = await asyncio.wait_for(self._client.show(self._model), self._timeouts.idle_s)
            except Exception as error:
                raise self._failure(error) from error
            self._facts = described(self._model, 0, info)
            self.start = first(self._facts.billions)
            facts = self._facts
            self.thinking = Thinking(thinking.for_ollama(facts.name, facts.architecture, facts.capabilities))
        return self._facts

    async def ask(self, messages: Sequence[Message], schema: Schema | None, on_text: TextCallback) -> Answer:
        await self._described()
        setting = self.thinking.setting
        size, most = self._room(messages, setting.tokens)
        options: dict[str, Any] = {"num_ctx": size, "num_predict": most, "temperature": 0.7}
        if self._no_gpu:
            options["num_gpu"] = 0
        text, thought, last = "", "", None
        try:
            if not self._held:
                await self._look()
            stream = await self._client.chat(
                self._model, list(messages), stream=True, format=schema, options=options,
                keep_alive=None if self._foreign else KEEP, think=setting.level,
            )  # fmt: skip
            async with aclosing(_within(stream, self._timeouts)) as parts:
                async for part in parts:
                    text += part.message.content or ""
                    thought += part.message.thinking or ""
                    on_text(text or thought)
                    last = part
                    if len(text) + len(thought) > LONGEST:
                        return Answer(text=text[:LONGEST], thought=bool(thought), cut=True)
        except Exception as error:
            if setting.level is not None and self._about_thinking(error):
                raise LevelRefused(f"{self._model} cannot be asked with {setting.words}.") from error
            raise self._failure(error) from error
        if last is None or not last.done:
            raise AgentFailed(f"Ollama stopped in the middle of an answer of {self._model}.", again=True)
        counted = int(last.prompt_eval_count or 0)
        if self._counting.cut(messages, counted, size, warm=self._foreign):
            raise Truncated(
                f"{self._model} saw only a part of the prompt: its context of {size} tokens is too small. "
                f"--context {2 * size} gives it more."
            )
        return Answer(
            text=text,
            thought=bool(thought),
            prompt_tokens=counted,
            tokens=int(last.eval_count or 0),
            cut=last.done_reason == "length",
        )

    def _room(self, messages: Sequence[Message], tokens: int) -> tuple[int, int]:
        """Return the context length, and how many tokens of it thoughts and answer may use, at most `tokens` if they fit.

        The context is enlarged by the tokens for thoughts, unless the user set it.
        """
        assert self._facts is not None
        size = self._context
        if not self._given:
            size = max(size, min(size + tokens - ANSWER_TOKENS, self._facts.context or MOST, MOST))
        left = size - estimate("".join(message["content"] for message in messages))
        return size, max(ANSWER_TOKENS, min(tokens, left))

    async def _look(self) -> None:
        """Check before the first question since a release whether the model is loaded already. Then another client uses it."""
        listed = await self._loaded()
        self._stuck = self._stuck and listed
        self._foreign = listed and not self._stuck
        self._told = self._told and self._foreign
        self._held = True

    async def _loaded(self) -> bool:
        return await self._weight() is not None

    async def _weight(self) -> int | None:
        """Return the model's bytes of GPU memory, FREED_BYTES if the server does not say, or None if it is not loaded."""
        running = await asyncio.wait_for(self._client.ps(), self._timeouts.idle_s)
        for model in running.models:
            if full(model.model or "") == full(self._model):
                return FREED_BYTES if model.size_vram is None else int(model.size_vram)
        return None

    async def release(self, phase: TextCallback) -> str:
        """Unload the model from the training GPU. Waits until the server and then the driver show that it is gone.

        Both waits have a limit. A model that was loaded before it was asked is not unloaded, since another client may use it.

        Returns:
            A sentence if the model or its memory is still there when training starts; "" otherwise. It is not repeated until
            that has changed.

        Raises:
            AgentFailed: The server keeps the model.
        """
        if not self._on_gpu or not self._held:
            return ""
        self._held = False
        if self._foreign:
            told, self._told = self._told, True
            return "" if told else (
                f"{self._model} was loaded before this run asked it, so it stays on the GPU: somebody else may be using it. "
                f"`ollama stop {self._model}` frees the memory."
            )  # fmt: skip
        before, self._stuck = _gpu_bytes(), True
        try:
            weight = await self._weight() or 0
            phase(f"unloading {self._model}")
            await self._unload()
            self._stuck = False
            phase("waiting for GPU memory")
            lagged, self._lags = self._lags, not await self._freed(before, min(FREED_BYTES, weight // 2))
        except asyncio.CancelledError:
            self._held = True  # release it again at the end of the run
            raise
        except Exception as error:
            raise self._failure(error) from error
        if not self._lags or lagged:
            return ""
        return (
            f"{self._model} was unloaded, but {self._timeouts.freed_s:g} s later the driver still shows its memory in use "
            f"({_gpu_bytes() / 1e9:.1f} GB on the GPU). Training continues beside it and may run out of memory; "
            f"`nvidia-smi` shows who holds it."
        )

    async def _unload(self) -> None:
        limit = self._timeouts.unload_s
        deadline = time.monotonic() + limit
        await asyncio.wait_for(self._client.generate(self._model, keep_alive=0), limit)
        while await self._loaded():
            if time.monotonic() > deadline:
                raise AgentFailed(f"Ollama keeps {self._model} loaded for {limit:g} s; training continues beside it.")
            await asyncio.sleep(0.2)

    async def _freed(self, before: int, size: int) -> bool:
        """Wait until GPU memory use is `size` bytes below `before`. The driver may show it some seconds after the server.

        Returns False if that did not happen in time. Returns True at once if the driver shows no memory use.
        """
        deadline = time.monotonic() + self._timeouts.freed_s
        while before and size and _gpu_bytes() > before - size:
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(0.2)
        return True


def _gpu_bytes() -> int:
    """Return the bytes in use on all GPUs, or 0 if the driver does not say."""
    return sum(gpu.memory_used or 0 for gpu in stats.gpus())


async def _within(stream: Any, timeouts: Timeouts) -> AsyncGenerator[Any, None]:
    """Yield the parts of a stream. The first part has a longer timeout than later ones. Raises TimeoutError."""
    began, limit = time.monotonic(), timeouts.first_s
    async with aclosing(stream):
        while True:
            left = min(limit, timeouts.answer_s - (time.monotonic() - began))
            if left <= 0:
                raise TimeoutError
            try:
                part = await asyncio.wait_for(anext(stream), left)
            except StopAsyncIteration:
                return
            yield part
            limit = timeouts.idle_s
