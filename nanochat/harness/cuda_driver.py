"""Initialise and query the CUDA driver in a short-lived child process.

After a boot without a display, the first use of CUDA creates the driver's device nodes with a setuid program, which a trainer
may not run. A separate process is needed because a process that has called CUDA cannot fork others that use it.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
from dataclasses import dataclass

WAIT_S = 30.0  # initialising a driver takes seconds on machines with many cards
_VIRTUAL_MEMORY = 102  # CU_DEVICE_ATTRIBUTE_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED in cuda.h
_CODE = f"""
import ctypes
cuda = ctypes.CDLL("libcuda.so.1")
device, supported = ctypes.c_int(), ctypes.c_int(-1)
code = cuda.cuInit(0)
if code == 0 and cuda.cuDeviceGet(ctypes.byref(device), 0) == 0:
    cuda.cuDeviceGetAttribute(ctypes.byref(supported), {_VIRTUAL_MEMORY}, device)
print(code, supported.value)
"""


@dataclass(frozen=True)
class Driver:
    """The driver's answers."""

    error: int  # CUresult of cuInit; 0 is success
    virtual_memory: bool | None  # whether the card supports virtual memory management; None if unknown


def start() -> subprocess.Popen[str]:
    """Start the child that initialises the driver. Pass it to `finish`."""
    return subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", _CODE],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip


def finish(child: subprocess.Popen[str], wait_s: float = WAIT_S) -> Driver | None:
    """Wait for the child and return its answers. Kills it after `wait_s` seconds.

    Returns None without a driver or without an answer.
    """
    try:
        text, _ = child.communicate(timeout=wait_s)
    except subprocess.TimeoutExpired:
        child.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):  # a process that hangs in the driver may survive a kill
            child.wait(1.0)
        assert child.stdout is not None
        child.stdout.close()
        return None
    try:
        error, supported = (int(word) for word in text.split())
    except ValueError:
        return None
    return Driver(error, None if supported < 0 else bool(supported))
