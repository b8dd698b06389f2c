"""Memory that scorer and trainer both see."""

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
