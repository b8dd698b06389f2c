"""An HTTP proxy that writes down what it is asked for, and refuses it."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class Recorded:
    """`asked` has the request lines, `headers` all that came with them."""

    url: str
    asked: list[str] = field(default_factory=list)
    headers: list[str] = field(default_factory=list)


@contextmanager
def proxy() -> Iterator[Recorded]:
    """A running proxy."""

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            found.asked.append(self.rfile.readline().decode().strip())
            while line := self.rfile.readline().decode().strip():
                found.headers.append(line)
            self.wfile.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 9\r\nConnection: close\r\n\r\nno entry\n")

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        found = Recorded(f"http://127.0.0.1:{server.server_address[1]}")
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield found
        finally:
            server.shutdown()
            thread.join()
