"""benchmarks/gpu.py: its arithmetic, and the whole of it on the CPU."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from core import stats
from core.model import Outcome, Result
from core.project import lacking

ROOT = Path(__file__).resolve().parent.parent
KNOBS = """
DEPTH = 8  # a
WIDTH = 512  # a
KV_GROUPS = 1  # a
MLP_RATIO = 4  # a
SEQ_LEN = 2048  # a
WINDOW_PATTERN = "SSSL"  # a
WINDOW = 1024  # a
"""


@pytest.fixture(scope="module")
def gpu() -> ModuleType:
    """benchmarks/gpu.py as a module; benchmarks/ is not a package."""
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        module = importlib.import_module("gpu")
    finally:
        sys.path.remove(str(ROOT / "benchmarks"))
    return module


def test_operations_of_a_token_are_those_that_upstream_prints(gpu: ModuleType) -> None:
    """autoresearch prints 239 MFLOP a token for this shape."""
    shape = gpu.flops.shape_of(KNOBS, 8192)
    assert shape.matmul_params == 8 * 12 * 512**2 + 8192 * 512
    assert shape.flops_per_token == pytest.approx(239e6, rel=0.001)
    assert 1.665e6 * shape.flops_per_token / gpu.flops.peak_flops("NVIDIA H100 80GB HBM3") == pytest.approx(
        0.398, abs=0.006
    )


@pytest.mark.parametrize(("length", "window"), [(2048, 1024), (16, 16), (16, 5), (16, 1), (16, 99)])
def test_causal_attention_counts_each_seen_position_once(gpu: ModuleType, length: int, window: int) -> None:
    source = KNOBS.replace("SEQ_LEN = 2048", f"SEQ_LEN = {length}").replace("WINDOW = 1024", f"WINDOW = {window}")
    shape = gpu.flops.shape_of(source, 8192)
    seen = [sum(min(position + 1, span) for position in range(length)) / length for span in shape.spans]
    assert shape.causal_flops_per_token == pytest.approx(6 * shape.matmul_params + 12 * 512 * sum(seen))


@pytest.mark.parametrize(
    ("name", "tflops"),
    [
        ("NVIDIA H100 80GB HBM3", 989.4),
        ("NVIDIA H100 PCIe", 756.0),
        ("NVIDIA A100-SXM4-80GB", 312.0),
        ("NVIDIA GeForce RTX 4070 Ti SUPER", 88.2),
        ("NVIDIA RTX 6000 Ada Generation", 364.2),
        ("NVIDIA L40S", 362.0),
        ("NVIDIA GeForce RTX 4090 Laptop GPU", None),
        ("NVIDIA GeForce RTX 2080 Ti", None),
        ("NVIDIA A10G", None),
        ("", None),
    ],
)
def test_the_peak_follows_from_the_name_of_the_card(gpu: ModuleType, name: str, tflops: float | None) -> None:
    peak = gpu.flops.peak_flops(name)
    assert peak is None if tflops is None else peak == pytest.approx(tflops * 1e12)


def experiment(gpu: ModuleType, exam_s: float, exam_tokens: int, wall_s: float) -> Any:
    parts = {
        "preflight": 2.0,
        "setup": 8.0,
        "training": 18.0,
        "scoring": exam_s,
        "cleanup": 1.0,
    }  # the set-up is in training
    result = Result(job="j", outcome=Outcome.SCORED, parts=parts, tokens=1000, charged_s=10.0)
    return gpu.Experiment(result, wall_s, exam_tokens, Path("none"))


def test_the_parts_add_up_and_the_share_at_300_s_follows(gpu: ModuleType) -> None:
    cold, warm = experiment(gpu, 2.0, 1000, 24.0), experiment(gpu, 5.0, 4000, 26.5)
    assert cold.parts["training"] == 10.0 and sum(cold.parts.values()) == pytest.approx(24.0)
    assert cold.fixed_s == pytest.approx(12.0), "preflight, set-up, clean-up and what is between them"
    assert gpu.exam_seconds(cold, warm, 11_000) == pytest.approx(12.0), "1 s however short, and 1 s each 1000 tokens"
    assert gpu.exam_seconds(cold, None, 11_000) == pytest.approx(22.0)
    assert gpu.share_in_training(12.0, 12.0) == pytest.approx(300 / 324)


@pytest.mark.skipif(not lacking("cuda", len(stats.gpu_memory())), reason="here is a card")
def test_without_a_card_it_says_so_in_one_sentence() -> None:
    done = subprocess.run([sys.executable, "benchmarks/gpu.py"], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("Nothing was measured: ") and done.stderr.count("\n") == 1
