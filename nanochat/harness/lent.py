"""Share GPU memory between two processes by a file descriptor, with the CUDA driver API.

The scorer allocates memory with `cuMemCreate`, exports it as a POSIX descriptor and sends that over the socket pair. The trainer
maps it and writes its logits there. Unlike CUDA's older IPC handles, this does not need a common process namespace.

The functions are those of "Virtual Memory Management" in the CUDA driver API, as of cuda.h 13.0 and unchanged since 10.2. If a
driver does not support them (WSL2, virtual GPUs), `DeviceMemory` raises NotLent.
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
    """This driver cannot share GPU memory. The message names the failed call."""


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
    """Memory of the first visible GPU that two processes can map.

    Allocate it with `create`, and map it in another process with `open`. Both use CUDA in this process.
    """

    def __init__(self, driver: Any, handle: int, size: int, descriptor: int | None) -> None:
        """Map an allocation.

        Args:
            driver: The driver's library.
            handle: The driver's handle of the allocation.
            size: Bytes, a multiple of the driver's granularity.
            descriptor: The exported descriptor; None in the process that opened it.

        Raises:
            NotLent: A call failed.
        """
        self.descriptor = descriptor
        self._size = size
        self._driver = driver
        address, access = _u64(), _Access(_Location(_ON_DEVICE, 0), _READ_WRITE)
        length, zero = ctypes.c_size_t(size), ctypes.c_size_t(0)
        self._address: int | None = None  # None if nothing is mapped
        try:
            _call(driver, "cuMemAddressReserve", ctypes.byref(address), length, zero, _u64(0), _u64(0))
            _call(driver, "cuMemMap", address, length, zero, _u64(handle), _u64(0))
            self._address = address.value
            _call(driver, "cuMemSetAccess", address, length, ctypes.byref(access), ctypes.c_size_t(1))
        except NotLent:
            self.close()
            raise

    def close(self) -> None:
        """Unmap the memory and close its descriptor. Tensors over it must not be used afterwards."""
        if self.descriptor is not None:
            os.close(self.descriptor)
        if self._address is not None:
            self._driver.cuMemUnmap(_u64(self._address), ctypes.c_size_t(self._size))
            self._driver.cuMemAddressFree(_u64(self._address), ctypes.c_size_t(self._size))
        self.descriptor = self._address = None

    @classmethod
    def create(cls, nbytes: int) -> DeviceMemory:
        """Allocate at least `nbytes`. Raises NotLent."""
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
        """Map the `nbytes` that another process created, by its descriptor. Raises NotLent."""
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
        """Return a float32 tensor of that shape over the start of the memory, without a copy."""
        assert 4 * math.prod(shape) <= self._size and self._address is not None
        return torch.as_tensor(_View(self, shape), device="cuda")


class _View:
    """The array interface that torch.as_tensor reads. Keeps a reference to the memory."""

    def __init__(self, memory: DeviceMemory, shape: tuple[int, ...]) -> None:
        self._memory = memory
        self.__cuda_array_interface__ = {
            "shape": shape, "typestr": "<f4", "data": (memory._address, False), "strides": None, "version": 3,
        }  # fmt: skip


@contextlib.contextmanager
def _released(driver: Any, handle: _u64) -> Iterator[None]:
    """Release the handle at the end. The driver frees the memory when it is no longer mapped or exported."""
    try:
        yield
    finally:
        driver.cuMemRelease(handle)


def _driver() -> Any:
    """Return the driver's library, with torch's context as the current one. Raises NotLent."""
    try:
        torch.zeros(1, device="cuda")
        return ctypes.CDLL(LIBRARY)
    except (OSError, RuntimeError, AssertionError) as error:
        raise NotLent(str(error)) from None


def _whole(driver: Any, properties: _Properties, nbytes: int) -> int:
    """Round `nbytes` up to the driver's granularity. Raises NotLent."""
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
