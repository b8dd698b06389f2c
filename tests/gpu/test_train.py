"""train.py on a real card: windows, compiled code, memory of the tables, and no waiting for the GPU."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

SOURCE = Path(__file__).resolve().parents[2] / "nanochat" / "train.py"
SMALL: dict[str, object] = {
    "DEPTH": 2, "WIDTH": 256, "HEAD_DIM": 64, "SEQ_LEN": 256, "BATCH_SIZE": 4, "TOTAL_BATCH": 1024, "WINDOW": 64,
    "WINDOW_PATTERN": "SL", "KV_GROUPS": 2, "SOFTCAP": 15.0, "MATRIX_DECAY": 0.06, "ADAM_DECAY": 0.001,
}  # fmt: skip
VOCAB = 512
torch: Any = None  # imported where there is a card: without one each test is skipped at once
DEVICE = "cuda"


@pytest.fixture(autouse=True, scope="module")
def torch_is_imported() -> None:
    global torch
    torch = importlib.import_module("torch")


@pytest.fixture
def ampere() -> None:
    if torch.version.hip is not None or torch.cuda.get_device_capability()[0] < 8:
        pytest.skip("needs an NVIDIA card of compute capability 8.0 or more")


def shipped(**knobs: object) -> ModuleType:
    """A fresh copy of train.py with small knobs."""
    module = ModuleType("train_under_test")
    exec(compile(SOURCE.read_text(), str(SOURCE), "exec"), module.__dict__)
    for name, value in {**SMALL, **knobs}.items():
        assert hasattr(module, name)
        setattr(module, name, value)
    return module


def make_run(steps: int) -> tuple[Any, list[dict[str, float]]]:
    """A run of so many batches, and the list that its log fills."""
    from nanochat.run import Run

    tokens = np.tile(np.random.default_rng(7).permutation(VOCAB), 40).astype(np.uint16)
    logged: list[dict[str, float]] = []
    torch.manual_seed(0)
    run = Run(
        device=torch.device(DEVICE), vocab_size=VOCAB, seq_len=256, seed=0, start=lambda: tokens, clock=lambda: 0.0, budget_s=1.0,
        on_log=logged.append, on_step=lambda steps, tokens: None, max_steps=steps,
    )  # fmt: skip
    return run, logged


@pytest.mark.usefixtures("ampere")
@pytest.mark.parametrize("head", [64, 128])
@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("length", [200, 512])
def test_a_window_of_flash_attention_is_what_a_mask_gives(head: int, groups: int, length: int) -> None:
    module = shipped(HEAD_DIM=head)
    torch.manual_seed(0)
    shapes = ((2, length, 4, head), (2, length, 4 // groups, head), (2, length, 4 // groups, head))
    ours = [torch.randn(shape, device=DEVICE, dtype=torch.bfloat16, requires_grad=True) for shape in shapes]
    exact = [part.detach().float().requires_grad_() for part in ours]
    weights = torch.randn(2, length, 4, head, device=DEVICE)
    got, wanted = module.attend(*ours, 64), module.attend(*exact, 64)  # float32 takes the mask
    assert torch.allclose(got.float(), wanted, atol=0.03)
    (got.float() * weights).sum().backward()
    (wanted * weights).sum().backward()
    for part, reference in zip(ours, exact, strict=True):
        assert part.grad is not None and reference.grad is not None
        assert torch.allclose(part.grad.float(), reference.grad, atol=0.1, rtol=0.05)
    with torch.no_grad():
        full = torch.nn.functional.scaled_dot_product_attention(
            *(p.transpose(1, 2) for p in exact), is_causal=True, enable_gqa=True
        )
        assert not torch.allclose(got.float(), full.transpose(1, 2), atol=0.1), "the window hides something"


def test_compiled_training_is_what_plain_training_is_within_the_precision() -> None:
    def losses(plain: bool) -> list[float]:
        torch._dynamo.reset()
        module = shipped()
        if plain:
            module.compiled = lambda function, weights: function  # type: ignore[attr-defined]
        torch.manual_seed(0)
        model = module.GPT(VOCAB, 256, torch.device(DEVICE))
        loss_of, rules = module.compiled(module.next_token_loss, model.parameters()), module.optimizers(model)
        generator = torch.Generator().manual_seed(1)
        found = []
        for _ in range(6):
            x = torch.randint(VOCAB, (4, 256), generator=generator).to(DEVICE)
            loss = loss_of(model, x, x)
            loss.backward()
            module.update(model, rules, 0.5)
            found.append(float(loss))
        return found

    plain, compiled = losses(True), losses(False)
    assert plain[-1] < 0.9 * plain[0], "it learns"
    assert np.allclose(plain, compiled, rtol=0.03), (plain, compiled)


def test_training_compiles_one_graph_of_the_model_and_nothing_again_after_the_warm_up() -> None:
    from torch._dynamo.utils import counters

    torch._dynamo.reset()
    counters.clear()
    module = shipped()
    plain = module.warm_up

    def warmed(*arguments: Any) -> None:
        plain(*arguments)
        torch._dynamo.config.error_on_recompile = True
        counters["stats"]["warm"] = counters["stats"]["unique_graphs"]

    module.warm_up = warmed  # type: ignore[attr-defined]
    try:
        run, logged = make_run(12)
        model = module.train(run)
    finally:
        torch._dynamo.config.error_on_recompile = False
    assert counters["stats"]["warm"] == counters["stats"]["unique_graphs"], (
        "nothing was compiled after the clock started"
    )
    assert not counters["graph_break"]
    assert [figures["lr_scale"] for figures in logged][:1] == [1.0] and len(logged) == 3, "every fourth step is read"
    with torch.no_grad():
        assert bool(torch.isfinite(model(torch.zeros(2, 256, dtype=torch.int64, device=DEVICE))).all())


def test_an_optimizer_step_never_waits_for_the_gpu() -> None:
    module = shipped()
    model = module.GPT(VOCAB, 256, torch.device(DEVICE))
    loss_of, rules = module.compiled(module.next_token_loss, model.parameters()), module.optimizers(model)
    x = torch.zeros(4, 256, dtype=torch.int64, device=DEVICE)
    for scale in (1.0, 0.9):  # compiles
        loss_of(model, x, x).backward()
        module.update(model, rules, scale)
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for scale in (0.8, 0.7, 0.0):
            loss_of(model, x, x).backward()
            module.update(model, rules, scale)
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.usefixtures("ampere")
def test_tables_are_bfloat16_and_what_is_known_of_them_float32() -> None:
    module = shipped()
    model = module.GPT(VOCAB, 256, torch.device(DEVICE))
    assert model.embed.weight.dtype == torch.bfloat16 and model.unembed.weight.dtype == torch.float32
    assert all(table.weight.dtype == torch.bfloat16 for table in model.value_embeds.values())
    assert all(mean.dtype == torch.float32 for rule in module.optimizers(model)[1:] for mean in rule.means)


def test_training_without_a_compiler_works_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a preflight, where torch.compile is the identity."""
    monkeypatch.setattr(torch, "compile", lambda model=None, **_: model)
    run, logged = make_run(8)
    shipped().train(run)
    assert len(logged) == 2 and all(np.isfinite(figures["loss"]) for figures in logged)
