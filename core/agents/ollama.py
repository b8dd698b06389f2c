"""Models of an Ollama server, through its own Python client. Everything that goes wrong becomes one sentence."""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import httpx
import ollama

from core import stats
from core.agents.base import AgentFailed
from core.agents.chat import Answer, Hear
from core.agents.formats import Tier
from core.agents.prompt import ANSWER_TOKENS, Message
from core.model import Data
from core.plain import clean

CONNECT_S, FIRST_S, IDLE_S, WHOLE_S = 5.0, 600.0, 60.0, 900.0
UNLOAD_S, FREE_S = 30.0, 8.0  # until the server has let go, and until the driver shows it
FREED_BYTES = 200_000_000  # so much less in use means that the weights are gone
KEEP = "15m"
LONGEST = 200_000  # characters of an answer
STEP, LEAST, MOST = 4096, 8192, 65_536  # of the context, in tokens
RECORD_TOKENS = 3000  # room for the record beyond what the task needs
SHARE = 0.85  # of the GPU's memory that weights and context may take
SMALL_BYTES = 3_000_000_000  # weights that a machine without a GPU can be asked to run
SIMPLE_BILLIONS = 1.0  # below this only the simplest form of answer works (20 of 20 tries; replacements 0 to 18 of 20)


def address(environ: Mapping[str, str] = os.environ) -> str:
    """The server's URL by OLLAMA_HOST in all its forms; an address to listen on is turned into one to reach."""
    text = environ.get("OLLAMA_HOST", "").strip().strip("\"'")
    scheme, _, rest = text.partition("://") if "://" in text else ("", "", text)
    host, _, path = rest.partition("/")
    match = re.fullmatch(r"(\[[0-9a-fA-F:]*\]|[^:]*)(?::(\d+))?", host)
    name, port = (match[1], match[2]) if match else (host, None)
    name = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "[::]": "[::1]"}.get(name, name)
    port = port or {"http": "80", "https": "443"}.get(scheme, "11434")
    return f"{scheme or 'http'}://{name}:{port}{'/' + path.rstrip('/') if path.strip('/') else ''}"


def local(url: str) -> bool:
    """Whether that server is this machine."""
    return httpx.URL(url).host in ("127.0.0.1", "localhost", "::1")


class Installed(Data):
    """A model of the server. `size` is its weights in bytes, `context` the longest it was made for, in tokens."""

    name: str
    size: int
    billions: float
    context: int = 0
    capabilities: tuple[str, ...] = ()
    cache: int = 0  # bytes of the key-value cache a token

    def needs(self, tokens: int) -> int:
        """Bytes of weights and cache for a context of so many tokens."""
        return self.size + self.cache * tokens


async def installed(host: str) -> list[Installed]:
    """Every model that can chat. Raises AgentFailed when the server does not answer."""
    client = ollama.AsyncClient(host=host, timeout=httpx.Timeout(20.0, connect=CONNECT_S))
    try:
        found = []
        for model in (await client.list()).models:
            info = await client.show(model.model or "")
            found.append(_installed(model, info))
        return [model for model in found if not model.capabilities or "completion" in model.capabilities]
    except Exception as error:
        raise failure(error, host, "") from error


def _installed(model: Any, info: Any) -> Installed:
    facts: dict[str, Any] = dict(info.modelinfo or {})

    def fact(ending: str) -> int:
        return next((int(value) for key, value in facts.items() if key.endswith(ending) and isinstance(value, int)), 0)

    heads = fact(".attention.head_count") or 1
    width = fact(".attention.key_length") or fact(".embedding_length") // heads
    return Installed(
        name=model.model or "",
        size=int(model.size or 0),
        billions=_billions(str(getattr(model.details, "parameter_size", "") or ""), model.model or ""),
        context=fact(".context_length"),
        capabilities=tuple(str(word) for word in info.capabilities or ()),
        cache=2
        * 2
        * fact(".block_count")
        * (fact(".attention.head_count_kv") or heads)
        * width,  # keys and values in 16 bits
    )


def _billions(words: str, name: str) -> float:
    """Parameters in billions, from "7.6B" or "135M", else from the name."""
    for text in (words, name):
        if match := re.search(r"(\d+(?:\.\d+)?) ?([BMbm])\b", text):
            return float(match[1]) / (1 if match[2] in "Bb" else 1000)
    return 0.0


def pick(models: Sequence[Installed], gpu_bytes: int, tokens: int = LEAST) -> tuple[Installed, str] | None:
    """A sensible model and the sum that says why: the largest coder that fits, else the largest that fits."""
    limit = int(gpu_bytes * SHARE) if gpu_bytes else SMALL_BYTES
    fitting = [model for model in models if model.needs(tokens) <= limit]
    if not fitting:
        return None
    best = max(fitting, key=lambda model: ("code" in model.name.lower(), model.size, model.name))
    where = (
        f"85% of the GPU's {gpu_bytes / 1e9:.0f} GB"
        if gpu_bytes
        else "3 GB, what a machine without a GPU is asked to run"
    )
    total = best.needs(tokens)
    return best, (
        f"{best.name}: {best.size / 1e9:.1f} GB of weights and {(total - best.size) / 1e9:.1f} GB for {tokens} tokens, "
        f"{total / 1e9:.1f} GB of {where}"
    )


