"""The names of our refs, and which refs are ours to write."""

from __future__ import annotations

import re

from core.git.errors import RepositoryError
from core.record.experiment import experiment_id

RUN = re.compile(r"[a-z0-9-]+")
OURS = "refs/autoresearch"
SAVED, OWNERS = f"{OURS}/_before", f"{OURS}/_owner"  # no run can be called this
BRANCHES, TAGS = "refs/heads/autoresearch", "refs/tags/autoresearch"  # a tag would hide a branch of its name
START_REFS = f"{OURS}/*/fit*"  # the pattern of the refs that `start_ref` names


def checked_run(run: str) -> str:
    """Return the name of a run as it is. Raises RepositoryError for a name that no run can have."""
    if not RUN.fullmatch(run):
        raise RepositoryError(
            f"{run!r} is no name for a run; use small letters, digits and dashes. Nothing was changed."
        )
    return run


def checked_ref(ref: str) -> str:
    """Return the name of a ref of our own as it is: only those are ever written. Raises RepositoryError for any other."""
    if not ref.startswith((f"{OURS}/", "refs/heads/autoresearch/", "refs/heads/autoresearch-")):
        raise RepositoryError(f"{ref} is not a ref of AutoResearch, so it was left alone.")
    return ref


def run_ref(run: str, name: str) -> str:
    """Where a commit of a run stays reachable. Raises RepositoryError for a name that is no run's."""
    return f"{OURS}/{checked_run(run)}/{name}"


def run_in(ref: str) -> str:
    """The run that a ref below refs/autoresearch names; it may be no run's name."""
    return ref.removeprefix(f"{OURS}/").partition("/")[0]


def found_ref(run: str) -> str:
    """The ref that keeps the user's original train.py reachable."""
    return run_ref(run, "found")


def start_ref(run: str, index: int) -> str:
    """Where a commit that a run started from stays reachable: the first has the index 0."""
    return run_ref(run, "fit" if index == 0 else f"fit-{index + 1}")


def attempt_ref(run: str, number: int, attempt: int) -> str:
    """Where an attempted commit stays reachable: by the experiment's number, re-applied ones with a suffix."""
    return run_ref(run, experiment_id(number) + (f"-{attempt + 1}" if attempt else ""))


def kept_ref(run: str, number: int) -> str:
    """Where the commit of a kept experiment stays reachable."""
    return run_ref(run, f"kept-{experiment_id(number)}")


def owner_ref(run: str) -> str:
    """Where the record lies that says which run a name belongs to."""
    return f"{OWNERS}/{run}"


def saved_ref(ref: str, commit: str) -> str:
    """The ref that keeps a commit reachable which another ref leaves."""
    return f"{SAVED}/{ref.removeprefix('refs/').removeprefix('autoresearch/')}/{commit[:12]}"


def branch_name(ref: str) -> str:
    """A branch as git's commands call it."""
    return ref.removeprefix("refs/heads/")
