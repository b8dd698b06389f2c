"""How a model server is reached: through which proxy, with which certificates. The one place that makes HTTP clients for agents.

The packages of Ollama and OpenAI would read the environment by themselves, and fail with a traceback where a variable of it
is of no use to them. So they are told everything here, and look at nothing.
"""

from __future__ import annotations

import importlib.util
import ipaddress
import os
import re
import socket
import ssl
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil

from core.agents import address
from core.agents.address import Address
from core.agents.base import AgentFailed
from core.agents.bounded import HOOKS, PLAIN
from core.plain import clean

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


@dataclass(frozen=True)
class Route:
    """The way to a server. `proxy` is None for a direct connection; `variable` names the one that the proxy comes from."""

    server: Address
    proxy: Address | None = None
    variable: str = ""

    @property
    def words(self) -> str:
        """The way in words for messages, without passwords."""
        through = f" through the proxy {self.proxy.url} ({self.variable})" if self.proxy else ""
        return f"{self.server.url}{through}"

    def options(self) -> dict[str, Any]:
        """Return the arguments of an HTTP client of httpx's kind for this way. Raises AgentFailed.

        Only what this way needs is read: for plain HTTP a wrong file of certificates does no harm.
        """
        encrypted = "https" in (self.server.scheme, self.proxy.scheme if self.proxy else "")
        options: dict[str, Any] = {"trust_env": False, "verify": _certificates(encrypted)}
        if self.server.user or self.server.password:
            options["auth"] = (self.server.user, self.server.password)
        if self.proxy:
            if self.proxy.scheme.startswith("socks") and importlib.util.find_spec("socksio") is None:
                raise AgentFailed(
                    f"{self.variable} names a SOCKS proxy, which needs the package socksio. "
                    f"`.venv/bin/python -m pip install socksio` installs it; or unset {self.variable}."
                )
            user = httpx.URL(username=self.proxy.user, password=self.proxy.password).userinfo.decode("ascii")
            scheme, _, place = self.proxy.url.partition("://")
            options["proxy"] = f"{scheme}://{f'{user}@' if user.strip(':') else ''}{place}"
        return options


def route(server: Address) -> Route:
    """Return the way to a server by the environment's proxy variables, which never count for this machine. Raises AgentFailed."""
    proxies = urllib.request.getproxies()  # on a Mac also those of the system's settings
    if here(server) or _excepted(server, proxies.get("no", "")):
        return Route(server)
    value = next((found for scheme in (server.scheme, "all") if (found := address.bare(proxies.get(scheme, "")))), "")
    if not value:
        return Route(server)
    names = (f"{scheme}_proxy" for scheme in (server.scheme, "all"))
    variable = next(
        (n for name in names for n in (name, name.upper()) if address.bare(os.environ.get(n, "")) == value),
        "the system's proxy",
    )
    return Route(server, address.proxy(variable, value), variable)


def here(server: Address) -> bool:
    """Return whether an address is of this machine: a loopback address, its own name, or an address of one of its interfaces."""
    if server.loopback:
        return True
    ip = address.as_ip(server.host.partition("%")[0])
    if ip is None:
        own = socket.gethostname().lower()
        return server.host.lower().rstrip(".") in {own, own.partition(".")[0], f"{own.partition('.')[0]}.local"}
    try:
        found = psutil.net_if_addrs().values()
    except OSError:
        return False
    interfaces = (one.address.partition("%")[0] for addresses in found for one in addresses)
    return any(address.as_ip(text) == ip for text in interfaces)


def _excepted(server: Address, no_proxy: str) -> bool:
    """Whether NO_PROXY excepts a server: *, a domain, a name, an IP address or a network, each with or without a port."""
    host, ip = server.host.lower().rstrip(".").partition("%")[0], address.as_ip(server.host.partition("%")[0])
    for entry in re.split(r"[,\s]+", no_proxy.lower()):
        entry = entry.strip("\"'").rpartition("://")[2]
        if entry == "*":
            return True
        if ip is not None:
            match = re.fullmatch(r"(?:\[([^\]]*)\]|([\d.]+))(?::(\d+))?", entry)
            place, port = (match[1] or match[2], match[3]) if match else (entry, None)
            try:
                inside = ip in ipaddress.ip_network(place, strict=False)
            except ValueError:
                inside = False
        else:
            place, _, port = entry.partition(":")
            domain = place.removeprefix("*").strip(".")
            inside = bool(domain) and (host == domain or host.endswith(f".{domain}"))
        if inside and port in (None, "", str(server.port)):
            return True
    return False


