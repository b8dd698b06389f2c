"""Git's plumbing commands in one repository, run by GitPython: blobs, trees and commits.

The checkout, the index, hooks and signatures are not used.
"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from core.git.errors import RepositoryError
from core.record.journal import NO_FSYNC

if TYPE_CHECKING:  # importing GitPython fails on a machine without git
    from git import Repo

NAME, EMAIL = "AutoResearch", "autoresearch@localhost"
SIGNATURE = {
    "GIT_AUTHOR_NAME": NAME, "GIT_AUTHOR_EMAIL": EMAIL, "GIT_COMMITTER_NAME": NAME, "GIT_COMMITTER_EMAIL": EMAIL,
}  # fmt: skip
QUIET = (
    "core.hooksPath=/dev/null",
    "commit.gpgSign=false",
    "gc.auto=0",
    "maintenance.auto=false",
    "i18n.commitEncoding=UTF-8",
)
SYNCED = "core.fsync=loose-object,reference"  # commits in the journal must survive a power cut
UNSYNCED = "core.fsync=none"


class Git:
    """Runs git commands in one repository, without the user's hooks and signatures."""

    def __init__(self, repo: Repo) -> None:
        self._repo = repo
        self._fsync = SYNCED
        self.store = Path(repo.common_dir)  # objects and refs; for a linked worktree those of the main repository

    @property
    def work_tree(self) -> str:
        """The checkout of this repository, or '' if it has none."""
        return "" if self._repo.bare else str(self._repo.working_tree_dir or "")

    @property
    def bare(self) -> bool:
        """Whether this repository is bare."""
        return self._repo.bare

    @property
    def synced(self) -> bool:
        """Whether written objects survive a power cut. False if the file system has no fsync."""
        return self._fsync == SYNCED and has_fsync(self.store)

    # -- commands -------------------------------------------------------------------------------------------------

    def attempt(
        self, *arguments: str, data: bytes = b"", env: Mapping[str, str] | None = None
    ) -> tuple[int, bytes, str]:
        """Run a git command. If the file system has no fsync, git is run without it from then on.

        Args:
            arguments: The arguments of git.
            data: Bytes for stdin.
            env: Additional environment variables.

        Returns:
            The exit status, stdout and stderr.

        Raises:
            RepositoryError: Git could not be started.
        """
        status, out, err = self._attempt_once(arguments, data, env)
        # git reports "fsync error" for an object, but only "couldn't write" for a ref
        if status and self._fsync == SYNCED and re.search("fsync|couldn't write", err) and not has_fsync(self.store):
            self._fsync = UNSYNCED
            status, out, err = self._attempt_once(arguments, data, env)
        return status, out, err

    def _attempt_once(
        self,
        arguments: Sequence[str],
        data: bytes,
        env: Mapping[str, str] | None,
        settings: Sequence[str] = (),
        signature: Mapping[str, str] = SIGNATURE,
    ) -> tuple[int, bytes, str]:
        options = [part for setting in (*QUIET, self._fsync, *settings) for part in ("-c", setting)]
        full = {
            **signature, "GIT_DIR": str(self._repo.git_dir), "GIT_OBJECT_DIRECTORY": str(self.store / "objects"),
            "GIT_NAMESPACE": "", "GIT_TERMINAL_PROMPT": "0", "GIT_OPTIONAL_LOCKS": "0", "GIT_LITERAL_PATHSPECS": "1",
            **(env or {}),
        }  # fmt: skip
        try:
            process = self._repo.git.execute(
                ["git", *options, *arguments], istream=subprocess.PIPE, as_process=True, env=full
            )
            out, err = process.communicate(data)
        except Exception as error:  # errors of GitPython and of the system
            raise RepositoryError(
                f"git {arguments[0]} could not run ({one_line(str(error))}). Nothing was lost."
            ) from error
        return process.returncode, out, err.decode("utf-8", "replace").strip()

    def run(self, *arguments: str, data: bytes = b"", env: Mapping[str, str] | None = None) -> str:
        """Run a git command and return its output. Raises RepositoryError if it fails."""
        status, out, err = self.attempt(*arguments, data=data, env=env)
        if status:
            raise RepositoryError(
                f"git {arguments[0]} failed: {one_line(err) or f'exit status {status}'}. Nothing of yours was changed."
            )
        return out.decode("utf-8", "surrogateescape")  # names of files and refs may have any bytes

    def user_identity(self) -> dict[str, str]:
        """Return the variables with author and committer as `git commit` would choose them for the user.

        If no identity is configured, they name AutoResearch. Git's guess from the name of the machine is not used.
        """
        settings = ("user.useConfigOnly=true",) if not os.environ.get("EMAIL") else ()
        identity = dict(SIGNATURE)
        for role in ("AUTHOR", "COMMITTER"):
            status, out, _ = self._attempt_once(("var", f"GIT_{role}_IDENT"), b"", None, settings, signature={})
            parts = re.fullmatch(r"(.+) <(.*)> \d+ [+-]\d+\n", os.fsdecode(out))
            if status == 0 and parts is not None:
                identity |= {f"GIT_{role}_NAME": parts[1], f"GIT_{role}_EMAIL": parts[2]}
        return identity

    # -- objects --------------------------------------------------------------------------------------------------

    def has(self, commit: str, path: str) -> bool:
        """Return whether a commit has a file."""
        return self.attempt("cat-file", "-e", f"{commit}:{path}")[0] == 0

    def write_blob(self, content: bytes) -> str:
        """Write a blob and return its hash."""
        return self.run("hash-object", "-w", "--stdin", data=content).strip()

    def hash_blob(self, content: bytes) -> str:
        """Return the hash that a blob would have. Writes nothing."""
        return self.run("hash-object", "--stdin", data=content).strip()

    def write_tree(self, tree: str | None, path: Sequence[str], blob: str) -> str:
        """Write a copy of a tree with one file replaced or added.

        Args:
            tree: The tree to copy, None for an empty one. The file's mode is kept.
            path: The parts of the file's path.
            blob: The hash of the file's content.

        Returns:
            The hash of the new tree.
        """
        entries, old, mode = [], None, "100644"
        for entry in self.run("ls-tree", "-z", tree).split("\0") if tree else []:
            about, _, name = entry.partition("\t")
            if name == path[0]:
                mode_now, kind, sha = about.split()
                old = sha if kind == "tree" else None
                mode = mode_now if mode_now == "100755" else mode
            elif entry:
                entries.append(entry)
        if len(path) == 1:
            entries.append(f"{mode} blob {blob}\t{path[0]}")
        else:
            entries.append(f"040000 tree {self.write_tree(old, path[1:], blob)}\t{path[0]}")
        # --missing: a partial clone need not fetch the other files
        return self.run(
            "mktree",
            "-z",
            "--missing",
            data="".join(f"{entry}\0" for entry in entries).encode("utf-8", "surrogateescape"),
        ).strip()

    def write_commit(self, tree: str, message: bytes, parent: str = "") -> str:
        """Write a commit and return its hash. An empty `parent` makes a root commit."""
        return self.run("commit-tree", tree, *(("-p", parent) if parent else ()), data=message).strip()


def has_fsync(folder: Path) -> bool:
    """Return whether the file system of a folder has fsync. True if that cannot be determined."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            os.fsync(file.fileno())
    except OSError as error:
        return error.errno not in NO_FSYNC
    return True


def one_line(text: str) -> str:
    """Return a message as one line."""
    return " ".join(text.split())
