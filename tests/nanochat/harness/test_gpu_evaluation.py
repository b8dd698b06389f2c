"""Training and evaluation on a GPU, by the fake device of tests/fake_cuda.py: the sandbox, clock and rules of a real card."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from nanochat.contract.job import CrashClass, Outcome, Result
from tests.conftest import Harness
from tests.fake_cuda import GIB, make
from tests.nanochat.harness.test_cheats import CHEATS
from tests.nanochat.harness.test_misbehaviour import FORWARD, MODEL, RETURN, STEADY, with_

SOURCE = Path(__file__).resolve().parents[2] / "fake_libcuda.c"
# Much more than is needed: the clock on the wall runs on while others have the cores. The trainings have a fixed number of steps.
FREE = {"setup_s": 240.0, "budget_s": 30.0, "scoring_s": 240.0}
SCORING = "if torch.is_grad_enabled() or x.shape[1] != 32: return out"
ENOUGH = 16_384  # tokens of an evaluation with 512 rows, so that a small mean can be told


@pytest.fixture(scope="module")
def card(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Harness]:
    """A harness with one fake card whose driver lends memory, where there is a C compiler to build that driver with."""
    folder = tmp_path_factory.mktemp("card")
    library = folder / "libcuda.so.1"
    if compiler := shutil.which("cc") or shutil.which("gcc"):
        command = [compiler, "-shared", "-fPIC", "-Wl,-soname,libcuda.so.1", "-o", str(library), str(SOURCE)]
        subprocess.run(command, check=True)
    environment = pytest.MonkeyPatch()
    environment.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    lends = {"libcuda": str(library)} if library.exists() else {}
    made = Harness(tiny_data, folder, make(folder / "cards", **lends))
    environment.undo()
    yield made
    made.close()


@pytest.fixture(scope="module")
def pinning(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Harness]:
    """The same with a driver that lends no memory, as in WSL2."""
    folder = tmp_path_factory.mktemp("pinning")
    made = Harness(tiny_data, folder, make(folder / "cards"))
    yield made
    made.close()


def test_preflight_training_and_evaluation_give_the_score_of_a_cpu(
    card: Harness, pinning: Harness, harness: Harness
) -> None:
    """The preflight and the training are forked from one scorer, which asks both."""
    expected = harness.run(STEADY, budget_s=5.0).val_bpb
    assert expected is not None
    for place, lends in ((card, bool(shutil.which("cc") or shutil.which("gcc"))), (pinning, False)):
        result = place.run(STEADY, **FREE)
        assert result.outcome is Outcome.SCORED, (result.reason, result.traceback)
        assert result.val_bpb == pytest.approx(expected, abs=1e-6)
        assert result.probes["lent"] == lends and result.probes["on_gpu"]
        assert {"preflight", "setup", "training", "scoring", "cleanup"} <= set(result.parts)
        assert result.peak_memory > 0 and not result.unprotected


# What was cached counts as free for the trainer itself: it fits one more answer there, and the scorer no copy of it.
HOG = "torch.empty(torch.cuda.mem_get_info()[0] - {left}, dtype=torch.uint8, device='cuda')"
FULL = {
    "before the scorer uses CUDA": with_(RETURN, f"    model.hog = {HOG.format(left=20 << 20)}\n{RETURN}", STEADY),
    "before the first copy": with_(
        FORWARD,
        "        if not torch.is_grad_enabled() and not hasattr(self, 'hog'):\n"
        "            cached = [self.table[x], self.table[x]]\n"
        "            del cached\n"
        f"            self.hog = {HOG.format(left=-(64 << 10))}\n" + FORWARD,
        STEADY,
    ),
}


def on_a_small_card(place: Harness, source: str) -> Result:
    assert place.cards is not None
    place.cards.change_card(total=GIB)
    place.cards.change(context=64 << 20)
    result = place.run(source, preflight=False, **FREE)
    place.cards.change_card(total=8 * GIB)
    place.cards.change(context=1 << 20)
    return result


def test_a_trainer_that_fills_the_card_is_scored_on_the_cpu(card: Harness, pinning: Harness) -> None:
    for place in (card, pinning):
        for when, source in FULL.items():
            if place is pinning and when == "before the first copy":
                continue  # the first copy is where the scorer begins to use CUDA there
            result = on_a_small_card(place, source)
            assert result.outcome is Outcome.SCORED, (when, result.reason, result.traceback)
            assert result.probes["on_gpu"] == 0.0


def test_memory_that_cannot_be_pinned_is_used_all_the_same(pinning: Harness) -> None:
    assert pinning.cards is not None
    pinning.cards.change(pins=False)
    result = pinning.run(STEADY, preflight=False, **FREE)
    pinning.cards.change(pins=True)
    assert result.outcome is Outcome.SCORED, (result.reason, result.traceback)
    assert result.probes["on_gpu"] and not result.probes["lent"]


def test_training_on_before_it_takes_the_memory_is_charged(card: Harness) -> None:
    """The scorer waits for the trainer there, as it does for an answer."""
    late = (
        "    import nanochat.harness.trainer as harness, time\n"
        "    take = harness._borrow\n"
        "    def train_on(*arguments):\n"
        "        until = time.monotonic() + 4\n"
        "        while time.monotonic() < until:\n"
        "            run._on_step(run._steps + int(10 * time.monotonic()), 1)  # alive, all the time\n"
        "            time.sleep(0.05)\n"
        "        return take(*arguments)\n"
        "    harness._borrow = train_on\n"
    )
    source = with_(RETURN, late + RETURN, STEADY)
    result = card.run(source, preflight=False, **FREE | {"budget_s": 0.5, "hang_s": 5.0, "scoring_s": 10.0})
    assert result.outcome is Outcome.OVERRUN, (result.outcome, result.reason, result.charged_s)


@pytest.mark.parametrize("kind", ["Start", "Trained", "MemoryTaken"])
def test_running_out_of_memory_before_a_question_is_not_a_failure_of_the_scorer(card: Harness, kind: str) -> None:
    lie = (
        "    import nanochat.harness.trainer as harness\n"
        "    from nanochat.harness import wire\n"
        "    say = harness.Channel.say\n"
        "    def lie(self, message):\n"
        f"        say(self, wire.NoRoom() if isinstance(message, wire.{kind}) else message)\n"
        "    harness.Channel.say = lie\n"
    )
    result = card.run(with_(MODEL, lie + MODEL, STEADY), preflight=False, **FREE)
    assert (result.outcome, result.crash) == (Outcome.CRASH, CrashClass.CONTRACT), result.reason


OUT_OF_MEMORY = {
    "the allocator": (MODEL, MODEL + "    torch.empty(10**12, dtype=torch.uint8, device=run.device)\n"),
    "a compiler around it": (MODEL, MODEL + "    raise RuntimeError('InductorError: OutOfMemoryError: CUDA out of memory.')\n"),
    "cuBLAS": (MODEL, MODEL + "    raise RuntimeError('CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`')\n"),
    "the driver": (MODEL, MODEL + "    raise RuntimeError('CUDA error: out of memory\\nCUDA kernel errors might be asynchronous')\n"),
    "another error in its place": (
        MODEL, MODEL + "    try: torch.empty(10**12, dtype=torch.uint8, device=run.device)\n"
        "    except Exception as error: raise ValueError('the model could not be built') from error\n",
    ),
    "an answer": (FORWARD, "        if not torch.is_grad_enabled(): torch.empty(10**12, dtype=torch.uint8, device=x.device)\n" + FORWARD),
}  # fmt: skip


@pytest.mark.parametrize("form", OUT_OF_MEMORY)
def test_running_out_of_memory_is_called_that(card: Harness, form: str) -> None:
    result = card.run(with_(*OUT_OF_MEMORY[form], STEADY), preflight=False, **FREE)
    assert (result.outcome, result.crash) == (Outcome.CRASH, CrashClass.OUT_OF_MEMORY), result.reason
    assert "out of memory" in result.reason


def test_fewer_rows_at_once_are_asked_where_all_have_no_room(card: Harness) -> None:
    few = "        if not torch.is_grad_enabled() and len(x) > 2: torch.empty(10**12, dtype=torch.uint8, device=x.device)\n"
    result = card.run(with_(FORWARD, few + FORWARD, STEADY), **FREE)
    assert result.outcome is Outcome.SCORED, (result.reason, result.traceback)


def test_the_preflight_compiles_nothing_and_its_lack_of_memory_gives_no_verdict(card: Harness) -> None:
    short = "    if run._max_steps is not None: torch.empty(10**12, dtype=torch.uint8, device=run.device)\n"
    result = card.run(with_(MODEL, MODEL + short, STEADY), **FREE)
    assert result.outcome is Outcome.SCORED, (result.reason, result.traceback)
    told = "    print('compiles:', torch.compile.__name__, torch.compile(model) is model, flush=True)\n"
    result = card.run(with_(MODEL, MODEL + told, STEADY), **FREE)
    lines = (card.folder / result.job / "output.txt").read_text().splitlines()
    assert [line.split()[1] for line in lines if "compiles" in line] == ["uncompiled", "compile"]


@pytest.mark.parametrize("name", CHEATS)
def test_a_cheat_in_the_evaluation_is_found_on_a_gpu_too(card: Harness, name: str) -> None:
    result = card.run(with_(FORWARD, CHEATS[name], STEADY), eval_tokens=8192, preflight=False, **FREE)
    assert result.outcome is Outcome.INVALID, (result.outcome, result.reason, result.val_bpb, result.probes)


LITTLE = (
    "        out = self.table[x].clone()\n        {noise}\n        " + SCORING + "\n"
    "        {gain}\n        return out\n"
)  # fmt: skip
NOISE = "out += 1e-4 * torch.randn(out.shape, device=out.device)"


def test_answers_that_are_rounded_differently_each_time_are_honest(card: Harness) -> None:
    source = with_(FORWARD, LITTLE.format(noise=NOISE, gain=""), STEADY)
    result = card.run(source, eval_tokens=ENOUGH, score_batch=32, preflight=False, **FREE)
    assert result.outcome is Outcome.SCORED, result.reason
    assert 0 < abs(result.probes["at_cuts"]) < 3e-4


@pytest.mark.parametrize(
    "gain",
    [
        "out[:, :-1].scatter_add_(2, x[:, 1:, None], torch.full((*x[:, 1:].shape, 1), 0.01, device=x.device))",
        "out[:, :-1].scatter_add_(2, x[:, 1:, None], 0.1 * (x[:, :-1, None] % 8 == 0))",
        "self.calls = getattr(self, 'calls', 0) + 1; out[:, :-1].scatter_add_(2, x[:, 1:, None], torch.full((*x[:, 1:].shape, 1), "
        "2e-4 * self.calls, device=x.device))",
    ],
    ids=["everywhere", "at some places", "more and more"],
)
def test_a_gain_that_hides_in_the_rounding_is_found(card: Harness, gain: str) -> None:
    source = with_(FORWARD, LITTLE.format(noise="", gain=gain), STEADY)
    result = card.run(source, eval_tokens=ENOUGH, score_batch=32, preflight=False, **FREE)
    assert result.outcome is Outcome.INVALID and "nats a token" in result.reason, (result.reason, result.probes)


def test_answers_that_differ_too_much_are_refused(card: Harness) -> None:
    source = with_(FORWARD, LITTLE.format(noise=NOISE.replace("1e-4", "0.05"), gain=""), STEADY)
    result = card.run(source, preflight=False, **FREE)
    assert result.outcome is Outcome.INVALID and "could hide a gain" in result.reason, (result.reason, result.probes)


COMPILES = (
    MODEL + "    from torch._dynamo.utils import counters\n"
    "    import torch._inductor.config as inductor\n"
    "    inductor.cpp.vec_isa_ok = inductor.cpp_cache_precompile_headers = False  # a plain kernel compiles in a quarter of the time\n"
    "    square = torch.compile(lambda x: (x * 2).relu().square().sum())\n"
    "    total = float(square(torch.ones(64, 64)))\n"
    "    print('hits:', counters['inductor']['fxgraph_cache_hit'], 'of', total, flush=True)\n"
)


@pytest.mark.skipif(not shutil.which("g++"), reason="no C++ compiler here")
def test_what_the_baseline_compiled_is_there_for_the_next(card: Harness) -> None:
    """Real kernels for the CPU, compiled by the real Inductor in the sandbox of a GPU run."""
    assert card.cards is not None
    card.cards.change(compile="inductor")
    try:
        first = card.run(with_(MODEL, COMPILES, STEADY), keep_compiled=True, preflight=False, **FREE)
        assert first.outcome is Outcome.SCORED, (first.reason, first.traceback)
        kept = card.folder / first.job / "compiled"
        second = card.run(with_(MODEL, COMPILES, STEADY), compiled=str(kept), preflight=False, **FREE)
    finally:
        card.cards.change(compile="identity")
    found = [(card.folder / job / "output.txt").read_text().split()[1] for job in (first.job, second.job)]
    assert found == ["0", "1"] and second.outcome is Outcome.SCORED
    assert not (card.folder / second.job / "compiled").exists()
