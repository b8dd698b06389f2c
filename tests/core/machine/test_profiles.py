"""The table of profiles fits the shipped train.py, and every machine finds its row."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from core.change import knobs
from core.machine import profiles
from core.machine.profiles import PROFILES, applicable_knobs, choose, default_slots, halve_batch, named

TRAIN = Path(__file__).resolve().parents[3] / "nanochat" / "train.py"
SHIPPED = {knob.name: knob.value for knob in knobs.read(TRAIN.read_text(encoding="utf-8"))}
GIB = 2**30


@pytest.mark.parametrize("name", PROFILES)
def test_a_profile_sets_knobs_that_train_py_has_to_sizes_that_go_together(name: str) -> None:
    profile = named(name)
    assert profile.knobs.keys() <= SHIPPED.keys()
    source = knobs.set_knobs(TRAIN.read_text(encoding="utf-8"), dict(profile.knobs))
    values = {knob.name: knob.value for knob in knobs.read(source)}
    assert values == {**SHIPPED, **profile.knobs}
    assert values["WIDTH"] % values["HEAD_DIM"] == 0  # type: ignore[operator]
    assert values["TOTAL_BATCH"] % (values["BATCH_SIZE"] * values["SEQ_LEN"]) == 0  # type: ignore[operator]
    assert profile.eval_tokens % profile.seq_len == 0
    assert name == "tiny" or values["SEQ_LEN"] == profile.seq_len
    assert profile.vocab_size < 2**16  # tokens are stored as uint16


def test_the_shipped_train_py_is_the_cpu_profile() -> None:
    assert not named("cpu").knobs
    assert {name: SHIPPED[name] for name in profiles.SHIPPED} == profiles.SHIPPED
    assert {name for profile in PROFILES.values() for name in profile.knobs} == profiles.SHIPPED.keys()


def test_what_the_user_changed_stays() -> None:
    gpu = named("gpu-24")
    assert applicable_knobs(gpu, SHIPPED) == gpu.knobs
    assert applicable_knobs(gpu, {**SHIPPED, "DEPTH": 12}) == {
        name: v for name, v in gpu.knobs.items() if name != "DEPTH"
    }
    assert applicable_knobs(gpu, {"LR": 1.0}) == {}, "a train.py of the user's own"


@pytest.mark.parametrize(
    ("device", "gpu", "ram", "name"),
    [
        ("cpu", 0, 4, "cpu"),
        ("cpu", 80, 4, "cpu"),  # asked for the CPU on a machine with a GPU
        ("mps", 0, 16, "mps"),
        ("mps", 0, 8, "cpu"),
        ("cuda", 0, 64, "gpu-6"),  # the driver would not say
        ("cuda", 3.9, 64, "gpu-6"),
        ("cuda", 5.8, 64, "gpu-6"),
        ("cuda", 7.6, 64, "gpu-8"),
        ("cuda", 11.0, 64, "gpu-8"),  # an RTX 2080 Ti
        ("cuda", 11.75, 64, "gpu-12"),
        ("cuda", 14.75, 64, "gpu-16"),
        ("cuda", 20, 64, "gpu-16"),
        ("cuda", 22.0, 64, "gpu-24"),  # an A10G, with error correction
        ("cuda", 31.8, 64, "gpu-24"),
        ("cuda", 39.4, 64, "gpu-48"),  # an A100 of 40 GB
        ("cuda", 44.5, 64, "gpu-48"),
        ("cuda", 79.1, 64, "gpu-80"),
        ("cuda", 141, 64, "gpu-80"),
    ],
)
def test_every_machine_finds_its_profile(device: str, gpu: float, ram: int, name: str) -> None:
    assert choose(device, int(gpu * GIB), ram * GIB).name == name


def test_every_step_of_memory_has_a_profile_and_more_memory_never_a_smaller_one() -> None:
    gpus = [name for name in PROFILES if name.startswith("gpu-")]
    assert [name for name, _ in profiles.LEAST_GIB] == gpus[::-1]
    assert [least for _, least in profiles.LEAST_GIB] == sorted(
        (least for _, least in profiles.LEAST_GIB), reverse=True
    )
    for name, least in profiles.LEAST_GIB:
        assert least < int(name.removeprefix("gpu-")), "a card shows less than its name says"
    for smaller, larger in pairwise(gpus):
        tokens = [named(name).knobs["BATCH_SIZE"] * named(name).seq_len for name in (smaller, larger)]
        assert tokens[0] <= tokens[1] and named(smaller).knobs["TOTAL_BATCH"] <= named(larger).knobs["TOTAL_BATCH"]


@pytest.mark.parametrize("name", [name for name in PROFILES if name.startswith("gpu-")])
def test_a_gpu_halves_its_batch_down_to_one_row_with_the_same_tokens_a_step(name: str) -> None:
    values = {**SHIPPED, **named(name).knobs}
    while changed := halve_batch(values):
        values |= changed
        assert values["TOTAL_BATCH"] % (values["BATCH_SIZE"] * values["SEQ_LEN"]) == 0
    assert values["BATCH_SIZE"] == 1 and values["TOTAL_BATCH"] == named(name).knobs["TOTAL_BATCH"]


def test_a_cpu_without_bf16_trains_a_smaller_model() -> None:
    assert choose("cpu", 0, 4 * GIB, bf16=False).name == "cpu-fp32" == choose("mps", 0, 4 * GIB, bf16=False).name
    assert choose("cpu", 0, 4 * GIB, bf16=True).name == "cpu"
    assert choose("cuda", 24 * GIB, 64 * GIB, bf16=False).name == "gpu-24"


def test_an_unknown_device_or_profile_is_rejected() -> None:
    with pytest.raises(ValueError, match="'abacus'"):
        choose("abacus", 0, 0)
    with pytest.raises(KeyError):
        named("gpu-7")


@pytest.mark.parametrize("name", PROFILES)
def test_shorter_trainings_are_noisier(name: str) -> None:
    profile = named(name)
    priors = [profile.noise_prior(seconds) for seconds in (0.01, 1, 5, 20, 60, 300, 600)]
    assert priors == sorted(priors, reverse=True)
    assert all(0 < prior <= 0.05 for prior in priors)
    assert profile.noise_prior(profile.noise_at) == profile.noise


def test_the_prior_of_a_cpu() -> None:
    assert named("cpu").noise_prior(60) == 0.0022
    assert named("cpu").noise_prior(15) == pytest.approx(0.0044)
    assert named("cpu").noise_prior(0.1) == 0.05
    assert named("gpu-80").noise_prior(300) == 7e-4 and named("gpu-8").noise_prior(600) == 2e-3


def test_halving_the_batch() -> None:
    assert halve_batch({"BATCH_SIZE": 64, "DEPTH": 8}) == {"BATCH_SIZE": 32}
    assert halve_batch({"BATCH_SIZE": 1}) == halve_batch({}) == halve_batch({"BATCH_SIZE": "x"}) == {}


@pytest.mark.parametrize(
    ("device", "gpus", "cores", "threads", "ram", "slots"),
    [
        ("cpu", 0, 1, 1, 8, 1),
        ("cpu", 0, 1, 2, 8, 2),  # two cores of a virtual machine
        ("cpu", 0, 2, 2, 8, 2),
        ("cpu", 0, 2, 4, 8, 2),
        ("cpu", 0, 2, 2, 3, 1),  # as far as memory allows
        ("cpu", 0, 4, 8, 16, 3),
        ("cpu", 0, 64, 128, 256, 4),
        ("cpu", 0, 8, 8, 5, 2),
        ("cpu", 0, 8, 8, 1, 1),
        ("cuda", 1, 64, 64, 256, 1),
        ("cuda", 3, 4, 4, 16, 3),
        ("cuda", 0, 4, 4, 16, 1),
        ("mps", 0, 8, 8, 16, 1),
    ],
)
def test_default_slots(device: str, gpus: int, cores: int, threads: int, ram: int, slots: int) -> None:
    assert default_slots(device, gpus, cores, threads, ram * GIB) == slots
