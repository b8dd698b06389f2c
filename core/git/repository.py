"""Git as an object store: blobs, trees, commits and refs of our own, through GitPython and git's plumbing commands.

No checkout, index, work tree, hook or signature is touched or used; `apply_home`, at the user's word, is the one exception.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import shutil
import subprocess
import tempfile
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import UserError
from core.record import journal
from core.record.journal import NO_FSYNC

if TYPE_CHECKING:  # GitPython cannot even be imported on a machine without git
    from git import Repo

TRAIN, PROGRAM = "nanochat/train.py", "program.md"
NAME, EMAIL = "AutoResearch", "autoresearch@localhost"
RUN = re.compile(r"[a-z0-9-]+")
OURS = "refs/autoresearch"
SAVED, OWNERS = f"{OURS}/_before", f"{OURS}/_owner"  # no run can be called this
BRANCHES, TAGS = "refs/heads/autoresearch", "refs/tags/autoresearch"  # a tag would hide a branch of its name
BOM = "\ufeff"  # a byte order mark, which some editors put first
STALE_LOCK_S = 2.0  # git holds the lock of a ref for milliseconds
QUIET = (
    "core.hooksPath=/dev/null",
    "commit.gpgSign=false",
    "gc.auto=0",
    "maintenance.auto=false",
    "i18n.commitEncoding=UTF-8",
)
SYNCED = "core.fsync=loose-object,reference"  # the journal names commits, so they must survive a power cut as it does
UNSYNCED = "core.fsync=none"


class RepositoryError(UserError):
    """Git could not do what was needed; the message is a sentence for a human."""


class NameTaken(RepositoryError):
    """A run cannot have this name: in git it is somebody else's."""


@dataclass(frozen=True)
class Owner:
    """Which run the refs of a name belong to, as it is recorded in git."""

    id: str
    branch: str
    folder: str  # where its logs were when it began


@dataclass(frozen=True)
class Applied:
    """How a win was taken home: as a commit on the user's branch, or as a patch file."""

    words: str
    commit: str | None = None
    patch: Path | None = None


