"""Read proxy and certificates for a server from the environment.

HTTP clients would read these variables themselves and fail with a traceback on an unusable value. So they get the
settings from here instead.
"""

from __future__ import annotations

import contextlib
import importlib.util
import ipaddress
import os
import re
import socket
import ssl
import threading
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Required, TypedDict, cast
from urllib.parse import quote

from nanochat.contract import address
from nanochat.contract.address import Address, SettingError
from nanochat.contract.text import printable

RESOLVED_S = 2.0  # enough to resolve a name of this machine, which needs only a file or a local service
PROBED_PORT = 9  # UDP port; nothing is sent to it


class TransportOptions(TypedDict, total=False):
    """Keyword arguments of `httpx.HTTPTransport`."""

    trust_env: Required[bool]
    verify: Required[ssl.SSLContext]
    proxy: str


class ClientOptions(TransportOptions, total=False):
    """Keyword arguments of `httpx.Client`."""

    auth: tuple[str, str]  # user and password


@dataclass(frozen=True)
class Route:
    """How to reach a server. `proxy` is None for a direct connection; `variable` is where the proxy was set."""

    server: Address
    proxy: Address | None = None
    variable: str = ""

    @property
    def words(self) -> str:
        """Server and proxy for messages, without passwords."""
        return f"{self.server.url}{self.through}"

    @property
    def through(self) -> str:
        """The proxy for messages, with a leading space; '' for a direct connection."""
        return f" through the proxy {self.proxy.url} ({self.variable})" if self.proxy else ""

    def options(self) -> ClientOptions:
        """Return keyword arguments for `httpx.Client`. Raises SettingError."""
        options = cast(ClientOptions, self.transport())  # `auth` is not required
        if self.server.user or self.server.password:
            options["auth"] = (self.server.user, self.server.password)
        return options

    def transport(self) -> TransportOptions:
        """Return keyword arguments for `httpx.HTTPTransport`. Raises SettingError.

        Certificates are required only for encrypted connections.
        """
        encrypted = "https" in (self.server.scheme, self.proxy.scheme if self.proxy else "")
        options: TransportOptions = {"trust_env": False, "verify": _certificates(encrypted)}
        if self.proxy:
            if self.proxy.scheme.startswith("socks") and importlib.util.find_spec("socksio") is None:
                raise SettingError(
                    f"{self.variable} names a SOCKS proxy, which needs the package socksio. "
                    f"`.venv/bin/python -m pip install socksio` installs it; or unset {self.variable}."
                )
            user = ":".join(quote(part, safe="") for part in (self.proxy.user, self.proxy.password))
            scheme, _, place = self.proxy.url.partition("://")
            options["proxy"] = f"{scheme}://{f'{user}@' if user.strip(':') else ''}{place}"
        return options


def route(server: Address) -> Route:
    """Return the route to a server by the proxy variables. Servers on this machine need no proxy. Raises SettingError."""
    proxies = urllib.request.getproxies()  # on a Mac also those of the system settings
    value = next((found for scheme in (server.scheme, "all") if (found := address.bare(proxies.get(scheme, "")))), "")
    if not value or _excepted(server, proxies.get("no", "")) or here(server):
        return Route(server)
    names = (f"{scheme}_proxy" for scheme in (server.scheme, "all"))
    variable = next(
        (n for name in names for n in (name, name.upper()) if address.bare(os.environ.get(n, "")) == value),
        "the system's proxy",
    )
    return Route(server, address.proxy(variable, value), variable)


def here(server: Address) -> bool:
    """Return whether an address belongs to this machine: loopback, an address of an interface, or a name for one.

    A name is resolved, which may take up to `RESOLVED_S` seconds.
    """
    if server.loopback:
        return True
    host = server.host.lower()
    if address.as_ip(host.partition("%")[0]) is not None:
        return _own(host)
    own = socket.gethostname().lower()
    if host.rstrip(".") in {own, own.partition(".")[0], f"{own.partition('.')[0]}.local"}:
        return True
    found = _resolved(host)
    return bool(found) and all(_own(ip) for ip in found)


def _own(ip: str) -> bool:
    """Return whether an IP address belongs to this machine: packets to it then have the same source address."""
    text, _, _ = ip.partition("%")
    value = address.as_ip(text)
    if value is None or value.is_loopback:
        return value is not None
    try:
        family, kind, _, _, place = socket.getaddrinfo(ip, PROBED_PORT, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind) as probe:
            probe.connect(place)
            return address.as_ip(probe.getsockname()[0].partition("%")[0]) == value
    except (OSError, UnicodeError):
        return False


def _resolved(name: str) -> list[str]:
    """Return the IP addresses of a name; an empty list if resolving takes longer than `RESOLVED_S`."""
    found: list[str] = []

    def resolve() -> None:
        with contextlib.suppress(OSError, UnicodeError):
            found.extend(str(entry[4][0]) for entry in socket.getaddrinfo(name, None, type=socket.SOCK_STREAM))

    thread = threading.Thread(target=resolve, daemon=True)
    thread.start()
    thread.join(RESOLVED_S)
    return list(found)


def _excepted(server: Address, no_proxy: str) -> bool:
    """Return whether NO_PROXY lists a server: as *, domain, name, IP address or network, each with or without a port."""
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
    """Return the context for checking certificates. Raises SettingError if it is `required` and cannot be made."""
    try:
        return _authorities()
    except SettingError:
        if required:
            raise
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # trusts no certificate, in case the server redirects to https


def _authorities() -> ssl.SSLContext:
    import certifi  # imported late, since most runs need no network

    file, folder = (address.bare(os.environ.get(name, "")) for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"))
    variable, value = "The file of the package certifi", certifi.where()
    if file or folder:
        variable, value = ("SSL_CERT_FILE", file) if file else ("SSL_CERT_DIR", folder)
    try:
        if folder and not file:
            if not Path(folder).is_dir():  # OpenSSL would only reject every certificate
                raise NotADirectoryError("it is not a folder")
            return ssl.create_default_context(capath=folder)
        return ssl.create_default_context(cafile=value)
    except (OSError, ValueError) as error:
        logged = os.environ.get("SSLKEYLOGFILE", "")
        if logged and str(getattr(error, "filename", "")) == logged:
            variable, value = "SSLKEYLOGFILE", logged
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise SettingError(
            f"{variable} is '{printable(value)[:120]}', which cannot be used ({printable(reason)[:120]}). "
            f"Correct or unset it."
        ) from error
