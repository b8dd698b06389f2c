"""The command `apply`: brings the incumbent's train.py into the user's checkout. No other module writes to the checkout."""

from __future__ import annotations

import os
import shlex
import shutil
import textwrap
from dataclasses import dataclass
from pathlib import Path

from core.change import edits
from core.git.errors import RepositoryError
from core.git.repository import Repository
from core.git.source_tree import TRAIN
from core.judging import schedule
from core.machine.project import Project, UsageError
from core.record import journal
from core.record.fold import fold
from core.record.state import State
from core.reporting import phrases
from core.reporting.commit_message import commit_message
from core.text import BYTE_ORDER_MARK, normalised, sanitize_text


@dataclass(frozen=True)
class Applied:
    """The result of `apply`: a commit on the user's branch, or a patch file."""

    words: str
    commit: str | None = None
    patch: Path | None = None


@dataclass(frozen=True)
class Patch:
    """A patch that is written if a commit would not be safe.

    Attributes:
        path: The file to write.
        text: The patch, for `git apply`.
        clash: Whether it changes lines that the user has changed too.
        bare: Whether the repository is bare, so that git cannot merge the changes.
        dry_run: Whether the patch is only described, not written.
        note: A sentence about the change; "" for none.
    """

    path: Path
    text: str
    clash: bool
    bare: bool
    dry_run: bool
    note: str = ""

    def write(self, why: str) -> Applied:
        """Write the patch and return how to use it. An empty patch is not written, since git refuses it.

        Args:
            why: The reason against a commit, as a clause.

        Raises:
            RepositoryError: The patch cannot be written.
        """
        if not self.text:
            return Applied(
                f"{why}, and the best {TRAIN} is the one that the run began with. There is nothing to apply."
            )
        if self.dry_run:
            return Applied(
                f"{why}, so your files would not be changed; a patch would be written to {self.path}. {self._how}\n\n"
                f"{_preview(self.text)}"
            )
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            _replace(self.path, self.text.encode("utf-8"))
        except OSError as error:
            raise RepositoryError(
                f"{why}, and {self.path} cannot be written ({error.strerror}). Nothing was changed."
            ) from error
        return Applied(
            f"{why}, so your files were not changed; a patch was written instead. {self._how}", patch=self.path
        )

    @property
    def _how(self) -> str:
        """How to use the patch and what to know of it, as sentences."""
        return " ".join(filter(None, (self._usage, self.note)))

    @property
    def _usage(self) -> str:
        """How to use the patch, as a sentence."""
        quoted = shlex.quote(str(self.path))
        if self.clash and self.bare:
            return f"It changes lines that you changed too: take what you want from {self.path} by hand."
        if self.clash:
            return (
                f"It changes lines that you changed too. Commit your {TRAIN} if you have not, then run "
                f"`git apply --3way {quoted}`, which marks the conflicts."
            )
        return f"`git apply {quoted}` applies it."


def apply_best(project: Project, folder: Path, *, dry_run: bool = False) -> str:
    """Commit the incumbent's train.py on the user's checkout, or write a patch.

    Args:
        project: The source tree.
        folder: The folder of the run.
        dry_run: Change nothing, and return what would be done.

    Returns:
        What was done, as text.

    Raises:
        UsageError: The run has kept nothing.
        RepositoryError: Git failed, or the patch cannot be written.
    """
    state = fold(journal.read(folder / journal.NAME), State(name=folder.name))
    if not state.kept or state.start_commit is None or state.config is None:
        raise UsageError(f"Run {folder.name} has kept nothing yet, so there is nothing to apply.")
    repo = Repository.open(project.root, project.logs / "repository")
    moved = phrases.set_for_machine(state)
    return apply_to_checkout(
        repo,
        project.root,
        state.start_commit.user_commit or state.config.base_commit,
        state.incumbent,
        commit_message(state, schedule.noise(state)),
        folder / "best.patch",
        note=f"It contains {moved}, {phrases.NOT_COMPARED}." if moved else "",
        dry_run=dry_run,
    ).words


