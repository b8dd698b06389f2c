"""The refs of a run follow its journal, and no commit of anybody is lost."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from core.git import locks
from core.git.errors import RepositoryError
from core.git.namespace import run_ref
from tests.core.git.checkouts import OLD, git, night, opened, snapshot


def test_a_branch_called_autoresearch_is_in_the_way(checkout: Path) -> None:
    git(checkout, "branch", "autoresearch")
    repo = opened(checkout)
    _, _, kept = night(repo)
    assert repo.refs.branch("nov24") == "refs/heads/autoresearch-nov24"
    assert git(checkout, "rev-parse", "autoresearch-nov24") == kept
    git(checkout, "branch", "-D", "autoresearch")
    assert opened(checkout).refs.branch("nov24") == "refs/heads/autoresearch-nov24"  # a run keeps its branch


def test_a_checked_out_branch_of_a_run_is_not_moved(checkout: Path) -> None:
    repo = opened(checkout)
    _, fit, kept = night(repo)
    git(checkout, "checkout", "-q", "autoresearch/nov24")
    further = repo.commit(kept, OLD, "back again")
    before = snapshot(checkout)
    assert repo.refs.point(repo.refs.branch("nov24"), further, [kept]) == "is checked out in your work tree"
    words = repo.refs.reconcile("nov24", repo.refs.commits("nov24") | {repo.refs.branch("nov24"): further}, [kept])
    assert any("checked out" in line for line in words)
    assert snapshot(checkout) == before and git(checkout, "status", "--porcelain") == ""
    git(checkout, "checkout", "-q", "main")
    repo.refs.reconcile("nov24", {**repo.refs.commits("nov24"), repo.refs.branch("nov24"): further}, [kept])
    assert git(checkout, "rev-parse", "autoresearch/nov24") == further != fit


def test_refs_follow_the_journal_and_nothing_is_lost(checkout: Path) -> None:
    repo = opened(checkout)
    _, fit, kept = night(repo)
    journal = repo.refs.commits("nov24")
    assert repo.refs.reconcile("nov24", journal) == []
    git(checkout, "update-ref", "-d", "refs/autoresearch/nov24/00001")
    git(checkout, "update-ref", "refs/heads/autoresearch/nov24", fit)
    stray = repo.commit(kept, OLD, "never journalled")
    repo.refs.point(run_ref("nov24", "00003"), stray)
    other = run_ref("nov24-b", "00001")
    repo.refs.point(other, kept)
    words = repo.refs.reconcile("nov24", journal, {fit, kept})
    assert len(words) == 2 and repo.refs.commits("nov24") == {**journal, run_ref("nov24", "00003"): stray}
    assert git(checkout, "rev-parse", other) == kept  # another run's
    assert repo.refs.reconcile("nov24", journal, {fit, kept}) == []


def test_what_the_run_did_not_make_is_never_moved_and_its_own_commits_stay_reachable(checkout: Path) -> None:
    repo = opened(checkout)
    _, fit, kept = night(repo)
    git(checkout, "branch", "-f", "autoresearch/nov24", "main")
    git(checkout, "update-ref", "refs/autoresearch/nov24/00001", "main")
    more = repo.commit(kept, OLD, "goes on")
    for ref in (repo.refs.branch("nov24"), run_ref("nov24", "00001")):
        before = git(checkout, "rev-parse", ref)
        assert "which this run did not make" in repo.refs.point(ref, more, {fit, kept})
        assert "was left where it is" in repo.refs.reconcile("nov24", {ref: more}, {fit, kept})[0]
        assert git(checkout, "rev-parse", ref) == before
    saved = git(checkout, "for-each-ref", "--format=%(refname)", "--points-at", more)
    assert saved == f"refs/autoresearch/_before/nov24/00001/{more[:12]}"


def test_a_move_keeps_what_it_leaves_reachable(checkout: Path) -> None:
    repo = opened(checkout)
    _, _, kept = night(repo)
    fresh = repo.commit(repo.base(), OLD, "back to another start")
    assert repo.refs.point(repo.refs.branch("nov24"), fresh, [kept]) == ""
    saved = git(checkout, "for-each-ref", "--format=%(refname)", "--points-at", kept, "refs/autoresearch/_before")
    assert saved == f"refs/autoresearch/_before/heads/autoresearch/nov24/{kept[:12]}"


def test_one_of_several_writers_wins_and_the_others_lose_cleanly(checkout: Path) -> None:
    repo = opened(checkout)
    base, ref = repo.base(), run_ref("nov24", "00001")
    start = repo.commit(base, OLD, "start")
    repo.refs.point(ref, start)
    commits = [repo.commit(base, f"x = {n}\n", str(n)) for n in range(4)]

    def write(commit: str) -> bool:
        try:
            return not opened(checkout).refs.point(ref, commit, [start])
        except RepositoryError:
            return False

    with ThreadPoolExecutor(4) as pool:
        won = list(pool.map(write, commits))
    assert sum(won) == 1 and repo.refs.commits("nov24")[ref] == commits[won.index(True)] and repo.fsck() == ""


def test_stale_locks_are_removed_in_our_own_namespace_only(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "STALE_LOCK_S", 0.1)
    repo = opened(checkout)
    _, _, kept = night(repo)
    store = checkout / ".git"
    mine = [store / "refs/autoresearch/nov24/00002.lock", store / "refs/heads/autoresearch/nov24.lock"]
    theirs = [store / "refs/heads/main.lock", store / "index.lock", store / "refs/autoresearch/other/00001.lock"]
    for lock in (*mine, *theirs):
        lock.parent.mkdir(parents=True, exist_ok=True)
        lock.touch()
        os.utime(lock, (time.time() + 6e4, time.time() + 6e4))  # a clock that is wrong does not matter
    words = repo.refs.reconcile("nov24", repo.refs.commits("nov24"))
    assert len(words) == 2
    assert not any(lock.exists() for lock in mine) and all(lock.exists() for lock in theirs)
    mine[1].touch()
    assert repo.refs.point(repo.refs.branch("nov24"), repo.commit(kept, OLD, "goes on"), [kept]) == ""
