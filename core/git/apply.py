"""The command `apply`: brings the incumbent's train.py into the user's checkout. No other module writes to the checkout."""

from __future__ import annotations

import os
import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path

from core.git.errors import RepositoryError
from core.git.repository import Repository
from core.git.source_tree import BYTE_ORDER_MARK, TRAIN, normalised
from core.machine.project import Project, UsageError
from core.record import journal
from core.record.fold import fold
from core.target import TARGET


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
    """

    path: Path
    text: str
    clash: bool
    bare: bool

    def write(self, why: str) -> Applied:
        """Write the patch and return how to use it. `why`: the reason against a commit, as a clause. Raises RepositoryError."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            _replace(self.path, self.text.encode("utf-8"))
        except OSError as error:
            raise RepositoryError(
                f"{why}, and {self.path} cannot be written ({error.strerror}). Nothing was changed."
            ) from error
        quoted = shlex.quote(str(self.path))
        how = f"`git apply {quoted}` applies it."
        if self.clash and self.bare:
            how = f"It changes lines that you changed too: take what you want from {self.path} by hand."
        elif self.clash:
            how = (
                f"It changes lines that you changed too. Commit your {TRAIN} if you have not, then run "
                f"`git apply --3way {quoted}`, which marks the conflicts."
            )
        return Applied(f"{why}, so your files were not changed; a patch was written instead. {how}", patch=self.path)


def apply_best(project: Project, folder: Path) -> str:
    """Commit the incumbent's train.py on the user's checkout, or write a patch. Returns what was done, as text.

    Raises:
        UsageError: The run has kept nothing.
        RepositoryError: Git failed, or the patch cannot be written.
    """
    state = fold(journal.read(folder / journal.NAME))
    if not state.kept or state.start_commit is None or state.config is None:
        raise UsageError(f"Run {folder.name} has kept nothing yet, so there is nothing to apply.")
    baseline, best = state.mean(state.start_commit.commit), state.mean(state.incumbent)
    scores = f"{TARGET.metric} {baseline:.6f} -> {best:.6f}" if baseline and best else "its best train.py"
    scores += " (a rehearsal: computed, not trained)" if state.config.computed else ""
    hypotheses = "\n".join(f"- {' '.join(state.experiments[n].hypothesis.split())}" for n in state.kept)
    message = f"The best of AutoResearch run {folder.name}: {scores}\n\n{hypotheses}"
    repo = Repository.open(project.root, project.logs / "repository")
    return apply_to_checkout(
        repo,
        project.root,
        state.start_commit.user_commit or state.config.base_commit,
        state.incumbent,
        message,
        folder / "best.patch",
    ).words


def apply_to_checkout(repo: Repository, root: Path, base: str, best: str, message: str, patch: Path) -> Applied:
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
    """
    path, source = root / TRAIN, repo.source(best)
    try:
        now = path.read_bytes()
        current = normalised(now.decode("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        whole = Patch(patch, repo.diff(base, best), clash=True, bare=repo.git.bare)
        return whole.write(f"Your {TRAIN} cannot be read ({error})")
    plain = normalised(source)
    if current == plain:
        return Applied(f"There is nothing to do: your {TRAIN} is the best one already.")
    origin = normalised(repo.source(base)) if repo.has_source(base) else ""
    merged = plain if current == origin else repo.merge(origin, current, plain, patch.parent)
    text = repo.diff_of_texts(current, merged) if merged is not None else repo.diff(base, best)
    instead = Patch(patch, text, clash=merged is None, bare=repo.git.bare)
    if why := _why_unsafe(repo, moved_on=current != origin):
        return instead.write(why)
    try:
        _replace(path, _as_in_checkout(plain, now).encode("utf-8"))
    except OSError as error:
        return instead.write(f"{path} cannot be written ({error.strerror})")
    try:
        repo.git.run("commit", "-q", "--no-verify", "--no-edit", "--cleanup=verbatim", "-m", message, "--only", "--",
                     repo.tree.train, env=_work_tree(repo))  # fmt: skip
    except RepositoryError as error:
        _replace(path, now)
        return instead.write(f"Git refused the commit ({error}) Your {TRAIN} was restored")
    head = repo.base()
    return Applied(
        f"Done: the best train.py is now commit {head[:7]} on your checkout. `git show {head[:7]}` shows it, "
        f"`git revert {head[:7]}` takes it back.",
        commit=head,
    )


def _why_unsafe(repo: Repository, *, moved_on: bool) -> str:
    """Return why no commit can be made on the user's checkout, as a clause, or '' if one can.

    `moved_on`: whether train.py has changed since the run began.
    """
    if not repo.git.work_tree:
        return "This source tree is no git repository"
    lines = repo.git.run("status", "--porcelain", "-z", "--untracked-files=no", env=_work_tree(repo)).split("\0")
    if any(line and line != f" M {repo.tree.program}" for line in lines):
        return "Your checkout has changes of its own"
    return f"Your {TRAIN} has moved on since the run began" if moved_on else ""


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
