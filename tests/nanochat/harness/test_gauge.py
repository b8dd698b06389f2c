"""The gauge, the clock that follows it, and trainers that try to fool it."""

from __future__ import annotations

import contextlib
import os
import platform
import resource
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator

import psutil
import pytest

from nanochat.contract.job import Outcome
from nanochat.harness import clock as clocks
from nanochat.harness import gauge as gauges
from nanochat.harness.clock import Clock, RanOn, Speedometer, View
from nanochat.harness.gauge import Gauge, NotMeasured, Reading
from nanochat.harness.processes import Descendants, Standstill, cpu_clock
from nanochat.sandbox.probe import probe
from tests.conftest import Harness
from tests.product import TRAIN

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a program choose its core")
needs_seccomp = pytest.mark.skipif(not probe().seccomp, reason="this machine's system calls cannot be filtered")

MODEL = "    model = Bigram(run.vocab_size).to(run.device)\n"


def before_training(code: str) -> str:
    assert TRAIN.count(MODEL) == 1
    return TRAIN.replace(MODEL, MODEL + "".join(f"    {line}\n" for line in code.splitlines()))


class Planned(Gauge):
    """A gauge whose readings are known. `waits`: wall seconds per CPU second of each."""

    def __init__(self, *seconds: float, during_s: float = 0.0, waits: float = 1.0) -> None:
        self.left, self.during_s, self.waits = list(seconds), during_s, waits
        self.warmed = 0

    def warm(self, core: int) -> None:
        self.warmed += 1

    def read(self, core: int, ran_s: object = None) -> Reading:
        seconds = self.left.pop(0)
        return Reading(0.0, seconds, self.waits * seconds, 0.0, self.during_s)


class Trainer:
    """A trainer that has used what it is told."""

    def __init__(self, *, stops: bool = True) -> None:
        self.used_s, self.stops = 0.0, stops

    def used(self, *, fresh: bool = False) -> float:
        return self.used_s

    @contextlib.contextmanager
    def stopped(self) -> Iterator[Standstill]:
        ours = [os.getpid()]
        yield Standstill(0 if self.stops else None, ours, cpu_clock(ours) + 1000)


def follow(speedometer: Speedometer, trainer: Trainer, clock: Clock, *times: float) -> None:
    for used in times:
        trainer.used_s = used
        speedometer._due = 0.0  # whatever the clock on the wall says
        speedometer.look(trainer, 0.0, clock)


# -- the clock ----------------------------------------------------------------------------------------------------------


def test_without_a_gauge_a_reference_second_is_a_second() -> None:
    assert Clock().at(12.5) == 12.5


def test_the_clock_runs_at_the_machines_speed() -> None:
    clock, trainer, gauge = Clock(), Trainer(), Planned(0.01, 0.01, *[0.02] * 9)
    speedometer = Speedometer(gauge, 0.01, 60.0)
    follow(speedometer, trainer, clock, 0.0, 10.0)
    assert clock.at(10.0) == pytest.approx(10.0) and clock.at(12.0) == pytest.approx(12.0)
    follow(speedometer, trainer, clock, 11.0)  # half the speed: the second before counts the mean of both
    assert clock.at(11.0) == pytest.approx(10.75)
    follow(speedometer, trainer, clock, *range(12, 20))
    assert clock.at(19.0) == pytest.approx(10.75 + 8 * 0.5)
    assert speedometer.now == pytest.approx(0.5) and clock.at(21.0) == pytest.approx(clock.at(19.0) + 1.0)
    assert gauge.warmed == 1, "once, before the first reading"


def test_the_first_training_is_the_reference_and_counts_seconds() -> None:
    clock, trainer, gauge = Clock(), Trainer(), Planned(0.01, 0.02, 0.02, 0.04)
    speedometer = Speedometer(gauge, None, 60.0)
    follow(speedometer, trainer, clock, 0.0, 10.0)
    assert clock.at(12.0) == 12.0 and speedometer.now is None
    facts = speedometer.facts(10.0, clock, None)
    assert facts is not None and facts.mean == 1.0
    assert facts.reference_s == pytest.approx(1 / 75), "100 readings fit into a second at first, and 50 at the end"
    follow(speedometer, trainer, clock, 20.0, 30.0)
    facts = speedometer.facts(30.0, clock, None)
    assert facts is not None and facts.reference_s == pytest.approx(3 / (75 + 50 + 37.5))
    assert facts.spread > 0.3 and facts.readings == 4


