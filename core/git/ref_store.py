"""Reads and moves the refs of one repository. Each move is atomic and checks the old value."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from core.git import locks
from core.git.errors import RepositoryError
from core.git.plumbing import Git


class RefStore:
    """Reads and moves refs. A move raises RepositoryError if another writer was faster."""

    def __init__(self, git: Git) -> None:
        self._git = git

    def listing(self, *patterns: str) -> dict[str, str]:
        """Return the refs that match one of the patterns, as ref -> object."""
        lines = self._git.run("for-each-ref", "--format=%(refname) %(objectname)", *patterns)
        return dict(line.split(" ", 1) for line in lines.splitlines())

    def checked_out(self) -> set[str]:
        """Return the branches that are checked out in any work tree."""
        lines = self._git.run("worktree", "list", "--porcelain")
        return {line.removeprefix("branch ") for line in lines.splitlines() if line.startswith("branch ")}

    def move(self, ref: str, new: str, old: str) -> None:
        """Move a ref from `old` to `new`. An empty `old` means that the ref must not exist."""
        self._update("--create-reflog", ref, new, old, refs=(ref,))

    def create(self, ref: str, target: str) -> None:
        """Create a ref that does not exist."""
        self._update(ref, target, "", refs=(ref,))

    def put(self, ref: str, target: str) -> None:
        """Set a ref, without a check of its old value."""
        self._update(ref, target, refs=(ref,))

    def delete(self, ref: str) -> None:
        """Remove a ref."""
        self._update("-d", ref, refs=(ref,))

    def transact(self, steps: Sequence[str], refs: Collection[str]) -> None:
        """Run several steps of `git update-ref --stdin` in one transaction.

        Args:
            steps: The steps, one line each.
            refs: The refs in these steps, to remove stale locks.
        """
        self._update("--stdin", refs=refs, data="".join(f"{step}\n" for step in steps).encode())

    def _update(self, *arguments: str, refs: Collection[str], data: bytes = b"") -> None:
        """Run `git update-ref`. If it fails because of a stale lock, remove the lock and run it again."""
        command = ("update-ref", "--no-deref", *arguments)
        try:
            self._git.run(*command, data=data)
        except RepositoryError:
            if not locks.remove_stale(*(self._git.store / f"{ref}.lock" for ref in refs)):
                raise
            self._git.run(*command, data=data)
