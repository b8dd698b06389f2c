"""The refs of a run: its branch, and refs that keep its commits reachable. They are made to match the journal."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from core.git import locks
from core.git.errors import RepositoryError
from core.git.namespace import (
    BRANCHES,
    OURS,
    attempt_ref,
    checked_ref,
    found_ref,
    kept_ref,
    saved_ref,
    start_ref,
)  # fmt: skip
from core.git.owners import Owners
from core.git.plumbing import Git
from core.git.ref_store import RefStore
from core.record.state import State


class RunRefs:
    """The refs of the runs in one repository."""

    def __init__(self, git: Git, store: RefStore, owners: Owners) -> None:
        self._git = git
        self._store = store
        self._owners = owners

    def branch(self, run: str) -> str:
        """Return the run's branch, from its owner's record.

        Runs of earlier versions have no record. Their branch has a dash if there was a branch called autoresearch.
        """
        if (owner := self._owners.get(run)) is not None:
            return owner.branch
        dashed = f"{BRANCHES}-{run}"
        return dashed if dashed in self._store.listing(dashed) else self.new_branch(run)

    def new_branch(self, run: str) -> str:
        """Return the branch for a run that has none yet."""
        blocked = any(name.casefold() == BRANCHES for name in self._store.listing("refs/heads"))
        return f"{BRANCHES}{'-' if blocked else '/'}{run}"

    def commits(self, run: str) -> dict[str, str]:
        """Return all refs of a run, with its branch, as ref -> commit."""
        branch = self.branch(run)
        listing = self._store.listing(f"{OURS}/{run}/", branch)
        return {name: sha for name, sha in listing.items() if name == branch or name.startswith(f"{OURS}/{run}/")}

    def point(self, name: str, new: str, known: Collection[str] = ()) -> str:
        """Set a ref of AutoResearch to a commit.

        The ref is not moved if it points at a commit that is not `known`, since that is not the run's own work. Nor is a branch
        that the user has checked out, since their work tree would seem to have changes. Commits that would become unreachable
        are kept under refs/autoresearch/_before.

        Args:
            name: The ref.
            new: The commit.
            known: Commits that the run made.

        Returns:
            Why it was not moved, as a clause, or '' if it was.

        Raises:
            RepositoryError: Git failed, or another writer was faster.
        """
        old = self._store.listing(checked_ref(name)).get(name, "")
        if old == new:
            return ""
        why = ""
        if old and old not in known:
            why = f"points at {old[:7]}, which this run did not make"
        elif name.startswith("refs/heads/") and name in self._store.checked_out():
            why = "is checked out in your work tree"
        if why:
            if name.startswith(OURS):  # the commits of a branch have other refs
                self._keep_reachable(name, new, "")
            return why
        self._keep_reachable(name, old, new)
        self._store.move(name, new, old)
        return ""

    def _keep_reachable(self, name: str, old: str, new: str) -> None:
        """Keep the commit `old` reachable, unless `new` descends from it."""
        if not old or (new and self._git.attempt("merge-base", "--is-ancestor", old, new)[0] == 0):
            return
        self._store.put(saved_ref(name, old), old)

    def reconcile(self, run: str, wanted: Mapping[str, str], known: Collection[str] = ()) -> list[str]:
        """Make the refs of a run match the journal, and remove stale locks. Refs that the journal does not know are kept.

        Args:
            run: The name of the run.
            wanted: Ref -> commit, according to the journal.
            known: All commits that the run made.

        Returns:
            Sentences about what was repaired.
        """
        branch, mended = self.branch(run), []
        folder = self._git.store / OURS / run
        in_folder = sorted(folder.rglob("*.lock")) if folder.is_dir() else []
        for lock in locks.remove_stale(*in_folder, self._git.store / f"{branch}.lock"):
            mended.append(f"a lock that a crash left on {lock.name.removesuffix('.lock')} was removed")
        present = self.commits(run)
        for name, commit in wanted.items():
            if present.get(name) == commit:
                continue
            try:
                why = self.point(name, commit, known)
            except RepositoryError as error:
                mended.append(f"{name} could not be set: {error}")
                continue
            mended.append(
                f"{name} {why} and was left where it is"
                if why
                else f"{name} now points at {commit[:7]}, as the journal says"
            )
        return mended


def wanted_refs(refs: RunRefs, state: State, run: str) -> dict[str, str]:
    """Return all refs that a run should have, as ref -> commit.

    These are its branch at the incumbent, the commits of all experiments, and kept commits. The latter have their own refs,
    since the branch may be checked out or move back.
    """
    wanted = {}
    if state.start_commit is not None and state.start_commit.user_commit:
        wanted[found_ref(run)] = state.start_commit.user_commit
    for index, commit in enumerate(state.start_commits):
        wanted[start_ref(run, index)] = commit
    for experiment in state.experiments.values():
        for index, commit in enumerate(experiment.attempts):
            wanted[attempt_ref(run, experiment.number, index)] = commit
        if experiment.commit not in experiment.attempts:
            wanted[kept_ref(run, experiment.number)] = experiment.commit
    if state.incumbent:
        wanted[refs.branch(run)] = state.incumbent
    return wanted
