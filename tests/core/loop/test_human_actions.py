"""What a human may do to experiments, on a real run: real git, commands over the real socket. Scores are computed."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from core.execution.deterministic import Ending, World
from core.loop.approval import default_countdown_s
from core.record import journal
from core.record.state import State
from core.run import commands
from core.verdicts import Verdict
from nanochat.contract.job import CrashClass, Outcome
from tests.e2e.conftest import prepared, product  # noqa: F401
from tests.product import Product, edit, harmless, until

LR = "LR = 0.0005 "
IDEAS = (
    edit("a larger step", (LR, "LR = 0.005 ")),
    edit("decay", ("DECAY = 0.0 ", "DECAY = 0.9 ")),
    edit("a larger step still", ("LR = 0.005 ", "LR = 0.02 ")),
    edit("a crash", ("    return model\n", "    1 / 0\n    return model\n")),
)


WORLD = World(
    effects={"LR = 0.005 ": -0.1, "LR = 0.02 ": -0.2, "DECAY = 0.9 ": 0.1},
    endings={"1 / 0": Ending(outcome=Outcome.CRASH, crash=CrashClass.EXCEPTION, reason="ZeroDivisionError: division by zero")},
    seeds=0.01, noise=0.002, seconds=0.3,
)  # fmt: skip


class Run:
    def __init__(self, product: Product) -> None:  # noqa: F811
        self.product, self.folder = product, product.logs / "r"

    @property
    def state(self) -> State:
        return self.product.state()

    def send(self, command: commands.Command) -> commands.Reply:
        return commands.send(self.folder, command)

    def until(self, condition: Callable[[State], object], what: str) -> State:
        deadline = time.monotonic() + 200
        while not condition(state := self.state):
            assert time.monotonic() < deadline, what
            time.sleep(0.05)
        return state

    def branch(self) -> list[str]:
        return self.product.git("rev-list", "--reverse", "autoresearch/r").split()[-len(self.state.commits) :]


@pytest.fixture
def run(product: Product):  # type: ignore[no-untyped-def]  # noqa: F811
    """A run that kept two changes, discarded one, crashed once, and is paused with its loop alive."""
    train = product.root / "nanochat" / "train.py"
    train.write_text(train.read_text().replace("LR = 0.01 ", LR))
    product.compute(WORLD)
    agent = product.script(*IDEAS, *map(harmless, range(1, 60)))
    process = product.start(*product.options(), "--agent", agent, "--budget", "0.5")
    made = Run(product)
    try:
        begun = made.folder / journal.NAME
        until(lambda: process.poll() is not None or (begun.exists() and made.state.judged >= 4), "four verdicts")
        assert process.poll() is None
        made.send(commands.Pause())
        made.until(lambda state: not state.busy, "the experiment that had begun has its verdict")
        yield made
        assert process.poll() is None, "no command may end the loop"
    finally:
        product("stop", "r", "--now")
        process.wait(100)


def first(state: State, verdict: Verdict) -> int:
    return next(n for n, e in state.experiments.items() if e.verdict is verdict)


def test_decisions(run: Run) -> None:
    state = run.state
    kept, crash = state.kept, first(state, Verdict.CRASH)
    assert len(kept) >= 2
    # a keep that others build on: undoing it is an experiment
    reply = run.send(commands.Overrule(number=kept[0], verdict=Verdict.DISCARD))
    state = run.state
    assert state.experiments[kept[0]].verdict is Verdict.KEEP
    if reply.ok:
        assert any(e.agent == "human" and e.hypothesis.startswith("Undo") for e in state.open.values())
    else:
        assert "cannot be undone" in reply.words
    # the last keep: taken back, the branch goes with it
    before = state.kept[-2]
    assert run.send(commands.Overrule(number=kept[-1], verdict=Verdict.DISCARD)).ok
    state = run.state
    assert state.kept[-1] == before and state.experiments[kept[-1]].verdict is Verdict.DISCARD
    assert state.experiments[kept[-1]].by == "human" and state.incumbent == state.experiments[before].commit
    assert run.branch() == state.commits
    assert (run.folder / "train.py").read_text() == (run.folder / f"{before:05d}" / "train.py").read_text()
    # and kept again, by the human's word
    assert run.send(commands.Overrule(number=kept[-1], verdict=Verdict.KEEP)).ok
    state = run.state
    assert state.kept[-1] == kept[-1] and run.branch() == state.commits
    assert "changed by hand from discarded to kept" in run.product.git("log", "-1", "--format=%B", "autoresearch/r")
    # no score, no keep
    reply = run.send(commands.Overrule(number=crash, verdict=Verdict.KEEP))
    assert not reply.ok and "no score" in reply.words
    # a crash that is a broken rule to the human
    assert run.send(commands.Overrule(number=crash, verdict=Verdict.INVALID)).ok
    # hints are given, listed and taken back, over the socket and on the command line
    assert run.product("hints", "r").stdout.startswith("Run r has no hints.")
    assert run.send(commands.Tell(text="try LR")).words == "hint 1: the agent reads it before its next proposal"
    assert not run.send(commands.Tell(text=" ")).ok and not run.send(commands.Tell(text="x" * 5000)).ok
    assert run.product("hint", "avoid heads", "--run", "r").stdout.startswith("r: hint 2: ")
    assert "hint 1 is taken back" in run.product("hint", "--take-back", "1", "--run", "r").stdout
    for number, words in ((1, "was taken back before"), (7, "There is no hint 7. This run has hints 1 to 2.")):
        reply = run.send(commands.TakeBack(number=number))
        assert not reply.ok and words in reply.words
    assert run.state.hints == ["avoid heads"]
    listed = run.product("hints", "r").stdout.splitlines()
    assert listed[0].endswith("try LR  (taken back)") and listed[1].endswith("avoid heads")
    # replaying the journal reproduces it all
    assert run.state.kept == state.kept and run.state.experiments[crash].verdict is Verdict.INVALID
    assert run.send(commands.Overrule(number=999, verdict=Verdict.KEEP)).words == "#999 has no verdict yet."


def test_running_again_and_own_experiments(run: Run) -> None:
    state = run.state
    number = state.kept[-1]
    before = dict(state.scores[state.incumbent])
    assert run.send(commands.Rerun(number=number)).ok
    assert not run.send(commands.Rerun(number=number)).ok, "once is enough"
    best = (run.folder / "train.py").read_text()
    assert best == run.product.git("show", f"{state.incumbent}:nanochat/train.py") + "\n"
    assert not run.send(commands.Own(parent=state.incumbent, source=best, hypothesis="nothing")).ok
    assert not run.send(commands.Own(parent=state.incumbent, source="def broken(:", hypothesis="broken")).ok
    mine = re.sub(r"DECAY = [0-9.]+ ", "DECAY = 0.3 ", best)
    assert run.send(commands.Own(parent=state.incumbent, source=mine, hypothesis="mine")).ok
    run.send(commands.Resume())
    own = next(e.number for e in run.state.experiments.values() if e.hypothesis == "mine")
    state = run.until(lambda s: not s.reruns and s.experiments[own].verdict is not None, "both ran")
    assert state.experiments[own].approved == "human"
    commit = state.experiments[number].commit
    fresh = {seed: value for seed, value in state.scores[commit].items() if seed not in before}
    assert fresh and state.experiments[number].verdict is Verdict.KEEP
    assert Path(run.folder / f"{number:05d}").is_dir()
    # an abort that was acknowledged is never lost: while a job runs, as it ends, and between two of them
    state = run.until(lambda s: any(e.launched for e in s.open.values()), "the next one begins")
    number = next(e.number for e in state.open.values() if e.launched)
    if run.send(commands.Abort(number=number)).ok:
        state = run.until(lambda s: s.experiments[number].verdict is not None, "aborted")
        assert state.experiments[number].verdict is Verdict.INTERRUPTED and state.experiments[number].by == "human"
    else:
        assert run.state.experiments[number].verdict is not None, "it had its verdict just before"


@pytest.mark.parametrize(("budget_s", "countdown_s"), [(1.0, 10.0), (20.0, 20.0), (60.0, 60.0), (300.0, 60.0)])
def test_a_proposal_waits_about_as_long_as_a_training(budget_s: float, countdown_s: float) -> None:
    assert default_countdown_s(budget_s) == countdown_s
