"""Check that torch.compile works in a trainer on this machine, and say which package is missing if it does not.

`python -m nanochat.harness.compile_check --json` compiles one kernel in a forked process with the rights of a GPU trainer. It
uses the GPU if there is one, else the CPU. `--quick` only looks for a compiler and Python's headers; it does not import torch and
takes a tenth of a second.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import sys
import sysconfig
import tempfile
import time
from pathlib import Path

from msgspec import to_builtins
from msgspec.structs import replace

from nanochat.contract.checks import CompilerFinding
from nanochat.sandbox.landlock import PROGRAMS

LIMIT_S = 240.0  # the first kernel may take a minute on a slow machine
NODES = ("nvidia[0-9]*", "nvidiactl", "nvidia-uvm", "dxg", "kfd")  # in /dev
COMPILERS = ("gcc", "clang")  # those that Triton looks for

# Runs in place of train.py and prints what the check needs.
SOURCE = """
import importlib.util
import multiprocessing
import traceback

import torch


def work(x):
    return (torch.nn.functional.rms_norm(x, (64,)).tanh() * 2).sum()


def train(run):
    gpu = torch.cuda.is_available()
    print("device:", torch.cuda.get_device_name() if gpu else "cpu", flush=True)
    try:
        multiprocessing.get_context("fork").Lock()
    except OSError:
        print("no semaphores", flush=True)
    if gpu and importlib.util.find_spec("triton") is None:
        print("no triton", flush=True)
        return work
    x = torch.randn(64, 64, device="cuda" if gpu else "cpu", requires_grad=True)
    try:
        torch.compile(work, dynamic=False)(x).backward()
        print("it compiles", flush=True)
    except BaseException:
        print(traceback.format_exc(), flush=True)
    return work
"""


def lacking() -> CompilerFinding | None:
    """Look for a compiler and Python's headers, which every kernel needs. Returns None if both are there."""
    found = next((path for name in COMPILERS if (path := shutil.which(name))), None)
    if found is None:
        return CompilerFinding(False, "no C compiler (gcc or clang) is on PATH", packages("gcc"))
    if sys.platform == "linux" and not any(Path(found).resolve().is_relative_to(folder) for folder in PROGRAMS):
        where = f"{found} may not run in the sandbox, which allows programs in {', '.join(PROGRAMS)}"
        return CompilerFinding(False, where, f"{packages('gcc')}, and put it first on PATH")
    include = Path(sysconfig.get_paths()["include"])
    if not (include / "Python.h").is_file():
        return _no_headers(include)
    return None


