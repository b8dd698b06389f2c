"""Notices when a run is opened: about the machine, an earlier run, and changes since the run began."""

from __future__ import annotations

from pathlib import Path

from core.change import edits
from core.git.errors import RepositoryError
from core.machine.project import Project
from core.model import ApprovalMode
from core.reporting.phrases import resume_command, why_ended
from core.run.active import ActiveRun
from core.run.choose_run import latest_run
from core.target import TARGET
from nanochat.contract import dataset as contract
from nanochat.contract.checks import CompilerFinding
from nanochat.contract.shell import make
from nanochat.contract.text import printable

NO_SYNC = (
    "The file system of the git repository does not support fsync, so git does not use it. After a power failure, the latest "
    "commits may be missing."
)


def uncompiled(finding: CompilerFinding) -> str:
    """Return a notice for a new run on a machine where torch.compile does not work."""
    return (
        f"torch.compile is off in this run, since {finding.words}. Trainings work, with about half the steps. "
        f"{finding.todo}; then start a new run, since scores of the two cannot be compared."
    )


def unasked(approval: ApprovalMode, gate_time_s: float | None) -> str:
    """Return a notice if a time to answer was given for a run in which no proposal waits, else ''."""
    if gate_time_s is None or approval == "ask":
        return ""
    return (
        f"--gate-time {gate_time_s:g} has no effect yet: in this run proposals do not wait. --gate ask, or u in the app, makes "
        f"them wait."
    )


def finished_before(project: Project, folder: Path) -> str:
    """Return a notice if the run before the new run in `folder` is finished, else ''."""
    last = latest_run(project, but=folder)
    if last is None or not last[1].finished or not last[1].tried:
        return ""
    name, reason = last[0].name, why_ended(last[1].stopped) if last[1].stopped else ""
    return (
        f"This is a new run: {name} is finished ({reason}). {resume_command(name)} continues it, "
        f"{make('run', '--from', name)} starts a run from its best train.py."
    )


def source_changed(project: Project, active: ActiveRun) -> str:
    """Return a notice if train.py has changed since a continued run began, else ''. Also '' if a run kept the present one."""
    commit = active.state.start_commit.user_commit if active.state.start_commit else ""
    try:
        now = project.train.read_text(encoding="utf-8-sig")
        if not commit or edits.fingerprint(active.repo.source(commit)) == edits.fingerprint(now):
            return ""
        if active.repo.run_that_kept(now):
            return ""
    except (SyntaxError, edits.EditError):
        pass  # it does not parse, so it has changed
    except (OSError, ValueError, RepositoryError):
        return ""
    return (
        f"{TARGET.path} has changed since run {active.name} began; the run continues from its own best train.py. "
        f"{make('run', '--name', 'NEW')} starts one from your file."
    )


def text_changed(active: ActiveRun) -> str:
    """Return a notice if the text of a continued run has changed since it was prepared, else ''."""
    config = active.state.config
    if config is None or not (changes := contract.changes_since(config.dataset, config.fingerprint)):
        return ""
    text = (
        f"{printable(config.dataset)} has changed since it was prepared for run {active.name}: {changes}. The run continues with its "
        f"own copy."
    )
    try:
        contract.check(config.dataset)
    except contract.DataError:
        return text
    return f"{text} {make('run', '--name', 'NEW', '--dataset', config.dataset)} starts one from the text as it is."
