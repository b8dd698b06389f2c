"""The models of an Ollama server: what each needs, and which one fits this machine."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import httpx

from core.agents.base import AgentFailed
from core.agents.llm.connection import CONNECT_S, ollama, ollama_client
from core.text import sanitize_line
from nanochat.contract.route import Route
from nanochat.contract.value import Data

LIST_S = 20.0
STEP, LEAST, MOST = 4096, 8192, 65_536  # steps and limits of the context length, in tokens
GROWTH, RECORD_TOKENS = 1.25, 3000  # room for a train.py that grows, and for the record
SHARE = 0.85  # share of the GPU's memory for weights and context
SMALL_BYTES = 3_000_000_000  # memory of a model on a machine without a GPU
NO_WEIGHTS = 1_000_000  # an entry with fewer bytes is a remote model


def full(name: str) -> str:
    """Return a model's name with its tag, as the server lists it."""
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"


def sized(least: int) -> int:
    """Return the context length in tokens for a task that needs `least` now and will grow."""
    return max(LEAST, -(-int(least * GROWTH + RECORD_TOKENS) // STEP) * STEP)


class Installed(Data, frozen=True, kw_only=True):
    """A model on the server."""

    name: str
    size: int  # bytes of its weights
    billions: float  # parameters in billions; 0 if unknown
    context: int = 0  # its longest context in tokens; 0 if unknown
    capabilities: tuple[str, ...] = ()
    cache: int = 0  # bytes of the key-value cache per token
    architecture: str = ""

    @property
    def elsewhere(self) -> bool:
        """Whether it is a remote model, which does not run on the server's machine."""
        return self.size < NO_WEIGHTS or self.name.endswith(("-cloud", ":cloud"))

    def needs(self, tokens: int) -> int:
        """Return the bytes of weights and cache for a context of this many tokens."""
        return self.size + self.cache * tokens


class NoServer(AgentFailed):
    """No server answers at the address."""


async def installed(way: Route) -> list[Installed]:
    """Return all models that can chat, also those about which the server only tells the name. Raises AgentFailed."""
    try:
        client = ollama_client(way, httpx.Timeout(LIST_S, connect=CONNECT_S))
        listed = (await client.list()).models
    except Exception as error:
        raise failure(error, way, "") from error
    models = []
    for model in listed:
        name, size = model.model or "", int(model.size or 0)
        try:
            models.append(described(name, size, await client.show(name), model.details))
        except Exception:
            models.append(described(name, size, None, model.details))
    return [model for model in models if not model.capabilities or "completion" in model.capabilities]


def described(name: str, size: int, info: Any, details: Any = None) -> Installed:
    """Return a model from the response of `show` (None without one) and the details in the list."""
    facts: dict[str, Any] = dict(getattr(info, "modelinfo", None) or {})

    def fact(ending: str) -> int:
        return next((int(value) for key, value in facts.items() if key.endswith(ending) and isinstance(value, int)), 0)

    heads = fact(".attention.head_count") or 1
    width = fact(".attention.key_length") or fact(".embedding_length") // heads
    families = (str(getattr(d, "family", None) or "") for d in (getattr(info, "details", None), details))
    sizes = [str(getattr(d, "parameter_size", None) or "") for d in (getattr(info, "details", None), details)]
    return Installed(
        name=name,
        size=size,
        billions=fact("general.parameter_count") / 1e9 or billions(*sizes, name),
        context=fact(".context_length"),
        capabilities=tuple(str(word) for word in getattr(info, "capabilities", None) or ()),
        cache=2
        * 2
        * fact(".block_count")
        * (fact(".attention.head_count_kv") or heads)
        * width,  # keys and values in 16 bits
        architecture=str(facts.get("general.architecture") or "") or next((name for name in families if name), ""),
    )


def billions(*texts: str) -> float:
    """Return the parameters in billions from the first text with a size, such as "7.6B" or "qwen2.5-coder:1.5b"; 0 for none."""
    for text in texts:
        if match := re.search(r"(\d+(?:\.\d+)?) ?([BMbm])\b", text):
            return float(match[1]) / (1 if match[2] in "Bb" else 1000)
    return 0.0


def pick(models: Sequence[Installed], gpu_bytes: int, tokens: int = LEAST) -> tuple[Installed, str] | None:
    """Choose a model: the largest coding model that fits, else the largest that fits, else None.

    Args:
        models: The models of the server.
        gpu_bytes: Memory of the GPU; 0 without a GPU.
        tokens: The context length.

    Returns:
        The model, and a phrase with its memory use.
    """
    limit = int(gpu_bytes * SHARE) if gpu_bytes else SMALL_BYTES
    fitting = [model for model in models if not model.elsewhere and model.needs(tokens) <= limit]
    if not fitting:
        return None
    best = max(fitting, key=lambda model: ("code" in model.name.lower(), model.size, model.name))
    where = f"85% of the GPU's {gpu_bytes / 1e9:.0f} GB" if gpu_bytes else "the 3 GB allowed on a machine without a GPU"
    total = best.needs(tokens)
    return best, (
        f"{best.name}: {best.size / 1e9:.1f} GB of weights and {(total - best.size) / 1e9:.1f} GB for {tokens} tokens, "
        f"{total / 1e9:.1f} GB of {where}"
    )


def failure(error: Exception, way: Route, model: str) -> AgentFailed:
    """Return an AgentFailed for an exception of the client. `again` says whether asking again at once may help."""
    if isinstance(error, AgentFailed):
        return error
    if isinstance(error, ollama.ResponseError):
        problem = sanitize_line(error.error or str(error), 200)
        if error.status_code == 404 and model and "model" in problem.lower():
            return AgentFailed(f"Ollama has no model {model}. `ollama pull {model}` installs it.")
        broken = error.status_code < 0 or error.status_code >= 500  # an error in the middle of a stream has status -1
        return AgentFailed(f"Ollama at {way.words} refused ({error.status_code}): {problem}", again=broken)
    if isinstance(error, httpx.ProxyError):
        return AgentFailed(f"The proxy refused the way to Ollama at {way.words}: {sanitize_line(str(error), 120)}.")
    if isinstance(error, ConnectionError | httpx.ConnectError | httpx.ConnectTimeout):
        reason = sanitize_line(
            str(error.__context__ or error), 120
        )  # the package hides it behind a sentence of its own
        if "SSL" in reason:
            return AgentFailed(
                f"There is no encrypted connection to Ollama at {way.words} ({reason}). "
                f"SSL_CERT_FILE names a file of certificates to trust; OLLAMA_HOST with http:// does without."
            )
        why = f" ({reason})" if "Errno" in reason else ""
        if way.proxy:
            return NoServer(f"Nothing answers at {way.words}{why}. NO_PROXY names servers that need no proxy.")
        return NoServer(
            f"Ollama does not answer at {way.words}{why}. `ollama serve` starts it; OLLAMA_HOST names another place."
        )
    if isinstance(error, TimeoutError | httpx.TimeoutException):
        return AgentFailed(f"Ollama at {way.words} took too long with {model or 'an answer'}.")
    if isinstance(error, httpx.HTTPError):
        return AgentFailed(f"The connection to Ollama at {way.words} broke off ({type(error).__name__}).", again=True)
    return AgentFailed(
        f"Ollama at {way.words} sent an answer that cannot be read ({type(error).__name__}: {sanitize_line(str(error), 120)})."
    )
