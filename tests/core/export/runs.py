"""A run with a start and one kept change, without a night: its journal and commits by hand, harness and data for real."""

from __future__ import annotations

from pathlib import Path

from core.git.repository import Repository
from core.machine.project import Project
from core.record import events as ev
from core.run.integrity import freeze
from core.verdicts import Verdict
from tests.conftest import ROOT
from tests.core.run.runs import DONE, START, write_run
from tests.events import measurement
from tests.product import TRAIN

# The same number of steps on any machine, so the same weights.
STEADY = TRAIN.replace(
    "    for x, y in run.batches(BATCH, run.seq_len):",
    "    for _, (x, y) in zip(range(25), run.batches(BATCH, run.seq_len)):",
)
BETTER = STEADY.replace("LR = 0.01", "LR = 0.03")
# Its answers also depend on the number of steps, which is not among the weights.
UNLOADABLE = (
    BETTER.replace("return self.table[x]", "return self.table[x] * (1 + self.steps / 25)")
    .replace("super().__init__()", "super().__init__()\n        self.steps = 0")
    .replace("run.log(", "model.steps += 1\n        run.log(")
)
SCORES = (5.0, 4.0)  # of start and best, as the journal has them; no real training comes near


def project(root: Path) -> Project:
    """A source tree with a commit, and the folder for its logs."""
    (root / "nanochat").mkdir(parents=True)
    (root / "nanochat" / "train.py").write_text(STEADY)
    (root / "nanochat" / "run.py").touch()
    return Project(root, root / "logs")


def write(
    made: Project, data: Path | None, *, kept: bool = True, name: str = "r", better: str = BETTER, **header: object
) -> Path:
    """Write a run whose best is experiment 2, and in which experiment 1 has crashed. Returns its folder.

    `data`: prepared data to copy with the harness; None for neither. `better`: the train.py of the best.
    """
    repo = Repository.open(made.root, made.logs / "repository")
    start = repo.base()
    best = repo.commit(start, better, "better")
    broken = repo.commit(start, STEADY + "# broken\n", "broken")
    events: list[ev.AnyEvent] = [
        START, ev.StartCommit(commit=start, source_hash="", nodes=1),
        measurement(role="baseline", commit=start, seed=3, val_bpb=SCORES[0], total_wall_s=1.0),
        _proposed(1, broken, start), ev.Judged(number=1, verdict=Verdict.CRASH, finding="It crashed."),
    ]  # fmt: skip
    if kept:
        events += [
            _proposed(2, best, start),
            measurement(role="candidate", commit=best, seed=3, number=2, val_bpb=SCORES[1], total_wall_s=1.0),
            ev.Judged(number=2, verdict=Verdict.KEEP, finding="Better.", commit=best),
        ]
    sizes = {"profile": "tiny", "budget_s": 5.0, "seq_len": 32, "vocab_size": 320, "eval_tokens": 2048}
    folder = write_run(made, name, *events, DONE, **(sizes | header))
    if data is not None:
        freeze(ROOT, data, folder)
    return folder


def _proposed(number: int, commit: str, parent: str) -> ev.Proposed:
    return ev.Proposed(
        number=number, commit=commit, parent=parent, fingerprint="f", hypothesis="h", agent="a", charter="c"
    )