def test_the_next_training_at_the_same_speed_has_the_same_clock() -> None:
    clock, trainer, first = Clock(), Trainer(), Speedometer(Planned(*[0.01, 0.03] * 5), None, 60.0)
    follow(first, trainer, clock, *range(10))
    found = first.facts(9.0, clock, None)
    assert found is not None
    next_one = Speedometer(Planned(*[0.01, 0.03] * 5), found.reference_s, 60.0)
    follow(next_one, trainer, clock, *range(10))
    assert clock.at(9.0) == pytest.approx(9.0)


@pytest.mark.parametrize(
    ("waits", "speed"), [(1.0, 1.0), (0.9, 1.0), (2.0, 2**-clocks.WAIT_POWER), (3600.0, 4**-clocks.WAIT_POWER)]
)
def test_where_the_gauge_waits_for_its_core_the_clock_runs_slower(waits: float, speed: float) -> None:
    """Whoever has the core meanwhile evicts the trainer's data. A machine that stood still changes the speed by a limited factor."""
    clock, trainer = Clock(), Trainer()
    speedometer = Speedometer(Planned(*[0.01] * 11, waits=waits), 0.01, 60.0)
    follow(speedometer, trainer, clock, *map(float, range(11)))
    assert clock.at(10.0) - clock.at(1.0) == pytest.approx(9.0 * speed) and clock.speed == pytest.approx(speed)


def test_the_trainer_reads_the_same_line_and_writes_for_itself_only() -> None:
    ours = Clock()
    theirs = View(os.dup(ours.handle))
    for since, reference, speed in ((1.0, 0.5, 0.8), (2.0, 1.3, 1.1), (3.0, 2.4, 0.1)):
        ours.set(since, reference, speed)
        assert theirs.at(since + 10) == ours.at(since + 10) == pytest.approx(reference + 10 * speed)
    theirs._numbers[:] = 7.0
    assert ours.at(13.0) == pytest.approx(3.4)
    ours.set(4.0, 2.5, 1.0)
    assert ours.at(5.0) == theirs.at(5.0) == pytest.approx(3.5), "what it wrote is overwritten"
    with pytest.raises(OSError):
        os.ftruncate(ours.handle, 0)


def test_what_is_recorded_of_the_speed() -> None:
    clock, trainer, gauge = Clock(), Trainer(), Planned(0.01, 0.02, waits=2.0)
    slower = 2**-clocks.WAIT_POWER
    speedometer = Speedometer(gauge, 0.01, 60.0)
    assert speedometer.facts(1.0, clock, None) is None and speedometer.now is None
    follow(speedometer, trainer, clock, 0.0, 10.0)
    facts = speedometer.facts(20.0, clock, None)
    assert facts is not None
    assert facts.mean == pytest.approx(0.75 * slower, abs=1e-5)
    assert (facts.readings, facts.busy, facts.reference_s) == (2, 2.0, 0.01)
    assert 0 <= facts.stopped_s < 1
    assert facts.spread == pytest.approx(0.25 / 0.75, abs=1e-4)
    waited = speedometer.facts(20.0, clock, 10.0)
    assert waited is not None and waited.busy == 1.5, "what the trainer waited for a core"


def test_a_trainer_that_cannot_be_stopped_is_not_measured() -> None:
    clock, trainer, speedometer = Clock(), Trainer(stops=False), Speedometer(Planned(), 0.01, 60.0)
    follow(speedometer, trainer, clock, 0.0, 1.0, 9.0)
    assert clock.at(5.0) == 5.0 and speedometer.now is None
    with pytest.raises(NotMeasured, match="could not be stopped"):
        follow(speedometer, trainer, clock, 11.0)


def test_a_trainer_that_cannot_be_stopped_any_more_broke_a_rule() -> None:
    clock, trainer, speedometer = Clock(), Trainer(), Speedometer(Planned(0.01), 0.01, 60.0)
    follow(speedometer, trainer, clock, 1.0)
    trainer.stops = False
    follow(speedometer, trainer, clock, 2.0, 10.0)
    with pytest.raises(RanOn):
        follow(speedometer, trainer, clock, 12.0)


