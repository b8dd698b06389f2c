"""Figures of whatever machine this is; nothing here needs a GPU, and nothing fails without one."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from core.machine import stats
from core.machine.stats import Gpu, chosen, disk_words
from nanochat.train import compute_dtype
from tests import fake_cuda
from tests.fake_cuda import GIB, Cards, make

GPUS = [[Gpu("a", uuid="GPU-11")], [Gpu("b", uuid="GPU-12")], [Gpu("c", uuid="GPU-31")]]
DIVIDED = [[Gpu("a", uuid="MIG-1"), Gpu("b", uuid="MIG-2")], [Gpu("c", uuid="GPU-31")]]
CALLS = [name for name in vars(fake_cuda._Calls) if name.startswith("nvml")]


def test_the_machine() -> None:
    meter = stats.Meter()
    assert meter.read().cpu_percent is None, "no time has passed that a load could be the mean of"
    found = meter.read()
    assert found.memory_total and found.memory_used and 0 < found.memory_used < found.memory_total
    assert found.cpu_percent is not None and 0 <= found.cpu_percent <= 100 and found.cores
    assert len(found.gpus) == len(stats.gpu_memory())
    assert stats.gpus({"CUDA_VISIBLE_DEVICES": ""}) == []


@pytest.mark.parametrize(
    ("setting", "names"),
    [
        (None, "abc"), ("", ""), ("-1", ""), ("2,0", "ca"), ("0,7,1", "a"), ("GPU-12", "b"), ("GPU-1", ""), ("GPU-3, 0", "ca"),
        ("nonsense", ""), ("1,1", "b"), ("1,GPU-12", "b"),
    ],
)  # fmt: skip
def test_hidden_gpus_do_not_count(setting: str | None, names: str) -> None:
    assert "".join(gpu.name for _, gpu in chosen(GPUS, setting)) == names


@pytest.mark.parametrize(
    ("setting", "words", "names"),
    [
        (None, ["MIG-1", "MIG-2", "1"], "abc"),
        ("MIG-2", ["MIG-2"], "b"),
        ("0,1", ["MIG-1", "1"], "ac"),
        ("MIG-2,1", ["MIG-2", "1"], "bc"),
    ],
)
def test_a_divided_card_counts_as_its_instances(setting: str | None, words: list[str], names: str) -> None:
    """CUDA shows a process no more than one instance, so each is named by itself; a card's number means its first one."""
    found = chosen(DIVIDED, setting)
    assert [word for word, _ in found] == words and "".join(gpu.name for _, gpu in found) == names


@pytest.fixture
def cards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cards]:
    """One fake card of 8 GiB, as the driver's library shows it to this process."""
    made = make(tmp_path / "cards")
    monkeypatch.setitem(sys.modules, "pynvml", fake_cuda.Nvml(made))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    stats._nvml.cache_clear()
    yield made
    stats._nvml.cache_clear()


def test_figures_of_a_card(cards: Cards) -> None:
    cards.occupy(3 * GIB, pid=1234)
    cards.change_card(reasons=0x20)
    (gpu,) = stats.gpus()
    assert (gpu.memory_total, gpu.memory_used, gpu.users) == (8 * GIB, 3 * GIB, ((1234, 3 * GIB),))
    assert (gpu.utilisation, gpu.temperature, gpu.power, gpu.clock, gpu.throttled) == (50, 60, 100.0, 1500, "heat")
    assert stats.cards() == ["0"]


@pytest.mark.parametrize("call", CALLS)
def test_a_call_that_the_driver_lacks_costs_its_own_figure_and_no_other(cards: Cards, call: str) -> None:
    """WSL2 lacks processes, Jetson most figures, MIG instances utilisation and clocks."""
    cards.change(raises=[call])
    found = stats.gpus()
    if call in ("nvmlInit", "nvmlDeviceGetCount", "nvmlDeviceGetHandleByIndex"):
        assert found == [] and stats.cards() is None and stats.gpu_memory() == []
        return
    (gpu,) = found
    lost = [name for name, value in vars(gpu).items() if value is None]
    assert len(lost) <= 2, "memory has two figures"
    assert stats.cards() == ["0"] and stats.gpu_memory() == [0 if "Memory" in call else 8 * GIB]
    assert stats.Meter().read().gpus == (gpu,)


def test_the_memory_of_a_mig_instance_decides(cards: Cards) -> None:
    cards.change_card(mig=[{"uuid": "MIG-aa", "total": 5 * GIB}, {"uuid": "MIG-bb", "total": 3 * GIB}])
    assert stats.gpu_memory() == [5 * GIB, 3 * GIB] and stats.cards() == ["MIG-aa", "MIG-bb"]
    (gpu,) = stats.gpus({"CUDA_VISIBLE_DEVICES": "MIG-bb"})
    assert gpu.memory_total == 3 * GIB and gpu.utilisation is None and gpu.users == ()


def test_disk(tmp_path: Path) -> None:
    assert stats.disk_free(tmp_path / "not" / "yet") == pytest.approx(stats.disk_free(tmp_path), rel=0.1)
    assert stats.disk_full(tmp_path) is None or "full" in str(stats.disk_full(tmp_path))
    assert disk_words(100 << 30, 50 << 30) is None
    assert disk_words(10 << 40, 2 << 30) is None  # little of a huge disk is still a lot
    assert disk_words(1 << 30, 900 << 20) is None  # a small disk with room
    assert disk_words(100 << 30, 100 << 20) == "the disk is 100% full (105 MB left); free some space"


def test_whether_the_cpu_multiplies_bf16(tmp_path: Path) -> None:
    info = tmp_path / "cpuinfo"
    assert stats.multiplies_bf16(info) is None, "no such file"
    for flags, expected in (
        ("sse avx2", False),
        ("avx512_bf16 sse", True),
        ("amx_tile", True),
        ("avx512_bf16x", False),
    ):
        info.write_text(f"processor\t: 0\nflags\t\t: fpu {flags}\n")
        assert stats.multiplies_bf16(info) is expected
    info.write_text("processor\t: 0\nFeatures\t: fp asimd bf16\n")
    assert stats.multiplies_bf16(info) is None, "not x86"


def test_it_agrees_with_what_train_py_asks_of_torch() -> None:
    if (found := stats.multiplies_bf16()) is not None:
        assert found is (compute_dtype(torch.device("cpu")) is torch.bfloat16)
