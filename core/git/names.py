"""Names of runs in git: whether a name is free, and how a run claims it. Of several starts at once, one gets the name."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Mapping
from pathlib import Path

from core.git.errors import NameTaken, RepositoryError
from core.git.namespace import BRANCHES, OURS, OWNERS, SAVED, TAGS, branch_name, owner_ref, saved_ref
from core.git.owners import Owner, Owners
from core.git.plumbing import Git
from core.git.ref_store import RefStore
from core.git.refs import RunRefs
from core.record import journal


class RunNames:
    """Claims names for runs and releases them."""

    def __init__(self, git: Git, store: RefStore, owners: Owners, refs: RunRefs) -> None:
        self._git = git
        self._store = store
        self._owners = owners
        self._refs = refs

    def why_taken(self, run: str, folder: Path | None = None) -> str:
        """Return why a name is taken in git, as a clause, or '' if it is free.

        Case is ignored, since some file systems ignore it too.

        Args:
            run: The name.
            folder: The folder of the new run. A former run in this folder whose journal is gone does not keep the name:
                `claim` takes it over.
        """
        owner = self._owners.get(run)
        if owner is not None and (folder is None or owner.folder != str(folder)):
            return self._why_owned(run, owner)
        former = self._refs.commits(run) if owner is not None else {}
        if owner is not None and (why := self._why_fixed(owner, former)):
            return why
        mine = (f"{OURS}/{run}", owner_ref(run), f"{BRANCHES}/{run}", f"{BRANCHES}-{run}", f"{TAGS}/{run}")
        for name in self._store.listing("refs/heads", TAGS, OURS):
            if name in former or (owner is not None and name == owner_ref(run)):
                continue
            if name.casefold().startswith(tuple(f"{ref}/" for ref in mine)) or name.casefold() in mine:
                return f"{name} is there already"
        return ""

    def _why_owned(self, run: str, owner: Owner) -> str:
        """Return which run in another folder has the name. If its journal is gone, include the commands that free the name."""
        if journal.holds(Path(owner.folder)):
            return f"it is the name of the run in {owner.folder}"
        git = f"git -C {shlex.quote(str(self._git.store))}"
        name = branch_name(owner.branch)
        has_branch = owner.branch in self._refs.commits(run)
        keep = f"`{git} branch -m {name} before-{run}` renames its branch and " if has_branch else ""
        return (
            f"it is the name of a run whose logs were in {owner.folder}, where no journal is now. If that run is gone for good, "
            f"{keep}`{git} for-each-ref --format='delete %(refname)' {OURS}/{run} {owner_ref(run)} | {git} update-ref --stdin` "
            f"frees the name"
        )

    def _why_fixed(self, owner: Owner, former: Mapping[str, str]) -> str:
        """Return why the branch of a run must not be moved or deleted, as a clause, or '' if it may be."""
        tip, name = former.get(owner.branch, ""), branch_name(owner.branch)
        attempts = {commit for ref, commit in former.items() if ref != owner.branch}
        todo = f"`git -C {shlex.quote(str(self._git.store))} branch -m {name} NEW` gives it another name"
        if owner.branch in self._store.checked_out():
            return f"the branch {name} of that run is checked out in your work tree; {todo}"
        if tip and tip not in attempts:
            return f"the branch {name} points at {tip[:7]}, which no run made; {todo}"
        return ""

    def claim(self, run: str, owner: str, folder: Path, known: Collection[str] = ()) -> str:
        """Record that the refs of this name belong to the run with the id `owner`. Of several claims at once, one succeeds.

        Args:
            run: The name.
            owner: The id in the header of the run's journal.
            folder: The folder of the run. A name that belongs to another run in the same folder is taken over. The caller
                has the journal of that folder, so the other run has lost its own.
            known: Commits of a run from a version without such records. Refs that point at one of them belong to the run.

        Returns:
            A sentence about the refs of a run whose name was taken over; '' if there was none.

        Raises:
            NameTaken: The name belongs to another run, or there are refs of that name that the run does not know.
        """
        recorded, moved = self._owners.get(run), ""
        if recorded is None:
            recorded = self._claim_first(run, owner, folder, set(known))
        elif recorded.id != owner and recorded.folder == str(folder):
            moved, recorded = self._take_over(run, owner, folder, recorded)
        elif recorded.id == owner and recorded.folder != str(folder) and not journal.holds(Path(recorded.folder)):
            recorded = self._owners.replace(run, Owner(owner, recorded.branch, str(folder)))  # its logs were moved
        if recorded.id != owner:
            raise NameTaken(f"The name {run} is taken in git: {self._why_owned(run, recorded)}.")
        return moved

    def _claim_first(self, run: str, owner: str, folder: Path, known: set[str]) -> Owner:
        """Record the owner of a name that has none. Returns the recorded owner, which is another one if that was faster."""
        refs = self._store.listing(f"{OURS}/{run}/", f"{BRANCHES}/{run}", f"{BRANCHES}-{run}")
        attempts = {commit for name, commit in refs.items() if name.startswith(OURS)}
        begun = bool(known) and (not attempts or not known.isdisjoint(attempts))
        for ref in self._store.listing(OURS):
            if ref in (OURS, OWNERS, SAVED):
                raise RepositoryError(
                    f"Git has a ref called {ref}, so no run can keep its commits below that name. Nothing was started. "
                    f"Give it another name: `git update-ref refs/heads/other {ref}`, then `git update-ref -d {ref}`."
                )
        if not begun and (why := self.why_taken(run)):
            raise NameTaken(f"The name {run} is taken in git: {why}.")
        own = [name for name, commit in refs.items() if not name.startswith(OURS) and commit in known]
        return self._owners.create(run, Owner(owner, own[0] if own else self._refs.new_branch(run), str(folder)))

    def _take_over(self, run: str, owner: str, folder: Path, before: Owner) -> tuple[str, Owner]:
        """Give a name to another run in one transaction. The commits of the former run stay reachable.

        Returns:
            A sentence about these commits, and the new owner.
        """
        if why := self.why_taken(run, folder):
            raise NameTaken(f"The name {run} is taken in git: {why}.")
        former = self._refs.commits(run)
        branch = before.branch if before.branch in former else self._refs.new_branch(run)
        moves = [f"update {saved_ref(name, commit)} {commit}" for name, commit in former.items()]
        moves += [f"delete {name} {commit}" for name, commit in former.items()]
        now = self._owners.replace(run, Owner(owner, branch, str(folder)), moves, former)
        if not former:
            return "", now
        return (
            f"Git still had the commits of a former run {run}, whose journal is gone. They are kept below {SAVED}/{run} and "
            f"{SAVED}/{before.branch.removeprefix('refs/')}."
        ), now

    def unclaim(self, run: str, owner: str) -> None:
        """Release a name that `claim` took for a run that never began. Another run's name is kept. Raises RepositoryError."""
        recorded = self._owners.get(run)
        if recorded is not None and recorded.id == owner:
            self._owners.delete(run)

    def refs_to_delete(self, run: str, owner: str, folder: Path, known: Collection[str]) -> dict[str, str]:
        """Return all refs of a run, as ref -> object: its branch, those of its commits, and the record of its name.

        Args:
            run: The name.
            owner: The id in the header of the run's journal, '' if that cannot be read.
            folder: The folder of the run.
            known: Commits that the run made.

        Raises:
            NameTaken: The refs of this name belong to another run.
            RepositoryError: The branch is checked out, or the run did not make some of the commits.
        """
        recorded, refs = self._owners.get(run), self._refs.commits(run)
        if recorded is not None and self._of_another(recorded, owner, folder):
            raise NameTaken(f"In git the name {run} belongs to another run, whose folder is {recorded.folder}.")
        if recorded is None and (strange := [name for name, commit in refs.items() if commit not in known]):
            raise RepositoryError(f"This run did not make the commit of {strange[0]}.")
        branch = self._refs.branch(run)
        if why := self._why_fixed(Owner(owner, branch, str(folder)), refs):
            raise RepositoryError(f"{why[0].upper()}{why[1:]}.")
        saved = self._store.listing(f"{SAVED}/{run}", f"{SAVED}/{branch.removeprefix('refs/')}")
        refs |= {name: commit for name, commit in saved.items() if commit in known}
        return refs if recorded is None else refs | self._store.listing(owner_ref(run))

    def _of_another(self, recorded: Owner, owner: str, folder: Path) -> bool:
        """Return whether a name belongs to another run than that in `folder`, whose logs may have been moved."""
        if recorded.folder == str(folder):
            return bool(owner) and recorded.id != owner
        return recorded.id != owner or journal.holds(Path(recorded.folder))

    def delete(self, run: str, refs: Mapping[str, str]) -> None:
        """Delete the refs of a run in one transaction. Raises RepositoryError, for example if one has moved meanwhile."""
        self._store.transact([f"delete {name} {value}" for name, value in refs.items()], refs)
        self._owners.forget(run)
