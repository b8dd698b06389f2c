"""What the fork server does before its first job on a GPU: imports without CUDA, and a driver that a child has initialised."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from core.execution.local import harness_environment
from nanochat.harness import cuda_driver
from nanochat.harness.cuda_driver import Driver
from tests.conftest import ROOT

LIBRARY = """
#include <stdlib.h>
#include <unistd.h>
static int asked(const char *name, int otherwise) { const char *text = getenv(name); return text ? atoi(text) : otherwise; }
int cuInit(unsigned flags) { sleep(asked("FAKE_HANGS", 0)); return asked("FAKE_ERROR", 0); }
int cuDeviceGet(int *device, int number) { *device = number; return 0; }
int cuDeviceGetAttribute(int *value, int attribute, int device) { *value = attribute == 102 ? asked("FAKE_VIRTUAL", 1) : 7; return 0; }
"""


@pytest.fixture
def driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A library with the driver's name, before any other in the loader's search."""
    compiler = shutil.which("gcc")
    if compiler is None:
        pytest.skip("there is no C compiler here to make a library that stands for the driver")
    (tmp_path / "cuda.c").write_text(LIBRARY)
    path = tmp_path / "libcuda.so.1"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", str(path), str(tmp_path / "cuda.c")], check=True)
    monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path))
    return path


@pytest.mark.parametrize(
    ("settings", "found"),
    [
        ({}, Driver(0, True)),
        ({"FAKE_VIRTUAL": "0"}, Driver(0, False)),
        ({"FAKE_ERROR": "999"}, Driver(999, None)),
    ],
)
def test_a_child_initialises_the_driver_and_tells_what_it_said(
    driver: Path, settings: dict[str, str], found: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    assert cuda_driver.finish(cuda_driver.start()) == found
    assert str(driver) not in Path("/proc/self/maps").read_text()


def test_a_driver_that_hangs_is_given_up(driver: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_HANGS", "600")
    child, began = cuda_driver.start(), time.monotonic()
    assert cuda_driver.finish(child, 0.5) is None
    assert time.monotonic() - began < 60 and not psutil.pid_exists(child.pid)


def test_without_a_driver_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda_driver, "_CODE", cuda_driver._CODE.replace("libcuda.so.1", "libno-such-driver.so.1"))
    assert cuda_driver.finish(cuda_driver.start()) is None


WATCHED = """
import json, os, sys
import torch, torch.nn.functional
nvml = os.environ.pop("FAKE_NVML")
calls, before = [], dict(os.environ)
torch.version.cuda, torch._C._has_cuda = "13.0", True  # as in a CUDA build, whose imports may ask more
for name in ("_lazy_init", "init", "is_available", "device_count", "current_device", "get_device_capability", "get_device_properties"):
    setattr(torch.cuda, name, lambda *_, name=name, **__: calls.append(name) or 0)
from nanochat.harness import cuda_driver, fork_server, gpu
from nanochat.sandbox import landlock
gpu.read = lambda: gpu.Reading(0, {}, False) if nvml == "there" else None
order, finish, readable = [], cuda_driver.finish, landlock.readable
cuda_driver.finish = lambda *given: order.append("driver") or finish(*given)
landlock.readable = lambda device: order.append("rules for " + device) or readable(device)
fork_server.prepare("cuda")
print(json.dumps({
    "calls": calls, "order": order, "initialised": torch.cuda.is_initialized(), "threads": len(os.listdir("/proc/self/task")),
    "children": open(f"/proc/self/task/{os.getpid()}/children").read().split(), "inductor": "torch._inductor.scheduler" in sys.modules,
    "changed": [name for name in before if os.environ.get(name) != before[name]], "added": sorted(set(os.environ) - set(before)),
}))
"""  # fmt: skip


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux forks trainers and has a sandbox")
@pytest.mark.parametrize(("nvml", "also"), [("there", []), ("missing", ["TORCHINDUCTOR_COMPILE_THREADS"])])
def test_the_compiler_is_imported_without_cuda_threads_processes_or_traces(
    driver: Path, nvml: str, also: list[str]
) -> None:
    """Processes that compile find the GPU by NVML. Without it, kernels are compiled in the trainer."""
    environment = harness_environment("cuda") | {"FAKE_VIRTUAL": "0", "PYTORCH_ALLOC_CONF": "expandable_segments:True"}
    environment |= {"FAKE_NVML": nvml, "TORCHINDUCTOR_COMPILE_THREADS": "2"}
    done = subprocess.run([sys.executable, "-c", WATCHED], capture_output=True, text=True, cwd=ROOT, env=environment)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "calls": [], "initialised": False, "threads": 1, "children": [], "inductor": True,
        "order": ["driver", "rules for cuda"],  # device nodes may be new
        "changed": [*also, "PYTORCH_ALLOC_CONF"], "added": [],  # this card cannot map memory, so nothing may ask it to
    }  # fmt: skip


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux forks trainers and has a sandbox")
def test_for_a_cpu_nothing_of_it_is_imported_or_started() -> None:
    code = "import sys\nfrom nanochat.harness import cuda_driver, fork_server\ncuda_driver.start = None\nfork_server.prepare('cpu')\n"
    code += (
        "print([name for name in ('torch._inductor.compile_fx', 'setuptools', 'torch._dynamo') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, env=harness_environment("cpu")
    )
    assert done.stdout.strip() == "[]", done.stderr
