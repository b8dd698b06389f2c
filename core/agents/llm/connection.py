"""How a model server is reached. The one place that makes HTTP clients for agents.

The packages of Ollama and OpenAI would read the environment by themselves, and fail with a traceback where a variable of it
is of no use to them. So they are told here what they would look for, and what they read all the same is checked before.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import httpx

from core.agents.base import AgentFailed
from core.agents.llm import address
from core.agents.llm.ollama.bounded import HOOKS, PLAIN
from nanochat.contract.address import SettingError, bare
from nanochat.contract.route import Route, route

CONNECT_S = 5.0
_READ_AT_IMPORT = re.compile(r".*_proxy|OLLAMA_.*|SSL_CERT_.*|SSLKEYLOGFILE", re.IGNORECASE)


@contextmanager
def _without_settings() -> Iterator[None]:
    """Hide what the package `ollama` reads as it is imported: it makes a client then, whether anybody wants one or not."""
    hidden = {name: value for name, value in os.environ.items() if _READ_AT_IMPORT.fullmatch(name)}
    for name in hidden:
        del os.environ[name]
    try:
        yield
    finally:
        os.environ.update(hidden)


with _without_settings():
    import ollama as ollama


@contextmanager
def _as_failure() -> Iterator[None]:
    """What cannot be used in the environment is a failure of the agent, like any other."""
    try:
        yield
    except SettingError as error:
        raise AgentFailed(str(error)) from error


@_as_failure()
def options(way: Route) -> dict[str, Any]:
    """Return the arguments of an HTTP client of httpx's kind for a way. Raises AgentFailed."""
    return way.options()


# -- Ollama -----------------------------------------------------------------------------------------------------------


@_as_failure()
def to_ollama(host: str | None = None, environ: Mapping[str, str] = os.environ) -> Route:
    """Return the way to the Ollama server: at `host`, else by OLLAMA_HOST. Raises AgentFailed."""
    return route(address.ollama(host if host is not None else environ.get("OLLAMA_HOST", "")))


def ollama_client(way: Route, timeout: httpx.Timeout) -> ollama.AsyncClient:
    """Return a client whose answers are bounded in size. Raises AgentFailed."""
    headers = {**PLAIN, **_authorization()}
    return ollama.AsyncClient(way.server.url, timeout=timeout, headers=headers, event_hooks=HOOKS, **options(way))


def pulling_client(way: Route) -> ollama.Client:
    """Return a client that waits without end, as pulling a model may take hours. Raises AgentFailed."""
    timeout = httpx.Timeout(None, connect=CONNECT_S)
    return ollama.Client(way.server.url, timeout=timeout, headers=_authorization(), **options(way))


def _authorization() -> dict[str, str]:
    value = key("OLLAMA_API_KEY")
    return {"authorization": f"Bearer {value}"} if value else {}


# -- OpenAI -----------------------------------------------------------------------------------------------------------


OPENAI_URL = "https://api.openai.com/v1"


@_as_failure()
def to_openai(environ: Mapping[str, str] = os.environ) -> Route:
    """Return the way to the endpoint that OPENAI_BASE_URL and OPENAI_API_KEY name. Raises AgentFailed when neither is set."""
    named = bare(environ.get("OPENAI_BASE_URL", ""))
    if not named and not key("OPENAI_API_KEY", environ):
        raise AgentFailed("The agent openai needs OPENAI_API_KEY, or OPENAI_BASE_URL of an endpoint without keys.")
    for name in ("OPENAI_API_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"):  # all three go into headers
        key(name, environ)
    _check_headers("OPENAI_CUSTOM_HEADERS", environ)
    return route(address.openai(named or OPENAI_URL))


def key(variable: str, environ: Mapping[str, str] = os.environ) -> str:
    """Return a key, '' where there is none. Raises AgentFailed for one that no request can carry, without showing it."""
    given = environ.get(variable, "")
    value = bare(given)
    if given.isspace() or not re.fullmatch(r"[!-~]*", value):
        raise AgentFailed(f"{variable} has spaces or characters that cannot be sent. Correct or unset it.")
    return value


def _check_headers(variable: str, environ: Mapping[str, str]) -> None:
    """Raise AgentFailed for headers, one a line, that no request can carry; without showing them, as there may be a key."""
    for line in environ.get(variable, "").split("\n"):
        name, colon, value = line.partition(":")
        if colon and not (
            re.fullmatch(r"[!#-'*+.^-z|~\w-]+", name.strip(), re.ASCII) and re.fullmatch(r"[ -~\t]*", value.strip())
        ):
            raise AgentFailed(f"{variable} has a line that cannot be sent as a header. Correct or unset it.")
