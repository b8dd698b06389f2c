"""The GPU as seen from outside: whose memory is whose, and for how long the clock was held down."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from types import SimpleNamespace

import psutil
import pytest

from nanochat.harness import gpu
from nanochat.harness.gpu import Meter, Reading, read

GB = 1_000_000_000


def test_own_memory_is_distinguished_from_that_of_others() -> None:
    meter = Meter(Reading(2 * GB, {50: GB}))
    meter.take(Reading(5 * GB, {50: GB, 101: 2 * GB, 102: GB}), {100, 101, 102})
    meter.take(Reading(9 * GB, {50: 6 * GB, 101: GB}), {100, 101, 102})
    assert meter.peak == 3 * GB and meter.others == 6 * GB


def test_where_the_driver_names_no_process_of_ours_the_growth_is() -> None:
    """In a container the driver tells the numbers that processes have outside of it, or none."""
    meter = Meter(Reading(2 * GB, {}))
    meter.take(Reading(7 * GB, {4711: 5 * GB}), {101})
    assert meter.peak == 5 * GB and meter.others == 0


def test_the_share_of_time_that_the_clock_was_held_down() -> None:
    meter = Meter(Reading(0, {}))
    assert meter.held_down == 0.0
    for hot in (False, True, True, False):
        meter.take(Reading(GB, {1: GB}, hot), {1})
    assert meter.held_down == 0.5


@pytest.mark.skipif(shutil.which("nvidia-smi") is not None, reason="here is a GPU")
def test_without_a_driver_nothing_is_read_and_nothing_fails() -> None:
    assert read() is None
    meter = Meter(None)
    meter.look({1})
    assert (meter.peak, meter.others, meter.held_down) == (0, 0, 0.0)


# -- the driver's library, by a stand-in that answers in part ----------------------------------------------------------


class Nvml:
    """Answers as NVML does; holds a file open between the first nvmlInit and the last nvmlShutdown, as that does."""

    def __init__(self, **answers: object) -> None:
        self._answers: dict[str, object] = {
            "MemoryInfo": SimpleNamespace(used=5 * GB, total=8 * GB), "ComputeRunningProcesses": [user(7, GB), user(8, 2 * GB)],
            "CurrentClocksEventReasons": 0x20,
        } | answers  # fmt: skip
        self.opened, self.handle = 0, -1

    def nvmlInit(self) -> None:
        if isinstance(failed := self._answers.get("Init"), Exception):
            raise failed
        self.opened += 1
        if self.opened == 1:
            self.handle = os.open(os.devnull, os.O_RDWR)

    def nvmlShutdown(self) -> None:
        assert self.opened > 0, "more is closed than was opened"
        self.opened -= 1
        if self.opened == 0:
            os.close(self.handle)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        if index > 0:
            raise RuntimeError("Invalid Argument")
        return index

    def __getattr__(self, name: str) -> Callable[[object], object]:
        answer = self._answers.get(name.removeprefix("nvmlDeviceGet"), AttributeError(name))
        if isinstance(answer, AttributeError):
            raise answer

        def ask(device: object) -> object:
            if isinstance(answer, Exception):
                raise answer
            return answer

        return ask


def user(pid: object, size: object) -> SimpleNamespace:
    return SimpleNamespace(pid=pid, usedGpuMemory=size)


UNSUPPORTED = RuntimeError("Not Supported")
ANSWERS = {
    "all": ({}, Reading(5 * GB, {7: GB, 8: 2 * GB}, True)),
    "no processes (WSL)": ({"ComputeRunningProcesses": UNSUPPORTED}, Reading(5 * GB, {}, True)),
    "no reasons (MIG)": ({"CurrentClocksEventReasons": UNSUPPORTED}, Reading(5 * GB, {7: GB, 8: 2 * GB})),
    "reasons by their old name": (
        {"CurrentClocksEventReasons": AttributeError("new"), "CurrentClocksThrottleReasons": 0x40},
        Reading(5 * GB, {7: GB, 8: 2 * GB}, True),
    ),
    "no memory": ({"MemoryInfo": UNSUPPORTED}, Reading(3 * GB, {7: GB, 8: 2 * GB}, True)),
    "nothing": (
        {"MemoryInfo": UNSUPPORTED, "ComputeRunningProcesses": UNSUPPORTED, "CurrentClocksEventReasons": UNSUPPORTED},
        Reading(0, {}),
    ),
    "sizes that are none": (
        {"ComputeRunningProcesses": [user(7, None), user(8, 2**64 - 1), user("x", GB), user(9, GB), user(9, GB), object()]},
        Reading(5 * GB, {7: 0, 8: 0, 9: 2 * GB}, True),
    ),
    "no list, no number": (
        {"ComputeRunningProcesses": None, "CurrentClocksEventReasons": "hot", "MemoryInfo": SimpleNamespace(used="5")},
        Reading(0, {}),
    ),
    "no right": ({"Init": PermissionError("Insufficient Permissions")}, None),
}  # fmt: skip


@pytest.mark.parametrize("name", ANSWERS)
def test_a_missing_answer_loses_only_itself_and_the_library_is_closed_again(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An open one would be of no use to a forked trainer, and PyTorch would fail when it asks why memory is short."""
    answers, wanted = ANSWERS[name]
    library = Nvml(**answers)
    monkeypatch.setitem(sys.modules, "pynvml", library)
    before = len(psutil.Process().open_files()), psutil.Process().num_fds()
    for _ in range(2):
        assert read({"CUDA_VISIBLE_DEVICES": "0"}) == wanted
        assert library.opened == 0
        assert (len(psutil.Process().open_files()), psutil.Process().num_fds()) == before


def test_a_gpu_that_is_not_there_gives_no_reading_and_leaves_nothing_open(monkeypatch: pytest.MonkeyPatch) -> None:
    library = Nvml()
    monkeypatch.setitem(sys.modules, "pynvml", library)
    assert read({"CUDA_VISIBLE_DEVICES": "3"}) is None and library.opened == 0


def test_the_first_look_waits_until_a_killed_process_has_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read too early, its memory would be taken for what was there before, and the next trainer's peak be too small."""
    used = [9, 5, 5, 2, 2, 2, 1]
    monkeypatch.setattr(gpu, "AGAIN_S", 0.001)
    monkeypatch.setattr(gpu, "read", lambda: Reading(used.pop(0) * GB, {}))
    found = gpu.read_at_rest()
    assert found is not None and found.used == 2 * GB and used == [1], "one look that finds no less is not enough"
    used[:] = range(100_000, 0, -1)
    assert gpu.read_at_rest(wait_s=0.2) is not None and used, "it waits for a bounded time"