def test_a_trainer_that_did_not_stop_is_detected_after_three_readings() -> None:
    clock, trainer, speedometer = Clock(), Trainer(), Speedometer(Planned(0.5, 0.5, 0.5, during_s=0.001), 0.01, 60.0)
    follow(speedometer, trainer, clock, 0.0, 1.0)
    assert clock.at(5.0) == 5.0, "what was read meanwhile does not count"
    with pytest.raises(RanOn):
        follow(speedometer, trainer, clock, 2.0)


def test_chance_does_not_accuse_an_honest_trainer() -> None:
    clock, trainer, gauge = Clock(), Trainer(), Planned(*[0.01] * 60)
    speedometer = Speedometer(gauge, 0.01, 60.0)
    for index in range(60):
        gauge.during_s = 0.001 if index % 15 == 14 else 0.0
        follow(speedometer, trainer, clock, float(index))
    assert clocks.SPOILT <= 4


def test_a_restless_machine_is_read_more_often() -> None:
    def every_s(budget_s: float, *seconds: float) -> float:
        clock, trainer = Clock(), Trainer()
        speedometer = Speedometer(Planned(*seconds), 0.01, budget_s)
        follow(speedometer, trainer, clock, *range(len(seconds)))
        return speedometer.every_s

    calm, restless = [0.0099, 0.0101] * 10, [0.008, 0.012] * 10
    assert every_s(60, *calm[: clocks.FIRST - 1]) == clocks.LEAST_S, "nothing is known yet"
    assert every_s(60, *calm) == clocks.MOST_S and every_s(60, *restless) == clocks.LEAST_S
    speeds = [0.01 / seconds for seconds in restless]
    scatter = (max(speeds) - min(speeds)) / 2**0.5 / statistics.fmean(speeds)
    assert every_s(1500, *restless) == pytest.approx(1500 / (scatter / clocks.AIM) ** 2, rel=0.01)
    drifting = [0.01 + 0.0002 * i for i in range(20)]
    assert every_s(60, *drifting) == clocks.MOST_S, "readings follow a drift"


def test_readings_take_a_bounded_share_of_the_time() -> None:
    """On a slow or restless machine the speed is known less exactly; the training does not get slower for it."""

    class Slow(Planned):
        def read(self, core: int, ran_s: object = None) -> Reading:
            until = time.monotonic() + 0.012
            while time.monotonic() < until:
                pass
            return super().read(core, ran_s)

    clock, trainer, speedometer = Clock(), Trainer(), Speedometer(Slow(*[0.005, 0.02] * 10), 0.01, 60.0)
    follow(speedometer, trainer, clock, *range(20))
    speed = speedometer.facts(20.0, clock, 0.0)
    assert speed is not None and speed.readings == 20 and speed.stopped_s >= 20 * 0.012
    assert speedometer.every_s == pytest.approx(speed.stopped_s / 20 / clocks.MOST_SHARE, rel=0.01)
    assert clocks.LEAST_S < speedometer.every_s < clocks.MOST_S


# -- the machine --------------------------------------------------------------------------------------------------------


def test_the_gauge_reads_on_the_given_core_and_returns() -> None:
    before, made = os.sched_getaffinity(0), Gauge()
    for core in before:
        found = made.read(core)
        assert (
            0 < found.pass_s < 1
            and 0 < found.products_s < found.work_s < 10
            and found.wall_s > 0
            and found.during_s == 0
        )
    assert os.sched_getaffinity(0) == before
    with pytest.raises(NotMeasured, match="core cannot be chosen"):
        made.read(1_000_000 if max(before) < 1000 else 0)
    assert os.sched_getaffinity(0) == before


def test_a_pass_after_a_fork_copies_no_pages() -> None:
    """The scorer forks the trainer between the reference and the first reading."""
    made, core = Gauge(), min(os.sched_getaffinity(0))
    child = os.fork()
    if child == 0:
        signal.pause()
        os._exit(0)
    try:
        made.warm(core)  # the products write to memory that the child shares
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        made.read(core)
        assert resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before < 100, "the memory has 1024 pages"
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_without_memory_the_gauge_is_not_there() -> None:
    child = os.fork()
    if child == 0:
        code = 1
        try:
            most = psutil.Process().memory_info().vms + (2 << 20)
            resource.setrlimit(resource.RLIMIT_AS, (most, most))
            gauges._unshared(gauges.PASS_ITEMS)
        except NotMeasured as error:
            code = 0 if "no memory" in str(error) else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_system_that_refuses_the_advice_on_memory_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gauges.mmap, "MADV_DONTFORK", 9999)  # the kernel knows no such advice
    assert Gauge().read(min(os.sched_getaffinity(0))).pass_s > 0