def apply_to_checkout(
    repo: Repository,
    root: Path,
    base: str,
    best: str,
    message: str,
    patch: Path,
    *,
    note: str = "",
    dry_run: bool = False,
) -> Applied:
    """Commit a train.py on the user's checkout, or write a patch if that is not safe.

    It is safe if no tracked file except program.md has changes, and train.py is the same as in the base commit. Nothing else
    is changed.

    Args:
        repo: The repository of the source tree.
        root: The source tree.
        base: The commit that the run began at.
        best: The commit with the train.py to apply.
        message: The message of the commit.
        patch: Where to write the patch.
        note: A sentence about the change that the message has too; "" for none.
        dry_run: Change nothing, and return what would be done.
    """
    path, source = root / TRAIN, repo.source(best)
    try:
        now = path.read_bytes()
        current = normalised(now.decode("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        whole = Patch(patch, repo.diff(base, best), clash=True, bare=repo.git.bare, dry_run=dry_run, note=note)
        return whole.write(f"Your {TRAIN} cannot be read ({error})")
    plain = normalised(source)
    if current == plain:
        return Applied(f"There is nothing to do: your {TRAIN} is the best one already.")
    origin = normalised(repo.source(base)) if repo.has_source(base) else ""
    merged = plain if current == origin else repo.merge(origin, current, plain, patch.parent)
    if merged == current:
        return Applied(f"Your {TRAIN} already contains all changes of the best one, so there is nothing to do.")
    old, new = (origin, plain) if merged is None else (current, merged)
    if dry_run:  # git would write objects for its diff
        text = edits.unified(old, new)
    else:
        text = repo.diff_of_texts(_as_in_checkout(old, now), _as_in_checkout(new, now))
    instead = Patch(patch, text, clash=merged is None, bare=repo.git.bare, dry_run=dry_run, note=note)
    if why := _why_unsafe(repo, moved_on=current != origin):
        return instead.write(why)
    if dry_run:
        who = repo.git.user_identity()
        return Applied(
            f"The best train.py would be committed on your checkout, by {who['GIT_AUTHOR_NAME']} <{who['GIT_AUTHOR_EMAIL']}>, with "
            f"this message:\n\n{textwrap.indent(message, '    ')}\n\n{_preview(text)}"
        )
    return _commit(repo, path, now, plain, message, instead)


def _preview(text: str) -> str:
    """Return a patch as the end of what a dry run prints."""
    return f"{sanitize_text(text)}\nThis was a dry run: nothing was changed."


def _commit(repo: Repository, path: Path, now: bytes, best: str, message: str, instead: Patch) -> Applied:
    """Write a train.py into the user's checkout and commit it with the user's identity. If that fails, write the patch.

    Args:
        repo: The repository of the source tree.
        path: The train.py of the checkout.
        now: Its content.
        best: The new text.
        message: The message of the commit.
        instead: The patch.
    """
    try:
        _replace(path, _as_in_checkout(best, now).encode("utf-8"))
    except OSError as error:
        return instead.write(f"{path} cannot be written ({error.strerror})")
    try:
        repo.git.run("commit", "-q", "--no-verify", "--no-edit", "--cleanup=verbatim", "-F", "-", "--only", "--", repo.tree.train,
                     data=f"{message}\n".encode(), env={**_work_tree(repo), **repo.git.user_identity()})  # fmt: skip
    except RepositoryError as error:
        _replace(path, now)
        return instead.write(f"Git refused the commit ({error}) Your {TRAIN} was restored")
    head = repo.base()
    return Applied(
        f"Done: the best train.py is now commit {head[:7]} on your checkout. `git show {head[:7]}` shows it, "
        f"`git revert {head[:7]}` takes it back.{f' {instead.note}' if instead.note else ''}",
        commit=head,
    )


def _why_unsafe(repo: Repository, *, moved_on: bool) -> str:
    """Return why no commit can be made on the user's checkout, as a clause, or '' if one can.

    `moved_on`: whether train.py has changed since the run began.
    """
    if not repo.git.work_tree:
        return "This source tree is not a git repository"
    lines = repo.git.run("status", "--porcelain", "-z", "--untracked-files=no", env=_work_tree(repo)).split("\0")
    if any(line and line != f" M {repo.tree.program}" for line in lines):
        return "Your checkout has changes of its own"
    return f"Your {TRAIN} has changed since the run began" if moved_on else ""


def _work_tree(repo: Repository) -> dict[str, str]:
    """Return the environment variables with which git works on the user's checkout."""
    return {"GIT_WORK_TREE": repo.git.work_tree}


def _as_in_checkout(source: str, now: bytes) -> str:
    """Return a train.py with the line endings and the byte order mark of the one in the checkout."""
    text = source.replace("\n", "\r\n") if b"\r\n" in now else source
    return BYTE_ORDER_MARK + text if now.startswith(BYTE_ORDER_MARK.encode()) else text


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
