"""GPU memory lent by a descriptor, through a stand-in for the driver's library that checks every argument.

`tests/fake_libcuda.c` is compiled against the declarations of the real cuda.h where that is installed.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from nanochat.harness import lent

SOURCE = Path(__file__).resolve().parents[2] / "fake_libcuda.c"
SIZE = 3 << 20  # not a whole number of the driver's pieces


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler here")
    made = tmp_path_factory.mktemp("driver") / "libcuda.so.1"
    include = ["-I/usr/local/cuda/include"]
    subprocess.run([compiler, "-shared", "-fPIC", "-Werror", *include, "-o", str(made), str(SOURCE)], check=True)
    return ctypes.CDLL(str(made))


@pytest.fixture(autouse=True)
def driver(library: ctypes.CDLL, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lent, "_driver", lambda: library)


def bytes_of(memory: lent.DeviceMemory) -> ctypes.Array[ctypes.c_char]:
    assert memory._address is not None
    return (ctypes.c_char * SIZE).from_address(memory._address)


def test_what_the_borrower_writes_is_the_lenders_to_read() -> None:
    memory = lent.DeviceMemory.create(SIZE)
    assert memory.descriptor is not None
    ours, theirs = socket.socketpair()
    child = os.fork()
    if child == 0:
        try:
            _, (descriptor,), _, _ = socket.recv_fds(theirs, 16, 1)
            bytes_of(lent.DeviceMemory.open(descriptor, SIZE))[SIZE - 5 :] = b"hello"
            theirs.sendall(b"done")
        finally:
            os._exit(0)
    theirs.close()
    socket.send_fds(ours, [b"take it"], [memory.descriptor])
    os.close(memory.descriptor)
    assert ours.recv(4) == b"done"
    os.waitpid(child, 0)
    assert bytes_of(memory)[SIZE - 5 :] == b"hello"


def test_torch_gets_the_address_of_the_memory() -> None:
    memory = lent.DeviceMemory.create(SIZE)
    told = lent._View(memory, (2, 3)).__cuda_array_interface__
    assert told["data"] == (memory._address, False) and told["shape"] == (2, 3) and told["typestr"] == "<f4"


def test_a_full_gpu_lends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_LIBCUDA_FULL", "1")
    with pytest.raises(lent.NotLent, match="cuMemCreate failed with CUDA error 2"):
        lent.DeviceMemory.create(SIZE)


def test_memory_that_cannot_be_exported_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_LIBCUDA_NO_EXPORT", "1")
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(lent.NotLent, match="cuMemExportToShareableHandle"):
        lent.DeviceMemory.create(SIZE)
    assert len(os.listdir("/proc/self/fd")) == before


def test_only_the_descriptor_stays_open() -> None:
    before = len(os.listdir("/proc/self/fd"))
    memory = lent.DeviceMemory.create(SIZE)
    assert memory.descriptor is not None and len(os.listdir("/proc/self/fd")) == before + 1
    bytes_of(memory)[:3] = b"yes"
    address = f"{memory._address:x}-"
    assert address in Path("/proc/self/maps").read_text()
    memory.close()
    assert len(os.listdir("/proc/self/fd")) == before and address not in Path("/proc/self/maps").read_text()


def test_a_descriptor_of_something_else_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "short").open("wb") as file, pytest.raises(lent.NotLent, match="cuMemMap"):
        lent.DeviceMemory.open(file.fileno(), SIZE)


def test_a_driver_without_the_calls_lends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lent, "_driver", lambda: ctypes.CDLL(None))
    with pytest.raises(lent.NotLent, match="no cuMem"):
        lent.DeviceMemory.create(SIZE)


def test_without_a_driver_nothing_is_lent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    if shutil.which("nvidia-smi") is not None:
        pytest.skip("here is a GPU")
    with pytest.raises(lent.NotLent):
        lent.DeviceMemory.create(SIZE)
