"""Memory shared by scorer and trainer."""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import tempfile
from typing import Any

import numpy as np

from nanochat.harness.processes import temporary_folder


class Shared:
    """Memory shared by two processes: a map of an anonymous file.

    Args:
        size: Bytes.
        handle: Descriptor of the other process' file; None to make a new one.
    """

    def __init__(self, size: int, handle: int | None = None) -> None:
        self.handle = handle if handle is not None else anonymous_file(size)
        self._map = mmap.mmap(self.handle, size)

    def pin(self) -> bool:
        """Pin the pages, so that copies to and from a GPU are several times faster. Uses CUDA in this process.

        Returns:
            Whether that worked.
        """
        import torch

        start = np.frombuffer(self._map, dtype=np.uint8).ctypes.data
        try:
            runtime: Any = torch.cuda.cudart()  # type: ignore[no-untyped-call]
            if int(runtime.cudaHostRegister(start, len(self._map), 0)) == 0:
                return True
            torch.zeros(1, device="cuda").add_(1)  # raises and so clears the error, which CUDA keeps for the next call
        except RuntimeError:
            pass
        return False

    def array(self, dtype: str, shape: tuple[int, ...]) -> np.ndarray:
        """Return an array over the beginning of the memory."""
        count = int(np.prod(shape))
        return np.frombuffer(self._map, dtype=dtype, count=count).reshape(shape)


def anonymous_file(size: int) -> int:
    """Return the descriptor of a new unnamed file of `size` zero bytes."""
    if hasattr(os, "memfd_create"):
        handle = os.memfd_create("autoresearch", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.ftruncate(handle, size)
        with contextlib.suppress(OSError):  # a trainer that shrank the file would crash the scorer
            fcntl.fcntl(handle, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)
    else:
        with tempfile.TemporaryFile(dir=temporary_folder()) as file:
            handle = os.dup(file.fileno())
        os.ftruncate(handle, size)
    return handle
