"""A job that keeps its weights, and texts that saved models write: the real harness and sandbox on tiny shapes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
import torch
from msgspec.structs import replace

from core.execution.local import harness_environment
from nanochat.contract.job import CrashClass, Outcome
from nanochat.contract.sampling import NATS, Sampled, Sampling
from nanochat.harness import weights
from nanochat.harness.sampler import Untrue, choose
from tests.conftest import ROOT, Harness
from tests.nanochat.harness.test_misbehaviour import MODEL, RETURN, STEADY, with_

SAVED = {"keep_weights": True, "preflight": False, "budget_s": 5.0}
FOLLOWS_LINKS = with_(
    MODEL,
    "    import os, nanochat.harness.weights as w\n    w.save = lambda model, path: os.symlink(__file__, path)\n"
    + MODEL,
    STEADY,
)
NEEDS_A_BATCH = with_(RETURN, "    assert loss.item() > 0\n    return model\n", STEADY)
HIDES = with_(
    RETURN,
    "    model.hidden = model.table.detach().clone()\n    with torch.no_grad():\n        model.table.zero_()\n    return model\n",
    with_("return self.table[x]", "return (self.table + getattr(self, 'hidden', 0))[x]", STEADY),
)


def write(*requests: Sampling) -> list[Sampled]:
    done = subprocess.run(
        [sys.executable, "-m", "nanochat.harness.sampler"], input=msgspec.json.encode(requests), cwd=ROOT,
        env=harness_environment("cpu"), capture_output=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    return [msgspec.json.decode(line, type=Sampled) for line in done.stdout.splitlines()]


def test_weights_leave_the_sandbox_only_when_they_are_asked_for(harness: Harness) -> None:
    usual = harness.run(STEADY, budget_s=5.0)
    saved = harness.run(STEADY, **SAVED)
    assert saved.outcome is Outcome.SCORED and saved.val_bpb == pytest.approx(usual.val_bpb, abs=1e-6)
    assert NATS in saved.probes and NATS not in usual.probes
    assert not (harness.folder / usual.job / weights.FILE).exists()
    path = harness.folder / saved.job / weights.FILE
    weights.check(path)
    assert path.stat().st_size > 320 * 320 * 4


@pytest.mark.parametrize(
    ("source", "why"),
    [
        (FOLLOWS_LINKS, "what it saved is not a file of weights"),
        (with_(RETURN, "    return model.forward\n", STEADY), "only the weights of a torch module"),
    ],
    ids=["a link", "a function"],
)
def test_nothing_else_leaves_it(harness: Harness, source: str, why: str) -> None:
    result = harness.run(source, **SAVED)
    assert result.outcome is Outcome.CRASH and result.crash is CrashClass.CONTRACT and why in result.reason
    assert not (harness.folder / result.job / weights.FILE).exists() and result.val_bpb is None


def test_saved_models_write_in_the_sandbox(harness: Harness, tmp_path: Path) -> None:
    """One process for all: the same seed writes the same text, and a model that needs more than its weights is found."""
    asked: list[Sampling] = []
    unprotected = set()
    for source in (STEADY, NEEDS_A_BATCH, HIDES):
        result = harness.run(source, **SAVED)
        unprotected.add(result.unprotected)
        folder = harness.folder / result.job
        request = Sampling(
            source=str(folder / "train.py"), weights=str(folder / weights.FILE), data=str(harness.data), seq_len=32,
            nats=result.probes[NATS], prompt="the ", tokens=40, seed=1,
        )  # fmt: skip
        asked.append(request)
    weights.save(torch.nn.Linear(2, 2), tmp_path / "w")
    first, needs, hides, again, other, strange = write(
        *asked, asked[0], replace(asked[0], seed=2), replace(asked[0], weights=str(tmp_path / "w"))
    )
    assert first.text == again.text and 0 < first.tokens <= 40 and first.steps == 0 and not first.reason
    assert other.text != first.text
    assert needs.steps == 2 and needs.text == first.text, "it was trained on the same steps"
    assert "answers otherwise than the trained one" in hides.reason and not hides.text
    assert "differ in the tensor" in strange.reason
    assert {first.unprotected} == unprotected, "it is the sandbox of a training"


def test_a_token_is_drawn_by_its_logit() -> None:
    logits, random = torch.tensor([0.0, 2.0, 1.0]), torch.Generator().manual_seed(0)
    assert choose(logits, 0.0, random) == 1
    drawn = [choose(logits, 1.0, random) for _ in range(300)]
    assert [drawn.count(token) / 300 for token in range(3)] == pytest.approx([0.09, 0.665, 0.245], abs=0.08)
    with pytest.raises(Untrue, match="finite"):
        choose(torch.tensor([0.0, float("nan")]), 1.0, random)
