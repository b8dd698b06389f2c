"""The name of a run in git: two work trees, several starts at once, and what the user has called something else already."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from core.git.errors import NameTaken
from core.machine.project import Project, UsageError
from core.record import events as ev
from core.record import journal
from core.record.fold import fold
from core.record.run_lock import RunBusy
from core.record.state import State
from core.run.active import ActiveRun
from core.run.opening import open_run
from core.run.options import Options
from core.run.plan import Plan, make_plan
from tests.product import Product


@pytest.fixture
def trees(product: Product, monkeypatch: pytest.MonkeyPatch) -> list[Project]:
    """Two work trees of one repository, with prepared data."""
    if not list(Path(product.env["AUTORESEARCH_DATA"]).glob("*/manifest.json")):
        done = product("prepare", "--dataset", f"text:{product.corpus}", "--vocab", "320")
        assert done.returncode == 0, done.stderr
    monkeypatch.setenv("AUTORESEARCH_DATA", product.env["AUTORESEARCH_DATA"])
    other = product.root.parent / "other"
    product.git("worktree", "add", "-q", "--detach", str(other))
    return [Project(product.root, product.logs), Project(other, other / "logs")]


def options(product: Product, name: str | None = None) -> Options:
    return Options(
        name, device="cpu", profile="tiny", dataset=f"text:{product.corpus}", slots=1, agent="search", budget_s=1.0
    )


def opened(project: Project, chosen: Plan, wanted: Options) -> ActiveRun:
    """Open a run and let it go again, as a loop that is killed before it trains."""
    active, lock = open_run(project, chosen, wanted, lambda event, state: None)
    active.record(ev.Started(pid=1, agent="search", approval="auto", slots=1, turn=project.next_turn()))
    active.record(ev.Stopped(reason="stop requested", finished=True))
    active.journal.close()
    lock.release()
    return active


def test_runs_of_a_day_keep_apart_in_two_work_trees_even_when_they_start_at_once(
    product: Product, trees: list[Project]
) -> None:
    today = trees[0].new_name(lambda name: False)
    product.git("branch", f"autoresearch/{today}")
    mine = product.git("rev-parse", f"autoresearch/{today}")
    chosen = [make_plan(project, options(product)) for project in trees for _ in range(2)]
    assert {plan.folder.name for plan in chosen} == {f"{today}-2"}, "all chose the same"
    with ThreadPoolExecutor(4) as pool:
        labs = list(pool.map(opened, [tree for tree in trees for _ in range(2)], chosen, [options(product)] * 4))
    names = [active.name for active in labs]
    assert len(set(names)) == 4 and today not in names
    for active in labs:
        assert active.repo.refs.commits(active.name)[active.repo.refs.branch(active.name)] == active.state.incumbent, (
            "none moved another's"
        )
        assert (
            fold(journal.read(active.folder / journal.NAME)).config == active.config
            and active.config.name == active.name
        )
    assert product.git("rev-parse", f"autoresearch/{today}") == mine
    folders = [folder for tree in trees for folder in tree.logs.iterdir() if (folder / "lock").exists()]
    assert len(folders) == 4, "who gave up a name left nothing"
    assert product.git("fsck", "--no-dangling") == ""


def test_a_name_that_the_user_gave_is_not_changed(product: Product, trees: list[Project]) -> None:
    here, there = trees
    overtaken = make_plan(there, options(product, "r"))
    opened(here, make_plan(here, options(product, "r")), options(product, "r"))
    before = product.git("for-each-ref")
    with pytest.raises(UsageError, match=r"cannot be called r.*product/logs/r.*Choose another"):
        make_plan(there, options(product, "r"))
    with pytest.raises(NameTaken, match=r"product/logs/r.*Nothing was started. Choose another"):
        open_run(there, overtaken, options(product, "r"), lambda event, state: None)
    assert not (there.logs / "r").exists() and product.git("for-each-ref") == before
    opened(here, make_plan(here, options(product, "r")), options(product, "r"))  # its own run goes on
    shutil.rmtree(here.logs / "r")
    with pytest.raises(UsageError, match=r"cannot be called r.*where no journal is now.*frees the name"):
        make_plan(there, options(product, "r"))  # the commits of a run of other logs are not ours to move
    active = opened(here, make_plan(here, options(product, "r")), options(product, "r"))
    notices = [event.text for event in journal.read(active.folder / journal.NAME) if isinstance(event, ev.Notice)]
    assert any("Git still had the commits of a former run r" in text for text in notices)


def test_a_chosen_name_that_another_start_is_giving_up_is_replaced(product: Product, trees: list[Project]) -> None:
    here, wanted = trees[0], options(product)
    chosen = make_plan(here, wanted)
    (chosen.folder / "harness.new").mkdir(parents=True)  # its files go one by one, after its lock
    active = opened(here, chosen, wanted)
    assert active.name == f"{chosen.folder.name}-2" and list(chosen.folder.iterdir()) == [chosen.folder / "harness.new"]


def test_a_start_that_fails_gives_its_name_back(product: Product, trees: list[Project]) -> None:
    here, wanted = trees[0], options(product, "r")
    chosen = make_plan(here, wanted)
    before = product.git("for-each-ref")

    def fails(event: ev.AnyEvent, state: State) -> None:
        if isinstance(event, ev.Charter):
            raise RuntimeError("as a bug would")

    with pytest.raises(RuntimeError):
        open_run(here, chosen, wanted, fails)
    assert product.git("for-each-ref") == before and not (here.logs / "r").exists()
    assert opened(here, make_plan(here, wanted), wanted).name == "r"


def test_runs_of_the_version_before(product: Product, trees: list[Project]) -> None:
    """It recorded no owners, and both trees called theirs the same: the refs are those of the second."""
    here, there = trees
    active = opened(here, make_plan(here, options(product, "r")), options(product, "r"))
    product.git("update-ref", "-d", "refs/autoresearch/_owner/r")
    journals = active.folder / journal.NAME
    first, *lines = journals.read_bytes().splitlines(keepends=True)
    old = first.replace(f'"id":"{active.state.id}",'.encode(), b"").replace(f',"id":"{active.state.id}"'.encode(), b"")
    assert b'"id"' not in old
    journals.write_bytes(old + b"".join(lines))
    shutil.copytree(active.folder, there.logs / "r")
    theirs = there.logs / "r" / journal.NAME  # another run: another header, other commits
    text = (
        theirs.read_bytes().replace(active.state.incumbent.encode(), b"1" * 40).replace(b'"t":1', b'"t":0.5,"was":1', 1)
    )
    theirs.write_bytes(text)
    with pytest.raises(NameTaken, match="starts a new run from its best"):
        open_run(there, make_plan(there, options(product, "r")), options(product, "r"), lambda event, state: None)
    assert theirs.read_bytes() == text, "nothing was changed"
    opened(here, make_plan(here, options(product, "r")), options(product, "r"))
    with pytest.raises(NameTaken, match="product/logs/r"):
        open_run(there, make_plan(there, options(product, "r")), options(product, "r"), lambda event, state: None)


def test_the_loser_of_a_start_in_one_tree_is_told(product: Product, trees: list[Project]) -> None:
    here = trees[0]
    late = make_plan(here, options(product, "r"))
    opened(here, make_plan(here, options(product, "r")), options(product, "r"))
    with pytest.raises(RunBusy, match="started by another command"):
        open_run(here, late, options(product, "r"), lambda event, state: None)
