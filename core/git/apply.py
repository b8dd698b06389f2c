"""`apply`: take the win home, to the user's own checkout. The only place that may touch it, and only when told to."""

from __future__ import annotations

from pathlib import Path

from core.git.repository import Repository
from core.machine.project import Project, UsageError
from core.record import journal
from core.record.state import fold


def apply_best(project: Project, folder: Path) -> str:
    """Put the best train.py of a run on the user's checkout, or write a patch; says what was done."""
    state = fold(journal.read(folder / journal.NAME))
    if not state.kept or state.start_commit is None or state.config is None:
        raise UsageError(f"Run {folder.name} has kept nothing yet, so there is nothing to take home.")
    baseline, best = state.mean(state.start_commit.commit), state.mean(state.best)
    scores = f"val_bpb {baseline:.6f} -> {best:.6f}" if baseline and best else "its best train.py"
    hypotheses = "\n".join(f"- {' '.join(state.experiments[n].hypothesis.split())}" for n in state.kept)
    message = f"The best of AutoResearch run {folder.name}: {scores}\n\n{hypotheses}"
    repo = Repository.open(project.root, project.logs / "repository")
    return repo.apply_home(
        project.root,
        state.start_commit.user_commit or state.config.base_commit,
        state.best,
        message,
        folder / "best.patch",
    ).words
