"""Where the server listens: which hosts are allowed, the socket, and the URL."""

from __future__ import annotations

import errno
import ipaddress
import socket

from core.machine.project import UsageError

NO_TLS = "there is no TLS, so everyone on the way there can read the token and all that is shown"


def check_host(host: str, *, anyone: bool) -> str:
    """Check that a host may be listened on.

    Args:
        host: A name or an address.
        anyone: Whether other machines may reach it.

    Returns:
        A warning as a sentence if other machines can reach it, else ''.

    Raises:
        UsageError: The host is unknown, or other machines can reach it without `anyone`.
    """
    if all(ipaddress.ip_address(address.partition("%")[0]).is_loopback for _, address, _ in _resolve(host, 0)):
        return ""
    if not anyone:
        raise UsageError(
            f"Other machines can reach {host}, and {NO_TLS}. Nothing was started. `ssh -L` to 127.0.0.1 is the safe way; --anyone "
            "allows this one."
        )
    return f"Other machines can reach {host}, and {NO_TLS}."


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens on a host and a port, 0 for a free one. Raises UsageError if that is not possible."""
    family, *place = _resolve(host, port)[0]
    try:
        return socket.create_server(tuple(place), family=family)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise UsageError(
                f"Port {port} of {host} is in use, so nothing was started; --port takes another one, and --port 0 picks a free one."
            ) from error
        raise UsageError(
            f"Port {port} of {host} cannot be listened on ({error.strerror or error}), so nothing was started; --host and --port take "
            "others."
        ) from error


def url(listening: socket.socket, host: str) -> str:
    """Return the URL of a listening socket. An address that stands for all is replaced by the name of this machine."""
    number, port = listening.getsockname()[:2]
    name = socket.gethostname() if ipaddress.ip_address(number.partition("%")[0]).is_unspecified else host
    return f"http://{f'[{name}]' if ':' in name else name}:{port}/"


def _resolve(host: str, port: int) -> list[tuple[socket.AddressFamily, str, int]]:
    """Return the family, address and port of each meaning of a host. Raises UsageError."""
    try:
        addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise UsageError(
            f"The host {host!r} is not known here, so nothing was started; --host takes an address of this machine."
        ) from error
    return [(family, str(place[0]), int(place[1])) for family, _, _, _, place in addresses]
