"""Git as a store: whatever state the user's repository is in, it is exactly as it was afterwards."""

from __future__ import annotations

import errno
import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from core.git import repository
from core.git.repository import TRAIN, NameTaken, Repository, RepositoryError

OLD = "LR = 0.1  # rate\n\n\ndef train(run):\n    return None\n"
NEW = OLD.replace("0.1", "0.2")


@pytest.fixture(autouse=True)
def no_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No git settings but a test's own: no user.name, no default branch."""
    home = tmp_path / "home"
    home.mkdir()
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")


WHO = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org")


def git(where: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *WHO, *arguments], cwd=where, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A source tree without git."""
    root = tmp_path / "project"
    (root / "nanochat").mkdir(parents=True)
    (root / TRAIN).write_text(OLD)
    (root / "README.md").write_text("read me\n")
    (root / "odd näme\tx.txt").write_text("odd\n")
    return root


@pytest.fixture
def checkout(tree: Path) -> Path:
    """The same under git, with one commit."""
    git(tree, "init", "-q", "-b", "main")
    git(tree, "add", ".")
    git(tree, "commit", "-q", "-m", "first")
    return tree


def opened(root: Path) -> Repository:
    return Repository.open(root, root.parent / "logs" / "repository")


def snapshot(root: Path) -> dict[str, bytes]:
    """Every file of a checkout, work tree, index, HEAD, configuration, hooks and the user's own refs; not the objects."""
    found = {}
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        ours = name.startswith((".git/refs/autoresearch", ".git/refs/heads/autoresearch", ".git/logs/refs"))
        if path.is_file() and not name.startswith(".git/objects/") and not ours:
            found[name] = path.read_bytes()
    return found


def night(repo: Repository, run: str = "nov24") -> tuple[str, str, str]:
    """What a run does: a fit commit, a dropped attempt, a kept one."""
    base = repo.base()
    fit = repo.commit(base, OLD, "Start of the run")
    repo.set_ref(repo.attempt_ref(run, "fit"), fit)
    repo.set_ref(repo.branch(run), fit)
    dropped = repo.commit(fit, OLD.replace("0.1", "9.9"), "A wild rate")
    repo.set_ref(repo.attempt_ref(run, "00001"), dropped)
    kept = repo.commit(fit, NEW, "Twice the rate")
    repo.set_ref(repo.attempt_ref(run, "00002"), kept)
    repo.set_ref(repo.branch(run), kept, [fit])
    return base, fit, kept


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
    assert repo.read(commit) == NEW
    assert git(checkout, "diff", "--name-only", "HEAD", commit) == TRAIN
    assert git(checkout, "ls-tree", commit, TRAIN).startswith("100755")
    assert "odd" in git(checkout, "show", f"{commit}:odd näme\tx.txt")
    who = git(checkout, "show", "-s", "--format=%an <%ae> %cn <%ce>%n%B", commit)
    assert who.startswith("AutoResearch <autoresearch@localhost> AutoResearch <autoresearch@localhost>\nTwice the rate")
    assert "+LR = 0.2" in repo.diff(repo.base(), commit)


def test_text_is_kept_exactly(checkout: Path) -> None:
    repo = opened(checkout)
    for text in ("x = 1", "x = 'ä€'\r\ny = 2\r\n", "\n\n\nx = 1\n\n\n", ""):
        assert repo.read(repo.commit(repo.base(), text, "m")) == text
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
    repo.reconcile("nov24", {repo.branch("nov24"): kept})
    assert not proof.exists()
    assert snapshot(checkout) == before
    assert repo.diff(fit, kept).startswith(f"diff --git a/{TRAIN} b/{TRAIN}")
    done = repo.apply_home(checkout, repo.base(), kept, "home", tmp_path / "best.patch")
    assert done.commit is not None and not proof.exists()


def test_without_a_repository_a_private_one_serves(tree: Path) -> None:
    before = snapshot(tree)
    repo = opened(tree)
    base, _, kept = night(repo)
    assert repo.read(base) == OLD
    again = opened(tree)
    assert again.read(kept) == NEW and again.refs("nov24") == repo.refs("nov24")
    assert snapshot(tree) == before and not (tree / ".git").exists()
    assert again.fsck() == ""
    patch = tree.parent / "logs" / "nov24" / "best.patch"
    done = again.apply_home(tree, base, kept, "home", patch)
    assert done.commit is None and "no git repository" in done.words
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


