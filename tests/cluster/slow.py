"""A slow network on loopback: a TCP proxy with a delay and a limit of bytes per second, which can be cut."""

from __future__ import annotations

import asyncio
import contextlib
import math
import threading
from collections.abc import Iterator

HOST = "127.0.0.1"
CHUNK = 64 << 10  # bytes that are passed on at once


class SlowProxy:
    """Passes on connections to a port of this machine.

    Args:
        port: The port behind it.
        delay_s: Seconds that each chunk waits.
        bytes_per_s: The most bytes in a second, for each direction of a connection.

    Attributes:
        port: Its own port.
        passed: Bytes that were passed on, in both directions.
    """

    def __init__(self, port: int, *, delay_s: float = 0.0, bytes_per_s: float = math.inf) -> None:
        self._behind, self._delay_s, self._bytes_per_s = port, delay_s, bytes_per_s
        self.port = self.passed = 0
        self._open: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Accept connections, on the same port as before."""
        self._server = await asyncio.start_server(self._accept, HOST, self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def cut(self) -> None:
        """End all connections, and refuse new ones until `start`."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in list(self._open):
            writer.transport.abort()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there_reader, there_writer = await asyncio.open_connection(HOST, self._behind)
        except OSError:
            writer.transport.abort()
            return
        self._open |= {writer, there_writer}
        try:
            await asyncio.gather(self._pass(reader, there_writer), self._pass(there_reader, writer))
        finally:
            self._open -= {writer, there_writer}

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass on one direction until it ends."""
        with contextlib.suppress(OSError):
            while data := await reader.read(CHUNK):
                await asyncio.sleep(self._delay_s + len(data) / self._bytes_per_s)
                self.passed += len(data)  # before the receiver can have it
                writer.write(data)
                await writer.drain()
        with contextlib.suppress(OSError):
            writer.close()


class Running:
    """A proxy whose work is done in a thread, so that a test may wait for other things."""

    def __init__(self, proxy: SlowProxy, loop: asyncio.AbstractEventLoop) -> None:
        self._proxy, self._loop = proxy, loop

    @property
    def port(self) -> int:
        return self._proxy.port

    @property
    def passed(self) -> int:
        return self._proxy.passed

    def cut(self) -> None:
        asyncio.run_coroutine_threadsafe(self._proxy.cut(), self._loop).result(30)

    def heal(self) -> None:
        asyncio.run_coroutine_threadsafe(self._proxy.start(), self._loop).result(30)


@contextlib.contextmanager
def slow(port: int, *, delay_s: float = 0.0, bytes_per_s: float = math.inf) -> Iterator[Running]:
    """A running proxy before a port."""
    loop, proxy = asyncio.new_event_loop(), SlowProxy(port, delay_s=delay_s, bytes_per_s=bytes_per_s)
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    running = Running(proxy, loop)
    try:
        running.heal()
        yield running
    finally:
        running.cut()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()
