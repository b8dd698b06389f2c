"""GPU memory that one process creates and lends to another by a file descriptor, through the driver's library.

The scorer creates a piece with `cuMemCreate` and exports it as a POSIX descriptor, which travels over the socket pair that
is there already; the trainer maps it and writes its logits into it. Unlike CUDA's older IPC handles this needs no process
namespace in common. The calls are those of "Virtual Memory Management" in the CUDA driver API, here as of cuda.h 13.0,
unchanged since 10.2. Where a driver cannot do it (WSL2, virtual GPUs), `DeviceMemory` raises NotLent.
"""

from __future__ import annotations

import contextlib
import ctypes
import math
import os
from collections.abc import Iterator
from typing import Any

import torch

LIBRARY = "libcuda.so.1"
_PINNED, _POSIX_DESCRIPTOR, _ON_DEVICE, _READ_WRITE = 1, 1, 1, 3
_u64 = ctypes.c_ulonglong


class NotLent(Exception):
    """This driver cannot lend GPU memory; the message names the call that failed."""


class _Location(ctypes.Structure):  # CUmemLocation
    _fields_ = [("type", ctypes.c_int), ("id", ctypes.c_int)]


class _Properties(ctypes.Structure):  # CUmemAllocationProp
    _fields_ = [
        ("type", ctypes.c_int),
        ("handle_types", ctypes.c_int),
        ("location", _Location),
        ("windows", ctypes.c_void_p),
        ("flags", ctypes.c_ubyte * 8),
    ]


class _Access(ctypes.Structure):  # CUmemAccessDesc
    _fields_ = [("location", _Location), ("flags", ctypes.c_int)]


class DeviceMemory:
    """A piece of the memory of the first visible GPU that two processes can map.

    Make one with `create`, or with `open` from the descriptor of another process' piece. Both use CUDA in this process.
    """

    def __init__(self, driver: Any, handle: int, size: int, descriptor: int | None) -> None:
        """Map the piece behind a handle of the driver. `descriptor`: under which it was exported, None where it was opened."""
        self.descriptor = descriptor
        self._size = size
        self._driver = driver
        address, access = _u64(), _Access(_Location(_ON_DEVICE, 0), _READ_WRITE)
        length, zero = ctypes.c_size_t(size), ctypes.c_size_t(0)
        self._address: int | None = None  # None where nothing is mapped
        try:
            _call(driver, "cuMemAddressReserve", ctypes.byref(address), length, zero, _u64(0), _u64(0))
            _call(driver, "cuMemMap", address, length, zero, _u64(handle), _u64(0))
            self._address = address.value
            _call(driver, "cuMemSetAccess", address, length, ctypes.byref(access), ctypes.c_size_t(1))
        except NotLent:
            self.close()
            raise

    def close(self) -> None:
        """Unmap the memory and close its descriptor. No tensor over it may be used afterwards."""
        if self.descriptor is not None:
            os.close(self.descriptor)
        if self._address is not None:
            self._driver.cuMemUnmap(_u64(self._address), ctypes.c_size_t(self._size))
            self._driver.cuMemAddressFree(_u64(self._address), ctypes.c_size_t(self._size))
        self.descriptor = self._address = None

    @classmethod
    def create(cls, nbytes: int) -> DeviceMemory:
        """At least `nbytes` of new memory. Raises NotLent."""
        driver = _driver()
        properties = _Properties(_PINNED, _POSIX_DESCRIPTOR, _Location(_ON_DEVICE, 0))
        size = _whole(driver, properties, nbytes)
        handle, descriptor = _u64(), ctypes.c_int()
        _call(driver, "cuMemCreate", ctypes.byref(handle), ctypes.c_size_t(size), ctypes.byref(properties), _u64(0))
        with _released(driver, handle):
            _call(driver, "cuMemExportToShareableHandle", ctypes.byref(descriptor), handle, _POSIX_DESCRIPTOR, _u64(0))
            return cls(driver, handle.value, size, descriptor.value)

    @classmethod
    def open(cls, descriptor: int, nbytes: int) -> DeviceMemory:
        """The piece of `nbytes` behind a descriptor that another process' `create` gave. Raises NotLent."""
        driver = _driver()
        properties = _Properties(_PINNED, _POSIX_DESCRIPTOR, _Location(_ON_DEVICE, 0))
        handle = _u64()
        _call(
            driver,
            "cuMemImportFromShareableHandle",
            ctypes.byref(handle),
            ctypes.c_void_p(descriptor),
            _POSIX_DESCRIPTOR,
        )
        with _released(driver, handle):
            return cls(driver, handle.value, _whole(driver, properties, nbytes), None)

    def tensor(self, shape: tuple[int, ...]) -> torch.Tensor:
        """A float32 tensor of that shape over the beginning of the memory, without a copy."""
        assert 4 * math.prod(shape) <= self._size and self._address is not None
        return torch.as_tensor(_View(self, shape), device="cuda")


class _View:
    """What torch.as_tensor reads; it keeps the memory alive."""

    def __init__(self, memory: DeviceMemory, shape: tuple[int, ...]) -> None:
        self._memory = memory
        self.__cuda_array_interface__ = {
            "shape": shape, "typestr": "<f4", "data": (memory._address, False), "strides": None, "version": 3,
        }  # fmt: skip


@contextlib.contextmanager
def _released(driver: Any, handle: _u64) -> Iterator[None]:
    """Give the handle back at the end: what is mapped or exported stays, and what is neither is free again."""
    try:
        yield
    finally:
        driver.cuMemRelease(handle)


def _driver() -> Any:
    """The driver's library, with the context that torch uses made current. Raises NotLent."""
    try:
        torch.zeros(1, device="cuda")
        return ctypes.CDLL(LIBRARY)
    except (OSError, RuntimeError, AssertionError) as error:
        raise NotLent(str(error)) from None


def _whole(driver: Any, properties: _Properties, nbytes: int) -> int:
    """`nbytes` rounded up to the driver's granularity."""
    step = ctypes.c_size_t()
    _call(driver, "cuMemGetAllocationGranularity", ctypes.byref(step), ctypes.byref(properties), 0)
    return -(-nbytes // step.value) * step.value


def _call(driver: Any, name: str, *arguments: Any) -> None:
    try:
        code = getattr(driver, name)(*arguments)
    except AttributeError:
        raise NotLent(f"the driver has no {name}") from None
    if code != 0:
        raise NotLent(f"{name} failed with CUDA error {code}")