def test_a_tree_inside_a_larger_repository(tree: Path) -> None:
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
    done = repo.apply_home(top / "project", base, kept, "home", top / "best.patch")
    assert done.commit == git(top, "rev-parse", "HEAD")
    assert (top / "project" / TRAIN).read_text() == NEW and git(top, "status", "--porcelain", "-uno") == ""


def test_no_commits_at_all(tree: Path) -> None:
    git(tree, "init", "-q")
    before = snapshot(tree)
    repo = opened(tree)
    base, _, _ = night(repo)
    assert repo.read(base) == OLD
    assert snapshot(tree) == before and repo.fsck() == ""


def test_detached_head_worktree_and_shallow_clone(checkout: Path, tmp_path: Path) -> None:
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


def test_a_bare_repository(checkout: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare.git"
    git(tmp_path, "clone", "-q", "--bare", str(checkout), str(bare))
    repo = Repository.open(bare, tmp_path / "private")
    base, _, kept = night(repo)
    assert git(bare, "rev-parse", "autoresearch/nov24") == kept and base == git(bare, "rev-parse", "main")
    assert not (tmp_path / "private").exists()


def test_a_branch_called_autoresearch_is_in_the_way(checkout: Path) -> None:
    git(checkout, "branch", "autoresearch")
    repo = opened(checkout)
    _, _, kept = night(repo)
    assert repo.branch("nov24") == "refs/heads/autoresearch-nov24"
    assert git(checkout, "rev-parse", "autoresearch-nov24") == kept
    git(checkout, "branch", "-D", "autoresearch")
    assert opened(checkout).branch("nov24") == "refs/heads/autoresearch-nov24"  # a run keeps its branch


def test_a_checked_out_branch_of_a_run_is_not_moved(checkout: Path) -> None:
    repo = opened(checkout)
    _, fit, kept = night(repo)
    git(checkout, "checkout", "-q", "autoresearch/nov24")
    further = repo.commit(kept, OLD, "back again")
    before = snapshot(checkout)
    assert repo.set_ref(repo.branch("nov24"), further, [kept]) == "is checked out in your work tree"
    words = repo.reconcile("nov24", repo.refs("nov24") | {repo.branch("nov24"): further}, [kept])
    assert any("checked out" in line for line in words)
    assert snapshot(checkout) == before and git(checkout, "status", "--porcelain") == ""
    git(checkout, "checkout", "-q", "main")
    repo.reconcile("nov24", {**repo.refs("nov24"), repo.branch("nov24"): further}, [kept])
    assert git(checkout, "rev-parse", "autoresearch/nov24") == further != fit


def test_refs_follow_the_journal_and_nothing_is_lost(checkout: Path) -> None:
    repo = opened(checkout)
    _, fit, kept = night(repo)
    journal = repo.refs("nov24")
    assert repo.reconcile("nov24", journal) == []
    git(checkout, "update-ref", "-d", "refs/autoresearch/nov24/00001")
    git(checkout, "update-ref", "refs/heads/autoresearch/nov24", fit)
    stray = repo.commit(kept, OLD, "never journalled")
    repo.set_ref(repo.attempt_ref("nov24", "00003"), stray)
    other = repo.attempt_ref("nov24-b", "00001")
    repo.set_ref(other, kept)
    words = repo.reconcile("nov24", journal, {fit, kept})
    assert len(words) == 2 and repo.refs("nov24") == {**journal, repo.attempt_ref("nov24", "00003"): stray}
    assert git(checkout, "rev-parse", other) == kept  # another run's
    assert repo.reconcile("nov24", journal, {fit, kept}) == []


def test_what_the_run_did_not_make_is_never_moved_and_its_own_commits_stay_reachable(checkout: Path) -> None:
    repo = opened(checkout)
    _, fit, kept = night(repo)
    git(checkout, "branch", "-f", "autoresearch/nov24", "main")
    git(checkout, "update-ref", "refs/autoresearch/nov24/00001", "main")
    more = repo.commit(kept, OLD, "goes on")
    for ref in (repo.branch("nov24"), repo.attempt_ref("nov24", "00001")):
        before = git(checkout, "rev-parse", ref)
        assert "which this run did not make" in repo.set_ref(ref, more, {fit, kept})
        assert "was left where it is" in repo.reconcile("nov24", {ref: more}, {fit, kept})[0]
        assert git(checkout, "rev-parse", ref) == before
    saved = git(checkout, "for-each-ref", "--format=%(refname)", "--points-at", more)
    assert saved == f"refs/autoresearch/_before/nov24/00001/{more[:12]}"


def test_a_move_keeps_what_it_leaves_reachable(checkout: Path) -> None:
    repo = opened(checkout)
    _, _, kept = night(repo)
    fresh = repo.commit(repo.base(), OLD, "back to another start")
    assert repo.set_ref(repo.branch("nov24"), fresh, [kept]) == ""
    saved = git(checkout, "for-each-ref", "--format=%(refname)", "--points-at", kept, "refs/autoresearch/_before")
    assert saved == f"refs/autoresearch/_before/heads/autoresearch/nov24/{kept[:12]}"


TAKEN = (
    "refs/heads/autoresearch/nov24", "refs/heads/autoresearch-nov24", "refs/heads/autoresearch/nov24/mine",
    "refs/heads/AutoResearch/Nov24", "refs/autoresearch/nov24", "refs/autoresearch/nov24/00001", "refs/autoresearch/nov24/a/b",
    "refs/autoresearch/_owner/nov24", "refs/tags/autoresearch/nov24",
)  # fmt: skip


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("ref", TAKEN)
def test_a_name_is_free_when_nothing_in_git_has_it(checkout: Path, ref: str, packed: bool) -> None:
    git(checkout, "update-ref", ref, "HEAD")
    if packed:
        git(checkout, "pack-refs", "--all")
    before = git(checkout, "for-each-ref")
    repo = opened(checkout)
    assert ref in repo.taken("nov24")
    with pytest.raises(RepositoryError, match="nov24"):
        repo.claim("nov24", "an id", checkout)
    assert git(checkout, "for-each-ref") == before
    assert [name for name in ("nov2", "nov24-2", "ov24", "nov240") if repo.taken(name)] == []


@pytest.mark.parametrize("ref", ["refs/autoresearch", "refs/autoresearch/_owner", "refs/autoresearch/_before"])
def test_a_ref_in_the_way_of_every_run_is_named(checkout: Path, ref: str) -> None:
    git(checkout, "update-ref", ref, "HEAD")
    with pytest.raises(RepositoryError, match=f"a ref called {ref}, .*git update-ref -d {ref}`"):
        opened(checkout).claim("nov24", "an id", checkout)


def test_a_name_belongs_to_the_run_that_claimed_it_first(checkout: Path, tmp_path: Path) -> None:
    git(checkout, "worktree", "add", "-q", "--detach", str(tmp_path / "linked"))
    git(tmp_path, "clone", "-q", "--shared", str(checkout), "borrowing")
    repo, other = opened(checkout), opened(tmp_path / "linked")
    (tmp_path / "logs" / "nov24").mkdir(parents=True)
    (tmp_path / "logs" / "nov24" / "events.jsonl").write_text("{}\n")
    repo.claim("nov24", "first", tmp_path / "logs" / "nov24")
    repo.claim("nov24", "first", tmp_path / "moved")  # the same run, wherever its logs are
    for where in (other, opened(checkout)):
        assert "logs/nov24" in where.taken("nov24")
        with pytest.raises(NameTaken, match=f"the run in {tmp_path}/logs/nov24"):
            where.claim("nov24", "second", tmp_path)
    opened(tmp_path / "borrowing").claim("nov24", "second", tmp_path)  # refs are its own
    assert repo.fsck() == "" and repo.refs("nov24") == {}
    git(checkout, "branch", "autoresearch-nov25")
    repo.claim("nov26", "third", tmp_path)
    git(checkout, "update-ref", "refs/heads/autoresearch-nov26", "HEAD")  # later, of the user's own
    assert opened(checkout).branch("nov26") == "refs/heads/autoresearch/nov26"


@pytest.mark.parametrize("began", ["with a branch", "killed at once", "branch in the way"])
def test_a_run_whose_logs_were_removed_gives_its_name_to_the_next_in_its_folder(checkout: Path, began: str) -> None:
    folder, repo = checkout / "logs" / "nov24", opened(checkout)
    if began == "branch in the way":
        git(checkout, "branch", "autoresearch")
    repo.claim("nov24", "first", folder)
    commits = night(repo)[1:] if began != "killed at once" else ()
    mine = git(checkout, "rev-parse", "main")
    assert "no journal" in repo.taken("nov24") and repo.taken("nov24", folder) == ""
    again = opened(checkout)
    said = again.claim("nov24", "second", folder)
    assert ("journal is gone" in said) == bool(commits) and again.claim("nov24", "second", folder) == ""
    owner = opened(checkout).owner("nov24")
    assert owner is not None and owner.id == "second" and opened(checkout).refs("nov24") == {}
    saved = git(checkout, "for-each-ref", "--format=%(objectname)", "refs/autoresearch/_before").split()
    assert set(commits) <= set(saved) and git(checkout, "rev-parse", "main") == mine
    assert again.set_ref(again.branch("nov24"), mine) == "" and again.fsck() == ""
    with pytest.raises(NameTaken, match="no journal is now"):
        opened(checkout).claim("nov24", "third", checkout / "elsewhere" / "nov24")


def test_the_record_of_a_name_follows_logs_that_were_moved(checkout: Path) -> None:
    old, new = checkout / "old" / "nov24", checkout / "new" / "nov24"
    opened(checkout).claim("nov24", "first", old)
    commits = night(opened(checkout))
    assert opened(checkout).claim("nov24", "first", new, commits) == ""
    owner = opened(checkout).owner("nov24")
    assert owner is not None and owner.folder == str(new) and len(opened(checkout).refs("nov24")) == 4
    assert opened(checkout).taken("nov24", new) == "" and opened(checkout).taken("nov24", old) != ""


@pytest.mark.parametrize("case", ["checked out", "moved", "elsewhere"])
def test_a_name_that_is_not_taken_over_is_freed_by_what_is_said(checkout: Path, case: str) -> None:
    folder, repo = checkout / "logs" / "nov24", opened(checkout)
    repo.claim("nov24", "first", checkout / "old logs" / "nov24" if case == "elsewhere" else folder)
    _, _, kept = night(repo)
    if case == "checked out":
        git(checkout, "checkout", "-q", "autoresearch/nov24")
    if case == "moved":
        git(checkout, "update-ref", "refs/heads/autoresearch/nov24", repo.commit(kept, OLD, "the user's own"))
    before, tip = git(checkout, "for-each-ref"), git(checkout, "rev-parse", "autoresearch/nov24")
    with pytest.raises(NameTaken) as refused:
        opened(checkout).claim("nov24", "second", folder)
    assert git(checkout, "for-each-ref") == before
    for command in re.findall("`([^`]+)`", str(refused.value)):
        subprocess.run(command, shell=True, check=True, cwd="/")
    assert opened(checkout).taken("nov24", folder) == ""
    opened(checkout).claim("nov24", "second", folder)
    assert tip in git(checkout, "for-each-ref", "--format=%(objectname)", "refs/heads").split()


@pytest.mark.skipif(not (sys.platform == "linux" and shutil.which("cc")), reason="needs Linux and a C compiler")
@pytest.mark.parametrize("error", [errno.EINVAL, errno.EOPNOTSUPP, errno.EIO])
def test_where_the_file_system_has_no_fsync_git_goes_on_without(
    checkout: Path, tmp_path: Path, error: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    preload(monkeypatch, tmp_path, f"int fsync(int file) {{ (void)file; errno = {error}; return -1; }}")
    if error == errno.EIO:
        monkeypatch.setattr(repository, "syncs", lambda folder: True)
        with pytest.raises(RepositoryError, match=r"(hash-object|commit-tree) failed"):
            night(opened(checkout))
        return
    monkeypatch.setattr(repository, "syncs", lambda folder: False)  # this process has the library's own fsync
    repo = opened(checkout)
    repo.set_ref("refs/autoresearch/x/1", repo.base())  # an object that is there: only the ref is written
    assert not repo.synced
    other = opened(checkout)
    night(other)
    assert not other.synced and other.fsck() == ""


def test_whether_a_file_system_has_fsync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(number: int) -> Callable[[int], None]:
        def sync(file: int) -> None:
            raise OSError(number, "")

        return sync

    assert repository.syncs(tmp_path) and repository.syncs(tmp_path / "nowhere")
    for number, has in ((errno.EINVAL, False), (errno.ENOSYS, False), (errno.EIO, True), (errno.ENOSPC, True)):
        monkeypatch.setattr(os, "fsync", failing(number))
        assert repository.syncs(tmp_path) is has


def preload(monkeypatch: pytest.MonkeyPatch, folder: Path, function: str) -> None:
    """Replace a function of the C library in every child."""
    (folder / "own.c").write_text(f"#include <errno.h>\n{function}\n")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", "own.so", "own.c"], cwd=folder, check=True)
    monkeypatch.setenv("LD_PRELOAD", str(folder / "own.so"))


def test_of_many_who_claim_a_name_at_once_one_gets_it(checkout: Path) -> None:
    def claim(number: int) -> bool:
        try:
            opened(checkout).claim("nov24", f"id {number}", checkout)
        except NameTaken:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        won = list(pool.map(claim, range(4)))
    owner = opened(checkout).owner("nov24")
    assert sum(won) == 1 and owner is not None and owner.id == f"id {won.index(True)}"


def test_a_run_of_the_version_before_claims_what_it_made_and_nothing_else(checkout: Path) -> None:
    repo = opened(checkout)
    _, fit, kept = night(repo)
    with pytest.raises(NameTaken, match="is there already"):
        repo.claim("nov24", "a run of another work tree", checkout, {repo.base()})
    assert repo.owner("nov24") is None
    repo.claim("nov24", "its own", checkout, {fit, kept})
    assert repo.branch("nov24") == "refs/heads/autoresearch/nov24"
    git(checkout, "branch", "autoresearch-nov25", kept)  # dashed, when a branch autoresearch was in the way
    git(checkout, "update-ref", "refs/autoresearch/nov25/fit", fit)
    repo.claim("nov25", "its own", checkout, {fit, kept})
    assert repo.branch("nov25") == "refs/heads/autoresearch-nov25"


def test_stale_locks_are_cleared_in_our_own_namespace_only(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repository, "STALE_LOCK_S", 0.1)
    repo = opened(checkout)
    _, _, kept = night(repo)
    store = checkout / ".git"
    mine = [store / "refs/autoresearch/nov24/00002.lock", store / "refs/heads/autoresearch/nov24.lock"]
    theirs = [store / "refs/heads/main.lock", store / "index.lock", store / "refs/autoresearch/other/00001.lock"]
    for lock in (*mine, *theirs):
        lock.parent.mkdir(parents=True, exist_ok=True)
        lock.touch()
        os.utime(lock, (time.time() + 6e4, time.time() + 6e4))  # a clock that is wrong does not matter
    words = repo.reconcile("nov24", repo.refs("nov24"))
    assert len(words) == 2
    assert not any(lock.exists() for lock in mine) and all(lock.exists() for lock in theirs)
    mine[1].touch()
    assert repo.set_ref(repo.branch("nov24"), repo.commit(kept, OLD, "goes on"), [kept]) == ""


def test_of_two_writers_one_loses_cleanly(checkout: Path) -> None:
    repo = opened(checkout)
    base, ref = repo.base(), repo.attempt_ref("nov24", "00001")
    start = repo.commit(base, OLD, "start")
    repo.set_ref(ref, start)
    commits = [repo.commit(base, f"x = {n}\n", str(n)) for n in range(4)]

    def write(commit: str) -> bool:
        try:
            return not opened(checkout).set_ref(ref, commit, [start])
        except RepositoryError:
            return False

    with ThreadPoolExecutor(4) as pool:
        won = list(pool.map(write, commits))
    assert sum(won) == 1 and repo.refs("nov24")[ref] == commits[won.index(True)] and repo.fsck() == ""


@pytest.mark.parametrize("name", ["", "A", "../x", "a b", "a/b", "_before", "x.lock"])
def test_names_that_no_run_has(checkout: Path, name: str) -> None:
    repo = opened(checkout)
    with pytest.raises(RepositoryError, match="no name for a run"):
        repo.attempt_ref(name, "00001")
    with pytest.raises(RepositoryError, match="no name for a run"):
        repo.branch(name)
    with pytest.raises(RepositoryError, match="left alone"):
        repo.set_ref("refs/heads/main", repo.base())


def test_what_is_not_there_is_said(checkout: Path) -> None:
    repo = opened(checkout)
    with pytest.raises(RepositoryError, match="git cat-file failed"):
        repo.read("0" * 40)
    with pytest.raises(RepositoryError, match="no commit 'nonsense'"):
        repo.base("nonsense")


def test_without_git_a_sentence(tree: Path) -> None:
    """In a process of its own: GitPython itself fails to import where git is missing."""
    code = (
        "from pathlib import Path; from core.git.repository import Repository, RepositoryError\n"
        "try: Repository.open(Path('.'), Path('x'))\nexcept RepositoryError as error: print(error)"
    )
    env = {**os.environ, "PATH": str(tree), "PYTHONPATH": str(Path(__file__).resolve().parents[3])}
    done = subprocess.run([sys.executable, "-c", code], cwd=tree, env=env, capture_output=True, text=True, check=True)
    assert done.stdout == "git is not installed. Nothing was started. Install git and try again.\n"


def test_merge(checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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


# -- the way home -------------------------------------------------------------------------------------------------------


def test_the_best_becomes_a_commit_on_a_clean_checkout(checkout: Path, tmp_path: Path) -> None:
    repo = opened(checkout)
    base, _, kept = night(repo)
    (checkout / TRAIN).chmod(0o755)
    git(checkout, "commit", "-q", "-am", "something else happened meanwhile")
    (checkout / "untracked.txt").write_text("mine\n")
    head = git(checkout, "rev-parse", "HEAD")
    done = repo.apply_home(checkout, base, kept, "The best of nov24\n\n# not a comment", tmp_path / "best.patch")
    assert done.commit == git(checkout, "rev-parse", "main") and done.commit[:7] in done.words
    assert (
        git(checkout, "log", "-1", "--format=%P %an %B") == f"{head} AutoResearch The best of nov24\n\n# not a comment"
    )
    assert (checkout / TRAIN).read_text() == NEW and os.stat(checkout / TRAIN).st_mode & stat.S_IXUSR
    assert git(checkout, "status", "--porcelain") == "?? untracked.txt"
    assert git(checkout, "show", "--stat", "--format=", "HEAD").startswith(TRAIN)
    assert "nothing to do" in repo.apply_home(checkout, base, kept, "again", tmp_path / "best.patch").words


def test_which_run_kept_a_train_py(checkout: Path, tmp_path: Path) -> None:
    repo = Repository.open(checkout, tmp_path / "private")
    start = repo.commit(repo.base(), OLD, "start")
    repo.set_ref(repo.attempt_ref("night", "fit"), start)
    repo.set_ref(repo.branch("night"), start)
    assert repo.run_of(OLD) == "", "a start is not kept"
    for source in (NEW, NEW + "# last\n"):  # an earlier one counts as well
        start = repo.commit(start, source, "kept")
        repo.set_ref(repo.branch("night"), start, list(repo.refs("night").values()))
        assert repo.run_of(NEW) == repo.run_of(NEW.replace("\n", "\r\n")) == "night"
    assert repo.run_of(OLD) == repo.run_of(NEW + "# more\n") == ""


@pytest.mark.parametrize("branch", ["autoresearch/mar5", "autoresearch-mine", "autoresearch"])
def test_a_branch_of_the_users_is_no_run(checkout: Path, tmp_path: Path, branch: str) -> None:
    (checkout / TRAIN).write_bytes(b"# caf\xe9, in latin-1\n")
    git(checkout, "checkout", "-q", "-b", branch)
    git(checkout, "commit", "-q", "-am", "mine")
    (checkout / TRAIN).write_text(NEW)
    git(checkout, "commit", "-q", "-am", "mine too")
    repo = Repository.open(checkout, tmp_path / "private")
    assert repo.run_of(NEW) == ""
    start = repo.commit(repo.base(), OLD, "start")
    repo.set_ref(repo.attempt_ref("night", "fit"), start)
    repo.set_ref(repo.branch("night"), repo.commit(start, NEW, "kept"))
    assert repo.run_of(NEW) == "night"


def test_line_endings_of_the_checkout_are_kept(checkout: Path, tmp_path: Path) -> None:
    (checkout / TRAIN).write_bytes(OLD.replace("\n", "\r\n").encode())
    git(checkout, "commit", "-q", "-am", "windows")
    repo = opened(checkout)
    base, _, kept = night(repo)
    assert repo.apply_home(checkout, base, kept, "home", tmp_path / "p").commit
    assert (checkout / TRAIN).read_bytes() == NEW.replace("\n", "\r\n").encode()


@pytest.mark.parametrize("case", ["dirty elsewhere", "staged", "dirty train.py", "moved on", "index locked"])
def test_otherwise_a_patch_that_applies_and_nothing_changes(checkout: Path, tmp_path: Path, case: str) -> None:
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
    done = repo.apply_home(checkout, base, kept, "home", patch)
    assert done.commit is None and done.patch == patch and str(patch) in done.words
    assert snapshot(checkout) == before and git(checkout, "rev-parse", "HEAD") == head
    (checkout / ".git" / "index.lock").unlink(missing_ok=True)
    git(checkout, "apply", str(patch))
    assert (checkout / TRAIN).read_text() == (own.replace("0.1", "0.2") if "train" in case or "moved" in case else NEW)


@pytest.mark.parametrize("case", ["dirty", "committed", "no repository"])
def test_where_both_changed_the_same_lines_what_is_said_works(checkout: Path, tmp_path: Path, case: str) -> None:
    if case == "no repository":
        shutil.rmtree(checkout / ".git")
    repo = Repository.open(checkout, tmp_path / "private")
    base = repo.base()
    kept = repo.commit(base, NEW, "kept")
    (checkout / TRAIN).write_text(OLD.replace("0.1", "0.3"))
    if case == "committed":
        git(checkout, "commit", "-q", "-am", "mine")
    patch = tmp_path / "best.patch"
    words = repo.apply_home(checkout, base, kept, "home", patch).words
    assert "lines that you changed too" in words
    assert (checkout / TRAIN).read_text() == OLD.replace("0.1", "0.3")
    if case == "no repository":
        assert "by hand" in words and "git apply" not in words
        return
    assert f"commit your {TRAIN}" in words and f"git apply --3way {patch}" in words
    if case == "dirty":
        git(checkout, "commit", "-q", "-am", "mine")
    subprocess.run(["git", "apply", "--3way", str(patch)], cwd=checkout, capture_output=True)
    text = (checkout / TRAIN).read_text()
    assert "<<<<<<<" in text and "0.2" in text and "0.3" in text


# All that paths may have in them, in few names.
ODD = [
    b"$HOME",
    b"`x` $(touch x) 100%d #1 {x}[a]*?!;&~\\ 'b' \"c\"",
    b"-n\xff two\nlines: na\xefve",
    " ein Übermaß 日本".encode(),
]


@pytest.mark.parametrize("kind", ["repository", "below its top", "linked work tree", "none"])
@pytest.mark.parametrize("name", ODD)
def test_a_path_of_any_name(tmp_path: Path, name: bytes, kind: str) -> None:
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
    assert repo.read(kept) == NEW and repo.run_of(NEW) == "nov24" and repo.fsck() == ""
    assert repo.merge(OLD, NEW, OLD, root / "logs") == NEW and "+LR = 0.2" in repo.diff(fit, kept)
    applied = repo.apply_home(root, fit, kept, "The best.", root / "logs" / "best.patch")
    if kind == "none":
        assert applied.patch is not None and applied.patch.exists()
    else:
        assert applied.commit is not None, applied.words
        assert (root / TRAIN).read_text() == NEW


def test_a_broken_git_is_said_and_no_private_one_takes_its_place(tree: Path) -> None:
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


@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_a_byte_order_mark_is_no_part_of_the_text_and_stays_in_the_checkout(tree: Path, ends: str) -> None:
    mark = "\ufeff".encode()
    (tree / TRAIN).write_bytes(mark + OLD.replace("\n", ends).encode())
    git(tree, "init", "-q", "-b", "main")
    git(tree, "add", ".")
    git(tree, "commit", "-q", "-m", "first")
    repo = opened(tree)
    base, _, kept = night(repo)
    assert repo.read(base) == OLD.replace("\n", ends) and repo.holds(base, OLD)
    applied = repo.apply_home(tree, base, kept, "The best.", tree.parent / "best.patch")
    assert applied.commit is not None, applied.words
    assert (tree / TRAIN).read_bytes() == mark + NEW.replace("\n", ends).encode()