def failure(error: Exception, host: str, model: str) -> AgentFailed:
    """The sentence for whatever the client raised."""
    if isinstance(error, AgentFailed):
        return error
    if isinstance(error, ollama.ResponseError):
        words = clean(error.error or str(error), 200)
        if error.status_code == 404:
            return AgentFailed(f"Ollama has no model {model}. `ollama pull {model}` installs it.")
        return AgentFailed(f"Ollama refused ({error.status_code}): {words}")
    if isinstance(error, ConnectionError | httpx.ConnectError | httpx.ConnectTimeout):
        return AgentFailed(
            f"Ollama does not answer at {host}. `ollama serve` starts it; OLLAMA_HOST names another place."
        )
    if isinstance(error, TimeoutError | httpx.TimeoutException):
        return AgentFailed(f"Ollama at {host} took too long with {model or 'an answer'}.")
    if isinstance(error, httpx.HTTPError):
        return AgentFailed(f"The connection to Ollama at {host} broke off ({type(error).__name__}).")
    return AgentFailed(
        f"Ollama at {host} answered what cannot be read ({type(error).__name__}: {clean(str(error), 120)})."
    )


class Ollama:
    """One model of one server."""

    def __init__(
        self, model: str, host: str | None = None, *, billions: float = 0.0, on_gpu: bool = False, no_gpu: bool = False
    ) -> None:
        """`on_gpu`: it shares the training GPU and leaves when told; `no_gpu`: the server is asked to keep it off any."""
        self.name = f"ollama:{model}"
        self._model, self._host = model, host or address()
        self.start: Tier = "knob" if 0 < (billions or _billions("", model)) < SIMPLE_BILLIONS else "edits"
        self._client = ollama.AsyncClient(host=self._host, timeout=httpx.Timeout(None, connect=CONNECT_S))
        self._context = 0
        self._thinks = False
        self._on_gpu, self._no_gpu = on_gpu, no_gpu

    async def context(self, least: int) -> int:
        """Constant once chosen: another one makes the server load the model again."""
        if not self._context:
            try:
                info = await self._client.show(self._model)
            except Exception as error:
                raise failure(error, self._host, self._model) from error
            found = _installed(_Nothing(self._model), info)
            self._thinks = "thinking" in found.capabilities
            wanted = -(-(least + RECORD_TOKENS) // STEP) * STEP
            self._context = min(max(LEAST, wanted), found.context or MOST, MOST)
        return self._context

    async def ask(self, messages: Sequence[Message], schema: dict[str, Any] | None, hear: Hear) -> Answer:
        options: dict[str, Any] = {"num_ctx": self._context, "num_predict": ANSWER_TOKENS, "temperature": 0.7}
        if self._no_gpu:
            options["num_gpu"] = 0
        text, last = "", None
        try:
            stream = await asyncio.wait_for(
                self._client.chat(
                    self._model, list(messages), stream=True, format=schema, options=options, keep_alive=KEEP,
                    think=False if self._thinks else None,
                ), FIRST_S,
            )  # fmt: skip
            async for part in _patient(stream):
                text += part.message.content or ""
                hear(text)
                last = part
                if len(text) > LONGEST:
                    break
        except asyncio.CancelledError:
            raise
        except Exception as error:
            raise failure(error, self._host, self._model) from error
        if last is None or not last.done:
            raise AgentFailed(f"Ollama stopped in the middle of an answer of {self._model}.")
        counted = int(last.prompt_eval_count or 0)
        if counted >= self._context - 1:
            raise AgentFailed(
                f"{self._model} saw only the end of the prompt: its context of {self._context} tokens is too small."
            )
        return Answer(
            text=text, prompt_tokens=counted, tokens=int(last.eval_count or 0), cut=last.done_reason == "length"
        )

    async def release(self) -> None:
        """Unload the model where it sits on the training GPU, and wait until the server says so, for a bounded time."""
        if not self._on_gpu:
            return
        before = _gpu_bytes()
        try:
            await asyncio.wait_for(self._client.generate(self._model, keep_alive=0), UNLOAD_S)
            deadline = time.monotonic() + UNLOAD_S
            while any(running.model == self._model for running in (await self._client.ps()).models):
                if time.monotonic() > deadline:
                    raise AgentFailed(
                        f"Ollama keeps {self._model} loaded for {UNLOAD_S:.0f} s; training goes on beside it."
                    )
                await asyncio.sleep(0.2)
            freed_by = time.monotonic() + FREE_S
            while (
                before and _gpu_bytes() > before - FREED_BYTES
            ):  # the list is ahead of the driver by up to some seconds
                await asyncio.sleep(0.2)
                if time.monotonic() > freed_by:
                    break
        except AgentFailed:
            raise
        except Exception as error:
            raise failure(error, self._host, self._model) from error


def _gpu_bytes() -> int:
    """Memory in use on the GPUs, 0 where there is none or the driver does not say."""
    return sum(gpu.memory_used or 0 for gpu in stats.gpus())


class _Nothing:
    """A model of which only the name is known."""

    size, details = 0, None

    def __init__(self, model: str) -> None:
        self.model = model


async def _patient(stream: AsyncIterator[Any]) -> AsyncIterator[Any]:
    """The parts of a stream; the first may take long, later ones not, and the whole is bounded. Raises TimeoutError."""
    began, limit = time.monotonic(), FIRST_S
    while True:
        left = min(limit, WHOLE_S - (time.monotonic() - began))
        try:
            yield await asyncio.wait_for(anext(stream), max(0.01, left))
        except StopAsyncIteration:
            return
        limit = IDLE_S
