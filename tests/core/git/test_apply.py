"""The best comes home: as a commit where that is safe, else as a patch that applies."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from core.git.apply import apply_to_checkout
from core.git.repository import Repository
from core.git.source_tree import TRAIN
from tests.core.git.checkouts import NEW, OLD, git, night, opened, snapshot


def test_the_best_becomes_a_commit_on_a_clean_checkout(checkout: Path, tmp_path: Path) -> None:
    repo = opened(checkout)
    base, _, kept = night(repo)
    (checkout / TRAIN).chmod(0o755)
    git(checkout, "commit", "-q", "-am", "something else happened meanwhile")
    (checkout / "untracked.txt").write_text("mine\n")
    head = git(checkout, "rev-parse", "HEAD")
    done = apply_to_checkout(
        repo, checkout, base, kept, "The best of nov24\n\n# not a comment", tmp_path / "best.patch"
    )
    assert done.commit == git(checkout, "rev-parse", "main") and done.commit[:7] in done.words
    assert (
        git(checkout, "log", "-1", "--format=%P %an %B") == f"{head} AutoResearch The best of nov24\n\n# not a comment"
    )
    assert (checkout / TRAIN).read_text() == NEW and os.stat(checkout / TRAIN).st_mode & stat.S_IXUSR
    assert git(checkout, "status", "--porcelain") == "?? untracked.txt"
    assert git(checkout, "show", "--stat", "--format=", "HEAD").startswith(TRAIN)
    assert "nothing to do" in apply_to_checkout(repo, checkout, base, kept, "again", tmp_path / "best.patch").words


def test_line_endings_of_the_checkout_are_kept(checkout: Path, tmp_path: Path) -> None:
    (checkout / TRAIN).write_bytes(OLD.replace("\n", "\r\n").encode())
    git(checkout, "commit", "-q", "-am", "windows")
    repo = opened(checkout)
    base, _, kept = night(repo)
    assert apply_to_checkout(repo, checkout, base, kept, "home", tmp_path / "p").commit
    assert (checkout / TRAIN).read_bytes() == NEW.replace("\n", "\r\n").encode()


@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("clash", [False, True])
def test_a_patch_fits_the_line_endings_of_the_checkout(checkout: Path, tmp_path: Path, clash: bool, mark: str) -> None:
    def written(source: str) -> bytes:
        return (mark + source).replace("\n", "\r\n").encode()

    (checkout / TRAIN).write_bytes(written(OLD))
    git(checkout, "commit", "-q", "-am", "windows")
    repo = opened(checkout)
    base, _, kept = night(repo)
    if clash:
        (checkout / TRAIN).write_bytes(written(OLD.replace("0.1", "0.3")))
        git(checkout, "commit", "-q", "-am", "mine")
    else:
        (checkout / "README.md").write_text("changed\n")
    patch = tmp_path / "best.patch"
    assert apply_to_checkout(repo, checkout, base, kept, "home", patch).patch == patch
    if clash:
        subprocess.run(["git", "apply", "--3way", str(patch)], cwd=checkout, capture_output=True)
        assert (checkout / TRAIN).read_bytes().count(b"<<<<<<<") == 1 and git(checkout, "ls-files", "-u").count(
            TRAIN
        ) == 3
    else:
        git(checkout, "apply", str(patch))
        assert (checkout / TRAIN).read_bytes() == written(NEW)


@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_a_byte_order_mark_stays_in_the_checkout_and_out_of_the_text(tree: Path, ends: str) -> None:
    mark = "\ufeff".encode()
    (tree / TRAIN).write_bytes(mark + OLD.replace("\n", ends).encode())
    git(tree, "init", "-q", "-b", "main")
    git(tree, "add", ".")
    git(tree, "commit", "-q", "-m", "first")
    repo = opened(tree)
    base, _, kept = night(repo)
    assert repo.source(base) == OLD.replace("\n", ends) and repo.holds(base, OLD)
    applied = apply_to_checkout(repo, tree, base, kept, "The best.", tree.parent / "best.patch")
    assert applied.commit is not None, applied.words
    assert (tree / TRAIN).read_bytes() == mark + NEW.replace("\n", ends).encode()


@pytest.mark.parametrize("case", ["dirty elsewhere", "staged", "dirty train.py", "moved on", "index locked"])
def test_where_a_commit_is_not_safe_a_patch_is_written_and_nothing_else_changes(
    checkout: Path, tmp_path: Path, case: str
) -> None:
    repo = opened(checkout)
    base, _, kept = night(repo)
    own = OLD + "\n\n# a thought of my own\n"
    if case == "dirty elsewhere":
        (checkout / "README.md").write_text("changed\n")
    elif case == "staged":
        (checkout / "new.txt").write_text("new\n")
        git(checkout, "add", "new.txt")
    elif case == "dirty train.py":
        (checkout / TRAIN).write_text(own)
    elif case == "moved on":
        (checkout / TRAIN).write_text(own)
        git(checkout, "commit", "-q", "-am", "a thought")
    else:
        (checkout / ".git" / "index.lock").touch()
    before, head = snapshot(checkout), git(checkout, "rev-parse", "HEAD")
    patch = tmp_path / "logs" / "nov24" / "best.patch"
    done = apply_to_checkout(repo, checkout, base, kept, "home", patch)
    assert done.commit is None and done.patch == patch and str(patch) in done.words
    assert snapshot(checkout) == before and git(checkout, "rev-parse", "HEAD") == head
    (checkout / ".git" / "index.lock").unlink(missing_ok=True)
    git(checkout, "apply", str(patch))
    assert (checkout / TRAIN).read_text() == (own.replace("0.1", "0.2") if "train" in case or "moved" in case else NEW)


@pytest.mark.parametrize("case", ["dirty", "committed", "no repository"])
def test_where_both_changed_the_same_lines_the_patch_merges_as_described(
    checkout: Path, tmp_path: Path, case: str
) -> None:
    if case == "no repository":
        shutil.rmtree(checkout / ".git")
    repo = Repository.open(checkout, tmp_path / "private")
    base = repo.base()
    kept = repo.commit(base, NEW, "kept")
    (checkout / TRAIN).write_text(OLD.replace("0.1", "0.3"))
    if case == "committed":
        git(checkout, "commit", "-q", "-am", "mine")
    patch = tmp_path / "best.patch"
    words = apply_to_checkout(repo, checkout, base, kept, "home", patch).words
    assert "lines that you changed too" in words
    assert (checkout / TRAIN).read_text() == OLD.replace("0.1", "0.3")
    if case == "no repository":
        assert "by hand" in words and "git apply" not in words
        return
    assert f"Commit your {TRAIN}" in words and f"git apply --3way {patch}" in words
    if case == "dirty":
        git(checkout, "commit", "-q", "-am", "mine")
    subprocess.run(["git", "apply", "--3way", str(patch)], cwd=checkout, capture_output=True)
    text = (checkout / TRAIN).read_text()
    assert "<<<<<<<" in text and "0.2" in text and "0.3" in text


@pytest.mark.parametrize("committed", [False, True])
def test_a_train_py_with_the_whole_change_and_more_needs_no_patch(
    checkout: Path, tmp_path: Path, committed: bool
) -> None:
    repo = opened(checkout)
    base, _, kept = night(repo)
    (checkout / TRAIN).write_text(NEW + "\n\n# a thought of my own\n")
    if committed:
        git(checkout, "commit", "-q", "-am", "by hand")
    before = snapshot(checkout)
    patch = tmp_path / "logs" / "nov24" / "best.patch"
    for dry_run in (True, False):
        done = apply_to_checkout(repo, checkout, base, kept, "home", patch, dry_run=dry_run)
        assert done.words.startswith(f"Your {TRAIN} already contains") and "git apply" not in done.words
        assert done.patch is None and done.commit is None and not patch.exists() and snapshot(checkout) == before


def test_an_empty_patch_is_never_written(checkout: Path, tmp_path: Path) -> None:
    """The best has the text that the run began with, and the user's own cannot be read."""
    repo = opened(checkout)
    base = repo.base()
    kept = repo.commit(repo.commit(base, NEW, "Start of the run"), OLD, "and back")
    (checkout / TRAIN).write_bytes(b"\xff\xfe\0")
    done = apply_to_checkout(repo, checkout, base, kept, "home", tmp_path / "best.patch")
    assert "cannot be read" in done.words and "nothing to apply" in done.words and "git apply" not in done.words
    assert done.patch is None and not (tmp_path / "best.patch").exists()


