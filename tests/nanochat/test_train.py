"""The shipped train.py on tiny shapes: what it promises to the harness, and that it learns."""

from __future__ import annotations

import ast
import hashlib
import json
import math
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

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
    {"TIE_EMBEDDINGS": True, "VALUE_EVERY": 0},
    {"TOTAL_BATCH": 128},
]
VOCAB = 64


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def shipped(*changes: tuple[str, str], **knobs: object) -> ModuleType:
    """A fresh copy of train.py with tiny knobs and pieces of text replaced; unknown names and texts fail."""
    source = SOURCE.read_text()
    for old, new in changes:
        assert source.count(old) == 1
        source = source.replace(old, new)
    module = ModuleType("train_under_test")
    exec(compile(source, str(SOURCE), "exec"), module.__dict__)
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


def test_adam_is_bit_for_bit_what_the_formula_says() -> None:
    """Scalars as tensors, the gradient's memory used again: nothing of that moves a bit on a CPU."""
    module = shipped()
    torch.manual_seed(0)
    ours, theirs = ([torch.randn(3, 70), torch.randn(9)] for _ in range(2))
    for one, other in zip(ours, theirs, strict=True):
        other.copy_(one)
    means, squares = [torch.zeros_like(t) for t in theirs], [torch.zeros_like(t) for t in theirs]
    adam = module.AdamW(ours, 0.3, 0.01)
    for step, scale in enumerate((1.0, 0.7, 0.013, 0.0), start=1):
        for one, other, mean, square in zip(ours, theirs, means, squares, strict=True):
            gradient = torch.randn_like(one)
            one.grad = gradient.clone()
            lr, mean_bias = 0.3 * scale, 1 - module.ADAM_BETA1**step
            mean.lerp_(gradient, 1 - module.ADAM_BETA1)
            square.mul_(module.ADAM_BETA2).addcmul_(gradient, gradient, value=1 - module.ADAM_BETA2)
            spread = (square / (1 - module.ADAM_BETA2**step)).sqrt_().add_(1e-10)
            other.mul_(1 - lr * 0.01).addcdiv_(mean, spread, value=-lr / mean_bias)
        adam.step(scale)
        assert all(torch.equal(one, other) for one, other in zip(ours, theirs, strict=True))


def test_adam_keeps_its_statistics_of_a_bfloat16_table_in_float32() -> None:
    module = shipped()
    torch.manual_seed(0)
    exact = torch.randn(8, 16).bfloat16().float()
    table = exact.bfloat16()
    rough, fine = module.AdamW([table], 0.1), module.AdamW([exact], 0.1)
    for _ in range(4):
        table.grad = torch.randn(8, 16).bfloat16()
        exact.grad = table.grad.float()
        rough.step(1.0), fine.step(1.0)
    assert torch.equal(rough.means[0], fine.means[0]) and torch.equal(rough.squares[0], fine.squares[0])
    assert torch.allclose(table.float(), exact, atol=0.03) and table.dtype == torch.bfloat16