class Repository:
    """The user's repository (or a private one), seen as a store of commits and refs."""

    def __init__(self, repo: Repo, root: Path, prefix: str) -> None:
        self._repo = repo
        self._root = root
        self._prefix = prefix  # the source tree's folder inside the repository, "" at its top
        self._owners: dict[str, Owner] = {}  # those that were looked up
        self._fsync = SYNCED
        self._store = Path(repo.common_dir)  # objects and refs; of a linked worktree: its main repository's
        self._who = {
            "GIT_AUTHOR_NAME": NAME, "GIT_AUTHOR_EMAIL": EMAIL, "GIT_COMMITTER_NAME": NAME, "GIT_COMMITTER_EMAIL": EMAIL,
        }  # fmt: skip

    @classmethod
    def open(cls, root: Path, private: Path) -> Repository:
        """The repository around `root`; where there is none, a bare one in `private`, made where need be. Raises RepositoryError."""
        found = cls.find(root, private)
        if found is not None:
            return found
        from git import Git, Repo
        from git.exc import GitError

        try:
            private.mkdir(parents=True, exist_ok=True)
            Git(private).execute(["git", "init", "-q", "--bare", "."])  # Repo.init expands variables in the path
            return cls(Repo(private, expand_vars=False), Path(os.path.realpath(root)), "")
        except (GitError, OSError, ValueError) as error:
            raise RepositoryError(
                f"Git cannot be used in {root} ({_line(str(error))}). Nothing was changed."
            ) from error

    @classmethod
    def find(cls, root: Path, private: Path) -> Repository | None:
        """The repository that `open` would give, or None where it would make one. Raises RepositoryError; writes nothing.

        A repository that merely lies around the source tree without holding it (a home directory kept in git) is not used.
        """
        if shutil.which("git") is None:
            raise RepositoryError("git is not installed. Nothing was started. Install git and try again.")
        try:
            from git import Repo
            from git.exc import GitError, InvalidGitRepositoryError, NoSuchPathError
        except ImportError as error:  # raised where git itself fails, too
            raise RepositoryError(f"Git cannot be used ({_line(str(error))}). Nothing was changed.") from error

        try:
            root = Path(os.path.realpath(root))
            with contextlib.suppress(InvalidGitRepositoryError, NoSuchPathError, ValueError):
                repo = Repo(root, search_parent_directories=True, expand_vars=False)
                top = Path(os.path.realpath(repo.working_tree_dir or root))
                inside = root.relative_to(top).as_posix()
                found = cls(repo, root, "" if inside == "." else inside + "/")
                if inside == "." or found._has("HEAD", TRAIN):
                    return found
            if os.path.lexists(root / ".git"):
                raise RepositoryError(
                    f"{root / '.git'} is no repository that git can use. Nothing was started. `git -C {root} status` says what "
                    f"is wrong; without a .git a private repository in logs/ is used."
                )
            return cls(Repo(private, expand_vars=False), root, "") if (private / "HEAD").exists() else None
        except (GitError, OSError, ValueError) as error:
            raise RepositoryError(
                f"Git cannot be used in {root} ({_line(str(error))}). Nothing was changed."
            ) from error

    @property
    def synced(self) -> bool:
        """Whether what git writes survives a power cut; False where its file system has no fsync."""
        return self._fsync == SYNCED and syncs(self._store)

    def _run(self, *arguments: str, data: bytes = b"", env: Mapping[str, str] | None = None) -> tuple[int, bytes, str]:
        """One git command in this repository: exit status, stdout, stderr. Bytes in and out, so nothing is translated."""
        status, out, err = self._once(arguments, data, env)
        # git says "fsync error" of an object and no more than "couldn't write" of a ref
        if status and self._fsync == SYNCED and re.search("fsync|couldn't write", err) and not syncs(self._store):
            self._fsync = UNSYNCED
            status, out, err = self._once(arguments, data, env)
        return status, out, err

    def _once(self, arguments: Sequence[str], data: bytes, env: Mapping[str, str] | None) -> tuple[int, bytes, str]:
        options = [part for setting in (*QUIET, self._fsync) for part in ("-c", setting)]
        full = {
            **self._who, "GIT_DIR": str(self._repo.git_dir), "GIT_OBJECT_DIRECTORY": str(self._store / "objects"),
            "GIT_NAMESPACE": "", "GIT_TERMINAL_PROMPT": "0", "GIT_OPTIONAL_LOCKS": "0", "GIT_LITERAL_PATHSPECS": "1",
            **(env or {}),
        }  # fmt: skip
        try:
            process = self._repo.git.execute(
                ["git", *options, *arguments], istream=subprocess.PIPE, as_process=True, env=full
            )
            out, err = process.communicate(data)
        except Exception as error:  # GitPython's own, or the system's
            raise RepositoryError(
                f"git {arguments[0]} could not run ({_line(str(error))}). Nothing was lost."
            ) from error
        return process.returncode, out, err.decode("utf-8", "replace").strip()

    def _git(self, *arguments: str, data: bytes = b"", env: Mapping[str, str] | None = None) -> str:
        status, out, err = self._run(*arguments, data=data, env=env)
        if status:
            raise RepositoryError(
                f"git {arguments[0]} failed: {_line(err) or f'exit status {status}'}. Nothing of yours was changed."
            )
        return out.decode("utf-8", "surrogateescape")  # names of files and refs may be any bytes

    # -- objects --------------------------------------------------------------------------------------------------

    def base(self, commitish: str = "HEAD") -> str:
        """A commit of the user's by name; where HEAD has none yet, a root commit of our own that holds train.py."""
        status, out, err = self._run("rev-parse", "--verify", "-q", "--end-of-options", f"{commitish}^{{commit}}")
        if status == 0:
            return out.decode().strip()
        if err or commitish != "HEAD":
            raise RepositoryError(f"Git knows no commit {commitish!r} {f'({_line(err)})' if err else ''}".strip() + ".")
        tree = self._git("mktree").strip()
        with contextlib.suppress(OSError):
            blob = self._git("hash-object", "-w", "--stdin", data=(self._root / TRAIN).read_bytes()).strip()
            tree = self._graft(None, (self._prefix + TRAIN).split("/"), blob)
        return self._git("commit-tree", tree, data=b"The source tree as the run found it\n").strip()

    def read(self, commit: str, path: str = TRAIN) -> str:
        """A file of a commit as it is, less a byte order mark. Raises RepositoryError when it has none."""
        text = self._git("cat-file", "blob", f"{commit}:{self._prefix}{path}")
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:
            raise RepositoryError(f"{path} of commit {commit[:7]} is not UTF-8 text ({error}).") from error
        return text.removeprefix(BOM)

    def _has(self, commit: str, path: str) -> bool:
        return self._run("cat-file", "-e", f"{commit}:{self._prefix}{path}")[0] == 0

    def holds(self, commit: str, source: str) -> bool:
        """Whether the train.py of a commit is this one, line endings aside."""
        return self._has(commit, TRAIN) and _plain(self.read(commit)) == _plain(source)

    def commit(self, parent: str, source: str, message: str) -> str:
        """A commit whose tree is the parent's with train.py replaced. Only objects are written."""
        try:
            content = source.encode("utf-8")
        except UnicodeEncodeError as error:
            raise RepositoryError(
                f"This train.py cannot be written as UTF-8 ({error}). It was not committed."
            ) from error
        blob = self._git("hash-object", "-w", "--stdin", data=content).strip()
        tree = self._graft(f"{parent}^{{tree}}", (self._prefix + TRAIN).split("/"), blob)
        text = message.replace("\0", " ").encode("utf-8", "replace")  # git refuses both in a message
        return self._git("commit-tree", tree, "-p", parent, data=text).strip()

    def _graft(self, tree: str | None, parts: list[str], blob: str) -> str:
        """The tree with the file at `parts` replaced by the blob; its mode is kept, all else is the same object."""
        entries, old, mode = [], None, "100644"
        for entry in self._git("ls-tree", "-z", tree).split("\0") if tree else []:
            about, _, name = entry.partition("\t")
            if name == parts[0]:
                mode_now, kind, sha = about.split()
                old = sha if kind == "tree" else None
                mode = mode_now if mode_now == "100755" else mode
            elif entry:
                entries.append(entry)
        if len(parts) == 1:
            entries.append(f"{mode} blob {blob}\t{parts[0]}")
        else:
            entries.append(f"040000 tree {self._graft(old, parts[1:], blob)}\t{parts[0]}")
        # --missing: a partial clone need not fetch the other files to name them
        return self._git(
            "mktree",
            "-z",
            "--missing",
            data="".join(f"{entry}\0" for entry in entries).encode("utf-8", "surrogateescape"),
        ).strip()

    def merge(self, base: str, ours: str, theirs: str, scratch: Path) -> str | None:
        """Three-way merge of three texts; None when both changed the same lines. For a moment it needs files in `scratch`."""
        try:
            scratch.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=".merge-", dir=scratch, ignore_cleanup_errors=True) as folder:
                names = []
                for name, text in (("ours", ours), ("base", base), ("theirs", theirs)):
                    path = Path(folder) / name
                    path.write_bytes(text.encode("utf-8"))
                    names.append(str(path))
                status, out, _ = self._run("merge-file", "-p", *names)
        except OSError as error:
            raise RepositoryError(
                f"Two changes to train.py cannot be merged, since {scratch} cannot be written ({error.strerror}). Nothing was lost."
            ) from error
        return out.decode("utf-8") if status == 0 else None

    def diff(self, old: str, new: str) -> str:
        """The change to train.py between two commits, as a patch that `git apply` takes at the repository's top."""
        return self._git(
            "diff-tree", "-p", "--no-ext-diff", "--no-textconv", "--no-color", "--src-prefix=a/", "--dst-prefix=b/",
            old, new, "--", self._prefix + TRAIN,
        )  # fmt: skip

    def fsck(self) -> str:
        """What `git fsck` finds wrong; empty when all is well."""
        status, out, err = self._run("fsck", "--no-dangling", "--no-progress")
        lines = (out.decode("utf-8", "replace") + err).splitlines()
        text = "\n".join(
            line for line in lines if line and not line.startswith("notice:")
        )  # no commits yet is no fault
        return text or (f"git fsck failed with exit status {status}" if status else "")

    # -- refs -----------------------------------------------------------------------------------------------------

    def attempt_ref(self, run: str, name: str) -> str:
        """Where an attempted commit stays reachable. Raises RepositoryError for a name that is no run's."""
        return f"{OURS}/{_checked(run)}/{name}"

    def branch(self, run: str) -> str:
        """The run's branch, as its owner's record says.

        Without a record, as versions before left a run: with a dash where a branch called autoresearch is, or was, in the way.
        """
        if (owner := self.owner(run)) is not None:
            return owner.branch
        dashed = f"{BRANCHES}-{run}"
        return dashed if dashed in self._refs(dashed) else self._fresh_branch(run)

    def _fresh_branch(self, run: str) -> str:
        """The branch for a run that has none yet."""
        blocked = any(name.casefold() == BRANCHES for name in self._refs("refs/heads"))
        return f"{BRANCHES}{'-' if blocked else '/'}{run}"

    def owner(self, run: str) -> Owner | None:
        """Which run the refs of this name belong to; None where no record says."""
        if _checked(run) not in self._owners:
            status, out, _ = self._run("cat-file", "blob", f"{OWNERS}/{run}")
            try:
                found = json.loads(out) if status == 0 else {}
                self._owners[run] = Owner(str(found["id"]), _own(str(found["branch"])), str(found["folder"]))
            except (ValueError, KeyError, TypeError, RepositoryError):
                return None
        return self._owners[run]

    def taken(self, run: str, folder: Path | None = None) -> str:
        """Why git has no room for a new run of this name, as a clause; '' where it is free.

        Upper and lower case count as the same, as on file systems that do not tell them apart.

        Args:
            folder: where the logs of the new run will be. A run that was there before and has no journal any more does not
                keep the name: `claim` takes it over.
        """
        owner = self.owner(run)
        if owner is not None and (folder is None or owner.folder != str(folder)):
            return self._owned(run, owner)
        former = self.refs(run) if owner is not None else {}
        if owner is not None and (why := self._not_to_move(owner, former)):
            return why
        mine = (f"{OURS}/{run}", f"{OWNERS}/{run}", f"{BRANCHES}/{run}", f"{BRANCHES}-{run}", f"{TAGS}/{run}")
        for name in self._refs("refs/heads", TAGS, OURS):
            if name in former or (owner is not None and name == f"{OWNERS}/{run}"):
                continue
            if name.casefold().startswith(tuple(f"{ref}/" for ref in mine)) or name.casefold() in mine:
                return f"{name} is there already"
        return ""

    def _owned(self, run: str, owner: Owner) -> str:
        """The clause for a name of a run in another folder, with the commands that free it where that run is gone."""
        if journal.holds(Path(owner.folder)):
            return f"it is the name of the run in {owner.folder}"
        git = f"git -C {shlex.quote(str(self._store))}"
        name = owner.branch.removeprefix("refs/heads/")
        keep = (
            f"`{git} branch -m {name} before-{run}` renames its branch and " if owner.branch in self.refs(run) else ""
        )
        return (
            f"it is the name of a run whose logs were in {owner.folder}, where no journal is now. If that run is gone for good, "
            f"{keep}`{git} for-each-ref --format='delete %(refname)' {OURS}/{run} {OWNERS}/{run} | {git} update-ref --stdin` "
            f"frees the name"
        )

    def _not_to_move(self, owner: Owner, former: Mapping[str, str]) -> str:
        """Why the branch of a former run must stay where it is, as a clause; '' where it may go."""
        tip, name = former.get(owner.branch, ""), owner.branch.removeprefix("refs/heads/")
        attempts = {commit for ref, commit in former.items() if ref != owner.branch}
        todo = f"`git -C {shlex.quote(str(self._store))} branch -m {name} NEW` gives it another name"
        if owner.branch in self._checked_out():
            return f"the branch {name} of a former run is checked out in your work tree; {todo}"
        if tip and tip not in attempts:
            return f"the branch {name} points at {tip[:7]}, which no run made; {todo}"
        return ""

    def claim(self, run: str, owner: str, folder: Path, known: Collection[str] = ()) -> str:
        """Record that the refs of this name belong to the run with the id `owner`. Of several at once one gets it.

        Args:
            folder: where its logs are. A name that belongs to another run in this very folder is taken over: as the caller
                has the journal of the folder, that run has none any more.
            known: commits of a run that was begun by a version without such records; refs that point at one are its own.

        Returns what became of the refs of a run whose name was taken over, as a sentence; '' where there was none.
        Raises NameTaken where the name is another run's, or refs of that name are there that the run does not know.
        """
        found, said = self.owner(run), ""
        if found is None:
            found = self._record_owner(run, owner, folder, set(known))
        elif found.id != owner and found.folder == str(folder):
            said, found = self._take_over(run, owner, folder, found)
        elif found.id == owner and found.folder != str(folder) and not journal.holds(Path(found.folder)):
            found = self._record_anew(run, Owner(owner, found.branch, str(folder)))  # its logs were moved
        if found.id != owner:
            raise NameTaken(f"The name {run} is taken in git: {self._owned(run, found)}.")
        return said

    def _take_over(self, run: str, owner: str, folder: Path, before: Owner) -> tuple[str, Owner]:
        """Make a name another run's, in one step. The commits of the run that had it stay reachable."""
        if why := self.taken(run, folder):
            raise NameTaken(f"The name {run} is taken in git: {why}.")
        former = self.refs(run)
        branch = before.branch if before.branch in former else self._fresh_branch(run)
        moves = [f"update {_saved(name, commit)} {commit}" for name, commit in former.items()]
        moves += [f"delete {name} {commit}" for name, commit in former.items()]
        made = self._record_anew(run, Owner(owner, branch, str(folder)), moves, former)
        if not former:
            return "", made
        return (
            f"Git still had the commits of a former run {run}, whose journal is gone. They are kept below {SAVED}/{run} and "
            f"{SAVED}/{before.branch.removeprefix('refs/')}."
        ), made

    def _record_anew(self, run: str, made: Owner, moves: Sequence[str] = (), refs: Collection[str] = ()) -> Owner:
        """Replace the record of a name, together with moves of other refs: all of it or nothing."""
        record = f"{OWNERS}/{run}"
        old = self._git("rev-parse", "--verify", record).strip()
        blob = self._git("hash-object", "-w", "--stdin", data=json.dumps(asdict(made)).encode()).strip()
        steps = "".join(f"{step}\n" for step in (*moves, f"update {record} {blob} {old}"))
        self._update("update-ref", "--no-deref", "--stdin", ref=(*refs, record), data=steps.encode())
        self._owners[run] = made
        return made

    def unclaim(self, run: str, owner: str) -> None:
        """Give a name back that `claim` took for a run that never began. Another run's stays. Raises RepositoryError."""
        found = self.owner(run)
        if found is not None and found.id == owner:
            ref = f"{OWNERS}/{run}"
            self._update("update-ref", "--no-deref", "-d", ref, ref=ref)
            del self._owners[run]

    def _record_owner(self, run: str, owner: str, folder: Path, known: set[str]) -> Owner:
        """Write the record, unless another was faster: then that one's is returned."""
        refs = self._refs(f"{OURS}/{run}/", f"{BRANCHES}/{run}", f"{BRANCHES}-{run}")
        attempts = {commit for name, commit in refs.items() if name.startswith(OURS)}
        begun = bool(known) and (not attempts or not known.isdisjoint(attempts))
        for ref in self._refs(OURS):
            if ref in (OURS, OWNERS, SAVED):
                raise RepositoryError(
                    f"Git has a ref called {ref}, so no run can keep its commits below that name. Nothing was started. "
                    f"Give it another name: `git update-ref refs/heads/other {ref}`, then `git update-ref -d {ref}`."
                )
        if not begun and (why := self.taken(run)):
            raise NameTaken(f"The name {run} is taken in git: {why}.")
        own = [name for name, commit in refs.items() if not name.startswith(OURS) and commit in known]
        made = Owner(owner, own[0] if own else self._fresh_branch(run), str(folder))
        blob = self._git("hash-object", "-w", "--stdin", data=json.dumps(asdict(made)).encode()).strip()
        ref = f"{OWNERS}/{run}"
        try:
            self._update("update-ref", "--no-deref", ref, blob, "", ref=ref)
        except RepositoryError:
            if (other := self.owner(run)) is None:
                raise
            return other
        self._owners[run] = made
        return made

    def refs(self, run: str) -> dict[str, str]:
        """Every ref of a run, its branch included, with the commit it points at."""
        branch = self.branch(run)
        found = self._refs(f"{OURS}/{run}/", branch)
        return {name: sha for name, sha in found.items() if name == branch or name.startswith(f"{OURS}/{run}/")}

    def run_of(self, source: str) -> str:
        """The run that kept exactly this train.py, in the end or on the way; empty where none did. No other branch counts."""
        plain = _plain(source)
        same = {
            self._git("hash-object", "--stdin", data=text.encode("utf-8", "surrogatepass")).strip()
            for text in (plain, plain.replace("\n", "\r\n"))
        }
        for name, fit in self._refs(f"{OURS}/*/fit*").items():
            run = name.removeprefix(f"{OURS}/").partition("/")[0]
            if not RUN.fullmatch(run) or (tip := self.refs(run).get(self.branch(run), fit)) == fit:
                continue
            kept = self._git("rev-list", "--ancestry-path", f"{fit}..{tip}").split()
            files = "".join(f"{commit}:{self._prefix}{TRAIN}\n" for commit in kept)
            if same.intersection(self._git("cat-file", "--batch-check=%(objectname)", data=files.encode()).split()):
                return run
        return ""

    def _refs(self, *patterns: str) -> dict[str, str]:
        listing = self._git("for-each-ref", "--format=%(refname) %(objectname)", *patterns)
        return dict(line.split(" ", 1) for line in listing.splitlines())

    def set_ref(self, name: str, new: str, known: Collection[str] = ()) -> str:
        """Point a ref of our own at a commit, in one step. Returns why it was left alone, as a clause; '' when it points there.

        It is left alone where it points at a commit that is not `known`, since that is somebody else's work, and where it
        is a branch that the user has checked out somewhere, since moving it would change what their work tree is compared
        with. Commits that would become unreachable, by that or by the move, are kept under refs/autoresearch/_before.

        Raises RepositoryError, also where another writer was faster.
        """
        old = self._refs(_own(name)).get(name, "")
        if old == new:
            return ""
        why = ""
        if old and old not in known:
            why = f"points at {old[:7]}, which this run did not make"
        elif name.startswith("refs/heads/") and name in self._checked_out():
            why = "is checked out in your work tree"
        if why:
            if name.startswith(OURS):  # the commits of a branch have refs of their own beside it
                self._save(name, new, "")
            return why
        self._save(name, old, new)
        self._update("update-ref", "--no-deref", "--create-reflog", name, new, old, ref=name)
        return ""

    def _update(self, *command: str, ref: str | Sequence[str], data: bytes = b"") -> None:
        try:
            self._git(*command, data=data)
        except RepositoryError:
            refs = (ref,) if isinstance(ref, str) else ref
            if not self._unlock(*(self._store / f"{name}.lock" for name in refs)):
                raise
            self._git(*command, data=data)

    def _save(self, name: str, old: str, new: str) -> str | None:
        """Keep a commit reachable that `name` leaves or cannot have, unless `new` descends from it."""
        if not old or (new and self._run("merge-base", "--is-ancestor", old, new)[0] == 0):
            return None
        saved = _saved(name, old)
        self._update("update-ref", "--no-deref", saved, old, ref=saved)
        return saved

    def _checked_out(self) -> set[str]:
        listing = self._git("worktree", "list", "--porcelain")
        return {line.removeprefix("branch ") for line in listing.splitlines() if line.startswith("branch ")}

    @staticmethod
    def _unlock(*locks: Path) -> list[Path]:
        """Remove locks that nobody is using: those that stay the same for STALE_LOCK_S. No clock but our own is trusted."""
        before = {lock: _identity(lock) for lock in locks}
        present = [lock for lock, identity in before.items() if identity is not None]
        if present:
            time.sleep(STALE_LOCK_S)
        removed = []
        for lock in present:
            if _identity(lock) == before[lock]:
                with contextlib.suppress(OSError):
                    lock.unlink()
                    removed.append(lock)
        return removed

    def reconcile(self, run: str, wanted: Mapping[str, str], known: Collection[str] = ()) -> list[str]:
        """Make the refs of a run match the journal and clear stale locks; what was mended, in words.

        `known`: every commit that the run made. What the journal does not know is left as it is.
        """
        branch, words = self.branch(run), []
        locks = sorted((self._store / OURS / run).rglob("*.lock")) if (self._store / OURS / run).is_dir() else []
        for lock in self._unlock(*locks, self._store / f"{branch}.lock"):
            words.append(f"a lock that a crash left on {lock.name.removesuffix('.lock')} was removed")
        present = self.refs(run)
        for name, commit in wanted.items():
            if present.get(name) == commit:
                continue
            try:
                why = self.set_ref(name, commit, known)
            except RepositoryError as error:
                words.append(f"{name} could not be set: {error}")
                continue
            words.append(
                f"{name} {why} and was left where it is"
                if why
                else f"{name} now points at {commit[:7]}, as the journal says"
            )
        return words

    # -- home -----------------------------------------------------------------------------------------------------

    def apply_home(self, root: Path, base: str, best: str, message: str, patch: Path) -> Applied:
        """Put the best train.py on the user's checkout as a commit, or write a patch where that is not safe.

        Safe: no tracked file but program.md, by which one steers, is changed, and train.py is as it was in the run's base
        commit. Nothing else is touched.
        """
        path, source = root / TRAIN, self.read(best)
        try:
            now = path.read_bytes()
            current = _plain(now.decode("utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            return self._patch(self.diff(base, best), patch, True, f"Your {TRAIN} cannot be read ({error})")
        plain = _plain(source)
        if current == plain:
            return Applied(f"There is nothing to do: your {TRAIN} is the best one already.")
        origin = _plain(self.read(base)) if self._has(base, TRAIN) else ""
        merged = plain if current == origin else self.merge(origin, current, plain, patch.parent)
        text = self._between(current, merged) if merged is not None else self.diff(base, best)
        clash = merged is None
        if self._repo.bare or not self._repo.working_tree_dir:
            return self._patch(text, patch, clash, "This source tree is no git repository")
        changed = self._git("status", "--porcelain", "-z", "--untracked-files=no", env=self._tree()).split("\0")
        if any(line and line != f" M {self._prefix}{PROGRAM}" for line in changed):
            return self._patch(text, patch, clash, "Your checkout has changes of its own")
        if current != origin:
            return self._patch(text, patch, clash, f"Your {TRAIN} has moved on since the run began")
        fresh = plain.replace("\n", "\r\n") if b"\r\n" in now else plain  # the line endings the checkout has
        fresh = BOM + fresh if now.startswith(BOM.encode()) else fresh
        try:
            _replace(path, fresh.encode("utf-8"))
        except OSError as error:
            return self._patch(text, patch, clash, f"{path} cannot be written ({error.strerror})")
        try:
            self._git("commit", "-q", "--no-verify", "--no-edit", "--cleanup=verbatim", "-m", message, "--only", "--",
                      self._prefix + TRAIN, env=self._tree())  # fmt: skip
        except RepositoryError as error:
            _replace(path, now)
            return self._patch(text, patch, clash, f"Git would not take the commit ({error}) Your {TRAIN} is as it was")
        head = self.base()
        return Applied(
            f"Done: the best train.py is now commit {head[:7]} on your checkout. `git show {head[:7]}` shows it, "
            f"`git revert {head[:7]}` takes it back.",
            commit=head,
        )

    def _tree(self) -> dict[str, str]:
        return {"GIT_WORK_TREE": str(self._repo.working_tree_dir)}

    def _between(self, old: str, new: str) -> str:
        """A patch from one text of train.py to another, by way of two trees that no ref holds."""
        trees = []
        for text in (old, new):
            blob = self._git("hash-object", "-w", "--stdin", data=text.encode("utf-8")).strip()
            trees.append(self._graft(None, (self._prefix + TRAIN).split("/"), blob))
        return self.diff(*trees)

    def _patch(self, text: str, patch: Path, clash: bool, why: str) -> Applied:
        """`clash`: it changes lines that the user has changed too."""
        try:
            patch.parent.mkdir(parents=True, exist_ok=True)
            _replace(patch, text.encode("utf-8"))
        except OSError as error:
            raise RepositoryError(
                f"{why}, and {patch} cannot be written ({error.strerror}). Nothing was changed."
            ) from error
        quoted = shlex.quote(str(patch))
        how = f"`git apply {quoted}` applies it."
        if clash and self._repo.bare:
            how = f"It changes lines that you changed too: take what you want from {patch} by hand."
        elif clash:
            how = f"It changes lines that you changed too: commit your {TRAIN} if it is not, then `git apply --3way {quoted}` merges and marks them."
        return Applied(f"{why}, so nothing of yours was touched; a patch was written instead. {how}", patch=patch)


def syncs(folder: Path) -> bool:
    """Whether the file system of a folder has fsync. True where that cannot be found out."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            os.fsync(file.fileno())
    except OSError as error:
        return error.errno not in NO_FSYNC
    return True


def _identity(path: Path) -> tuple[int, int, int] | None:
    """What differs between a file and a later one of that name; None where there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size


def _replace(path: Path, content: bytes) -> None:
    """Write a file in one step, keeping its mode."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        draft.write_bytes(content)
        if path.exists():
            shutil.copymode(path, draft)
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def _plain(text: str) -> str:
    """Without what editors add to a text: a byte order mark, and carriage returns."""
    return text.removeprefix(BOM).replace("\r\n", "\n")


def _checked(run: str) -> str:
    if not RUN.fullmatch(run):
        raise RepositoryError(
            f"{run!r} is no name for a run; use small letters, digits and dashes. Nothing was changed."
        )
    return run


def _saved(ref: str, commit: str) -> str:
    """The ref that keeps a commit reachable which another ref leaves."""
    return f"{SAVED}/{ref.removeprefix('refs/').removeprefix('autoresearch/')}/{commit[:12]}"


def _own(ref: str) -> str:
    """Only refs of our own are ever written."""
    if not ref.startswith((f"{OURS}/", "refs/heads/autoresearch/", "refs/heads/autoresearch-")):
        raise RepositoryError(f"{ref} is not a ref of AutoResearch, so it was left alone.")
    return ref


def _line(text: str) -> str:
    return " ".join(text.split())
