"""A whole product in a temporary folder: real git, real data, the real command line, training on tiny shapes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import psutil

from core.execution.deterministic import World
from core.record import journal
from core.record.fold import fold
from core.record.state import State
from tests.fake_cuda import Cards, plant, shadow

ROOT = Path(__file__).resolve().parents[1]

TRAIN = '''\
"""A bigram model: the smallest train.py that keeps the contract."""

import torch
import torch.nn.functional as F

LR = 0.01  # learning rate
DECAY = 0.0  # how much of the learning rate is gone at the end
BATCH = 8  # rows a step


class Bigram(torch.nn.Module):
    def __init__(self, vocab):
        super().__init__()
        self.table = torch.nn.Parameter(torch.zeros(vocab, vocab))

    def forward(self, x):
        return self.table[x]


def train(run):
    model = Bigram(run.vocab_size).to(run.device)
    state = torch.zeros_like(model.table)
    for x, y in run.batches(BATCH, run.seq_len):
        loss = F.cross_entropy(model(x).flatten(0, 1), y.flatten())
        (grad,) = torch.autograd.grad(loss, model.table)
        state.mul_(0.99).addcmul_(grad, grad, value=0.01)
        step = LR * (1 - DECAY * run.progress)
        with torch.no_grad():
            model.table -= step * grad / (state.sqrt() + 1e-5)
        run.log(loss=loss.item())
    return model
'''


@dataclass
class Product:
    """A clone-like folder and what a user types in it."""

    root: Path
    env: dict[str, str]
    corpus: Path
    cards: Cards | None = None  # a fake device
    started: list[subprocess.Popen[str]] = field(default_factory=list)
    computed: tuple[str, ...] = ()  # the options by which nothing is trained
    report: tuple[str, ...] = ("--no-report",)  # six trainings that few tests are about

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "core.cli", *arguments]

    def __call__(self, *arguments: str, timeout: float = 250) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*arguments), cwd=self.root, env=self.env, capture_output=True, text=True, timeout=timeout
        )

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            self.command(*arguments),
            cwd=self.root,
            env=self.env,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        self.started.append(process)
        return process

    def run(self, *arguments: str, name: str = "r", **kwargs: Any) -> subprocess.CompletedProcess[str]:
        return self(*self.options(name), *arguments, **kwargs)

    def options(self, name: str = "r") -> tuple[str, ...]:
        return ("run", "--headless", "--profile", "tiny", "--dataset", f"text:{self.corpus}", "--name", name,
                "--seed", "7", "--device", "cuda" if self.cards else "cpu", "--slots", "1", *self.report, *self.computed)  # fmt: skip

    def compute(self, world: World) -> None:
        """From now on runs compute their scores, for tests whose subject is not the training."""
        table = self.root.parent / "world.json"
        table.write_bytes(msgspec.json.encode(world))
        self.computed = ("--executor", f"deterministic:{table}")

    def state(self, name: str = "r") -> State:
        return fold(journal.read(self.logs / name / journal.NAME))

    def script(self, *entries: dict[str, Any]) -> str:
        path = self.root / "ideas.jsonl"
        path.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
        return f"script:{path}"

    def git(self, *arguments: str) -> str:
        return subprocess.run(
            ["git", *arguments], cwd=self.root, check=True, capture_output=True, text=True, env=self.env
        ).stdout.strip()

    def strays(self) -> list[psutil.Process]:
        """Processes of this product's harness that are still there."""
        found = []
        for process in psutil.process_iter(["cwd", "cmdline"]):
            if process.info["cwd"] and Path(process.info["cwd"]).is_relative_to(self.logs):
                found.append(process)
        return found


def build(home: Path, prepared: tuple[Path, Path], cards: Cards | None = None, train: str = TRAIN) -> Product:
    """A fresh product in `home`, with the corpus and the folder for data of the fixture `prepared`.

    `cards`: a fake CUDA device, which the loop and the harness then see. `train`: what stands in train.py.
    """
    corpus, data = prepared
    root = home / "product"
    for path in (ROOT / "nanochat").rglob("*.py"):
        copy = root / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
    (root / "nanochat" / "train.py").write_text(train)
    if cards is not None:
        plant(root, cards)
    (root / "program.md").write_text("# Aim\n\nLowest val_bpb. Worth trying: the schedule.\n")
    shutil.copyfile(ROOT / "prepare.py", root / "prepare.py")
    (root / ".gitignore").write_text("logs/\n__pycache__/\nideas.jsonl\n")
    env = {**os.environ, "AUTORESEARCH_DATA": str(data), "PYTHONPATH": str(ROOT), "HOME": str(home)}
    env |= {"XDG_CONFIG_HOME": str(home / ".config"), "XDG_STATE_HOME": str(home / ".local" / "state")}
    if cards is not None:
        env["PYTHONPATH"] = f"{shadow(home / 'shadow', cards)}{os.pathsep}{ROOT}"
        env.pop("CUDA_VISIBLE_DEVICES", None)
    made = Product(root, env, corpus, cards)
    made.git("init", "-q", "-b", "main")
    made.git("add", ".")
    made.git("-c", "user.name=u", "-c", "user.email=u@x", "commit", "-qm", "first")
    return made


def copied(product: Product, home: Path) -> Product:
    """A copy of a product, with its runs, in `home`."""
    root = home / "product"
    shutil.copytree(product.root, root, symlinks=True)
    return Product(root, {**product.env, "HOME": str(home)}, product.corpus, computed=product.computed)


def until(holds: Callable[[], object], what: str = "", within: float = 250) -> None:
    """Wait for something that other processes bring about; the limit is only there for what never comes."""
    deadline = time.monotonic() + within
    while not holds():
        assert time.monotonic() < deadline, f"not within {within:g} s: {what}"
        time.sleep(0.05)


def edit(hypothesis: str, *pairs: tuple[str, str]) -> dict[str, Any]:
    return {"hypothesis": hypothesis, "edits": [{"search": search, "replace": replace} for search, replace in pairs]}


# Better by 0.3 bpb and more, whether the machine has time for 100 steps or for 3000.
BETTER = edit(
    "Three times larger steps, and a second table for the token before.",
    ("LR = 0.01", "LR = 0.03"),
    ("torch.zeros(vocab, vocab)", "torch.zeros(2, vocab, vocab)"),
    ("return self.table[x]", "return self.table[0, x] + self.table[1, F.pad(x, (1, 0))[:, :-1]]"),
)


def harmless(i: int) -> dict[str, Any]:
    """An idea that changes neither a step's result nor its time: a constant that nothing reads."""
    return edit(f"Idea {i}: name a constant.", ("def train(run):", f"IDEA_{i} = {i}\n\n\ndef train(run):"))


def slowly(idea: dict[str, Any]) -> dict[str, Any]:
    """The same idea in a training that takes its time, by the wall clock."""
    nap = {"search": "        run.log(", "replace": "        __import__('time').sleep(0.05)\n        run.log("}
    return {**idea, "edits": [*idea["edits"], nap]}
