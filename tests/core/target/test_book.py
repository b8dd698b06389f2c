"""Every idea of the book, alone and stacked, on the shipped train.py, really trained on tiny shapes."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from core.change import edits, knobs
from core.target import TARGET
from core.target.book import BOOK

ROOT = Path(__file__).resolve().parents[3]
SOURCE = (ROOT / "nanochat" / "train.py").read_text()

TRAIN_ALL = """
import json, sys, types
import numpy as np, torch
from nanochat.run import Run
torch.set_num_threads(1)
for name, source in json.load(sys.stdin).items():
    module = types.ModuleType("train_" + name.replace("-", "_").replace("+", "_"))
    exec(compile(source, name, "exec"), module.__dict__)
    losses = []
    torch.manual_seed(0)
    run = Run(device=torch.device("cpu"), vocab_size=64, seq_len=16, seed=0, clock=lambda: 0.0, budget_s=1.0, max_steps=3,
              start=lambda: np.random.default_rng(0).integers(0, 64, 4096).astype("<u2"),
              on_log=lambda values: losses.append(values["loss"]), on_step=lambda steps, tokens: None)
    model = module.train(run)
    x = torch.randint(0, 64, (2, 16))
    with torch.no_grad():
        before = model(x)
        changed = x.clone()
        changed[:, 9:] = (changed[:, 9:] + 1) % 64
        after = model(changed)
    finite = bool(torch.isfinite(before).all()) and all(np.isfinite(losses))
    causal = bool(torch.equal(before[:, :9], after[:, :9]))
    print(json.dumps([name, list(before.shape), finite, causal]), flush=True)
"""


def small(source: str) -> str:
    names = {knob.name for knob in knobs.read(source)}
    sizes = {"WIDTH": 32, "HEAD_DIM": 16, "SEQ_LEN": 16, "BATCH_SIZE": 2, "TOTAL_BATCH": 32, "WINDOW": 8}
    return knobs.set_knobs(source, {name: value for name, value in sizes.items() if name in names})


@pytest.fixture(scope="module")
def alone() -> dict[str, str]:
    """Each idea on the shipped train.py."""
    sources = {}
    for entry in BOOK:
        changed = edits.try_apply(SOURCE, entry.edits)
        assert changed is not None, f"{entry.name} does not apply to the shipped train.py"
        edits.validate_change(SOURCE, changed)
        sources[entry.name] = small(changed)
    return sources


@pytest.fixture(scope="module")
def stacks() -> dict[str, str]:
    """Two to six ideas at once. The embeddings of pairs also follow the other ideas about the same line."""
    chance, by_name = random.Random(1), {entry.name: entry for entry in BOOK}
    sources = {}
    for first in ("two-back", "no-embedding-norm"):
        source = edits.apply(SOURCE, by_name[first].edits)
        sources[f"{first}+bigrams"] = small(edits.apply(source, by_name["bigrams"].edits))
    for _ in range(24):
        source, names = SOURCE, list[str]()
        wanted = chance.randint(2, 6)
        for entry in chance.sample(BOOK, len(BOOK)):
            changed = edits.try_apply(source, entry.edits)
            if changed is not None and len(names) < wanted:
                edits.validate_change(source, changed)
                source, names = changed, [*names, entry.name]
        assert len(names) == wanted
        sources["+".join(names)] = small(source)
    return sources


@pytest.fixture(scope="module")
def trained(alone: dict[str, str], stacks: dict[str, str]) -> dict[str, tuple[list[int], bool, bool]]:
    """What became of each: the shape of its logits, whether all was finite, and whether it was causal. One process trains all."""
    done = subprocess.run(
        [sys.executable, "-c", TRAIN_ALL],
        input=json.dumps(alone | stacks),
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=500,
    )
    results = [json.loads(line) for line in done.stdout.splitlines()]
    assert [name for name, *_ in results] == [*alone, *stacks], done.stderr[-1500:]
    return {name: (shape, finite, causal) for name, shape, finite, causal in results}


def check(trained: dict[str, tuple[list[int], bool, bool]], names: Iterable[str]) -> None:
    for name in names:
        shape, finite, causal = trained[name]
        assert shape == [2, 16, 64] and finite, name
        assert causal, f"{name} looks at the future"


def test_every_idea_applies_passes_the_gate_and_trains(
    alone: dict[str, str], trained: dict[str, tuple[list[int], bool, bool]]
) -> None:
    assert len(BOOK) >= 60 and len({entry.name for entry in BOOK}) == len(BOOK)
    assert {entry.topic for entry in BOOK} <= TARGET.topics.keys()
    assert len({edits.fingerprint(source) for source in alone.values()}) == len(BOOK)
    check(trained, alone)


def test_every_idea_names_its_source_and_its_cost() -> None:
    assert [entry.name for entry in BOOK if not (entry.source and entry.cost)] == []


def test_ideas_stack(stacks: dict[str, str], trained: dict[str, tuple[list[int], bool, bool]]) -> None:
    check(trained, stacks)
