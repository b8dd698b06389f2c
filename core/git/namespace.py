"""The names of AutoResearch's refs, and checks that only these are written."""

from __future__ import annotations

import re

from core.git.errors import RepositoryError
from core.record.experiment import experiment_id

RUN = re.compile(r"[a-z0-9-]+")
OURS = "refs/autoresearch"
SAVED, OWNERS = f"{OURS}/_before", f"{OURS}/_owner"  # no run can have these names
BRANCHES, TAGS = "refs/heads/autoresearch", "refs/tags/autoresearch"  # a tag would hide a branch with the same name
START_REFS = f"{OURS}/*/fit*"  # the pattern of the refs that `start_ref` names


def checked_run(run: str) -> str:
    """Return the name of a run unchanged. Raises RepositoryError for an invalid name."""
    if not RUN.fullmatch(run):
        raise RepositoryError(
            f"{run!r} is not a name for a run; use small letters, digits and dashes. Nothing was changed."
        )
    return run


def checked_ref(ref: str) -> str:
    """Return the name of a ref unchanged if it belongs to AutoResearch. Raises RepositoryError for any other ref."""
    if not ref.startswith((f"{OURS}/", "refs/heads/autoresearch/", "refs/heads/autoresearch-")):
        raise RepositoryError(f"{ref} is not a ref of AutoResearch, so it was left alone.")
    return ref


def run_ref(run: str, name: str) -> str:
    """Return a ref of a run that keeps a commit reachable. Raises RepositoryError for an invalid name of a run."""
    return f"{OURS}/{checked_run(run)}/{name}"


def run_in(ref: str) -> str:
    """Return the part of a ref below refs/autoresearch that names the run. It may be an invalid name."""
    return ref.removeprefix(f"{OURS}/").partition("/")[0]


def found_ref(run: str) -> str:
    """Return the ref that keeps the user's original train.py reachable."""
    return run_ref(run, "found")


def start_ref(run: str, index: int) -> str:
    """Return the ref that keeps a start commit reachable. The first one has index 0."""
    return run_ref(run, "fit" if index == 0 else f"fit-{index + 1}")


def attempt_ref(run: str, number: int, attempt: int) -> str:
    """Return the ref that keeps a commit of an experiment reachable. Later commits have a suffix."""
    return run_ref(run, experiment_id(number) + (f"-{attempt + 1}" if attempt else ""))


def kept_ref(run: str, number: int) -> str:
    """Return the ref that keeps the commit of a kept experiment reachable."""
    return run_ref(run, f"kept-{experiment_id(number)}")


def owner_ref(run: str) -> str:
    """Return the ref of the record that says which run a name belongs to."""
    return f"{OWNERS}/{run}"


def saved_ref(ref: str, commit: str) -> str:
    """Return the ref that keeps a commit reachable when `ref` is moved away from it."""
    return f"{SAVED}/{ref.removeprefix('refs/').removeprefix('autoresearch/')}/{commit[:12]}"


def branch_name(ref: str) -> str:
    """Return the name of a branch as git's commands use it."""
    return ref.removeprefix("refs/heads/")
