"""Whole experiments of a tiny model by the real harness: scored, or a crash of the right class, and the next one is sound."""

from __future__ import annotations

import pytest

from nanochat.contract.job import CrashClass, Outcome
from tests.gpu.support import MIB, DeviceHarness, replaced
from tests.product import TRAIN

MODEL = "    model = Bigram(run.vocab_size).to(run.device)\n"
FORWARD = "        return self.table[x]\n"
RETURN = "    return model\n"
HOG = "torch.empty(10**12, dtype=torch.uint8, device={device})"  # bytes that no card has


def raising(words: str) -> str:
    return replaced(TRAIN, MODEL, f"{MODEL}    raise RuntimeError({words!r})\n")


OUT_OF_MEMORY = {
    "in training": replaced(TRAIN, MODEL, f"{MODEL}    hog = {HOG.format(device='run.device')}\n"),
    "said by a wrapper": raising("InductorError: OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB"),
    "said by the driver": raising("CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported"),
    "said by a library": raising("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
}


def test_a_whole_experiment_with_its_preflight_is_scored(device_harness: DeviceHarness) -> None:
    """Preflight, training and evaluation belong to one scorer, which must not use CUDA before its last fork."""
    result = device_harness.run(TRAIN, preflight=True, eval_tokens=8192)
    assert result.outcome is Outcome.SCORED and result.val_bpb is not None, (result.reason, result.traceback)
    assert 1.0 < result.val_bpb < 8.0 and result.steps > 3
    assert {"preflight", "setup", "training", "scoring", "cleanup"} <= set(result.parts)
    assert result.peak_memory > MIB, "the context on the card is counted"


@pytest.mark.parametrize("name", OUT_OF_MEMORY)
def test_out_of_memory_has_its_class_in_all_its_words(device_harness: DeviceHarness, name: str) -> None:
    result = device_harness.run(OUT_OF_MEMORY[name])
    assert result.outcome is Outcome.CRASH and result.crash is CrashClass.OUT_OF_MEMORY, (result.crash, result.reason)


def test_out_of_memory_in_an_answer_makes_the_scorer_ask_for_less(device_harness: DeviceHarness) -> None:
    full = f"        if not torch.is_grad_enabled() and len(x) > 2: {HOG.format(device='x.device')}\n"
    result = device_harness.run(replaced(TRAIN, FORWARD, full + FORWARD))
    assert result.outcome is Outcome.SCORED, (result.crash, result.reason)


def test_a_trainer_that_keeps_all_of_the_card_is_scored_all_the_same(gpu: str, device_harness: DeviceHarness) -> None:
    """The scorer has no room for a context of its own there, and computes on the CPU."""
    keeps = (
        "    free = torch.cuda.mem_get_info()[0]\n"
        "    model.hog = torch.empty(free - (150 << 20), dtype=torch.uint8, device=run.device)\n"
    )  # before the clock starts, since it takes half a second
    result = device_harness.run(replaced(TRAIN, MODEL, MODEL + keeps))
    assert result.outcome is Outcome.SCORED, (result.crash, result.reason, result.traceback)


def test_after_a_fault_of_the_device_the_next_experiment_is_sound(device_harness: DeviceHarness) -> None:
    beyond = "    float(model(torch.full((1, 4), 10**6, device=run.device)).sum())\n"
    result = device_harness.run(replaced(TRAIN, RETURN, beyond + RETURN))
    assert result.outcome is Outcome.CRASH and result.crash is CrashClass.EXCEPTION, (result.crash, result.reason)
    after = device_harness.run(TRAIN)
    assert after.outcome is Outcome.SCORED, after.reason


def test_the_peak_of_an_experiment_is_its_own(gpu: str, device_harness: DeviceHarness) -> None:
    """The memory of the one before may take a second to come back, and must not hide what the next one uses."""
    size = 512 * MIB
    large = replaced(TRAIN, MODEL, f"{MODEL}    model.hog = torch.ones({size}, dtype=torch.uint8, device=run.device)\n")
    before, big, after = (device_harness.run(source, budget_s=2.0) for source in (TRAIN, large, TRAIN))
    assert all(result.outcome is Outcome.SCORED for result in (before, big, after))
    assert big.peak_memory - before.peak_memory == pytest.approx(size, abs=150 * MIB)
    assert after.peak_memory == pytest.approx(before.peak_memory, abs=150 * MIB)
