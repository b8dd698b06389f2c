"""Limits the size of a line that an Ollama server sends, since the client reads whole lines into memory."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx

from core.agents.base import AgentFailed

LINE = 8_000_000  # bytes; the longest normal line is an answer of `core.agents.llm.server.LONGEST` characters


class Lines(httpx.AsyncByteStream):
    """A response stream that raises AgentFailed for a line longer than LINE bytes."""

    def __init__(self, stream: httpx.AsyncByteStream) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        async for chunk in self._stream:
            _, newline, after = chunk.rpartition(b"\n")
            size = len(after) if newline else size + len(chunk)
            if size > LINE:
                raise AgentFailed(f"The server sent {size / 1e6:.0f} MB without a line break, which is not an answer.")
            yield chunk

    async def aclose(self) -> None:
        await self._stream.aclose()


async def _bound(response: httpx.Response) -> None:
    """Limit the lines of a response. Raises AgentFailed if it is compressed."""
    if response.headers.get("content-encoding", "identity") != "identity":
        await response.aclose()
        raise AgentFailed("The server sent a compressed answer. It was rejected because its size is not known.")
    assert isinstance(response.stream, httpx.AsyncByteStream)
    response.stream = Lines(response.stream)


HOOKS: dict[str, list[Any]] = {"response": [_bound]}  # for httpx.AsyncClient(event_hooks=...)
PLAIN = {"Accept-Encoding": "identity"}  # no compression, so that the counted size is the real one