def objects(checkout: Path) -> set[Path]:
    return set((checkout / ".git" / "objects").rglob("*"))


@pytest.mark.parametrize("case", ["clean", "dirty", "clash", "unreadable"])
def test_a_dry_run_shows_what_would_happen_and_changes_nothing(checkout: Path, tmp_path: Path, case: str) -> None:
    git(checkout, "config", "user.name", "Grace")
    git(checkout, "config", "user.email", "grace@example.org")
    repo = opened(checkout)
    base, _, kept = night(repo)
    own = {"dirty": OLD + "\n\n# mine\n", "clash": OLD.replace("0.1", "0.3"), "clean": OLD, "unreadable": OLD}[case]
    (checkout / TRAIN).write_bytes(own.encode() if case != "unreadable" else b"\xff")
    before, written, head = snapshot(checkout), objects(checkout), git(checkout, "rev-parse", "HEAD")
    patch = tmp_path / "best.patch"
    done = apply_to_checkout(repo, checkout, base, kept, "Half the loss\n\n- LR", patch, dry_run=True)
    assert done.patch is None and done.commit is None and not patch.exists()
    assert snapshot(checkout) == before and objects(checkout) == written and git(checkout, "rev-parse", "HEAD") == head
    assert "-LR = 0.1" in done.words and "+LR = 0.2" in done.words and "nothing was changed" in done.words
    if case == "clean":
        assert "by Grace <grace@example.org>" in done.words and "    Half the loss\n\n    - LR" in done.words
        assert apply_to_checkout(repo, checkout, base, kept, "home", patch).commit is not None
    else:
        assert f"a patch would be written to {patch}" in done.words
        assert ("--3way" in done.words) == (case != "dirty")
        assert apply_to_checkout(repo, checkout, base, kept, "home", patch).patch == patch


