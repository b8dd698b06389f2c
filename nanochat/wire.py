"""Between scorer and trainer: messages of one fixed size over a socket pair, and shared buffers. Nothing is unpickled."""

from __future__ import annotations

import contextlib
import fcntl
import json
import mmap
import os
import socket
import tempfile
from typing import Any

import numpy as np

from nanochat.processes import temporary_folder

SIZE = 4096  # bytes of every message
MOST = 10**15  # steps, tokens or parameters


class Malformed(Exception):
    """The other side sent something that is no message."""


def pack(message: dict[str, Any]) -> bytes:
    """One message, padded with spaces. Raises ValueError when it is too long."""
    raw = json.dumps(message, allow_nan=True).encode()
    if len(raw) > SIZE:
        raise ValueError("message too long")
    return raw.ljust(SIZE)


def unpack(raw: bytes) -> dict[str, Any]:
    """Raises Malformed."""
    try:
        message = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise Malformed(str(error)) from None
    if not isinstance(message, dict) or not isinstance(message.get("say"), str):
        raise Malformed("no message")
    return message


def number(message: dict[str, Any], name: str) -> float:
    """A number of an untrusted message. Raises Malformed."""
    value = message.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Malformed(f"{name} is no number")
    return float(value)


def count(message: dict[str, Any], name: str) -> int:
    """How many of something, of which no training has more than MOST. Raises Malformed."""
    value = message.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MOST:
        raise Malformed(f"{name} is no count")
    return value


class Inbox:
    """Whole messages out of a stream that may bring them in pieces."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._rest = b""

    def read(self) -> list[dict[str, Any]]:
        """What came since the last call, without waiting. Raises Malformed, or EOFError when the other side is gone."""
        messages: list[dict[str, Any]] = []
        while True:
            try:
                piece = self._end.recv(1 << 16, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return messages
            except OSError:
                raise EOFError from None
            if not piece:
                if messages:
                    return messages
                raise EOFError
            self._rest += piece
            while len(self._rest) >= SIZE:
                messages.append(unpack(self._rest[:SIZE]))
                self._rest = self._rest[SIZE:]
            if len(messages) >= 256:
                return messages


class Shared:
    """Memory that two processes see: an array over an anonymous file."""

    def __init__(self, size: int, handle: int | None = None) -> None:
        self.handle = handle if handle is not None else anonymous_file(size)
        self._map = mmap.mmap(self.handle, size)

    def pin(self) -> bool:
        """Lock the pages, so that a GPU copies from and to them by itself, several times faster. Uses CUDA in this process."""
        import torch

        start = np.frombuffer(self._map, dtype=np.uint8).ctypes.data
        try:
            runtime: Any = torch.cuda.cudart()  # type: ignore[no-untyped-call]
            if int(runtime.cudaHostRegister(start, len(self._map), 0)) == 0:
                return True
            torch.zeros(1, device="cuda").add_(1)  # CUDA keeps the error for whoever looks next: that is this line
        except RuntimeError:
            pass
        return False

    def array(self, dtype: str, shape: tuple[int, ...], offset: int = 0) -> np.ndarray:
        count = int(np.prod(shape))
        return np.frombuffer(self._map, dtype=dtype, count=count, offset=offset).reshape(shape)


def anonymous_file(size: int) -> int:
    """A file descriptor of `size` zero bytes that has no name."""
    if hasattr(os, "memfd_create"):
        handle = os.memfd_create("autoresearch", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.ftruncate(handle, size)
        with contextlib.suppress(OSError):  # so that no trainer can take away the ground from under the scorer
            fcntl.fcntl(handle, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)
    else:
        with tempfile.TemporaryFile(dir=temporary_folder()) as file:
            handle = os.dup(file.fileno())
        os.ftruncate(handle, size)
    return handle
