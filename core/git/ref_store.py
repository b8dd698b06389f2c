"""The refs of one repository: what they point at, and moves of them, each in one step and only from what was seen."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from core.git import locks
from core.git.errors import RepositoryError
from core.git.plumbing import Git


class RefStore:
    """Reads refs and moves them. A move raises RepositoryError where another writer was faster."""

    def __init__(self, git: Git) -> None:
        self._git = git

    def listing(self, *patterns: str) -> dict[str, str]:
        """Return the refs that match one of the patterns, with the objects they point at."""
        lines = self._git.run("for-each-ref", "--format=%(refname) %(objectname)", *patterns)
        return dict(line.split(" ", 1) for line in lines.splitlines())

    def checked_out(self) -> set[str]:
        """Return the branches that are checked out in some work tree."""
        lines = self._git.run("worktree", "list", "--porcelain")
        return {line.removeprefix("branch ") for line in lines.splitlines() if line.startswith("branch ")}

    def move(self, ref: str, new: str, old: str) -> None:
        """Point a ref at `new`, where it points at `old` now; '' for one that is not there."""
        self._update("--create-reflog", ref, new, old, refs=(ref,))

    def create(self, ref: str, target: str) -> None:
        """Make a ref that is not there."""
        self._update(ref, target, "", refs=(ref,))

    def put(self, ref: str, target: str) -> None:
        """Point a ref at an object, whatever it points at now."""
        self._update(ref, target, refs=(ref,))

    def delete(self, ref: str) -> None:
        """Remove a ref."""
        self._update("-d", ref, refs=(ref,))

    def transact(self, steps: Sequence[str], refs: Collection[str]) -> None:
        """Take several steps, as `git update-ref --stdin` has them: all or nothing.

        Args:
            steps: One line each.
            refs: The refs that they move, for stale locks.
        """
        self._update("--stdin", refs=refs, data="".join(f"{step}\n" for step in steps).encode())

    def _update(self, *arguments: str, refs: Collection[str], data: bytes = b"") -> None:
        """Run `git update-ref`, and once more where a stale lock was in the way."""
        command = ("update-ref", "--no-deref", *arguments)
        try:
            self._git.run(*command, data=data)
        except RepositoryError:
            if not locks.remove_stale(*(self._git.store / f"{ref}.lock" for ref in refs)):
                raise
            self._git.run(*command, data=data)
