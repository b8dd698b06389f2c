"""An Ollama server from outside: its address, its models, what each needs, and which one fits here."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

import httpx
import ollama

from core.agents.base import AgentFailed
from core.model import Data
from core.plain import clean

CONNECT_S, LIST_S = 5.0, 20.0
STEP, LEAST, MOST = 4096, 8192, 65_536  # of the context, in tokens
GROWTH, RECORD_TOKENS = 1.25, 3000  # room for a train.py that grows, and for the record
SHARE = 0.85  # of the GPU's memory that weights and context may take
SMALL_BYTES = 3_000_000_000  # weights that a machine without a GPU can be asked to run
NO_WEIGHTS = 1_000_000  # bytes below which an entry only points at a model elsewhere


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


def full(name: str) -> str:
    """A model's name as the server lists it: with its tag."""
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"


def sized(least: int) -> int:
    """Tokens of context for a task that needs `least` now and will grow."""
    return max(LEAST, -(-int(least * GROWTH + RECORD_TOKENS) // STEP) * STEP)


class Installed(Data, frozen=True, kw_only=True):
    """A model of the server. `size` is its weights in bytes, `context` the longest it was made for, in tokens."""

    name: str
    size: int
    billions: float
    context: int = 0
    capabilities: tuple[str, ...] = ()
    cache: int = 0  # bytes of the key-value cache a token

    @property
    def elsewhere(self) -> bool:
        """Whether the entry only points at a model that runs on somebody else's machine."""
        return self.size < NO_WEIGHTS or self.name.endswith(("-cloud", ":cloud"))

    def needs(self, tokens: int) -> int:
        """Bytes of weights and cache for a context of so many tokens."""
        return self.size + self.cache * tokens


async def installed(host: str) -> list[Installed]:
    """Every model that can chat; one of which the server can tell no more than the name is in it too. Raises AgentFailed."""
    client = ollama.AsyncClient(host=host, timeout=httpx.Timeout(LIST_S, connect=CONNECT_S))
    try:
        listed = (await client.list()).models
    except Exception as error:
        raise failure(error, host, "") from error
    found = []
    for model in listed:
        name, size = model.model or "", int(model.size or 0)
        try:
            found.append(described(name, size, await client.show(name), model.details))
        except Exception:
            found.append(described(name, size, None, model.details))
    return [model for model in found if not model.capabilities or "completion" in model.capabilities]


def described(name: str, size: int, info: Any, details: Any = None) -> Installed:
    """A model by what `show` says of it (None: nothing) and by the details of the list."""
    facts: dict[str, Any] = dict(getattr(info, "modelinfo", None) or {})

    def fact(ending: str) -> int:
        return next((int(value) for key, value in facts.items() if key.endswith(ending) and isinstance(value, int)), 0)

    heads = fact(".attention.head_count") or 1
    width = fact(".attention.key_length") or fact(".embedding_length") // heads
    words = [str(getattr(d, "parameter_size", None) or "") for d in (getattr(info, "details", None), details)]
    return Installed(
        name=name,
        size=size,
        billions=fact("general.parameter_count") / 1e9 or billions(*words, name),
        context=fact(".context_length"),
        capabilities=tuple(str(word) for word in getattr(info, "capabilities", None) or ()),
        cache=2
        * 2
        * fact(".block_count")
        * (fact(".attention.head_count_kv") or heads)
        * width,  # keys and values in 16 bits
    )


def billions(*texts: str) -> float:
    """Parameters in billions by the first text that says so: "7.6B", "135M", "qwen2.5-coder:1.5b". 0: none does."""
    for text in texts:
        if match := re.search(r"(\d+(?:\.\d+)?) ?([BMbm])\b", text):
            return float(match[1]) / (1 if match[2] in "Bb" else 1000)
    return 0.0


def pick(models: Sequence[Installed], gpu_bytes: int, tokens: int = LEAST) -> tuple[Installed, str] | None:
    """A sensible model and the sum that says why: the largest coder that fits, else the largest that fits."""
    limit = int(gpu_bytes * SHARE) if gpu_bytes else SMALL_BYTES
    fitting = [model for model in models if not model.elsewhere and model.needs(tokens) <= limit]
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
    """The sentence for whatever the client raised, and whether asking again at once makes sense."""
    if isinstance(error, AgentFailed):
        return error
    if isinstance(error, ollama.ResponseError):
        words = clean(error.error or str(error), 200)
        if error.status_code == 404:
            return AgentFailed(f"Ollama has no model {model}. `ollama pull {model}` installs it.")
        broken = error.status_code < 0 or error.status_code >= 500  # an error in the middle of a stream has status -1
        return AgentFailed(f"Ollama refused ({error.status_code}): {words}", again=broken)
    if isinstance(error, ConnectionError | httpx.ConnectError | httpx.ConnectTimeout):
        return AgentFailed(
            f"Ollama does not answer at {host}. `ollama serve` starts it; OLLAMA_HOST names another place."
        )
    if isinstance(error, TimeoutError | httpx.TimeoutException):
        return AgentFailed(f"Ollama at {host} took too long with {model or 'an answer'}.")
    if isinstance(error, httpx.HTTPError):
        return AgentFailed(f"The connection to Ollama at {host} broke off ({type(error).__name__}).", again=True)
    return AgentFailed(
        f"Ollama at {host} answered what cannot be read ({type(error).__name__}: {clean(str(error), 120)})."
    )