def _certificates(required: bool) -> ssl.SSLContext:
    """Return what certificates are checked against. Raises AgentFailed where that cannot be read and is `required`."""
    try:
        return _authorities()
    except AgentFailed:
        if required:
            raise
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # it trusts nobody, should a server ask for encryption after all


def _authorities() -> ssl.SSLContext:
    file, folder = (address.bare(os.environ.get(name, "")) for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"))
    variable, value = ("SSL_CERT_FILE", file) if file else ("SSL_CERT_DIR", folder)
    try:
        if file:
            return ssl.create_default_context(cafile=file)
        if folder and not Path(folder).is_dir():  # OpenSSL would only find no certificate good
            raise NotADirectoryError("it is not a folder")
        return ssl.create_default_context(capath=folder) if folder else httpx.create_ssl_context(trust_env=False)
    except (OSError, ValueError) as error:
        logged = os.environ.get("SSLKEYLOGFILE", "")
        if logged and str(getattr(error, "filename", "")) == logged:
            variable, value = "SSLKEYLOGFILE", logged
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise AgentFailed(
            f"{variable or 'The file of certificates'} is {clean(value, 120)!r}, which cannot be used ({clean(reason, 120)}). "
            f"Correct or unset it."
        ) from error


# -- Ollama -----------------------------------------------------------------------------------------------------------


def to_ollama(host: str | None = None, environ: Mapping[str, str] = os.environ) -> Route:
    """Return the way to the Ollama server: at `host`, else by OLLAMA_HOST. Raises AgentFailed."""
    return route(address.ollama(host if host is not None else environ.get("OLLAMA_HOST", "")))


def ollama_client(way: Route, timeout: httpx.Timeout) -> ollama.AsyncClient:
    """Return a client whose answers are bounded in size. Raises AgentFailed."""
    headers = {**PLAIN, **_authorization()}
    return ollama.AsyncClient(way.server.url, timeout=timeout, headers=headers, event_hooks=HOOKS, **way.options())


def pulling_client(way: Route) -> ollama.Client:
    """Return a client that waits without end, as pulling a model may take hours. Raises AgentFailed."""
    timeout = httpx.Timeout(None, connect=CONNECT_S)
    return ollama.Client(way.server.url, timeout=timeout, headers=_authorization(), **way.options())


def _authorization() -> dict[str, str]:
    value = key("OLLAMA_API_KEY")
    return {"authorization": f"Bearer {value}"} if value else {}


# -- OpenAI -----------------------------------------------------------------------------------------------------------


OPENAI_URL = "https://api.openai.com/v1"


def to_openai(environ: Mapping[str, str] = os.environ) -> Route:
    """Return the way to the endpoint that OPENAI_BASE_URL and OPENAI_API_KEY name. Raises AgentFailed when neither is set."""
    named = address.bare(environ.get("OPENAI_BASE_URL", ""))
    if not named and not key("OPENAI_API_KEY", environ):
        raise AgentFailed("The agent openai needs OPENAI_API_KEY, or OPENAI_BASE_URL of an endpoint without keys.")
    for name in ("OPENAI_API_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"):  # all three go into headers
        key(name, environ)
    return route(address.openai(named or OPENAI_URL))


def key(variable: str, environ: Mapping[str, str] = os.environ) -> str:
    """Return a key, '' where there is none. Raises AgentFailed for one that no request can carry, without showing it."""
    given = environ.get(variable, "")
    value = address.bare(given)
    if given.isspace() or not re.fullmatch(r"[!-~]*", value):
        raise AgentFailed(f"{variable} has spaces or characters that cannot be sent. Correct or unset it.")
    return value
