"""The fake device fails where CUDA would, or no test on it would mean anything."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.fake_cuda import FORKED, make

# Imports torch once. Each line of its input is a program with its arguments, which a child runs as a new process would.
SERVER = """
import json, os, sys, traceback
import torch

for line in sys.stdin:
    program, *arguments, out = json.loads(line)
    if os.fork() == 0:
        code = 1
        try:
            for number in (1, 2):
                os.dup2(os.open(out + str(number), os.O_WRONLY | os.O_CREAT, 0o600), number)
            sys.argv[1:] = arguments
            exec(program, {"__name__": "__main__"})
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    print(os.waitstatus_to_exitcode(os.wait()[1]), flush=True)
"""
PRELUDE = """
import os, sys
from tests import fake_cuda
device = fake_cuda.install(sys.argv[1])
import torch

def child(work):
    sys.stdout.flush()
    if os.fork() == 0:
        try:
            work()
        except BaseException as error:
            print(type(error).__name__, str(error))
        sys.stdout.flush()
        os._exit(0)
    os.wait()

def use():
    print(torch.ones(3, device="cuda").device)
"""

Told = Callable[[Path, str], str]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    """Returns what a process with the fake device prints: it has these cards and runs this code."""
    folder = tmp_path_factory.mktemp("told")
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, text=True
    )
    assert server.stdin is not None and server.stdout is not None
    stdin, stdout = server.stdin, server.stdout
    count = 0

    def run(cards: Path, code: str) -> str:
        nonlocal count
        count += 1
        out = folder / f"{count}-"
        stdin.write(json.dumps([PRELUDE + code, str(cards), str(out)]) + "\n")
        stdin.flush()
        ended = stdout.readline().strip()
        errors = Path(f"{out}2").read_text()
        assert ended == "0" and not errors, errors
        return Path(f"{out}1").read_text()

    yield run
    stdin.close()
    server.wait()
    stdout.close()


def test_a_fork_after_the_first_use_cannot_use_it(told: Told, tmp_path: Path) -> None:
    code = """
child(use)
for use_it in (lambda: torch.zeros(1, device="cuda"), torch.zeros(1).cuda, torch.zeros(1).pin_memory, torch.cuda.is_available):
    child(lambda: (use_it(), child(use)))
"""
    lines = told(make(tmp_path / "cards").path, code).splitlines()
    assert lines == ["cuda:0", *[f"RuntimeError {FORKED}"] * 4], "the first is forked before any use"


def test_tensors_are_where_they_were_put(told: Told, tmp_path: Path) -> None:
    code = """
host = torch.zeros(2, 3)
card = host.to("cuda")
card += 1
print(host.sum().item(), card.sum().item(), host.device, card.device, card.cpu().device, card.to(torch.bfloat16).device)
model = torch.nn.Linear(3, 4).to("cuda")
model(card).sum().backward()
print(model.weight.device, model.weight.grad.device, isinstance(model.weight, torch.nn.Parameter))
for work in (lambda: card + host, lambda: card.numpy()):
    try:
        work()
    except (RuntimeError, TypeError) as error:
        print(error)
"""
    lines = told(make(tmp_path / "cards").path, code).splitlines()
    assert lines[:2] == ["0.0 6.0 cpu cuda:0 cpu cuda:0", "cuda:0 cuda:0 True"]
    assert "same device" in lines[2] and "convert cuda:0" in lines[3]


def test_memory_runs_out_and_comes_back(told: Told, tmp_path: Path) -> None:
    code = """
def fill():
    return torch.empty(40 << 20, dtype=torch.uint8, device="cuda")
first = fill()
try:
    fill()
except torch.OutOfMemoryError as error:
    print(error)
del first
print(fill().device, list(device.cards.users(0).values()))
"""
    cards = make(tmp_path / "cards", memory=64 << 20)
    lines = told(cards.path, code).splitlines()
    assert lines[0].startswith("CUDA out of memory. Tried to allocate 40.00 MiB")
    assert lines[1] == f"cuda:0 [{41 << 20}]"
    assert cards.users(0) == {}, "the memory of a dead process is free"
    cards.occupy(48 << 20)
    assert "out of memory" in told(cards.path, "child(lambda: torch.empty(20 << 20, dtype=torch.uint8, device='cuda'))")


def test_nvml_that_was_open_at_the_fork_spoils_the_word_for_out_of_memory(told: Told, tmp_path: Path) -> None:
    cards = make(tmp_path / "cards", memory=64 << 20)
    much = "child(lambda: torch.empty(99 << 20, dtype=torch.uint8, device='cuda'))"
    opened = "import pynvml\npynvml.nvmlInit()\n"
    assert "INTERNAL ASSERT FAILED" in told(cards.path, opened + much)
    assert "CUDA out of memory" in told(cards.path, opened + "pynvml.nvmlShutdown()\n" + much)


def test_a_card_that_is_not_there_cannot_be_used(told: Told, tmp_path: Path) -> None:
    code = "os.environ['CUDA_VISIBLE_DEVICES'] = '1'\nprint(torch.cuda.is_available())\nchild(use)"
    path = make(tmp_path / "cards").path
    assert told(path, code) == "False\nRuntimeError No CUDA GPUs are available\n"


def test_what_is_compiled_stays_on_the_card(told: Told, tmp_path: Path) -> None:
    path = make(tmp_path / "cards", compile="eager").path
    code = "work = torch.compile(lambda x: x * 2, dynamic=False)\nprint(work(torch.ones(3, device='cuda')).device)"
    assert told(path, code) == "cuda:0\n"
