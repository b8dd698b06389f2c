"""What a new run starts from: the profile's sizes, but for what the user has made of train.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.begin import fitting
from core.knobs import set_knobs
from core.profiles import named
from core.repository import Repository

SHIPPED = (Path(__file__).resolve().parents[2] / "nanochat" / "train.py").read_text(encoding="utf-8")


@pytest.fixture
def repo(tmp_path: Path) -> Repository:
    (tmp_path / "nanochat").mkdir()
    (tmp_path / "nanochat" / "train.py").write_text(SHIPPED)
    return Repository.open(tmp_path, tmp_path / "private")


def test_the_shipped_train_py_is_fitted_to_the_machine(repo: Repository) -> None:
    profile = named("gpu-24")
    assert fitting(profile, SHIPPED, repo) == (profile.knobs, "")
    assert fitting(profile, SHIPPED + "\n# a remark\n", repo) == (profile.knobs, "")


def test_a_size_that_the_user_chose_stays_and_that_is_said(repo: Repository) -> None:
    profile = named("gpu-24")
    knobs, words = fitting(profile, set_knobs(SHIPPED, {"DEPTH": 12}), repo)
    assert "DEPTH" not in knobs and knobs["WIDTH"] == 512 and "Your own DEPTH = 12 stays" in words
    _, words = fitting(profile, set_knobs(SHIPPED, {"DEPTH": 12, "WIDTH": 256}), repo)
    assert "Your own DEPTH = 12, WIDTH = 256 stays" in words


def test_what_a_run_kept_and_was_taken_home_is_not_fitted_again(repo: Repository) -> None:
    profile = named("cpu-fp32")
    best = set_knobs(SHIPPED, {"DEPTH": 2, "WARM_DOWN": 0.3})  # what it moved back to the shipped value counts as well
    start = repo.commit(repo.base(), set_knobs(SHIPPED, {"DEPTH": 1}), "start")
    kept = repo.commit(start, best, "kept")
    repo.set_ref(repo.attempt_ref("night", "fit"), start)
    for tip in (kept, repo.commit(kept, set_knobs(best, {"WARM_DOWN": 0.4}), "kept later")):
        repo.set_ref(repo.branch("night"), tip)
        assert fitting(profile, best, repo) == (
            {},
            "train.py is one that run night kept, so its sizes stay as they are.",
        )
    assert fitting(named("cpu"), best, repo) == ({}, ""), "nothing to set, nothing to say"
