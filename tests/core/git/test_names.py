"""A name belongs to one run, and a new run gets one that nothing in git has."""

from __future__ import annotations

import re
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from core.git.errors import NameTaken, RepositoryError
from tests.core.git.checkouts import OLD, git, night, opened

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
    assert ref in repo.names.why_taken("nov24")
    with pytest.raises(RepositoryError, match="nov24"):
        repo.names.claim("nov24", "an id", checkout)
    assert git(checkout, "for-each-ref") == before
    assert [name for name in ("nov2", "nov24-2", "ov24", "nov240") if repo.names.why_taken(name)] == []


@pytest.mark.parametrize("ref", ["refs/autoresearch", "refs/autoresearch/_owner", "refs/autoresearch/_before"])
def test_a_ref_in_the_way_of_every_run_is_named(checkout: Path, ref: str) -> None:
    git(checkout, "update-ref", ref, "HEAD")
    with pytest.raises(RepositoryError, match=f"a ref called {ref}, .*git update-ref -d {ref}`"):
        opened(checkout).names.claim("nov24", "an id", checkout)


def test_a_name_belongs_to_the_run_that_claimed_it_first(checkout: Path, tmp_path: Path) -> None:
    git(checkout, "worktree", "add", "-q", "--detach", str(tmp_path / "linked"))
    git(tmp_path, "clone", "-q", "--shared", str(checkout), "borrowing")
    repo, other = opened(checkout), opened(tmp_path / "linked")
    (tmp_path / "logs" / "nov24").mkdir(parents=True)
    (tmp_path / "logs" / "nov24" / "events.jsonl").write_text("{}\n")
    repo.names.claim("nov24", "first", tmp_path / "logs" / "nov24")
    repo.names.claim("nov24", "first", tmp_path / "moved")  # the same run, wherever its logs are
    for where in (other, opened(checkout)):
        assert "logs/nov24" in where.names.why_taken("nov24")
        with pytest.raises(NameTaken, match=f"the run in {tmp_path}/logs/nov24"):
            where.names.claim("nov24", "second", tmp_path)
    opened(tmp_path / "borrowing").names.claim("nov24", "second", tmp_path)  # refs are its own
    assert repo.fsck() == "" and repo.refs.commits("nov24") == {}
    git(checkout, "branch", "autoresearch-nov25")
    repo.names.claim("nov26", "third", tmp_path)
    git(checkout, "update-ref", "refs/heads/autoresearch-nov26", "HEAD")  # later, of the user's own
    assert opened(checkout).refs.branch("nov26") == "refs/heads/autoresearch/nov26"


@pytest.mark.parametrize("began", ["with a branch", "killed at once", "branch in the way"])
def test_a_run_whose_logs_were_removed_gives_its_name_to_the_next_in_its_folder(checkout: Path, began: str) -> None:
    folder, repo = checkout / "logs" / "nov24", opened(checkout)
    if began == "branch in the way":
        git(checkout, "branch", "autoresearch")
    repo.names.claim("nov24", "first", folder)
    commits = night(repo)[1:] if began != "killed at once" else ()
    mine = git(checkout, "rev-parse", "main")
    assert "no journal" in repo.names.why_taken("nov24") and repo.names.why_taken("nov24", folder) == ""
    again = opened(checkout)
    said = again.names.claim("nov24", "second", folder)
    assert ("journal is gone" in said) == bool(commits) and again.names.claim("nov24", "second", folder) == ""
    owner = opened(checkout).owners.get("nov24")
    assert owner is not None and owner.id == "second" and opened(checkout).refs.commits("nov24") == {}
    saved = git(checkout, "for-each-ref", "--format=%(objectname)", "refs/autoresearch/_before").split()
    assert set(commits) <= set(saved) and git(checkout, "rev-parse", "main") == mine
    assert again.refs.point(again.refs.branch("nov24"), mine) == "" and again.fsck() == ""
    with pytest.raises(NameTaken, match="no journal is now"):
        opened(checkout).names.claim("nov24", "third", checkout / "elsewhere" / "nov24")


def test_the_record_of_a_name_follows_logs_that_were_moved(checkout: Path) -> None:
    old, new = checkout / "old" / "nov24", checkout / "new" / "nov24"
    opened(checkout).names.claim("nov24", "first", old)
    commits = night(opened(checkout))
    assert opened(checkout).names.claim("nov24", "first", new, commits) == ""
    owner = opened(checkout).owners.get("nov24")
    assert owner is not None and owner.folder == str(new) and len(opened(checkout).refs.commits("nov24")) == 4
    assert opened(checkout).names.why_taken("nov24", new) == "" and opened(checkout).names.why_taken("nov24", old) != ""


@pytest.mark.parametrize("case", ["checked out", "moved", "elsewhere"])
def test_a_name_that_is_not_taken_over_is_freed_by_the_commands_that_are_named(checkout: Path, case: str) -> None:
    folder, repo = checkout / "logs" / "nov24", opened(checkout)
    repo.names.claim("nov24", "first", checkout / "old logs" / "nov24" if case == "elsewhere" else folder)
    _, _, kept = night(repo)
    if case == "checked out":
        git(checkout, "checkout", "-q", "autoresearch/nov24")
    if case == "moved":
        git(checkout, "update-ref", "refs/heads/autoresearch/nov24", repo.commit(kept, OLD, "the user's own"))
    before, tip = git(checkout, "for-each-ref"), git(checkout, "rev-parse", "autoresearch/nov24")
    with pytest.raises(NameTaken) as refused:
        opened(checkout).names.claim("nov24", "second", folder)
    assert git(checkout, "for-each-ref") == before
    for command in re.findall("`([^`]+)`", str(refused.value)):
        subprocess.run(command, shell=True, check=True, cwd="/")
    assert opened(checkout).names.why_taken("nov24", folder) == ""
    opened(checkout).names.claim("nov24", "second", folder)
    assert tip in git(checkout, "for-each-ref", "--format=%(objectname)", "refs/heads").split()


def test_only_one_of_many_claims_at_once_gets_the_name(checkout: Path) -> None:
    def claim(number: int) -> bool:
        try:
            opened(checkout).names.claim("nov24", f"id {number}", checkout)
        except NameTaken:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        won = list(pool.map(claim, range(4)))
    owner = opened(checkout).owners.get("nov24")
    assert sum(won) == 1 and owner is not None and owner.id == f"id {won.index(True)}"


def test_a_run_of_the_version_before_claims_what_it_made_and_nothing_else(checkout: Path) -> None:
    repo = opened(checkout)
    _, fit, kept = night(repo)
    with pytest.raises(NameTaken, match="is there already"):
        repo.names.claim("nov24", "a run of another work tree", checkout, {repo.base()})
    assert repo.owners.get("nov24") is None
    repo.names.claim("nov24", "its own", checkout, {fit, kept})
    assert repo.refs.branch("nov24") == "refs/heads/autoresearch/nov24"
    git(checkout, "branch", "autoresearch-nov25", kept)  # dashed, when a branch autoresearch was in the way
    git(checkout, "update-ref", "refs/autoresearch/nov25/fit", fit)
    repo.names.claim("nov25", "its own", checkout, {fit, kept})
    assert repo.refs.branch("nov25") == "refs/heads/autoresearch-nov25"
