"""Answers to the same question: on a card they may differ by what the order of additions moves, and by no more."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from core.machine import profiles
from tests.conftest import ROOT
from tests.gpu.support import Corpus, shipped

MOST_LOGIT = 0.25  # single values: a bf16 value that flips moves a logit by some hundredths
MOST_MEAN = 3e-4  # nats of the mean loss, a fifth of what 0.0005 bits per byte are


@pytest.mark.parametrize("rows", [16, 2])
def test_differ_within_the_tolerance_of_the_exam(corpus: Corpus, real_device: str, tmp_path: Path, rows: int) -> None:
    """The model of gpu-8, trained for two seconds without the harness, asked with many rows and after "too big" with few."""
    source, length = (
        (shipped("gpu-8", BATCH_SIZE=4), profiles.named("gpu-8").seq_len)
        if real_device == "cuda"
        else (shipped("tiny"), 32)
    )
    (tmp_path / "train.py").write_text(source)
    done = subprocess.run(
        [sys.executable, "benchmarks/plain_loop.py", tmp_path / "train.py", corpus.prepared, "--device", real_device,
         "--seconds", "2" if real_device == "cuda" else "0.5", "--rows", str(rows), "--seq-len", str(length)],
        cwd=ROOT, env={**os.environ, "TORCHDYNAMO_DISABLE": "1"}, capture_output=True, text=True, timeout=150,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])["answers"]
    assert found["rows"] == rows and len(found["differences"]) == 4
    for name, values in found["differences"].items():
        if real_device == "cpu":
            assert values["logits"] == 0.0, (name, values)
        assert values["logits"] <= MOST_LOGIT and abs(values["mean_nats"]) <= MOST_MEAN, (name, values)
