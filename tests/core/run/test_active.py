"""What one run makes of its record: real git, a real journal, no training."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.agents.base import Context
from core.change import edits, knobs
from core.git.repository import Repository
from core.loop.proposals import Proposer
from core.machine.profiles import named
from core.machine.project import Project
from core.model import Proposal, Role, RunConfig
from core.record import events as ev
from core.record.journal import Journal
from core.record.state import State
from core.run.active import ActiveRun
from core.run.integrity import LIST, IntegrityCheck
from core.verdicts import Verdict
from tests.product import ROOT, TRAIN

CONFIG = RunConfig(
    name="night", dataset="python", data="/nowhere", fingerprint="", device="cpu", profile="tiny", budget_s=1.0, seq_len=32,
    vocab_size=320, eval_tokens=1024, seed=1, slots=1, base_commit="0" * 40, noise_prior=0.01,
)  # fmt: skip


@pytest.fixture
def active(tmp_path: Path) -> ActiveRun:
    (tmp_path / "nanochat").mkdir()
    (tmp_path / "nanochat" / "train.py").write_text(TRAIN)
    (tmp_path / "program.md").write_text("# Aim\n\nLowest val_bpb.\n")
    folder = tmp_path / "logs" / "night"
    folder.mkdir(parents=True)
    (folder / LIST).write_text("{}")
    project = Project(tmp_path, tmp_path / "logs")
    repo = Repository.open(tmp_path, tmp_path / "private")
    journal = Journal(folder)
    journal.open()
    found = ActiveRun(
        project, folder, journal, State(), repo, named("tiny"), IntegrityCheck(folder), lambda event, state: None
    )
    found.record(ev.Created(v=ev.SCHEMA, config=CONFIG))
    found.program.watch()
    found.start.make(TRAIN, {}, repo.base())
    return found


class Insistent:
    """Proposes one and the same change each time, and notes what it was told was tried."""

    name = "insistent"

    def __init__(self) -> None:
        self.told: list[dict[str, int]] = []

    async def propose(self, context: Context) -> Proposal:
        self.told.append(context.tried)
        return Proposal(hypothesis="Faster.", source=knobs.set_knobs(context.source, {"LR": 0.02}))

    async def release(self) -> None:
        pass


async def judged(active: ActiveRun, agent: Insistent, verdict: Verdict) -> str:
    """Propose, train as far as the journal is concerned, and judge; what the proposal was refused for, if it was."""
    await Proposer(agent).propose(active)
    number = max(active.state.experiments)
    experiment = active.state.experiments[number]
    if experiment.verdict is None:
        active.record(
            ev.Launched(job=f"j{number}", role=Role.CANDIDATE, commit=experiment.commit, seed=1, slot=0, number=number)
        )
        active.experiments.judge(ev.Judged(number=number, verdict=verdict, finding=""))
        return ""
    return experiment.reason


async def test_a_change_that_the_machine_disturbed_is_tried_again(active: ActiveRun) -> None:
    agent, change = Insistent(), edits.fingerprint(knobs.set_knobs(active.source(active.state.incumbent), {"LR": 0.02}))
    assert await judged(active, agent, Verdict.DISTURBED) == ""
    assert await judged(active, agent, Verdict.DISCARD) == "", "nothing was known of it"
    assert "was tried before on the same train.py, as experiment 2" in await judged(active, agent, Verdict.DISCARD)
    assert agent.told == [{}, {}, *[{change: 2}] * 3], "the agent is told by the same rule that refuses it"
    active.journal.close()


async def test_a_change_that_is_cut_short_each_time_is_refused_for_that(active: ActiveRun) -> None:
    agent = Insistent()
    assert [await judged(active, agent, Verdict.DISTURBED) for _ in range(3)] == ["", "", ""]
    assert "was cut short 3 times on the same train.py, as experiment 3" in await judged(
        active, agent, Verdict.DISTURBED
    )
    active.journal.close()


def test_what_search_makes_of_a_hint_depends_on_those_before(active: ActiveRun) -> None:
    active.start.make((ROOT / "nanochat" / "train.py").read_text(), {}, active.repo.base())
    needs = "search cannot use this: BATCH_SIZE can only change together with TOTAL_BATCH, which must be left alone"
    for event, words in (
        (ev.Hint(text="leave TOTAL_BATCH alone"), "search understands: leave TOTAL_BATCH alone"),
        (ev.Hint(text="set BATCH_SIZE to 64"), needs),
        (ev.TakenBack(number=1), "search understands: set BATCH_SIZE to 64"),
        (ev.Hint(text="try WIDTH first. Or not."), "search cannot use this: “Or not.”: it knows forms"),
    ):
        active.record(event)
        assert active.program.answer().startswith(words)


def test_a_direction_that_cannot_be_followed_is_noted(active: ActiveRun) -> None:
    active.project.program.write_text("---\noff_limits: [BATCH]\n---\nTry BATCH, LR.\n")
    active.program.watch()
    assert active.state.charter is not None
    assert "search cannot follow “try BATCH, LR”: BATCH is off limits in program.md" in active.state.charter.understood


def test_the_values_before_the_run_stay_those_of_the_user(active: ActiveRun) -> None:
    """A start that is made again begins with the train.py of the one before, in which constants are already set."""
    user = {knob.name: knob.value for knob in knobs.read(TRAIN)}
    active.start.make(TRAIN, {"LR": 0.5}, active.repo.base())
    first = active.state.start_commit
    assert first is not None and first.before == {"LR": user["LR"]}
    active.start.make(active.source(first.commit), {"LR": 0.25, "BATCH": 4}, first.parent)
    second = active.state.start_commit
    assert second is not None and second.before == {"LR": user["LR"], "BATCH": user["BATCH"]}
    active.journal.close()
