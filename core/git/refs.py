"""The refs of a run: under which names its commits stay reachable. The journal says which; git is made to match it."""

from __future__ import annotations

from core.git.repository import Repository
from core.record.state import State, experiment_id


def attempt_ref(repo: Repository, run: str, number: int, attempt: int) -> str:
    """Where an attempted commit stays reachable: by number, re-applied ones with a suffix."""
    return repo.attempt_ref(run, experiment_id(number) + (f"-{attempt + 1}" if attempt else ""))


def kept_ref(repo: Repository, run: str, number: int) -> str:
    """Where the commit of a kept experiment stays reachable."""
    return repo.attempt_ref(run, f"kept-{experiment_id(number)}")


def wanted_refs(repo: Repository, state: State, run: str) -> dict[str, str]:
    """Every ref a run should have: its branch at the best, each attempted commit under its number, and what was once kept
    beside it, for the branch may be checked out or go back."""
    wanted = {}
    if state.start_commit is not None and state.start_commit.user_commit:
        wanted[repo.attempt_ref(run, "found")] = state.start_commit.user_commit
    for index, commit in enumerate(state.start_commits):
        wanted[repo.attempt_ref(run, "fit" if index == 0 else f"fit-{index + 1}")] = commit
    for experiment in state.experiments.values():
        for index, commit in enumerate(experiment.attempts):
            wanted[attempt_ref(repo, run, experiment.number, index)] = commit
        if experiment.commit not in experiment.attempts:
            wanted[kept_ref(repo, run, experiment.number)] = experiment.commit
    if state.best:
        wanted[repo.branch(run)] = state.best
    return wanted