def packages(*names: str) -> str:
    """Return how to install a compiler or headers on common distributions."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    debian = " ".join({"headers": f"python{version}-dev"}.get(name, name) for name in names)
    fedora = " ".join({"headers": "python3-devel"}.get(name, name) for name in names)
    return f"Install it: sudo apt install {debian} (Debian, Ubuntu), sudo dnf install {fedora} (Fedora)"


def _no_headers(include: Path) -> CompilerFinding:
    return CompilerFinding(
        False,
        f"the headers of Python {platform.python_version()} are missing ({include}/Python.h)",
        packages("headers"),
    )


def locked_nodes(dev: Path = Path("/dev")) -> list[Path]:
    """Return the device nodes of GPUs that this user may not open."""
    found = [path for pattern in NODES for path in sorted(dev.glob(pattern))]
    return [path for path in found if not os.access(path, os.R_OK | os.W_OK)]


def attempt() -> CompilerFinding:
    """Compile one kernel in a trainer and return the result. Takes 10 to 60 seconds."""
    if nodes := locked_nodes():
        return CompilerFinding(
            False, f"this user may not use {', '.join(str(node) for node in nodes[:3])}",
            "Add the user to the group that owns them (ls -l /dev/nvidia*; usually video or render), and log in again",
        )  # fmt: skip
    if (finding := lacking()) is not None:
        return finding
    began = time.monotonic()
    return diagnosis(_printed(), time.monotonic() - began)


def _printed() -> str:
    """Run SOURCE in a trainer and return what it printed, followed by the reason if it failed."""
    import torch

    from nanochat.harness.clock import Clock
    from nanochat.harness.preload import preload
    from nanochat.harness.shared import Shared
    from nanochat.harness.trainer import Spec
    from nanochat.harness.trainer_process import Failed, TrainerProcess
    from nanochat.harness.wire import Trained
    from nanochat.sandbox import landlock
    from nanochat.sandbox.libc import LINUX

    torch.set_num_threads(1)
    preload("cuda")
    if LINUX:
        landlock.readable("cuda")
    with tempfile.TemporaryDirectory(prefix="autoresearch-check-") as folder:
        out = Path(folder)
        inputs, outputs = Shared(4096), Shared(4096)
        spec = Spec(
            source=SOURCE, device="cuda", vocab_size=2, seq_len=8, seed=0, budget_s=LIMIT_S, max_steps=None, scratch="",
            memory_limit=None, inputs=inputs.handle, outputs=outputs.handle, clock=Clock().handle, batch=1,
        )  # fmt: skip
        process = TrainerProcess(
            spec, out, memory_limit=None, output_limit=1 << 20, hang_s=LIMIT_S, wall=True, free_s=0.0
        )
        failure = ""
        try:
            process.wait(Trained, lambda: None)
        except Failed as failed:
            failure = f"\n{failed.reason}"
        finally:
            process.end()
        path = out / "output.txt"
        return (path.read_text(encoding="utf-8", errors="replace") if path.exists() else "") + failure


def diagnosis(text: str, seconds: float = 0.0) -> CompilerFinding:
    """Interpret the output of the check. `seconds`: how long it took."""
    found = re.search(r"^device: (.+)$", text, re.M)
    device = found[1].strip() if found else ""
    if old := re.search(r"driver on your system is too old \(found version (\d+)\)", text):
        version = f"{int(old[1]) // 1000}.{int(old[1]) % 1000 // 10}"
        return CompilerFinding(
            False, f"the NVIDIA driver is too old for the installed torch: it knows CUDA {version} at the most",
            "Install a newer driver, or a torch built for that CUDA: rm -r .venv, then make run TORCH_INDEX=URL", device,
        )  # fmt: skip
    if "driver version is insufficient" in text or "unsupported toolchain" in text:
        return CompilerFinding(
            False, "the NVIDIA driver is too old for the installed torch", "Install a newer driver", device
        )
    if "no kernel image is available" in text or "is not compatible with the current PyTorch installation" in text:
        return CompilerFinding(
            False, f"the installed torch has no code for {device or 'this GPU'}",
            "Install a build of torch that supports it: rm -r .venv, then make run TORCH_INDEX=URL", device,
        )  # fmt: skip
    if "Failed to find C compiler" in text or "No working C++ compiler found" in text:
        return CompilerFinding(
            False, "no compiler can be started in the sandbox (gcc with g++, under /usr)", packages("g++"), device
        )
    if re.search(r"Python\.h: No such file|'Python\.h' file not found|Can't find Python\.h", text):
        return replace(_no_headers(Path(sysconfig.get_paths()["include"])), device=device)
    if "no triton" in text:
        return CompilerFinding(
            True, f"triton is not installed, so nothing is compiled for {device}", "pip install triton in .venv makes steps faster",
            device, slow=True,
        )  # fmt: skip
    if "it compiles" in text:
        words = f"one kernel compiled and ran on {device} in the sandbox, in {seconds:.0f} s"
        if "no semaphores" in text:
            return CompilerFinding(
                True, f"{words}; /dev/shm is not available there, so kernels are compiled one after the other",
                "Starts of trainings take longer; user namespaces would help", device, slow=True,
            )  # fmt: skip
        return CompilerFinding(True, words, "", device)
    last = next(
        (
            line.strip()
            for line in reversed(text.splitlines())
            if re.match(r"\s*[\w.]*(Error|Exception|Failed)\b", line)
        ),
        "",
    )
    last = last or next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "no reason was given")
    return CompilerFinding(False, f"a kernel cannot be compiled in the sandbox: {last[:200]}", "", device)


def main() -> None:
    """Print the finding, as one line or as JSON."""
    found = (
        lacking() or CompilerFinding(True, "a compiler and Python's headers are there")
        if "--quick" in sys.argv
        else attempt()
    )
    print(
        json.dumps(to_builtins(found)) if "--json" in sys.argv else f"{found.words}. {found.todo}".rstrip(". "),
        flush=True,
    )


if __name__ == "__main__":
    main()
    sys.stdout.flush()
    os._exit(0)  # skip torch's cleanup, which takes a second
