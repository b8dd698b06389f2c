"""A bound on what an Ollama server may send: an answer without a line break would fill the memory before any limit on its words
counts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx

from core.agents.base import AgentFailed

LINE = 8_000_000  # bytes; the longest honest line is an answer of `core.agents.llm.chat.LONGEST` characters


class Lines(httpx.AsyncByteStream):
    """A response's bytes as they come, for as long as line breaks come too. Raises AgentFailed."""

    def __init__(self, stream: httpx.AsyncByteStream) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        async for chunk in self._stream:
            _, found, after = chunk.rpartition(b"\n")
            size = len(after) if found else size + len(chunk)
            if size > LINE:
                raise AgentFailed(f"The server sent {size / 1e6:.0f} MB without a line break, which is no answer.")
            yield chunk

    async def aclose(self) -> None:
        await self._stream.aclose()


async def _bound(response: httpx.Response) -> None:
    """Raises AgentFailed."""
    if response.headers.get("content-encoding", "identity") != "identity":
        await response.aclose()
        raise AgentFailed("The server sent a packed answer, whose size nobody can tell.")
    assert isinstance(response.stream, httpx.AsyncByteStream)
    response.stream = Lines(response.stream)


HOOKS: dict[str, list[Any]] = {"response": [_bound]}  # for httpx.AsyncClient(event_hooks=...)
PLAIN = {"Accept-Encoding": "identity"}  # asked for with every request, so that what is counted is what is kept
