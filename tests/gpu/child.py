"""Run by support.in_child in a process of its own: python -m tests.gpu.child WHAT --device cuda. Prints one line of JSON.

What is tried here needs processes that fork before CUDA is used, which a test process that other tests share cannot promise.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional

from nanochat.harness import crashes, cuda_driver, gpu
from nanochat.harness.preload import preload
from nanochat.sandbox.libc import die_with_parent, set_dumpable
from nanochat.sandbox.namespaces import enter_namespaces, mount_proc
from nanochat.sandbox.rights import drop_rights

Report = dict[str, Any]
HUGE = 10**12  # bytes that no card has


def reported(work: Callable[[], Report]) -> Report:
    """What `work` returns, or its error in words."""
    try:
        return work()
    except BaseException as error:
        return {"error": f"{type(error).__name__}: {error}"[:300]}


def sandboxed(work: Callable[[], Report], device: str, *, namespaces: bool = True, rights: bool = True) -> Report:
    """Run `work` in a grandchild that entered these parts of the sandbox in the order that a trainer does."""
    reader, writer = os.pipe()
    scratch = tempfile.mkdtemp(prefix="autoresearch-test-")
    child = os.fork()
    if child == 0:
        try:
            die_with_parent()
            set_dumpable(True)
            new = namespaces and "pid" not in enter_namespaces(device == "cuda")
            if os.fork() == 0:
                die_with_parent()
                if new and device == "cuda":
                    mount_proc()
                os.chdir(scratch)
                os.environ |= {"HOME": scratch, "TMPDIR": scratch}
                tempfile.tempdir = None
                missing: tuple[str, ...] = ()
                if rights:
                    missing = drop_rights(write=[Path(scratch)], device=device, memory_limit=None)
                os.write(writer, json.dumps(reported(work) | {"missing": missing}).encode())
            else:
                os.wait()
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as answer:
        text = answer.read()
    os.waitpid(child, 0)
    shutil.rmtree(scratch, ignore_errors=True)
    return json.loads(text) if text else {"error": "the process ended without a report"}


def synchronize(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


# -- the sandbox part by part -----------------------------------------------------------------------------------------


def multiply(device: str) -> Report:
    ones = torch.ones(512, 512, device=device)
    fast = device == "cpu" or torch.cuda.get_device_capability()[0] >= 8  # as train.py decides
    low = torch.ones(64, 64, device=device, dtype=torch.bfloat16 if fast else torch.float32)
    return {"sum": float((ones @ ones).sum()), "low": float((low @ low).sum())}


def parts(device: str) -> Report:
    """The same product of matrices under each part of the sandbox, and under all of them."""
    return {
        f"{'namespaces' if namespaces else ''} {'rights' if rights else ''}".strip() or "none": sandboxed(
            lambda: multiply(device), device, namespaces=namespaces, rights=rights
        )
        for namespaces in (False, True)
        for rights in (False, True)
    }


def start_driver(device: str) -> Report:
    """What the fork server does for a GPU before it forks: start the driver in a child, import the compiler."""
    child = cuda_driver.start()
    preload(device)
    driver = cuda_driver.finish(child)
    initialised = torch.cuda.is_initialized()
    return {
        "error": None if driver is not None and driver.error == 0 else f"the driver answered {driver}",
        "nodes": sorted(path.name for path in Path("/dev").glob("nvidia*")),
        "initialised_here": initialised,
        "threads": len(os.listdir("/proc/self/task")),
        "afterwards": sandboxed(lambda: multiply(device), device),
    }


# -- out of memory behind an open driver library ----------------------------------------------------------------------


def too_much(device: str) -> Report:
    began = time.monotonic()
    try:
        torch.empty(HUGE, dtype=torch.uint8, device=device)
    except BaseException as error:
        known = crashes.out_of_memory(error)
        return {
            "type": type(error).__name__,
            "known": known,
            "seconds": time.monotonic() - began,
            "words": str(error)[:300],
        }
    return {"error": "it had room"}


def memory(device: str) -> Report:
    """The scorer reads the card by NVML before it forks; then the trainer runs out of memory."""
    reading = gpu.read()
    return {"used": reading.used if reading else None, "fork": sandboxed(lambda: too_much(device), device)}


# -- memory lent by descriptor ----------------------------------------------------------------------------------------


def lend(device: str) -> Report:
    """The scorer lends a piece of the card's memory by descriptor to a sandboxed trainer, and computes on its own copy."""
    import nanochat.harness.lent  # noqa: F401  before the fork, as the fork server does

    shape = (64, 1024, 256)
    nbytes = int(np.prod(shape)) * 4
    ours, theirs = socket.socketpair()
    reader, writer = os.pipe()
    child = os.fork()  # before CUDA is used here
    if child == 0:
        ours.close()
        borrower = sandboxed(lambda: _borrow(theirs, shape, nbytes, device), device)
        os.write(writer, json.dumps(borrower).encode())
        os._exit(0)
    theirs.close()
    os.close(writer)
    ours.settimeout(60)
    report: Report = reported(lambda: _lend(ours, shape, nbytes, device))
    ours.close()
    with os.fdopen(reader) as answer:
        report["borrower"] = json.loads(answer.read() or "{}")
    os.waitpid(child, 0)
    return report


def _lend(end: socket.socket, shape: tuple[int, ...], nbytes: int, device: str) -> Report:
    from nanochat.harness.lent import DeviceMemory

    lent = DeviceMemory.create(nbytes)
    assert lent.descriptor is not None
    view = lent.tensor(shape)
    view.zero_()
    synchronize(device)
    socket.send_fds(end, [b"take it"], [lent.descriptor])
    written = end.recv(16)
    began = time.perf_counter()
    private = view.clone()
    synchronize(device)
    spent = time.perf_counter() - began
    end.sendall(b"cloned")
    again = end.recv(16)
    synchronize(device)
    values = [float(private.flatten()[0]), float(private.flatten()[-1]), float(private.mean())]
    changed = float(view.flatten()[-1])
    gone = end.recv(16)  # empty: the borrower has ended
    after = float(view.sum()) / private.numel()
    return {
        "written": written.decode(), "again": again.decode(), "private": values, "lent_later": changed, "copy_s": spent,
        "borrower_gone": gone == b"", "readable_afterwards": after,
    }  # fmt: skip


def _borrow(end: socket.socket, shape: tuple[int, ...], nbytes: int, device: str) -> Report:
    from nanochat.harness.lent import DeviceMemory

    _, handles, _, _ = socket.recv_fds(end, 16, 1)
    view = DeviceMemory.open(handles[0], nbytes).tensor(shape)
    before = float(view.sum())
    view.copy_(torch.full(shape, 7.0, device=device))
    synchronize(device)
    end.sendall(b"written")
    end.recv(16)
    view.fill_(9.0)  # what is written after the copy must not reach it
    synchronize(device)
    end.sendall(b"again")
    return {"before": before}


WHAT: dict[str, Callable[[str], Report]] = {
    "parts": parts,
    "start-driver": start_driver,
    "memory": memory,
    "lend": lend,
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=tuple(WHAT))
    parser.add_argument("--device", default="cuda")
    options = parser.parse_args()
    torch.set_num_threads(1)
    preload()
    print(json.dumps(WHAT[options.what](options.device)), flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()
