"""Git as an object store: blobs, trees, commits and refs of our own. No checkout, index, hook or signature, ever."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from git import Repo
from git.exc import GitCommandError, GitCommandNotFound, InvalidGitRepositoryError, NoSuchPathError

TRAIN = "nanochat/train.py"
NAME, EMAIL = "AutoResearch", "autoresearch@localhost"
STALE_LOCK_S = 10.0
QUIET = (
    "-c",
    "core.hooksPath=/dev/null",
    "-c",
    "commit.gpgSign=false",
    "-c",
    "gc.auto=0",
    "-c",
    "core.fsync=loose-object",
)


class RepositoryError(Exception):
    """Git could not do what was needed; the message is a sentence for a human."""


@dataclass(frozen=True)
class Applied:
    """How a win was taken home: as a commit on the user's branch, or as a patch file."""

    words: str


class Repository:
    """The user's repository (or a private one), seen as a store of commits and refs."""

    def __init__(self, repo: Repo, prefix: str) -> None:
        self._repo = repo
        self._prefix = prefix  # the source tree's folder inside the repository, "" at its top
        self._env = {
            "GIT_AUTHOR_NAME": NAME, "GIT_AUTHOR_EMAIL": EMAIL, "GIT_COMMITTER_NAME": NAME, "GIT_COMMITTER_EMAIL": EMAIL,
            "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C",
        }  # fmt: skip

    @classmethod
    def open(cls, root: Path, private: Path) -> Repository:
        """The repository around `root`; where there is none, a bare one in `private`. Raises RepositoryError."""
        if shutil.which("git") is None:
            raise RepositoryError("git is not installed. Nothing was started. Install git and try again.")
        try:
            try:
                repo = Repo(root, search_parent_directories=True)
                top = Path(repo.working_tree_dir or root).resolve()
                prefix = root.resolve().relative_to(top).as_posix()
            except (InvalidGitRepositoryError, NoSuchPathError, ValueError):
                repo = Repo(private) if (private / "HEAD").exists() else Repo.init(private, bare=True)
                prefix = "."
            return cls(repo, "" if prefix == "." else prefix + "/")
        except (GitCommandError, GitCommandNotFound, OSError) as error:
            raise RepositoryError(f"Git cannot be used in {root} ({error}). Nothing was changed.") from error

    def _git(self, *arguments: str, data: str | None = None, index: str | None = None) -> str:
        command = ["git", *QUIET, *arguments]
        env = {**os.environ, **self._env, **({"GIT_INDEX_FILE": index} if index else {})}
        env["GIT_DIR"] = str(self._repo.git_dir)
        env.pop("GIT_WORK_TREE", None)
        done = subprocess.run(
            command, input=data, capture_output=True, text=True, encoding="utf-8", env=env, cwd=self._repo.git_dir
        )
        if done.returncode:
            raise RepositoryError(f"git {arguments[0]} failed: {done.stderr.strip()}. Nothing of yours was changed.")
        return done.stdout

    # -- objects --------------------------------------------------------------------------------------------------

    def base(self) -> str:
        """The user's HEAD commit; an empty root commit of our own where there is none."""
        try:
            return self._git("rev-parse", "--verify", "-q", "HEAD^{commit}").strip()
        except RepositoryError:
            tree = self._git("mktree", data="").strip()
            return self._git("commit-tree", tree, "-m", "An empty beginning").strip()

    def read(self, commit: str, path: str = TRAIN) -> str:
        """A file of a commit. Raises RepositoryError when it has none."""
        return self._git("cat-file", "blob", f"{commit}:{self._prefix}{path}")

    def commit(self, parent: str, source: str, message: str) -> str:
        """A commit whose tree is the parent's with train.py replaced. Only objects are written."""
        blob = self._git("hash-object", "-w", "--stdin", data=source).strip()
        parts = (self._prefix + TRAIN).split("/")
        tree = self._graft(f"{parent}^{{tree}}", parts, blob)
        return self._git("commit-tree", tree, "-p", parent, data=message).strip()

    def _graft(self, tree: str | None, parts: list[str], blob: str) -> str:
        """The tree with the file at `parts` replaced by the blob."""
        listing = self._git("ls-tree", tree).splitlines() if tree else []
        entries, old = [], None
        for line in listing:
            name = line.split("\t", 1)[1]
            if name == parts[0]:
                old = line.split()[2]
            else:
                entries.append(line)
        if len(parts) == 1:
            entries.append(f"100644 blob {blob}\t{parts[0]}")
        else:
            entries.append(f"040000 tree {self._graft(old, parts[1:], blob)}\t{parts[0]}")
        return self._git("mktree", data="\n".join(entries) + "\n").strip()

    def merge(self, base: str, ours: str, theirs: str) -> str | None:
        """Three-way merge of three texts; None when both changed the same lines."""
        with tempfile.TemporaryDirectory() as folder:
            names = []
            for name, text in (("ours", ours), ("base", base), ("theirs", theirs)):
                path = Path(folder) / name
                path.write_text(text, encoding="utf-8")
                names.append(str(path))
            done = subprocess.run(["git", "merge-file", "-p", *names], capture_output=True, text=True, encoding="utf-8")
            return done.stdout if done.returncode == 0 else None

    def diff(self, old: str, new: str) -> str:
        return self._git("diff", "--no-ext-diff", "--no-color", old, new, "--", self._prefix + TRAIN)

    # -- refs -----------------------------------------------------------------------------------------------------

    def attempt_ref(self, run: str, name: str) -> str:
        return f"refs/autoresearch/{run}/{name}"

    def branch(self, run: str) -> str:
        """The run's branch; with a dash where a branch called autoresearch is in the way."""
        blocked = self._ref("refs/heads/autoresearch") is not None
        return f"refs/heads/autoresearch{'-' if blocked else '/'}{run}"

    def _ref(self, name: str) -> str | None:
        found = self._git("for-each-ref", "--format=%(refname) %(objectname)", name).split()
        return found[1] if len(found) >= 2 and found[0] == name else None

    def set_ref(self, name: str, new: str) -> None:
        """Point a ref of our own at a commit; a stale lock on it is removed."""
        try:
            self._git("update-ref", "--no-deref", name, new)
        except RepositoryError:
            lock = Path(self._repo.common_dir) / f"{name}.lock"
            if not self._unlock(lock):
                raise
            self._git("update-ref", "--no-deref", name, new)

    @staticmethod
    def _unlock(lock: Path) -> bool:
        try:
            if time.time() - lock.stat().st_mtime < STALE_LOCK_S:
                time.sleep(STALE_LOCK_S / 10)
            lock.unlink()
        except OSError:
            return False
        return True

    def reconcile(self, run: str, wanted: dict[str, str]) -> list[str]:
        """Make our refs match; returns what was mended, in words."""
        words = []
        listing = self._git(
            "for-each-ref", "--format=%(refname) %(objectname)", f"refs/autoresearch/{run}/", self.branch(run)
        )
        present = dict(line.split() for line in listing.splitlines())
        for name, commit in wanted.items():
            if present.pop(name, None) != commit:
                self.set_ref(name, commit)
                words.append(f"{name} now points at {commit[:7]}, as the journal says")
        for name in present:
            self._git("update-ref", "--no-deref", "-d", name)
            words.append(f"{name} is not in the journal and was removed; its commit is kept by git for a while")
        return words

    # -- home -----------------------------------------------------------------------------------------------------

    def apply_home(self, root: Path, base: str, best: str, message: str, patch: Path) -> Applied:
        """Put the best train.py on the user's branch as a commit, or write a patch where that is not safe."""
        source, path = self.read(best), root / TRAIN
        text = self._git("diff", "--no-ext-diff", "--no-color", base, best, "--", self._prefix + TRAIN)
        patch.write_text(text, encoding="utf-8")
        command = f"git apply {patch}"
        if self._repo.bare:
            return Applied(f"This source tree is no git repository, so a patch was written instead: {command}")
        tracked = self._repo.git
        dirty = tracked.status("--porcelain", "--untracked-files=no")
        if dirty:
            return Applied(
                f"Your checkout has changes of its own, so nothing was touched; a patch was written: {command}"
            )
        try:
            unchanged = path.read_text(encoding="utf-8") == self.read(base)
        except (OSError, RepositoryError):
            unchanged = False
        if not unchanged:
            return Applied(f"Your train.py has moved on since the run began; a patch was written instead: {command}")
        path.write_text(source, encoding="utf-8")
        self._repo.git.add("--", str(path))
        who = {} if self._has_identity() else self._env
        with self._repo.git.custom_environment(**who):
            self._repo.git.commit("-m", message, "--", str(path))
        head = self._repo.head.commit.hexsha[:7]
        return Applied(f"Done: the best train.py is now commit {head} on your checkout. `git show {head}` shows it.")

    def _has_identity(self) -> bool:
        try:
            self._repo.git.var("GIT_COMMITTER_IDENT")
        except GitCommandError:
            return False
        return True
