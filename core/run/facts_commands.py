"""The facts that `notebook`, `report` and `apply` print with --json."""

from __future__ import annotations

from pathlib import Path

from core.git.apply import apply_best
from core.git.repository import Repository
from core.judging import schedule
from core.machine.project import Project, UsageError, shown_path
from core.reporting import highlights, result_rows
from core.reporting.commit_message import commit_message
from core.reporting.highlights import Highlight
from core.reporting.outcome import FinalCheck, Gain
from core.reporting.results import NOTEBOOK, Row
from core.run.applied import is_applied
from core.run.reading import read_state, read_status
from nanochat.contract.value import Data


class Notebook(Data, frozen=True, kw_only=True):
    """What `notebook --json` prints.

    Attributes:
        run: Name of the run.
        path: The path of notebook.md.
        experiments: The start with the number 0, then every experiment with a verdict.
        untried: The topics that no experiment was about.
        lessons: What the run has taught, in the words of a language model.
    """

    run: str
    path: str
    experiments: tuple[Row, ...]
    untried: tuple[str, ...]
    lessons: tuple[str, ...]


class Reported(Data, frozen=True, kw_only=True):
    """What `report --json` prints.

    Attributes:
        run: Name of the run.
        report, picture: The paths of report.html and report.png; "" if they do not exist.
        gain: The gain so far; None before the start was measured.
        final_check: The gain measured afresh; None before that.
        longer_check: The same with a longer budget.
        kept_changes: The kept changes, in order; with what each has gained alone on fresh seeds, if that was measured.
    """

    run: str
    report: str
    picture: str
    gain: Gain | None
    final_check: FinalCheck | None
    longer_check: FinalCheck | None
    kept_changes: tuple[Highlight, ...]


class Application(Data, frozen=True, kw_only=True):
    """What `apply --json` prints.

    Attributes:
        run: Name of the run.
        dry_run: Whether nothing was changed.
        applied: Whether train.py of the checkout is the best one now.
        words: What was done or would be done, as text.
        message: The message of the commit.
        diff: The change from the start of the run to the best, as a patch.
    """

    run: str
    dry_run: bool
    applied: bool
    words: str
    message: str
    diff: str


def notebook(folder: Path) -> Notebook:
    """Return the findings of a run. Raises as `read_state`."""
    state = read_state(folder)
    return Notebook(
        run=folder.name,
        path=shown_path(folder / NOTEBOOK) if (folder / NOTEBOOK).exists() else "",
        experiments=tuple(result_rows.rows(state, schedule.noise(state).sigma)),
        untried=highlights.untried(state),
        lessons=state.lessons.lines if state.lessons else (),
    )


def reported(folder: Path) -> Reported:
    """Return where the report of a run is, and what its checks have found. Raises as `read_state`."""
    run_status = read_status(folder)
    return Reported(
        run=run_status.run,
        report=run_status.report,
        picture=run_status.picture,
        gain=run_status.gain,
        final_check=run_status.final_check,
        longer_check=run_status.longer_check,
        kept_changes=run_status.kept_changes,
    )


def application(project: Project, folder: Path, *, dry_run: bool) -> Application:
    """Apply the best train.py of a run, or say what would be done, and return the facts. Raises as `apply_best`."""
    state = read_state(folder)
    if not state.kept or state.start_commit is None:
        raise UsageError(f"Run {folder.name} has kept nothing yet, so there is nothing to apply.")
    message = commit_message(state, schedule.noise(state))
    repo = Repository.open(project.root, project.logs / "repository")
    diff = repo.diff(state.start_commit.commit, state.incumbent)
    text = apply_best(project, folder, dry_run=dry_run)
    return Application(
        run=folder.name,
        dry_run=dry_run,
        applied=is_applied(project.root, folder),
        words=text,
        message=message,
        diff=diff,
    )
