"""Git as a store: whatever state the user's repository is in, it is exactly as it was afterwards."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from core.git.apply import apply_to_checkout
from core.git.errors import RepositoryError
from core.git.namespace import run_ref
from core.git.repository import Repository
from core.git.source_tree import TRAIN
from tests.core.git.checkouts import NEW, OLD, git, night, opened, snapshot


def test_a_night_leaves_the_checkout_byte_for_byte_as_it_was(checkout: Path) -> None:
    (checkout / "README.md").write_text("changed, not staged\n")
    (checkout / "staged.txt").write_text("staged\n")
    git(checkout, "add", "staged.txt")
    (checkout / "untracked.txt").write_text("mine\n")
    status = git(checkout, "status", "--porcelain=v2", "--branch")
    before = snapshot(checkout)
    repo = opened(checkout)
    base, fit, kept = night(repo)
    assert snapshot(checkout) == before
    assert git(checkout, "status", "--porcelain=v2", "--branch") == status
    assert base == git(checkout, "rev-parse", "HEAD")
    assert git(checkout, "log", "--format=%H", "autoresearch/nov24").split() == [kept, fit, base]
    assert repo.fsck() == ""


def test_a_commit_changes_train_py_alone_and_is_signed_by_autoresearch(checkout: Path) -> None:
    (checkout / TRAIN).chmod(0o755)
    git(checkout, "commit", "-q", "-am", "executable")
    repo = opened(checkout)
    commit = repo.commit(repo.base(), NEW, "Twice the rate\n\nval_bpb 1.6 -> 1.5\0 and a \udcff")
    assert repo.source(commit) == NEW
    assert git(checkout, "diff", "--name-only", "HEAD", commit) == TRAIN
    assert git(checkout, "ls-tree", commit, TRAIN).startswith("100755")
    assert "odd" in git(checkout, "show", f"{commit}:odd näme\tx.txt")
    who = git(checkout, "show", "-s", "--format=%an <%ae> %cn <%ce>%n%B", commit)
    assert who.startswith("AutoResearch <autoresearch@localhost> AutoResearch <autoresearch@localhost>\nTwice the rate")
    assert "+LR = 0.2" in repo.diff(repo.base(), commit)


def test_text_is_kept_exactly(checkout: Path) -> None:
    repo = opened(checkout)
    for text in ("x = 1", "x = 'ä€'\r\ny = 2\r\n", "\n\n\nx = 1\n\n\n", ""):
        assert repo.source(repo.commit(repo.base(), text, "m")) == text
    with pytest.raises(RepositoryError, match="UTF-8"):
        repo.commit(repo.base(), "x = '\udcff'", "m")


def test_hooks_and_signing_of_the_user_are_neither_run_nor_used(checkout: Path, tmp_path: Path) -> None:
    proof = tmp_path / "ran"
    hooks = tmp_path / "hooks"
    hooks.mkdir()
    for name in (
        "pre-commit",
        "commit-msg",
        "post-commit",
        "reference-transaction",
        "post-checkout",
        "prepare-commit-msg",
    ):
        for folder in (hooks, checkout / ".git" / "hooks"):
            (folder / name).write_text(f"#!/bin/sh\ntouch '{proof}'\nexit 1\n")
            (folder / name).chmod(0o755)
    for key, value in (
        ("core.hooksPath", str(hooks)), ("commit.gpgsign", "true"), ("gpg.program", "/bin/false"), ("tag.gpgsign", "true"),
        ("core.autocrlf", "true"), ("i18n.commitEncoding", "latin1"), ("diff.noprefix", "true"), ("color.ui", "always"),
    ):  # fmt: skip
        git(checkout, "config", key, value)
    before = snapshot(checkout)
    repo = opened(checkout)
    _, fit, kept = night(repo)
    repo.refs.reconcile("nov24", {repo.refs.branch("nov24"): kept})
    assert not proof.exists()
    assert snapshot(checkout) == before
    assert repo.diff(fit, kept).startswith(f"diff --git a/{TRAIN} b/{TRAIN}")
    done = apply_to_checkout(repo, checkout, repo.base(), kept, "home", tmp_path / "best.patch")
    assert done.commit is not None and not proof.exists()


def test_without_a_repository_a_private_one_serves(tree: Path) -> None:
    before = snapshot(tree)
    repo = opened(tree)
    base, _, kept = night(repo)
    assert repo.source(base) == OLD
    again = opened(tree)
    assert again.source(kept) == NEW and again.refs.commits("nov24") == repo.refs.commits("nov24")
    assert snapshot(tree) == before and not (tree / ".git").exists()
    assert again.fsck() == ""
    patch = tree.parent / "logs" / "nov24" / "best.patch"
    done = apply_to_checkout(again, tree, base, kept, "home", patch)
    assert done.commit is None and "not a git repository" in done.words
    subprocess.run(["git", "apply", str(patch)], cwd=tree, check=True)
    assert (tree / TRAIN).read_text() == NEW


def test_a_repository_that_only_lies_around_the_tree_is_not_used(tree: Path) -> None:
    around = tree.parent
    git(around, "init", "-q")
    (around / ".gitignore").write_text("*\n")
    git(around, "add", "-f", ".gitignore")
    git(around, "commit", "-q", "-m", "dotfiles")
    night(opened(tree))
    assert git(around, "for-each-ref", "--format=%(refname)") in ("refs/heads/master", "refs/heads/main")


def test_a_tree_inside_a_larger_repository_changes_only_its_own_train_py(tree: Path) -> None:
    top = tree.parent / "mono"
    top.mkdir()
    tree.rename(top / "project")
    git(top, "init", "-q")
    (top / "other.txt").write_text("other\n")
    git(top, "add", ".")
    git(top, "commit", "-q", "-m", "first")
    repo = Repository.open(top / "project", top / "logs")
    base, _, kept = night(repo)
    assert git(top, "diff", "--name-only", base, kept) == f"project/{TRAIN}"
    done = apply_to_checkout(repo, top / "project", base, kept, "home", top / "best.patch")
    assert done.commit == git(top, "rev-parse", "HEAD")
    assert (top / "project" / TRAIN).read_text() == NEW and git(top, "status", "--porcelain", "-uno") == ""


def test_a_repository_without_commits_serves(tree: Path) -> None:
    git(tree, "init", "-q")
    before = snapshot(tree)
    repo = opened(tree)
    base, _, _ = night(repo)
    assert repo.source(base) == OLD
    assert snapshot(tree) == before and repo.fsck() == ""


def test_a_detached_head_a_linked_work_tree_and_a_shallow_clone_serve(checkout: Path, tmp_path: Path) -> None:
    git(checkout, "commit", "-q", "--allow-empty", "-m", "second")
    git(checkout, "worktree", "add", "-q", "--detach", str(tmp_path / "linked"))
    shallow = tmp_path / "shallow"
    git(tmp_path, "clone", "-q", "--depth", "1", checkout.as_uri(), str(shallow))
    git(shallow, "checkout", "-q", "--detach")
    for number, where in enumerate((tmp_path / "linked", shallow)):
        before = snapshot(where)
        repo = opened(where)
        _, _, kept = night(repo, f"run-{number}")
        after = {name: content for name, content in snapshot(where).items() if ".git/logs" not in name}
        assert after == {name: content for name, content in before.items() if ".git/logs" not in name}
        assert git(where, "rev-parse", f"autoresearch/run-{number}") == kept
        assert git(where, "rev-parse", "--abbrev-ref", "HEAD") == "HEAD"
        assert repo.fsck() == ""
    assert "run-0" in git(checkout, "branch", "--list", "autoresearch/run-0")  # a linked work tree shares the refs


def test_a_bare_repository_serves(checkout: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare.git"
    git(tmp_path, "clone", "-q", "--bare", str(checkout), str(bare))
    repo = Repository.open(bare, tmp_path / "private")
    base, _, kept = night(repo)
    assert git(bare, "rev-parse", "autoresearch/nov24") == kept and base == git(bare, "rev-parse", "main")
    assert not (tmp_path / "private").exists()


# All that paths may have in them, in few names.
ODD = [
    b"$HOME",
    b"`x` $(touch x) 100%d #1 {x}[a]*?!;&~\\ 'b' \"c\"",
    b"-n\xff two\nlines: na\xefve",
    " ein Übermaß 日本".encode(),
]


@pytest.mark.parametrize("kind", ["repository", "below its top", "linked work tree", "none"])
@pytest.mark.parametrize("name", ODD)
def test_a_folder_may_have_any_name(tmp_path: Path, name: bytes, kind: str) -> None:
    top = tmp_path / os.fsdecode(name)
    root = top / "sub" if kind == "below its top" else top
    (root / "nanochat").mkdir(parents=True)
    (root / TRAIN).write_text(OLD)
    if kind != "none":
        git(top, "init", "-q", "-b", "main")
        git(top, "add", ".")
        git(top, "commit", "-q", "-m", "first")
    if kind == "linked work tree":
        root = tmp_path / os.fsdecode(b"linked " + name)
        subprocess.run(["git", "worktree", "add", "-q", "--detach", "--", str(root)], cwd=top, check=True)
    repo = Repository.open(root, root / "logs" / "repository")
    (root / "logs").mkdir(exist_ok=True)
    assert (root / "logs" / "repository").exists() is (kind == "none")
    _, fit, kept = night(repo)
    assert repo.source(kept) == NEW and repo.run_that_kept(NEW) == "nov24" and repo.fsck() == ""
    assert repo.merge(OLD, NEW, OLD, root / "logs") == NEW and "+LR = 0.2" in repo.diff(fit, kept)
    applied = apply_to_checkout(repo, root, fit, kept, "The best.", root / "logs" / "best.patch")
    if kind == "none":
        assert applied.patch is not None and applied.patch.exists()
    else:
        assert applied.commit is not None, applied.words
        assert (root / TRAIN).read_text() == NEW


def test_a_broken_repository_is_reported_and_no_private_one_takes_its_place(tree: Path) -> None:
    for content in (None, "gitdir: /nowhere\n", "nonsense"):
        shutil.rmtree(tree / ".git", ignore_errors=True)
        (tree / ".git").unlink(missing_ok=True)
        if content is None:
            (tree / ".git").mkdir()
        else:
            (tree / ".git").write_text(content)
        with pytest.raises(RepositoryError, match=r"Nothing was"):
            opened(tree)
        assert not (tree.parent / "logs").exists()


def test_a_machine_without_git_gets_a_sentence(tree: Path) -> None:
    """In a process of its own: GitPython itself fails to import where git is missing."""
    code = (
        "from pathlib import Path; from core.git.errors import RepositoryError; from core.git.repository import Repository\n"
        "try: Repository.open(Path('.'), Path('x'))\nexcept RepositoryError as error: print(error)"
    )
    env = {**os.environ, "PATH": str(tree), "PYTHONPATH": str(Path(__file__).resolve().parents[3])}
    done = subprocess.run([sys.executable, "-c", code], cwd=tree, env=env, capture_output=True, text=True, check=True)
    assert done.stdout == "git is not installed. Nothing was started. Install git and try again.\n"


def test_a_commit_that_is_not_there_is_named(checkout: Path) -> None:
    repo = opened(checkout)
    with pytest.raises(RepositoryError, match="git cat-file failed"):
        repo.source("0" * 40)


def test_a_merge_needs_no_temporary_folder_but_its_own(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It needs no folder for temporary files, and makes the one that it is given."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "gone"))
    repo, scratch = opened(checkout), tmp_path / "made"
    lines = "".join(f"x{n} = {n}\n" for n in range(9))
    assert repo.merge(
        lines, lines.replace("x1 = 1", "x1 = 7"), lines.replace("x7 = 7", "x7 = 0"), scratch
    ) == lines.replace("x1 = 1", "x1 = 7").replace("x7 = 7", "x7 = 0")
    assert repo.merge(lines, lines.replace("x1 = 1", "x1 = 7"), lines.replace("x1 = 1", "x1 = 8"), scratch) is None
    assert list(scratch.iterdir()) == []


def test_changes_of_neighbouring_constants_are_merged(checkout: Path, tmp_path: Path) -> None:
    repo, lines = opened(checkout), "DEPTH = 2\nWIDTH = 128\nLR = 0.1\n"
    deeper, wider = lines.replace("= 2", "= 3"), lines.replace("128", "192")
    assert repo.merge(lines, deeper, wider, tmp_path) == "DEPTH = 3\nWIDTH = 192\nLR = 0.1\n"
    both = wider.replace("= 2", "= 4")
    assert repo.merge(lines, deeper, both, tmp_path) is None
    marked = repo.merge_marked(lines, deeper, both, tmp_path)
    assert marked.count("WIDTH = 192") == 1 and "DEPTH = 3" in marked and "DEPTH = 4" in marked


def test_the_run_that_kept_a_train_py_is_found(checkout: Path, tmp_path: Path) -> None:
    repo = Repository.open(checkout, tmp_path / "private")
    start = repo.commit(repo.base(), OLD, "start")
    repo.refs.point(run_ref("night", "fit"), start)
    repo.refs.point(repo.refs.branch("night"), start)
    assert repo.run_that_kept(OLD) == "", "a start is not kept"
    for source in (NEW, NEW + "# last\n"):  # an earlier one counts as well
        start = repo.commit(start, source, "kept")
        repo.refs.point(repo.refs.branch("night"), start, list(repo.refs.commits("night").values()))
        assert repo.run_that_kept(NEW) == repo.run_that_kept(NEW.replace("\n", "\r\n")) == "night"
    assert repo.run_that_kept(OLD) == repo.run_that_kept(NEW + "# more\n") == ""


@pytest.mark.parametrize("branch", ["autoresearch/mar5", "autoresearch-mine", "autoresearch"])
def test_a_branch_of_the_user_is_not_taken_for_a_run(checkout: Path, tmp_path: Path, branch: str) -> None:
    (checkout / TRAIN).write_bytes(b"# caf\xe9, in latin-1\n")
    git(checkout, "checkout", "-q", "-b", branch)
    git(checkout, "commit", "-q", "-am", "mine")
    (checkout / TRAIN).write_text(NEW)
    git(checkout, "commit", "-q", "-am", "mine too")
    repo = Repository.open(checkout, tmp_path / "private")
    assert repo.run_that_kept(NEW) == ""
    start = repo.commit(repo.base(), OLD, "start")
    repo.refs.point(run_ref("night", "fit"), start)
    repo.refs.point(repo.refs.branch("night"), repo.commit(start, NEW, "kept"))
    assert repo.run_that_kept(NEW) == "night"
