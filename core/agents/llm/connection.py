"""Connections to model servers. The only module that creates HTTP clients for agents.

The packages of Ollama and OpenAI read environment variables themselves, and fail with a traceback if one is invalid. So their
settings are passed to them here, and variables that they read anyway are checked first.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

import httpx

from core.agents.base import AgentFailed
from core.agents.llm import address
from core.agents.llm.ollama.bounded import HOOKS, PLAIN
from core.text import sanitize_line
from nanochat.contract.address import SettingError, bare
from nanochat.contract.route import ClientOptions, Route, route

CONNECT_S = 5.0
_READ_AT_IMPORT = re.compile(r".*_proxy|OLLAMA_.*|SSL_CERT_.*|SSLKEYLOGFILE", re.IGNORECASE)


@contextmanager
def _without_settings() -> Iterator[None]:
    """Hide the variables that the package `ollama` reads when it is imported, since it then creates a client."""
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
    """Turn SettingError into AgentFailed."""
    try:
        yield
    except SettingError as error:
        raise AgentFailed(str(error)) from error


@_as_failure()
def options(way: Route) -> ClientOptions:
    """Return the arguments of an httpx client for a route. Raises AgentFailed."""
    return way.options()


# -- Ollama -----------------------------------------------------------------------------------------------------------


@_as_failure()
def to_ollama(host: str | None = None) -> Route:
    """Return the route to the Ollama server at `host`, or at OLLAMA_HOST. Raises AgentFailed."""
    return route(address.ollama(host if host is not None else os.environ.get("OLLAMA_HOST", "")))


def ollama_client(way: Route, timeout: httpx.Timeout) -> ollama.AsyncClient:
    """Return a client that limits the size of responses. Raises AgentFailed."""
    headers = {**PLAIN, **_authorization()}
    return ollama.AsyncClient(way.server.url, timeout=timeout, headers=headers, event_hooks=HOOKS, **options(way))


def pulling_client(way: Route) -> ollama.Client:
    """Return a client without a read timeout, since pulling a model may take hours. Raises AgentFailed."""
    timeout = httpx.Timeout(None, connect=CONNECT_S)
    return ollama.Client(way.server.url, timeout=timeout, headers=_authorization(), **options(way))


def _authorization() -> dict[str, str]:
    value = key("OLLAMA_API_KEY")
    return {"authorization": f"Bearer {value}"} if value else {}


# -- OpenAI -----------------------------------------------------------------------------------------------------------


OPENAI_URL = "https://api.openai.com/v1"


@_as_failure()
def to_openai() -> Route:
    """Return the route to the endpoint in OPENAI_BASE_URL, by default OpenAI's.

    Raises:
        AgentFailed: Neither OPENAI_BASE_URL nor OPENAI_API_KEY is set, or a variable is invalid.
    """
    named = bare(os.environ.get("OPENAI_BASE_URL", ""))
    if not named and not key("OPENAI_API_KEY"):
        raise AgentFailed("The agent openai needs OPENAI_API_KEY, or OPENAI_BASE_URL of an endpoint without keys.")
    for name in ("OPENAI_API_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"):  # all three go into headers
        key(name)
    _check_headers("OPENAI_CUSTOM_HEADERS")
    return route(address.openai(named or OPENAI_URL))


def unanswered(way: Route) -> str:
    """Return why no server answers on a route, as a clause, or '' if one does. Any response counts. No key is sent.

    Raises AgentFailed.
    """
    try:
        with httpx.Client(timeout=CONNECT_S, **options(way)) as client, client.stream("GET", way.server.url):
            return ""
    except httpx.ReadTimeout:  # it is connected, and takes its time
        return ""
    except (httpx.HTTPError, OSError) as error:
        return sanitize_line(str(error), 120) or type(error).__name__


def key(variable: str) -> str:
    """Return the key in a variable, '' for none. Raises AgentFailed if it cannot be sent; the message does not show it."""
    given = os.environ.get(variable, "")
    value = bare(given)
    if given.isspace() or not re.fullmatch(r"[!-~]*", value):
        raise AgentFailed(f"{variable} has spaces or characters that cannot be sent. Correct or unset it.")
    return value


def _check_headers(variable: str) -> None:
    """Raise AgentFailed if headers, one a line, cannot be sent. The message does not show them, since they may contain a key."""
    for line in os.environ.get(variable, "").split("\n"):
        name, colon, value = line.partition(":")
        if colon and not (
            re.fullmatch(r"[!#-'*+.^-z|~\w-]+", name.strip(), re.ASCII) and re.fullmatch(r"[ -~\t]*", value.strip())
        ):
            raise AgentFailed(f"{variable} has a line that cannot be sent as a header. Correct or unset it.")