@pytest.mark.parametrize("case", ["configured", "environment", "one of two", "nothing", "EMAIL"])
def test_the_commit_has_the_identity_of_the_user(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    product, user, author = "AutoResearch <autoresearch@localhost>", "Zoë <zoe@example.org>", "Kim <kim@example.org>"
    if case != "nothing":
        git(checkout, "config", "user.name", "Zoë")
    if case in ("configured", "environment"):
        git(checkout, "config", "user.email", "zoe@example.org")
    if case == "environment":
        monkeypatch.setenv("GIT_AUTHOR_NAME", "Kim")
        monkeypatch.setenv("GIT_AUTHOR_EMAIL", "kim@example.org")
    if case == "EMAIL":
        monkeypatch.setenv("EMAIL", "zoe@example.org")
    repo = opened(checkout)
    base, _, kept = night(repo)
    assert apply_to_checkout(repo, checkout, base, kept, "home", tmp_path / "p").commit
    expected = {"environment": (author, user), "nothing": (product, product), "one of two": (product, product)}
    who = tuple(git(checkout, "log", "-1", "--format=%an <%ae>%n%cn <%ce>").splitlines())
    assert who == expected.get(case, (user, user))
    assert git(checkout, "log", "-1", "--format=%an <%ae>", kept) == product, "commits of a run are the product's"


@pytest.mark.parametrize("case", ["commit", "patch", "dry patch"])
def test_changes_outside_the_comparison_are_named(checkout: Path, tmp_path: Path, case: str) -> None:
    repo = opened(checkout)
    base, _, kept = night(repo)
    if case != "commit":
        (checkout / "README.md").write_text("mine\n")
        git(checkout, "add", "README.md")
    note, patch = "It contains DEPTH 2 -> 1.", tmp_path / "best.patch"
    done = apply_to_checkout(repo, checkout, base, kept, "home", patch, note=note, dry_run=case == "dry patch")
    assert note in done.words and (done.commit is not None) == (case == "commit")
    assert note not in apply_to_checkout(repo, checkout, kept, kept, "home", patch).words