def test_a_system_without_cpu_affinity_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
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
    assert result.speed is not None and result.speed.reference_s > 0
    assert harness.run(TRAIN, gauge=False).speed is None
    return result.speed.reference_s


@pytest.mark.parametrize(("factor", "budget_s"), [(4.0, 6.0), (0.1, 0.15)])
def test_a_budget_is_as_much_work_on_a_faster_and_on_a_slower_machine(
    harness: Harness, reference_s: float, factor: float, budget_s: float
) -> None:
    """A reference that took so many times as long makes this machine so many times as fast, whatever else slows it down."""
    result = harness.run(TRAIN, gauge=True, reference_s=factor * reference_s, budget_s=budget_s)
    assert result.outcome is Outcome.SCORED and result.speed is not None
    assert (result.speed.mean > 2.0) == (result.cpu_s < budget_s / 2) == (factor > 1)
    assert result.cpu_s * result.speed.mean == pytest.approx(budget_s, rel=0.1, abs=0.3)
    last = (harness.folder / result.job / "metrics.jsonl").read_text().splitlines()[-1]
    assert float(last.split('"progress": ')[1].split(",")[0]) > 0.7, "the trainer's progress follows the same clock"


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


WRITES_THE_CLOCK = """
import gc
from nanochat.harness.clock import View
pages = [found for found in gc.get_objects() if isinstance(found, View)]
assert pages
import threading, time
def write():
    while True:
        for page in pages: page._numbers[:] = 0.0
        time.sleep(0.001)
threading.Thread(target=write, daemon=True).start()
View.at = lambda *_: 0.0  # what is read in the moment after the scorer has written
"""

MAIN_THREAD_ENDS = """
import ctypes, threading
def work():
    while True: pass
threading.Thread(target=work, daemon=True).start()
ctypes.CDLL(None).syscall(60, 0)
"""


def test_a_timer_that_wakes_a_stopped_trainer_is_found(harness: Harness, reference_s: float) -> None:
    cheat = before_training(WAKES_ITSELF)
    result = harness.run(cheat, gauge=True, reference_s=reference_s, budget_s=6.0, preflight=False)
    assert result.outcome is Outcome.INVALID and "ran on while it was stopped" in result.reason, result.reason


def test_threads_stand_still_as_well(harness: Harness, reference_s: float) -> None:
    threads = before_training(THREADS)
    result = harness.run(threads, gauge=True, reference_s=reference_s, budget_s=2.0, preflight=False)
    assert result.speed is not None, result.reason
    assert "ran on" not in result.reason


def test_a_clock_that_the_trainer_writes_deceives_itself_only(harness: Harness, reference_s: float) -> None:
    cheat = before_training(WRITES_THE_CLOCK)
    result = harness.run(cheat, gauge=True, reference_s=reference_s, budget_s=0.5, preflight=False)
    assert result.outcome is Outcome.OVERRUN, (result.outcome, result.reason)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the number of the system call is that of x86_64")
def test_a_trainer_whose_main_thread_ended_is_stopped_and_ended(harness: Harness, reference_s: float) -> None:
    cheat = before_training(MAIN_THREAD_ENDS)
    result = harness.run(
        cheat, gauge=True, reference_s=reference_s, budget_s=0.5, hang_s=3.0, setup_s=1.0, preflight=False
    )
    assert result.outcome in (Outcome.OVERRUN, Outcome.CRASH) and result.val_bpb is None
    _, alive = psutil.wait_procs(harness.descendants(), timeout=60)
    assert not alive


CHOICES = (
    "os.sched_setaffinity(0, {0})",
    "os.setpriority(os.PRIO_PROCESS, 0, 19)",
    "os.nice(5)",
    "os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))",
)


@needs_seccomp
def test_a_trainer_chooses_neither_core_nor_priority(harness: Harness) -> None:
    calls = (f"try: {call}\nexcept OSError: pass\nelse: raise RuntimeError({call!r})\n" for call in CHOICES)
    result = harness.run(before_training("import os\n" + "".join(calls)))
    assert result.outcome is Outcome.SCORED, result.reason
