"""The records in git about which run the refs of a name belong to."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass

from core.git.errors import RepositoryError
from core.git.namespace import checked_ref, checked_run, owner_ref
from core.git.plumbing import Git
from core.git.ref_store import RefStore


@dataclass(frozen=True)
class Owner:
    """The run that the refs of a name belong to."""

    id: str
    branch: str
    folder: str  # the folder of the run


class Owners:
    """The records of one repository, with a cache."""

    def __init__(self, git: Git, store: RefStore) -> None:
        self._git = git
        self._store = store
        self._known: dict[str, Owner] = {}

    def get(self, run: str) -> Owner | None:
        """Return the owner of a name, or None if there is no record. Raises RepositoryError for an invalid name."""
        if checked_run(run) not in self._known:
            status, out, _ = self._git.attempt("cat-file", "blob", owner_ref(run))
            try:
                record = json.loads(out) if status == 0 else {}
                self._known[run] = Owner(str(record["id"]), checked_ref(str(record["branch"])), str(record["folder"]))
            except (ValueError, KeyError, TypeError, RepositoryError):
                return None
        return self._known[run]

    def create(self, run: str, owner: Owner) -> Owner:
        """Record the owner of a name that has none.

        Returns:
            The recorded owner, which is another one if that was faster.
        """
        blob = self._write(owner)
        try:
            self._store.create(owner_ref(run), blob)
        except RepositoryError:
            if (other := self.get(run)) is None:
                raise
            return other
        self._known[run] = owner
        return owner

    def replace(self, run: str, owner: Owner, moves: Sequence[str] = (), refs: Collection[str] = ()) -> Owner:
        """Replace the record of a name in one transaction with moves of other refs.

        Args:
            run: The name.
            owner: The new owner.
            moves: Lines for `git update-ref --stdin`.
            refs: The refs in these lines.

        Returns:
            The new owner.
        """
        record = owner_ref(run)
        old = self._git.run("rev-parse", "--verify", record).strip()
        blob = self._write(owner)
        self._store.transact((*moves, f"update {record} {blob} {old}"), (*refs, record))
        self._known[run] = owner
        return owner

    def delete(self, run: str) -> None:
        """Remove the record of a name."""
        self._store.delete(owner_ref(run))
        self.forget(run)

    def forget(self, run: str) -> None:
        """Remove a name from the cache, because its record was removed."""
        self._known.pop(run, None)

    def _write(self, owner: Owner) -> str:
        return self._git.write_blob(json.dumps(asdict(owner)).encode())
