"""The shipped train.py on tiny shapes: what it promises to the harness, and that it learns."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import json
import math
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from nanochat.run import Run

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "nanochat" / "train.py"
TINY: dict[str, object] = {
    "DEPTH": 2,
    "WIDTH": 32,
    "HEAD_DIM": 16,
    "KV_GROUPS": 1,
    "SEQ_LEN": 16,
    "BATCH_SIZE": 4,
    "TOTAL_BATCH": 64,
    "WINDOW": 4,
}
VARIANTS: list[dict[str, object]] = [
    {},
    {"WINDOW_PATTERN": "SL"},
    {"KV_GROUPS": 2},
    {"VALUE_EVERY": 0},
    {"VALUE_EVERY": 2, "DEPTH": 3},
    {"SOFTCAP": 15.0},
    {"TIE_EMBEDDINGS": True},
    {"TOTAL_BATCH": 128},
]
VOCAB = 64


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def shipped(**knobs: object) -> ModuleType:
    """A fresh copy of train.py with tiny knobs; unknown names fail."""
    spec = importlib.util.spec_from_file_location("train_under_test", SOURCE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name, value in {**TINY, **knobs}.items():
        assert hasattr(module, name)
        setattr(module, name, value)
    return module


def make_run(
    *, steps: int, seed: int = 0, seq_len: int = 16, tokens: np.ndarray | None = None
) -> tuple[Run, list[dict[str, float]]]:
    """A run of so many batches, seeded as the harness does it, and the list that its log fills."""
    if tokens is None:
        tokens = np.random.default_rng(7).integers(VOCAB, size=4000).astype(np.uint16)
    logged: list[dict[str, float]] = []
    torch.manual_seed(seed)
    run = Run(
        device=torch.device("cpu"),
        vocab_size=VOCAB,
        seq_len=seq_len,
        seed=seed,
        start=lambda: tokens,
        clock=lambda: 0.0,
        budget_s=1.0,
        on_log=logged.append,
        on_step=lambda steps, tokens: None,
        max_steps=steps,
    )
    return run, logged


def question(length: int = 16, rows: int = 3) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(3).integers(VOCAB, size=(rows, length)))


@pytest.mark.parametrize("knobs", VARIANTS, ids=str)
def test_logits_have_the_promised_shape_and_the_loss_is_finite(knobs: dict[str, object]) -> None:
    run, logged = make_run(steps=4)
    model = shipped(**knobs).train(run)
    with torch.no_grad():
        logits = model(question())
    assert logits.shape == (3, 16, VOCAB)
    assert logits.dtype.is_floating_point and bool(logits.isfinite().all())
    assert logged and all(math.isfinite(figures["loss"]) for figures in logged)


@pytest.mark.parametrize("length", [1, 8, 48])
def test_the_scoring_length_may_differ_from_the_training_length(length: int) -> None:
    run, _ = make_run(steps=1, seq_len=length)
    model = shipped().train(run)
    assert model(question(length)).shape == (3, length, VOCAB)


@pytest.mark.parametrize("knobs", VARIANTS, ids=str)
def test_no_position_sees_the_future(knobs: dict[str, object]) -> None:
    run, _ = make_run(steps=4)
    model = shipped(**knobs).train(run)
    whole = question()
    with torch.no_grad():
        before = model(whole)
        for position in range(whole.size(1) - 1):
            other = whole.clone()
            other[:, position + 1 :] = (other[:, position + 1 :] + 1) % VOCAB
            after = model(other)
            assert torch.equal(before[:, : position + 1], after[:, : position + 1])
            assert not torch.equal(before[:, position + 1 :], after[:, position + 1 :])


def test_a_short_window_hides_what_lies_further_back() -> None:
    run, _ = make_run(steps=4)
    module = shipped(WINDOW_PATTERN="S", DEPTH=1)
    model = module.train(run)
    whole = question()
    other = whole.clone()
    other[:, 0] = (other[:, 0] + 1) % VOCAB
    with torch.no_grad():
        same = (model(whole) == model(other)).all(-1).all(0)  # (T,)
    reach = module.WINDOW + 1  # each position in the window also carries its predecessor
    assert same.tolist() == [False] * reach + [True] * (16 - reach)


@pytest.mark.parametrize("knobs", VARIANTS, ids=str)
def test_it_learns_a_repeating_pattern(knobs: dict[str, object]) -> None:
    pattern = np.random.default_rng(1).permutation(VOCAB)[:12]
    tokens = np.tile(pattern, 200).astype(np.uint16)
    run, logged = make_run(steps=60, tokens=tokens)
    shipped(**knobs).train(run)
    assert logged[0]["loss"] > 0.9 * math.log(VOCAB)
    assert logged[-1]["loss"] < 0.5


def test_one_seed_gives_one_model() -> None:
    def weights(seed: int) -> torch.Tensor:
        model = shipped().train(make_run(steps=5, seed=seed)[0])
        return torch.cat([weight.detach().flatten() for weight in model.parameters()])

    assert torch.equal(weights(0), weights(0))
    assert not torch.equal(weights(0), weights(1))


def test_gradients_accumulate_to_the_total_batch() -> None:
    run, logged = make_run(steps=6)
    shipped(TOTAL_BATCH=192).train(run)  # 3 batches of 64 tokens a step
    assert len(logged) == 2


def test_the_warm_up_leaves_no_trace() -> None:
    module = shipped()
    run, _ = make_run(steps=1)
    model = module.GPT(VOCAB, 16, run.device)
    module.warm_up(run, model, module.next_token_loss)
    torch.manual_seed(5)
    model.initialise()
    torch.manual_seed(5)
    fresh = module.GPT(VOCAB, 16, run.device)
    trained, untrained = model.state_dict(), fresh.state_dict()
    # The constructor draws a few numbers of its own before initialise(): compare against a second drawing.
    torch.manual_seed(5)
    fresh.initialise()
    untrained = fresh.state_dict()
    assert trained.keys() == untrained.keys()
    assert all(torch.equal(trained[name], untrained[name]) for name in trained)
    assert all(weight.grad is None for weight in model.parameters())


@pytest.mark.parametrize("shape", [(3, 32, 32), (2, 96, 24), (2, 24, 96)], ids=str)
def test_orthogonalise_evens_out_the_singular_values(shape: tuple[int, int, int]) -> None:
    torch.manual_seed(0)
    flat = torch.linalg.svdvals(shipped().orthogonalise(torch.randn(*shape)))
    assert float(flat.max()) < 1.2
    assert float(flat.median()) > 0.8


def test_orthogonalise_keeps_the_singular_vectors() -> None:
    torch.manual_seed(0)
    matrix = torch.randn(1, 24, 96)
    left, _, right = torch.linalg.svd(matrix[0], full_matrices=False)
    seen = left.T @ shipped().orthogonalise(matrix)[0] @ right.T
    assert torch.allclose(seen, torch.diag(seen.diag()), atol=1e-3)


def test_the_schedule_rises_stays_and_falls() -> None:
    module = shipped(WARM_UP=0.1, WARM_DOWN=0.4, FINAL_LR=0.2)
    values = [module.schedule(progress / 100) for progress in range(101)]
    assert 0 < values[0] < 0.05
    assert values[10:60] == [1.0] * 50
    assert values[80] == pytest.approx(0.6)
    assert values[100] == pytest.approx(0.2)
    assert values[:11] == sorted(values[:11]) and values[60:] == sorted(values[60:], reverse=True)


@pytest.mark.parametrize("knobs", [{"WARM_UP": 0.0, "WARM_DOWN": 0.0}, {"WARM_UP": 0.0, "WARM_DOWN": 1.0}], ids=str)
def test_the_schedule_takes_its_extremes(knobs: dict[str, float]) -> None:
    module = shipped(**knobs)
    assert module.schedule(0.0) == 1.0
    assert math.isfinite(module.schedule(1.0))


def test_a_weight_that_the_loss_does_not_use_is_left_alone() -> None:
    module = shipped(VALUE_EVERY=0)
    run, _ = make_run(steps=3)
    model = module.train(run)
    assert torch.equal(model.value_scale, torch.full((2,), model.value_scale[0].item()))


def test_every_knob_stands_on_one_line_with_a_comment() -> None:
    text = SOURCE.read_text()
    lines = text.splitlines()
    body = ast.parse(text).body
    first = next(i for i, node in enumerate(body) if isinstance(node, ast.ClassDef | ast.FunctionDef))
    knobs = [node for node in body[:first] if isinstance(node, ast.Assign)]
    assert len(knobs) >= 20
    for node in knobs:
        assert isinstance(node.targets[0], ast.Name) and node.targets[0].id.isupper()
        assert node.lineno == node.end_lineno
        assert re.search(r"  # \w", lines[node.lineno - 1]), lines[node.lineno - 1]


def test_it_sets_no_seed_no_threads_and_opens_nothing() -> None:
    names = {node.attr for node in ast.walk(ast.parse(SOURCE.read_text())) if isinstance(node, ast.Attribute)}
    names |= {node.id for node in ast.walk(ast.parse(SOURCE.read_text())) if isinstance(node, ast.Name)}
    assert not names & {"manual_seed", "seed", "set_num_threads", "open", "print", "optim"}


def test_training_on_a_cpu_never_loads_the_compiler() -> None:
    """torch.optim and torch.compile pull in torch._dynamo, which costs every experiment a second."""
    program = (
        "import sys, numpy, torch; from nanochat import train; from nanochat.run import Run\n"
        "run = Run(device=torch.device('cpu'), vocab_size=64, seq_len=16, seed=0, clock=lambda: 0.0, budget_s=1.0,\n"
        "          start=lambda: numpy.zeros(9000, 'uint16'), on_log=print, on_step=lambda s, t: None, max_steps=1)\n"
        "train.train(run); assert 'torch._dynamo' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def write_prepared(folder: Path) -> None:
    """A prepared dataset of a repeating pattern, as prepare.py would leave it."""
    folder.mkdir(parents=True)
    splits = {}
    for name, count in (("train", 60_000), ("val", 3000), ("test", 3000)):
        tokens = (np.arange(count) % (VOCAB - 1)).astype("<u2")
        tokens.tofile(folder / f"{name}.bin")
        digest = hashlib.sha256(tokens.tobytes()).hexdigest()
        splits[name] = {"file": f"{name}.bin", "tokens": count, "bytes": count, "documents": 1, "sha256": digest}
    np.save(folder / "token_bytes.npy", np.array([1] * (VOCAB - 1) + [0], dtype=np.int32))
    manifest = {
        "schema": 1,
        "dataset": "pattern",
        "vocab_size": VOCAB,
        "dtype": "uint16",
        "fingerprint": "0" * 16,
        "tokenizer": "tokenizer.json",
        "bos": VOCAB - 1,
        "splits": splits,
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))


@pytest.fixture
def alone(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """`python -m nanochat.train` with tmp_path as the data folder."""

    def start(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "nanochat.train", "--device", "cpu", *arguments],
            cwd=ROOT,
            env={**os.environ, "AUTORESEARCH_DATA": str(tmp_path)},
            capture_output=True,
            text=True,
        )

    return start


def test_alone_it_prints_progress_and_says_that_it_is_not_the_score(
    tmp_path: Path, alone: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    write_prepared(tmp_path / "pattern-v64")
    done = alone("--dataset", "pattern", "--budget", "3")
    assert done.returncode == 0, done.stderr
    assert "tokens/s  loss" in done.stdout
    assert "This is not the score" in done.stdout


def test_alone_without_data_it_names_the_command_that_makes_it(
    alone: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    done = alone("--budget", "1")
    assert done.returncode == 1
    assert "make prepare" in done.stderr
    assert "Traceback" not in done.stderr


def test_alone_a_budget_must_be_more_than_nothing(alone: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    done = alone("--budget", "0")
    assert done.returncode == 2
    assert "more than 0" in done.stderr
