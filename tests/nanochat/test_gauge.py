"""The gauge, the clock that follows it, and trainers that try to fool it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator

import psutil
import pytest

from core.model import Outcome
from nanochat import gauge
from nanochat.gauge import Gauge, NotMeasured, Page, RanOn, Reading, Speedometer
from nanochat.processes import Descendants, Standstill, cpu_clock
from nanochat.sandbox import probe
from tests.conftest import Harness
from tests.product import TRAIN

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a program choose its core")
needs_seccomp = pytest.mark.skipif(not probe().seccomp, reason="this machine's system calls cannot be filtered")

MODEL = "    model = Bigram(run.vocab_size).to(run.device)\n"


def before_training(code: str) -> str:
    assert TRAIN.count(MODEL) == 1
    return TRAIN.replace(MODEL, MODEL + "".join(f"    {line}\n" for line in code.splitlines()))


class Planned(Gauge):
    """A gauge whose readings are known."""

    def __init__(self, *seconds: float, ran_s: float = 0.0) -> None:
        self.left, self.ran_s = list(seconds), ran_s

    def read(self, core: int, ran_s: object = None) -> Reading:
        seconds = self.left.pop(0)
        return Reading(seconds, 2 * seconds, self.ran_s)


class Trainer:
    """A trainer that has used what it is told."""

    def __init__(self, *, stops: bool = True) -> None:
        self.used_s, self.stops = 0.0, stops

    def used(self, *, fresh: bool = False) -> float:
        return self.used_s

    @contextlib.contextmanager
    def stopped(self) -> Iterator[Standstill]:
        ours = [os.getpid()]
        yield Standstill(0 if self.stops else None, ours, cpu_clock(ours))


def follow(speedometer: Speedometer, trainer: Trainer, page: Page, *times: float) -> None:
    for used in times:
        trainer.used_s = used
        speedometer._due = 0.0  # whatever the clock says
        speedometer.look(trainer, 0.0, page)


# -- the clock ----------------------------------------------------------------------------------------------------------


def test_without_a_gauge_a_reference_second_is_a_second() -> None:
    assert Page().at(12.5) == 12.5


def test_the_clock_runs_at_the_machines_speed() -> None:
    page, trainer = Page(), Trainer()
    speedometer = Speedometer(Planned(*[0.01] * gauge.RECENT, *[0.02] * gauge.RECENT), 0.01)
    follow(speedometer, trainer, page, *range(gauge.RECENT))
    assert page.at(10.0) == pytest.approx(10.0)
    follow(speedometer, trainer, page, *range(10, 10 + gauge.RECENT))  # half the speed, after some readings' delay
    assert speedometer.now == pytest.approx(0.5)
    last = 10.0 + gauge.RECENT - 1
    delayed = sum((index * 0.5 + (gauge.RECENT - index) * 1.0) / gauge.RECENT for index in range(1, gauge.RECENT))
    assert page.at(last) == pytest.approx(10.0 + delayed)
    assert page.at(last + 10) - page.at(last) == pytest.approx(5.0)


def test_both_ends_read_the_same_line() -> None:
    ours = Page()
    theirs = Page(os.dup(ours.handle))
    for known, reference, speed in ((1.0, 0.5, 0.8), (2.0, 1.3, 1.1), (3.0, 2.4, 0.1)):
        ours.write(known, reference, speed)
        assert theirs.at(known + 10) == ours.at(known + 10) == pytest.approx(reference + 10 * speed)


def test_what_is_recorded_of_the_speed() -> None:
    page, trainer, speedometer = Page(), Trainer(), Speedometer(Planned(0.01, 0.02), 0.01)
    assert speedometer.facts(1.0, page) is None and speedometer.now is None
    follow(speedometer, trainer, page, 0.0, 10.0)
    facts = speedometer.facts(20.0, page)
    assert facts is not None
    assert facts["mean"] == pytest.approx((10 * 1.0 + 10 * 0.75) / 20)
    assert (facts["readings"], facts["busy"], facts["reference_s"]) == (2, 2.0, 0.01)
    assert facts["spread"] == pytest.approx(0.25 / 0.75, abs=1e-4)


def test_readings_that_cannot_be_had_change_nothing() -> None:
    page, trainer, speedometer = Page(), Trainer(stops=False), Speedometer(Planned(), 0.01)
    follow(speedometer, trainer, page, 0.0, 1.0)
    assert page.at(5.0) == 5.0 and speedometer.now is None


def test_a_trainer_that_ran_on_is_told_after_three_times() -> None:
    page, trainer, speedometer = Page(), Trainer(), Speedometer(Planned(0.5, 0.5, 0.5, ran_s=0.001), 0.01)
    follow(speedometer, trainer, page, 0.0, 1.0)
    assert page.at(5.0) == 5.0, "what was read meanwhile does not count"
    with pytest.raises(RanOn):
        follow(speedometer, trainer, page, 2.0)


# -- the machine --------------------------------------------------------------------------------------------------------


def test_the_gauge_reads_on_the_core_that_it_is_told_and_comes_back() -> None:
    before, made = os.sched_getaffinity(0), Gauge()
    for core in before:
        found = made.read(core)
        assert 0 < found.cpu_s < 2 and found.wall_s > 0 and found.ran_s == 0
    assert os.sched_getaffinity(0) == before
    with pytest.raises(NotMeasured, match="core cannot be chosen"):
        made.read(1_000_000 if max(before) < 1000 else 0)
    assert os.sched_getaffinity(0) == before


def test_a_system_without_a_choice_of_cores_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_setaffinity")
    with pytest.raises(NotMeasured, match="lets no program choose"):
        Gauge()


def test_a_whole_tree_stands_still_but_for_its_first_process() -> None:
    busy = (
        "import threading\nfor _ in range(3): threading.Thread(target=lambda: [None for _ in iter(int, 1)]).start()\n"
    )
    code = f"import subprocess, sys; [subprocess.Popen([sys.executable, '-c', {busy!r}]) for _ in range(2)]; input()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE) as root:
        tree = Descendants(root.pid)
        try:
            deadline = time.monotonic() + 30
            while tree.poll().count < 3 and time.monotonic() < deadline:
                time.sleep(0.01)
            for _ in range(200):
                with tree.stopped() as standstill:
                    if standstill.core is not None:  # on a busy machine it may take longer than anybody waits
                        time.sleep(0.02)  # what was used before is booked by then
                        then = standstill.ran_s()
                        time.sleep(0.05)
                        assert standstill.ran_s() == then
                        assert len(standstill.pids) == 2
                        break
            else:
                pytest.fail("it never stood still")
            assert all(psutil.Process(pid).status() != psutil.STATUS_STOPPED for pid in standstill.pids)
        finally:
            tree.kill_all()


@pytest.fixture(scope="module")
def reference_s(harness: Harness) -> float:
    """As the harness takes it where there is none."""
    result = harness.run(TRAIN, gauge=True)
    assert result.speed is not None and result.speed.mean == pytest.approx(1.0, rel=0.6)
    assert harness.run(TRAIN, gauge=False).speed is None
    return result.speed.reference_s


@pytest.mark.parametrize(("factor", "budget_s"), [(4.0, 6.0), (0.25, 0.4)])
def test_a_budget_is_as_much_work_on_a_faster_and_on_a_slower_machine(
    harness: Harness, reference_s: float, factor: float, budget_s: float
) -> None:
    """A reference that took so many times as long makes this machine so many times as fast."""
    result = harness.run(TRAIN, gauge=True, reference_s=factor * reference_s, budget_s=budget_s)
    assert result.outcome is Outcome.SCORED and result.speed is not None
    assert result.speed.mean == pytest.approx(factor, rel=0.6)
    assert result.charged_s == pytest.approx(budget_s, rel=0.2)
    assert result.cpu_s == pytest.approx(budget_s / factor, rel=0.6)
    assert result.speed.readings >= 2
    last = (harness.folder / result.job / "metrics.jsonl").read_text().splitlines()[-1]
    assert float(last.split('"progress": ')[1].split(",")[0]) > 0.9, "the trainer's progress follows the same clock"


# -- trainers that would slow it down -----------------------------------------------------------------------------------

WAKES_ITSELF = """
import ctypes, signal
signal.signal(signal.SIGCONT, lambda *_: None)
libc = ctypes.CDLL(None)
event = (ctypes.c_int * 16)(0, 0, signal.SIGCONT, 0)  # struct sigevent, SIGEV_SIGNAL
for index in range(2000):  # one every 5 ms
    timer, when = ctypes.c_void_p(), 5_000_000 * (index + 1)
    once = (ctypes.c_long * 4)(0, 0, when // 10**9, when % 10**9)  # struct itimerspec
    assert libc.timer_create(1, event, ctypes.byref(timer)) == 0
    assert libc.timer_settime(timer, 0, once, None) == 0
"""

THREADS = """
import threading
wide = torch.ones(1 << 22)
for _ in range(6):
    threading.Thread(target=lambda: [wide.add_(1) for _ in iter(int, 1)], daemon=True).start()
"""


def test_a_timer_that_wakes_a_stopped_trainer_is_found(harness: Harness, reference_s: float) -> None:
    result = harness.run(
        before_training(WAKES_ITSELF), gauge=True, reference_s=reference_s, budget_s=6.0, preflight=False
    )
    assert result.outcome is Outcome.INVALID and "ran on while it was stopped" in result.reason, result.reason


def test_threads_stand_still_as_well(harness: Harness, reference_s: float) -> None:
    result = harness.run(before_training(THREADS), gauge=True, reference_s=reference_s, budget_s=3.0, preflight=False)
    assert result.speed is not None and result.speed.readings >= 2, result.reason
    assert result.outcome in (
        Outcome.SCORED,
        Outcome.OVERRUN,
        Outcome.INVALID,
    )  # threads that go on in the exam are no use
    assert "ran on" not in result.reason
    assert result.speed.mean > 0.3, "six threads are paid for like one"


@needs_seccomp
@pytest.mark.parametrize(
    "call",
    [
        "os.sched_setaffinity(0, {0})",
        "os.setpriority(os.PRIO_PROCESS, 0, 19)",
        "os.nice(5)",
        "os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))",
    ],
)
def test_a_trainer_chooses_neither_core_nor_priority(harness: Harness, call: str) -> None:
    code = f"import os\ntry: {call}\nexcept OSError: pass\nelse: raise RuntimeError('it worked')"
    assert harness.run(before_training(code)).outcome is Outcome.SCORED
