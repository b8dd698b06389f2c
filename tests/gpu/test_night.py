"""Whole runs by the real command line: a night of three, and an edit of a learning rate that finds its kernels compiled."""

from __future__ import annotations

from core.change import knobs
from core.record import events as ev
from core.record import journal
from core.verdicts import Verdict
from nanochat.contract import layout
from tests.gpu.support import shipped, written
from tests.product import BETTER, ROOT, Product, edit

WARM_S = 10.0  # set-up of an edit that changes no kernel
WORSE = edit("Steps that come to nothing, to see that they lose.", ("1e-5", "10.0"))
CRASHING = edit("Divide by nothing.", ("    return model", "    1 / 0\n    return model"))


def options(product: Product, device: str, profile: str, budget_s: float) -> tuple[str, ...]:
    return ("run", "--headless", "--profile", profile, "--dataset", f"text:{product.corpus}", "--name", "r", "--seed", "7",
            "--device", device, "--slots", "1", "--budget", f"{budget_s:g}")  # fmt: skip


def measurements(product: Product) -> list[ev.Measured]:
    return [event for event in journal.read(product.logs / "r" / journal.NAME) if isinstance(event, ev.Measured)]


def test_a_night_of_three(device_product: Product, device: str) -> None:
    agent = device_product.script(BETTER, WORSE, CRASHING)
    done = device_product(
        *options(device_product, device, "tiny", 1.0), "--agent", agent, "--max-experiments", "3", timeout=170
    )
    assert done.returncode == 0, done.stdout + done.stderr
    verdicts = [experiment.verdict for experiment in device_product.state().experiments.values()]
    assert verdicts == [Verdict.KEEP, Verdict.DISCARD, Verdict.CRASH], done.stdout
    assert device_product.state().experiments[3].crash == "exception"
    found = [measured.result for measured in measurements(device_product)]
    assert all(result.outcome == "scored" for result in found if result.crash is None), found
    assert device_product.strays() == []


def test_an_edit_of_a_learning_rate_starts_with_compiled_kernels(device_product: Product, real_device: str) -> None:
    """Three layers of the profile gpu-8: the baseline compiles, and what it compiled is handed to the next trainer."""
    profile, budget_s = ("gpu-8", 5.0) if real_device == "cuda" else ("tiny", 1.0)
    source = knobs.set_knobs((ROOT / "nanochat" / "train.py").read_text(), {"DEPTH": 3})
    (device_product.root / "nanochat" / "train.py").write_text(source)
    line = written(shipped(profile, DEPTH=3), "MATRIX_LR")
    agent = device_product.script(edit("Hardly any learning rate, to see that it loses.", (line, "MATRIX_LR = 1e-6")))
    done = device_product(
        *options(device_product, real_device, profile, budget_s),
        "--agent",
        agent,
        "--max-experiments",
        "1",
        timeout=170,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    baseline, candidate = (
        next(m for m in measurements(device_product) if m.role == role) for role in ("baseline", "candidate")
    )
    assert candidate.result.outcome == "scored", candidate.result.reason
    assert candidate.result.parts["setup"] <= WARM_S, (baseline.result.parts, candidate.result.parts)
    if real_device == "cuda":
        assert (device_product.logs / "r" / layout.COMPILED).is_dir(), "the baseline left its kernels"
