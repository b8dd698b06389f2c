"""torch.compile inside the sandbox, as a real trainer meets it: one experiment tries everything and prints a report."""

from __future__ import annotations

import json
import os
from typing import Any

import psutil
import pytest

from nanochat.contract.job import Outcome
from tests.gpu.support import DeviceHarness, replaced
from tests.product import TRAIN

TRIALS = """
import getpass, importlib, json, multiprocessing, os, subprocess, sys, time
from pathlib import Path


def loss(x, w, y, scale):
    h = F.rms_norm(x @ w, (w.size(1),)) * scale
    return F.cross_entropy(15 * torch.tanh(h.float() / 15), y)


def compiled(scale):
    dtype = torch.bfloat16 if torch.cuda.get_device_capability()[0] >= 8 else torch.float32
    x = torch.randn(256, 512, device="cuda", dtype=dtype)
    w = torch.randn(512, 512, device="cuda", dtype=dtype, requires_grad=True)
    y = torch.randint(0, 512, (256,), device="cuda")
    value = torch.compile(loss, dynamic=False)(x, w, y, scale)
    value.backward()
    plain = loss(x, w, y, scale)
    return {"loss": value.item(), "plain": plain.item(), "gradient": float(w.grad.float().norm())}


def stepped():
    rate = torch.tensor(0.25)  # on the CPU, as optimizers keep it
    w = torch.ones(512, 512, device="cuda")

    def step(w, rate):
        rate = rate * 2
        return w - rate.to(w.device), rate + 1

    return float(torch.compile(step, dynamic=False)(w, rate)[0].mean())


def workers():
    from torch._inductor import config
    from torch._inductor.async_compile import AsyncCompile
    if (config.compile_threads or 1) < 2:
        return {"threads": config.compile_threads}
    began = time.monotonic()
    while not AsyncCompile.use_process_pool() and time.monotonic() - began < 30:
        time.sleep(0.1)
    return {"threads": config.compile_threads, "ready": AsyncCompile.use_process_pool()}


def fresh():
    done = subprocess.run([sys.executable, "-c", "import torch; print(torch.__version__)"], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr.strip()[-200:])
    return done.stdout.strip()


def ldconfig():
    tool = next((name for name in ("/sbin/ldconfig", "/usr/sbin/ldconfig") if os.path.exists(name)), None)
    return tool and len(subprocess.check_output([tool, "-p"], text=True).splitlines())


def kernel_language():
    import triton
    return str(triton.runtime.driver.active.get_current_target())


TRIALS = {
    "a matrix product": lambda: float((torch.ones(512, 512, device="cuda") @ torch.ones(512, 512, device="cuda")).sum()),
    "package folders are listed": lambda: len(os.listdir(Path(torch.__file__).parent.parent)),
    "a fresh interpreter imports torch": fresh,
    "ldconfig": ldconfig,
    "the user has a name": getpass.getuser,
    "a semaphore": lambda: bool(multiprocessing.get_context("fork").Lock()),
    "Triton finds the card": kernel_language,
    "a compiled loss with its gradient": lambda: compiled(1.0),
    "a compiled step with a scalar on the CPU": stepped,
    "compile workers": workers,
}


def report():
    found = {}
    for name, work in TRIALS.items():
        began = time.monotonic()
        try:
            found[name] = {"value": work()}
        except BaseException as error:
            found[name] = {"error": f"{type(error).__name__}: {' '.join(str(error).split())[-400:]}"}
        found[name]["seconds"] = round(time.monotonic() - began, 2)
    print("REPORT " + json.dumps(found), flush=True)


def train(run):
    report()
"""
NAMES = (
    "a matrix product", "package folders are listed", "a fresh interpreter imports torch", "ldconfig", "the user has a name",
    "a semaphore", "Triton finds the card", "a compiled loss with its gradient", "a compiled step with a scalar on the CPU",
    "compile workers",
)  # fmt: skip


@pytest.fixture(scope="module")
def report(card: str, device_harness: DeviceHarness) -> dict[str, Any]:
    """What worked inside the sandbox, by name: its value, or the error."""
    result = device_harness.run(replaced(TRAIN, "\ndef train(run):\n", TRIALS))
    output = device_harness.output(result)
    assert result.outcome is Outcome.SCORED, (result.reason, result.traceback, output[-2000:])
    (line,) = (line for line in output.splitlines() if line.startswith("REPORT "))
    found: dict[str, Any] = json.loads(line.removeprefix("REPORT "))
    return found


@pytest.mark.parametrize("name", NAMES)
def test_works_inside_the_sandbox(report: dict[str, Any], name: str) -> None:
    assert "error" not in report[name], report[name]


def test_compiled_values_are_those_of_eager_code(report: dict[str, Any]) -> None:
    found = report["a compiled loss with its gradient"]["value"]
    assert found["loss"] == pytest.approx(found["plain"], abs=0.02) and found["gradient"] > 0
    assert report["a compiled step with a scalar on the CPU"]["value"] == pytest.approx(0.5)


def test_kernels_are_compiled_by_several_workers(report: dict[str, Any]) -> None:
    """One by one they would cost every experiment a minute. A machine with little memory or two cores may do so."""
    found = report["compile workers"]["value"]
    if (os.cpu_count() or 1) >= 4 and psutil.virtual_memory().total >= 15 << 30:
        assert found["threads"] > 1 and found["ready"], found
