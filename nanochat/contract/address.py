"""Parse the address of a server from an environment variable. Pure."""

from __future__ import annotations

import ipaddress
import re
import socket
from dataclasses import dataclass, field
from urllib.parse import unquote

from nanochat.contract.text import printable

SCHEME_PORTS = {"http": 80, "https": 443}
PROXY_PORTS = {**SCHEME_PORTS, "socks5": 1080, "socks5h": 1080}
SHOWN = 120  # most characters of a value in a message
_NAME = re.compile(r"(?:[A-Za-z0-9_-]{1,63}\.)*[A-Za-z0-9_-]{1,63}\.?")  # longer labels cannot be resolved
_LOOPBACK = {  # names in the default /etc/hosts of common systems, or built into resolvers
    "localhost", "localhost.localdomain", "ip6-localhost", "ip6-loopback", "localhost4", "localhost6",
    "localhost4.localdomain4", "localhost6.localdomain6",
}  # fmt: skip
_ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # address to listen on -> address that reaches it


class SettingError(Exception):
    """An environment variable has an unusable value. The message names the variable and hides passwords."""


@dataclass(frozen=True)
class Address:
    """The address of a server.

    `host` is ASCII; an IPv6 address has no brackets. `path` is empty or begins with a slash.
    """

    scheme: str
    host: str
    port: int
    path: str = ""
    user: str = field(default="", repr=False)
    password: str = field(default="", repr=False)

    @property
    def url(self) -> str:
        """The address as a URL with its port, without user and password."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}{self.path}"

    @property
    def loopback(self) -> bool:
        """Whether the host is a loopback address or a name of one."""
        name = self.host.lower().rstrip(".")
        ip = as_ip(name)
        return ip.is_loopback if ip else name in _LOOPBACK or name.endswith(".localhost")


def base_url(variable: str, text: str) -> Address:
    """Parse a base URL. Only addresses of this machine may omit the scheme. Raises SettingError."""
    found = parse(variable, text, without_scheme=SCHEME_PORTS["http"])
    if "://" not in text and not found.loopback:  # a forgotten scheme must not send data unencrypted
        raise _error(variable, text, "it needs http:// or https:// in front")
    return found


def proxy(variable: str, text: str) -> Address:
    """Parse the address of a proxy. The scheme is http, https, socks5 or socks5h. Raises SettingError."""
    return parse(variable, text, without_scheme=80, ports=PROXY_PORTS)


def bare(text: str) -> str:
    """Remove the spaces and quotes that settings files leave around a value."""
    return text.strip().strip("\"'").strip()


def shown(text: str) -> str:
    """Return a value for a message: one line, in quotes, with anything that could be a password masked."""
    scheme, rest = re.fullmatch(r"([A-Za-z0-9+.-]*://)?(.*)", bare(text), re.DOTALL).groups("")  # type: ignore[union-attr]
    _, user, rest = rest.rpartition("@")
    rest, query, _ = rest.partition("?")
    words = printable(f"{scheme}{'***@' if user else ''}{rest}{'?***' if query else ''}")
    return f"'{words if len(words) <= SHOWN else words[: SHOWN - 1] + '…'}'"


def as_ip(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Parse an IP address; None for a host name. Accepts the old short forms of IPv4, such as 127.1."""
    try:
        found = ipaddress.ip_address(host)
    except ValueError:
        if not re.fullmatch(r"[0-9a-fA-FxX.]+", host):
            return None
        try:
            return ipaddress.IPv4Address(socket.inet_aton(host))
        except (OSError, ValueError):
            return None
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return mapped or found


def _error(variable: str, text: str, why: str) -> SettingError:
    return SettingError(
        f"{variable} is {shown(text)}, which is not the address of a server: {why}. Correct or unset it."
    )


def parse(variable: str, text: str, without_scheme: int, ports: dict[str, int] = SCHEME_PORTS) -> Address:
    """Parse the address in a variable's value.

    An address to listen on (0.0.0.0, [::]) is replaced by the loopback address. A missing host means this machine.

    Args:
        variable: Name of the variable, for messages.
        text: Value of the variable.
        without_scheme: Port to use when neither a scheme nor a port is given.
        ports: Allowed schemes and their default ports.

    Raises:
        SettingError: The value is not the address of a server.
    """
    value = bare(text)
    before, mark, rest = value.partition("://")
    scheme = before.lower() if mark else "http"
    rest = rest if mark else value
    if scheme not in ports:
        raise _error(variable, text, f"it must begin with {' or '.join(f'{name}://' for name in ports)}")
    if "?" in rest or "#" in rest or "://" in rest:
        raise _error(variable, text, "it has more parts than scheme, host, port and path")
    if not mark and re.search(r"//|:/.|:\\", rest):
        raise _error(variable, text, f"a scheme is followed by ://, as in {next(iter(ports))}://HOST:PORT")
    place, _, path = rest.partition("/")
    credentials, _, place = place.rpartition("@")
    user, _, password = credentials.partition(":")
    host, port = _split(place)
    if host.lower().rstrip(".") in PROXY_PORTS:
        raise _error(variable, text, f"a scheme is followed by ://, as in {next(iter(ports))}://HOST:PORT")
    if not host and not port and path.strip("/"):
        raise _error(variable, text, "it has a path and no host")
    if "[" in host + port or "]" in host + port:
        raise _error(variable, text, "its brackets do not match")
    if port and not (port.isascii() and port.isdecimal() and 0 < int(port[:9]) < 65536):
        more = ", and an IPv6 address before it needs brackets" if ":" in port else ""
        raise _error(variable, text, f"the port must be a number from 1 to 65535{more}")
    path = f"/{path.strip('/')}" if path.strip("/") else ""
    return Address(
        scheme=scheme,
        host=_host(variable, text, host),
        port=int(port) if port else (ports[scheme] if mark else without_scheme),
        path=_path(variable, text, path),
        user=unquote(user),
        password=unquote(password),
    )


def _split(place: str) -> tuple[str, str]:
    """Split into host (without brackets) and port ('' if none is given)."""
    if match := re.fullmatch(r"\[([^\[\]]*)\](?::(.*))?", place, re.DOTALL):
        return match[1], match[2] or ""
    if as_ip(place.partition("%")[0]) and place.count(":") > 1:
        return place, ""
    host, _, port = place.partition(":")
    return host, port


def _host(variable: str, text: str, host: str) -> str:
    """Return the host in ASCII; an address to listen on is replaced by one that can be reached."""
    address, percent, zone = host.partition("%")
    ip = as_ip(address)
    if ip is not None and percent:
        zone = zone.removeprefix("25")  # "%25" is a percent sign quoted as in a URL
        if ip.version == 4 or not re.fullmatch(r"[\w.-]{1,32}", zone, re.ASCII):
            raise _error(variable, text, "its host is neither a name nor an IP address")
        return f"{ip}%{zone}"
    if ip is not None:
        return _ANY_ADDRESS.get(str(ip), str(ip))
    if not host:
        return "127.0.0.1"
    name = host.lower() if host.isascii() else _ascii(host)
    if not _NAME.fullmatch(name) or len(name) > 253:
        raise _error(variable, text, "its host is neither a name nor an IP address")
    return name


def _ascii(host: str) -> str:
    """Encode an international name for DNS; '' for an invalid name."""
    import idna  # large and rarely needed

    try:
        return idna.encode(host.lower()).decode("ascii")
    except UnicodeError:  # the base class of idna.IDNAError
        return ""


def _path(variable: str, text: str, path: str) -> str:
    if not path.isprintable() or " " in path:
        raise _error(variable, text, "its path has spaces or invisible characters")
    return path