def gradients(model: torch.nn.Module, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for weight in model.parameters():
        weight.grad = torch.randn(weight.shape, generator=generator).to(weight.dtype)


def test_compiled_optimizers_do_the_same_and_new_rates_compile_nothing_again() -> None:
    import torch._dynamo as dynamo

    dynamo.reset()
    module = shipped(DEPTH=3, VALUE_EVERY=2, KV_GROUPS=2, MATRIX_DECAY=0.1)
    graph = {
        "dynamic": False,
        "fullgraph": True,
        "backend": "aot_eager",
    }  # what is traced, without a backend's numerics

    def trained(scales: list[float]) -> dict[str, torch.Tensor]:
        torch.manual_seed(0)
        model = module.GPT(VOCAB, 16, torch.device("cpu"))
        for table in (model.embed, *model.value_embeds.values()):
            table.to(torch.bfloat16)  # as on a GPU
        rules = module.optimizers(model)
        for step, scale in enumerate(scales):
            gradients(model, step)
            module.update(model, rules, scale)
        return {name: weight.detach().float() for name, weight in model.named_parameters()}

    plain, longer = trained([1.0, 0.9]), trained([0.5, 0.25, 0.125, 0.0])
    module.compiled = lambda function, weights: torch.compile(function, **graph)  # type: ignore[attr-defined]
    compiled = trained([1.0, 0.9])
    with dynamo.config.patch(error_on_recompile=True):  # other rates, more steps, optimizers made anew
        again = trained([0.5, 0.25, 0.125, 0.0])
    for name in plain:
        assert torch.allclose(plain[name], compiled[name], atol=1e-4), name
        assert torch.allclose(longer[name], again[name], atol=1e-4), name


def test_what_a_gpu_compiles_is_warmed_up_on_random_tokens_and_then_trains() -> None:
    module = shipped(DEPTH=1, TOTAL_BATCH=128)
    asked: list[str] = []

    def compiled(function: Callable[..., object], weights: object) -> Callable[..., object]:
        asked.append(function.__name__)
        return lambda *arguments: function(*arguments)

    module.compiled = compiled  # type: ignore[attr-defined]
    run, logged = make_run(steps=4)
    module.train(run)
    assert set(asked) == {"next_token_loss", "orthogonalise", "move"}
    assert len(logged) == 2 and logged[0]["loss"] > 0.9 * math.log(VOCAB), "the warm-up taught nothing"


class Operators(TorchDispatchMode):
    """Notes the window of every call of a flash attention, forwards and backwards."""

    def __init__(self) -> None:
        super().__init__()
        self.windows: list[tuple[str, int]] = []
        self.masks = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = function._schema.name.removeprefix("aten::")
        if name.startswith("_flash_attention"):
            names = [argument.name for argument in function._schema.arguments]
            given = {**dict(zip(names, args, strict=False)), **(kwargs or {})}
            assert given["window_size_right"] == 0 and not given["is_causal"]
            self.windows.append((name, given["window_size_left"]))
        self.masks += name == "bitwise_and"
        return function(*args, **(kwargs or {}))


def test_on_a_gpu_windows_go_through_flash_attention_without_a_mask() -> None:
    """On tensors without data: PyTorch checks the operator's arguments, shapes and derivative, and computes nothing."""
    module = shipped(("q.is_cuda", "q.is_meta"), WINDOW_PATTERN="SL", DEPTH=4, KV_GROUPS=2, SEQ_LEN=32)
    module.compute_dtype = lambda device: torch.bfloat16  # type: ignore[attr-defined]
    model = module.GPT(VOCAB, 32, torch.device("meta"))
    tokens = torch.zeros(2, 32, dtype=torch.int64, device="meta")
    with Operators() as seen:
        loss = module.next_token_loss(model, tokens, tokens)
        loss.backward()
    assert sorted(seen.windows) == [("_flash_attention_backward", 3)] * 2 + [("_flash_attention_forward", 3)] * 2
    assert seen.masks == 0
    assert all(weight.grad is not None for weight in model.blocks.parameters())
    key = model.blocks[0].attention.key.weight
    assert key.grad.shape == key.shape, "one key/value head for two query heads"
    with Operators() as seen:
        module.next_token_loss(model, tokens[:, :4], tokens[:, :4])
    assert not seen.windows, "a window that holds the whole sequence is none"


def test_what_flash_attention_does_not_take_goes_by_the_mask() -> None:
    module = shipped(("q.is_cuda", "q.is_meta"), WINDOW_PATTERN="S")  # float32, as on Turing
    model = module.GPT(VOCAB, 16, torch.device("meta"))
    tokens = torch.zeros(2, 16, dtype=torch.int64, device="meta")
    with Operators() as seen:
        module.next_token_loss(model, tokens, tokens)
    assert not seen.windows and seen.masks == 2


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
        f"vars(train).update({TINY!r})\n"
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
        "schema": 2,
        "dataset": "tinystories",
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
    write_prepared(tmp_path / "tinystories-v64")
    done = alone("--dataset", "tinystories", "--budget", "1.5")
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
