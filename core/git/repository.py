"""The git repository of a source tree, and train.py in its commits.

The user's checkout, index, hooks and signatures are not used. The only exception is the command `apply` (`core.git.apply`).
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from core.change.merging import aligned
from core.git.errors import RepositoryError
from core.git.names import RunNames
from core.git.namespace import RUN, START_REFS, run_in
from core.git.owners import Owners
from core.git.plumbing import Git, one_line
from core.git.ref_store import RefStore
from core.git.refs import RunRefs
from core.git.source_tree import TRAIN, SourceTree
from core.text import BYTE_ORDER_MARK, normalised

MOST_CONFLICTS = 127  # the largest exit status of `git merge-file` that counts conflicts; above it the merge failed
MARKERS = ("-L", "the best", "-L", "before", "-L", "yours")  # labels of the conflict markers

if TYPE_CHECKING:  # importing GitPython fails on a machine without git
    from git import Repo


class Repository:
    """The user's repository (or a private one) as a store of versions of train.py. Errors of git are RepositoryError.

    Attributes:
        tree: The place of the source tree in the repository.
        git: Runs git commands.
        owners: The records about which run a name belongs to.
        names: Claims names for runs.
        refs: The refs of runs.
    """

    def __init__(self, repo: Repo, tree: SourceTree) -> None:
        self.tree = tree
        self.git = Git(repo)
        store = RefStore(self.git)
        self._ref_store = store
        self.owners = Owners(self.git, store)
        self.refs = RunRefs(self.git, store, self.owners)
        self.names = RunNames(self.git, store, self.owners, self.refs)

    # -- which repository it is -----------------------------------------------------------------------------------

    @classmethod
    def open(cls, root: Path, private: Path) -> Repository:
        """Open the repository that contains `root`. If no repository contains it, open or create a bare one in `private`.

        Args:
            root: The source tree.
            private: The folder of the private repository.

        Raises:
            RepositoryError: Git is not installed, or a repository cannot be used.
        """
        existing = cls.find(root, private)
        if existing is not None:
            return existing
        from git import Git as Command
        from git import Repo
        from git.exc import GitError

        try:
            private.mkdir(parents=True, exist_ok=True)
            Command(private).execute(["git", "init", "-q", "--bare", "."])  # Repo.init expands variables in the path
            return cls(Repo(private, expand_vars=False), SourceTree(Path(os.path.realpath(root)), ""))
        except (GitError, OSError, ValueError) as error:
            raise RepositoryError(
                f"Git cannot be used in {root} ({one_line(str(error))}). Nothing was changed."
            ) from error

    @classmethod
    def find(cls, root: Path, private: Path) -> Repository | None:
        """Return the repository that `open` would return, or None if it would create one. Writes nothing.

        A repository around the source tree that does not track it, such as a home directory in git, is not used.

        Raises:
            RepositoryError: Git is not installed, or a repository cannot be used.
        """
        if shutil.which("git") is None:
            raise RepositoryError("git is not installed. Nothing was started. Install git and try again.")
        try:
            from git import Repo
            from git.exc import GitError, InvalidGitRepositoryError, NoSuchPathError
        except ImportError as error:  # also raised if git itself fails
            raise RepositoryError(f"Git cannot be used ({one_line(str(error))}). Nothing was changed.") from error

        try:
            root = Path(os.path.realpath(root))
            with contextlib.suppress(InvalidGitRepositoryError, NoSuchPathError, ValueError):
                repo = Repo(root, search_parent_directories=True, expand_vars=False)
                top = Path(os.path.realpath(repo.working_tree_dir or root))
                inside = root.relative_to(top).as_posix()
                around = cls(repo, SourceTree(root, "" if inside == "." else inside + "/"))
                if inside == "." or around.has_source("HEAD"):
                    return around
            if os.path.lexists(root / ".git"):
                raise RepositoryError(
                    f"{root / '.git'} is not a repository that git can use. Nothing was started. `git -C {root} status` says what "
                    f"is wrong; without a .git a private repository in logs/ is used."
                )
            if not (private / "HEAD").exists():
                return None
            return cls(Repo(private, expand_vars=False), SourceTree(root, ""))
        except (GitError, OSError, ValueError) as error:
            raise RepositoryError(
                f"Git cannot be used in {root} ({one_line(str(error))}). Nothing was changed."
            ) from error

    # -- train.py in commits --------------------------------------------------------------------------------------

    def base(self) -> str:
        """Return the hash of HEAD's commit. If HEAD has no commit yet, write a root commit with train.py and return it.

        Raises:
            RepositoryError: Git cannot read HEAD.
        """
        status, out, err = self.git.attempt("rev-parse", "--verify", "-q", "--end-of-options", "HEAD^{commit}")
        if status == 0:
            return out.decode().strip()
        if err:
            raise RepositoryError(f"Git cannot read HEAD ({one_line(err)}).")
        tree = self.git.run("mktree").strip()
        with contextlib.suppress(OSError):
            blob = self.git.write_blob((self.tree.root / TRAIN).read_bytes())
            tree = self._tree_with(blob, None)
        return self.git.write_commit(tree, b"The source tree as the run found it\n")

    def has_source(self, commit: str) -> bool:
        """Return whether a commit has a train.py."""
        return self.git.has(commit, self.tree.train)

    def source(self, commit: str) -> str:
        """Return the train.py of a commit, without a byte order mark.

        Raises:
            RepositoryError: The commit has no train.py, or it is not UTF-8.
        """
        text = self.git.run("cat-file", "blob", f"{commit}:{self.tree.train}")
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:
            raise RepositoryError(f"{TRAIN} of commit {commit[:7]} is not UTF-8 text ({error}).") from error
        return text.removeprefix(BYTE_ORDER_MARK)

    def holds(self, commit: str, source: str) -> bool:
        """Return whether a commit has this train.py, apart from line endings."""
        return self.has_source(commit) and normalised(self.source(commit)) == normalised(source)

    def commit(self, parent: str, source: str, message: str) -> str:
        """Write a commit with the parent's tree and another train.py. Writes objects only, no refs.

        Args:
            parent: The parent commit.
            source: The new train.py.
            message: The commit message.

        Returns:
            The hash of the commit.

        Raises:
            RepositoryError: `source` cannot be encoded as UTF-8, or git failed.
        """
        try:
            content = source.encode("utf-8")
        except UnicodeEncodeError as error:
            raise RepositoryError(
                f"This train.py cannot be written as UTF-8 ({error}). It was not committed."
            ) from error
        tree = self._tree_with(self.git.write_blob(content), f"{parent}^{{tree}}")
        text = message.replace("\0", " ").encode("utf-8", "replace")  # git refuses messages with these characters
        return self.git.write_commit(tree, text, parent)

    def _tree_with(self, blob: str, tree: str | None) -> str:
        """Write a copy of a tree with this blob as train.py, and return its hash."""
        return self.git.write_tree(tree, self.tree.train.split("/"), blob)

    def merge(self, base: str, ours: str, theirs: str, scratch: Path) -> str | None:
        """Return the three-way merge of three texts of train.py, or None if both sides changed the same lines.

        Constants are merged by name: only two different values of one constant are a conflict.

        Args:
            base: The common ancestor.
            ours: One changed text.
            theirs: The other changed text.
            scratch: A folder for temporary files.

        Raises:
            RepositoryError: `scratch` cannot be written, or git failed.
        """
        status, text = self._merge_file(base, ours, theirs, scratch)
        return text if status == 0 else None

    def merge_marked(self, base: str, ours: str, theirs: str, scratch: Path) -> str:
        """Return the merge as `merge` does. Where both sides changed the same lines, it has both, between conflict markers."""
        return self._merge_file(base, ours, theirs, scratch)[1]

    def _merge_file(self, base: str, ours: str, theirs: str, scratch: Path) -> tuple[int, str]:
        """Return the exit status and the output of `git merge-file`. The status is the number of conflicts."""
        base, ours, theirs = aligned(base, ours, theirs)
        try:
            scratch.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=".merge-", dir=scratch, ignore_cleanup_errors=True) as folder:
                names = []
                for name, text in (("ours", ours), ("base", base), ("theirs", theirs)):
                    path = Path(folder) / name
                    path.write_bytes(text.encode("utf-8"))
                    names.append(str(path))
                status, out, _ = self.git.attempt("merge-file", "-p", *MARKERS, *names)
        except OSError as error:
            raise RepositoryError(
                f"Two changes to train.py cannot be merged, since {scratch} cannot be written ({error.strerror}). Nothing was lost."
            ) from error
        if status > MOST_CONFLICTS:
            raise RepositoryError(
                "Two changes to train.py cannot be merged: git takes one of them for a binary file. Nothing was lost."
            )
        return status, out.decode("utf-8")

    def diff(self, old: str, new: str) -> str:
        """Return the change to train.py between two commits, as a patch for `git apply` at the top of the repository."""
        return self.git.run(
            "diff-tree", "-p", "--no-ext-diff", "--no-textconv", "--no-color", "--src-prefix=a/", "--dst-prefix=b/",
            old, new, "--", self.tree.train,
        )  # fmt: skip

    def diff_of_texts(self, old: str, new: str) -> str:
        """Return the change between two texts of train.py as such a patch."""
        return self.diff(*(self._tree_with(self.git.write_blob(text.encode("utf-8")), None) for text in (old, new)))

    # -- the whole repository -------------------------------------------------------------------------------------

    def run_that_kept(self, source: str) -> str:
        """Return the name of a run that has kept exactly this train.py at any time, or ''. Only branches of runs count."""
        plain = normalised(source)
        same = {
            self.git.hash_blob(text.encode("utf-8", "surrogatepass")) for text in (plain, plain.replace("\n", "\r\n"))
        }
        for name, start in self._ref_store.listing(START_REFS).items():
            run = run_in(name)
            if not RUN.fullmatch(run) or (tip := self.refs.commits(run).get(self.refs.branch(run), start)) == start:
                continue
            kept = self.git.run("rev-list", "--ancestry-path", f"{start}..{tip}").split()
            files = "".join(f"{commit}:{self.tree.train}\n" for commit in kept)
            if same.intersection(self.git.run("cat-file", "--batch-check=%(objectname)", data=files.encode()).split()):
                return run
        return ""

    def fsck(self) -> str:
        """Return the problems that `git fsck` finds, or ''."""
        status, out, err = self.git.attempt("fsck", "--no-dangling", "--no-progress")
        lines = (out.decode("utf-8", "replace") + err).splitlines()
        text = "\n".join(
            line for line in lines if line and not line.startswith("notice:")
        )  # for example that there are no commits yet
        return text or (f"git fsck failed with exit status {status}" if status else "")
