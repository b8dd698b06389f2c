"""Tables written step by step are those written at once, whatever happens in a run."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from core.judging import schedule
from core.judging.run_noise import RunNoise
from core.record import events as ev
from core.record import journal
from core.record.fold import apply
from core.record.revisions import Revisions
from core.record.state import State
from core.reporting import tables
from core.reporting.results import NOTEBOOK, TSV
from core.reporting.tables import Tables
from core.verdicts import Verdict
from nanochat.contract.job import Speed
from tests.core.judging.test_gain import proposed
from tests.core.run.test_active import CONFIG
from tests.derived_files import publish
from tests.events import measurement

RECORDED = sorted((Path(__file__).parents[2] / "recorded").glob("*/events.jsonl"))
T = TypeVar("T")
ACTIONS = (
    "propose", "retry", "revise", "rebase", "measure", "measure", "measure best", "measure start", "measure any", "fail", "keep",
    "discard", "skip", "interrupt", "overrule", "take back", "group", "learn",
)  # fmt: skip


class Followed:
    """A run whose tables, noise and tried changes are followed step by step."""

    def __init__(self, folder: Path, state: State) -> None:
        self.folder, self.state = folder, state
        self.revisions = Revisions(state)
        self.noise = RunNoise(state, self.revisions)
        self.tables = Tables(folder, state, self.revisions)

    def apply(self, event: ev.AnyEvent) -> None:
        apply(self.state, event)
        self.revisions.note(event)

    def check(self) -> None:
        """Compare what was followed with what is computed from the whole state."""
        noise = self.noise.present
        assert noise == schedule.noise(self.state)
        self.tables.write(noise)
        found = [(self.folder / name).read_bytes() for name in (TSV, NOTEBOOK)]
        with tempfile.TemporaryDirectory() as other:
            publish(Path(other), self.state, noise.sigma)
            assert found == [(Path(other) / name).read_bytes() for name in (TSV, NOTEBOOK)]
        for parent in {e.parent for e in self.state.experiments.values()}:
            among = self.revisions.children([parent])
            assert schedule.tried_changes(self.state, {parent}, among) == schedule.tried_changes(self.state, {parent})


class Drawn(Followed):
    """A run of drawn events."""

    def __init__(self, folder: Path, data: st.DataObject) -> None:
        super().__init__(folder, State(name="x"))
        self._data, self._count = data, 0
        self.apply(ev.Created(v=ev.SCHEMA, config=CONFIG, t=100.0))
        self.apply(ev.StartCommit(commit="start", source_hash="", nodes=100))
        self.measured("baseline", "start", None)

    def pick(self, values: list[T]) -> T:
        return self._data.draw(st.sampled_from(values))

    def measured(self, role: str, commit: str, number: int | None, outcome: str = "scored") -> None:
        self._count += 1
        value = round(self._data.draw(st.floats(1.4, 1.6)), 3) if outcome == "scored" else None
        event = measurement(
            role=role, commit=commit, seed=self.pick([1, 2, 3]), number=number, outcome=outcome, val_bpb=value,
            total_wall_s=self.pick([60.0, 70.0]), peak_memory=self.pick([0, 1 << 30]), params=self._count,
            speed=Speed(reference_s=1.0, mean=self.pick([0.5, 1.0]), spread=0.0, busy=1.0, readings=3),
        )  # fmt: skip
        self.apply(replace(event, t=self._count * 1000.0, node=self.pick(["", "", "one", "two"])))

    def step(self) -> None:
        """Apply one event, if there is an experiment that it can be about."""
        state, action = self.state, self.pick(list(ACTIONS))
        waiting, ended = list(state.open), [n for n, e in state.experiments.items() if e.judged is not None]
        known = sorted(state.known)
        if action == "propose" or (action == "retry" and not ended):
            self.apply(proposed(state.next_number, self.pick([state.incumbent, state.incumbent, *known])))
        elif action == "retry":
            earlier = state.experiments[self.pick(ended)]
            event = replace(proposed(state.next_number, earlier.parent), commit=earlier.latest.commit)
            self.apply(replace(event, retry_of=earlier.number))
        elif action == "measure best":
            self.measured("best", state.incumbent, None)
        elif action == "measure start":
            self.measured("best", "start", None)
        elif action == "measure any":
            self.measured("best", self.pick(known), None)
        elif action == "group":
            self.apply(ev.Grouped(node="two", group=self.pick(["one", "two"]), other="one"))
        elif action == "learn":
            self.apply(ev.Lessons(lines=("Wider is better.",), agent="a", judged=state.judged))
        elif action == "take back" and state.all_hints:
            self.apply(ev.TakenBack(number=self.pick([one.number for one in state.all_hints])))
        elif action == "overrule" and ended:
            number = self.pick(ended)
            verdict = self.pick([Verdict.DISCARD, Verdict.KEEP])
            if number in state.kept[-1:] or number not in state.kept:
                self.judge(number, Verdict.DISCARD if number in state.kept else verdict, by="human")
        elif waiting:
            self._of(self.pick(waiting), action)

    def _of(self, number: int, action: str) -> None:
        """Apply an event about an experiment without a verdict."""
        experiment = self.state.experiments[number]
        if action == "measure":
            self.apply(ev.Launched(job="j", role="candidate", commit=experiment.commit, seed=1, slot=0, number=number))  # type: ignore[arg-type]
            self.measured("candidate", experiment.commit, number)
        elif action == "fail":
            self.measured("candidate", experiment.commit, number, "crash")
            self.judge(number, Verdict.CRASH)
        elif action == "revise":
            self.apply(ev.Revised(number=number, commit=f"v{number}", fingerprint="v", hypothesis="Mine.", added=2))
        elif action == "rebase":
            commit, best = f"b{number}.{len(experiment.attempts)}", self.state.incumbent
            self.apply(ev.Rebased(number=number, commit=commit, parent=best, fingerprint="b"))
        elif action in ("keep", "discard", "skip", "interrupt"):
            verdicts = (Verdict.KEEP, Verdict.DISCARD, Verdict.SKIPPED, Verdict.INTERRUPTED)
            self.judge(number, verdicts[("keep", "discard", "skip", "interrupt").index(action)])

    def judge(self, number: int, verdict: Verdict, by: ev.JudgedBy = "") -> None:
        self._count += 1
        gain = round(self._data.draw(st.floats(-0.1, 0.1)), 4) if verdict in (Verdict.KEEP, Verdict.DISCARD) else None
        self.apply(
            ev.Judged(
                number=number, verdict=verdict, commit=f"k{self._count}" if verdict.kept else "", gain=gain, by=by, reason="it is so",
                pairs=self.pick([1, 2]), sigma=0.004, within_noise=self.pick([True, False]), finding="As found.",
            )
        )  # fmt: skip


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.data(), st.integers(1, 40))
def test_step_by_step_and_at_once_give_the_same_files(data: st.DataObject, steps: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        run = Drawn(Path(folder), data)
        for _ in range(steps):
            run.step()
            if data.draw(st.integers(0, 3)):
                run.check()
        run.check()
        Followed(run.folder, run.state).check()  # a loop that continues the run


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.parent.name)
def test_a_recorded_night_written_at_each_verdict_ends_with_the_same_files(path: Path, tmp_path: Path) -> None:
    run = Followed(tmp_path, State(name=path.parent.name))
    for event in journal.read(path):
        run.apply(event)
        if isinstance(event, ev.Judged):
            run.check()
    run.check()


def test_a_long_run_writes_its_files_less_often(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "AT_ONCE", 2)
    monkeypatch.setattr(tables, "EXPERIMENTS_PER_S", 0.1)
    now = [0.0]
    run = Followed(tmp_path, State(name="x"))
    kept = Tables(tmp_path, run.state, run.revisions, lambda: now[0])
    run.apply(ev.Created(v=ev.SCHEMA, config=CONFIG, t=100.0))
    run.apply(ev.StartCommit(commit="start", source_hash="", nodes=100))
    for number in (1, 2):
        run.apply(proposed(number, "start"))
        assert kept.due
        kept.write(run.noise.present)
    run.apply(proposed(3, "start"))
    assert not kept.due
    now[0] = 29.9
    assert not kept.due
    now[0] = 30.0
    assert kept.due


def test_a_file_that_cannot_be_written_is_not_tried_again_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "AT_ONCE", 0)
    run = Followed(tmp_path, State(name="x"))
    kept = Tables(tmp_path, run.state, run.revisions, lambda: 0.0)
    run.apply(ev.Created(v=ev.SCHEMA, config=CONFIG, t=100.0))
    run.apply(proposed(1, "start"))
    (tmp_path / f".{TSV}.new").mkdir()
    with pytest.raises(OSError):
        kept.write(run.noise.present)
    assert not kept.due


def test_what_somebody_changed_in_a_file_is_replaced(tmp_path: Path) -> None:
    run = Followed(tmp_path, State(name="x"))
    run.apply(ev.Created(v=ev.SCHEMA, config=CONFIG, t=100.0))
    run.check()
    (tmp_path / TSV).write_text("mine")
    (tmp_path / NOTEBOOK).unlink()
    run.check()
