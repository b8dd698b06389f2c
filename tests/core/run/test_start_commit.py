"""What a new run starts from: the profile's sizes, but for what the user has made of train.py."""

from __future__ import annotations

from core.change.knobs import set_knobs
from core.git.namespace import run_ref
from core.git.repository import Repository
from core.machine.profiles import named
from core.run.start_commit import startup_knobs
from tests.core.run.runs import SHIPPED


def test_the_shipped_train_py_gets_the_knobs_of_the_profile(repo: Repository) -> None:
    profile = named("gpu-24")
    assert startup_knobs(profile, SHIPPED, repo) == (profile.knobs, "")
    assert startup_knobs(profile, SHIPPED + "\n# a remark\n", repo) == (profile.knobs, "")


def test_a_size_that_the_user_chose_stays_and_a_notice_says_so(repo: Repository) -> None:
    profile = named("gpu-24")
    knobs, words = startup_knobs(profile, set_knobs(SHIPPED, {"DEPTH": 12}), repo)
    assert "DEPTH" not in knobs and knobs["WIDTH"] == 512 and "Your own values are kept (DEPTH = 12)" in words
    _, words = startup_knobs(profile, set_knobs(SHIPPED, {"DEPTH": 12, "WIDTH": 256}), repo)
    assert "Your own values are kept (DEPTH = 12, WIDTH = 256)" in words


def test_a_train_py_that_a_run_kept_keeps_its_sizes(repo: Repository) -> None:
    profile = named("cpu-fp32")
    best = set_knobs(SHIPPED, {"DEPTH": 2, "WARM_DOWN": 0.3})  # what it moved back to the shipped value counts as well
    start = repo.commit(repo.base(), set_knobs(SHIPPED, {"DEPTH": 1}), "start")
    kept = repo.commit(start, best, "kept")
    repo.refs.point(run_ref("night", "fit"), start)
    for tip in (kept, repo.commit(kept, set_knobs(best, {"WARM_DOWN": 0.4}), "kept later")):
        repo.refs.point(repo.refs.branch("night"), tip, [kept])
        assert startup_knobs(profile, best, repo) == (
            {},
            "train.py is one that run night kept, so its sizes stay as they are.",
        )
    assert startup_knobs(named("cpu"), best, repo) == ({}, ""), "nothing to set, nothing to say"
