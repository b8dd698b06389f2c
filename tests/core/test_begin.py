"""What a new run starts from: the profile's sizes, but for what the user has made of train.py."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from core import begin, stats
from core import events as ev
from core.begin import Options, fitting, fitting_slots, plan
from core.journal import Journal, Lock
from core.knobs import set_knobs
from core.model import RunConfig
from core.profiles import named
from core.project import Project, UsageError
from core.repository import Repository
from tests.fake_cuda import Cards, Nvml, make, shadow

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


def run(project: Project, name: str, *events: ev.AnyEvent) -> Path:
    config = RunConfig(
        name=name, dataset="python", data="/nowhere", fingerprint="", device="cpu", profile="cpu", budget_s=60, seq_len=256,
        vocab_size=2048, eval_tokens=1024, seed=1, slots=1, base_commit="0" * 40, noise_prior=0.01, agent="search", gate="auto",
    )  # fmt: skip
    folder = project.logs / name
    folder.mkdir(parents=True, exist_ok=True)
    time.sleep(0.02)  # a start later than the one before, by the milliseconds of the journal and by the file system's
    writer = Journal(folder)
    if not writer.open():
        writer.append(ev.Created(v=ev.SCHEMA, config=msgspec.to_builtins(config)))
    for event in events:
        writer.append(event)
    writer.close()
    return folder


START = ev.Started(pid=1, agent="search", gate="auto", slots=1)
TOLD, DONE = ev.Stopped(reason="told to stop"), ev.Stopped(reason="reached a limit", finished=True)


def test_which_run_goes_on(tmp_path: Path) -> None:
    project = Project(tmp_path, tmp_path / "logs")
    run(project, "old", START, DONE)
    run(project, "night", START, TOLD)
    assert plan(project, Options()).folder.name == "night"
    run(project, "old", ev.Notice(text="as `report` may write it"))
    assert plan(project, Options()).folder.name == "night", "the one whose loop was started last"
    alive = Lock(run(project, "quiet", START))
    run(project, "short", START, DONE)
    assert plan(project, Options()).folder.name == "quiet", "one at work is come back to"
    alive.release()
    run(project, "quiet", TOLD)
    assert plan(project, Options()).new, "the last one is finished"
    run(project, "short", START)
    assert plan(project, Options()).folder.name == "short"


SAME = {"budget_s": 60.0, "dataset": "python", "device": "cpu", "seed": 1, "profile": "cpu"}
OTHER = {"budget_s": 61.0, "dataset": "tinystories", "device": "mps", "seed": 0, "profile": "tiny"}


@pytest.mark.parametrize("option", SAME)
def test_a_run_that_goes_on_keeps_what_its_scores_depend_on(
    tmp_path: Path, option: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = Project(tmp_path, tmp_path / "logs")
    journal = run(project, "night", START, TOLD) / "events.jsonl"
    before = journal.read_bytes()
    monkeypatch.setattr(
        begin, "lacking", lambda device, count: ""
    )  # whether the machine has the device is not asked here
    for name in ("night", None):
        assert not plan(project, Options(name=name, **{option: SAME[option]})).new
        with pytest.raises(
            UsageError, match=rf"Nothing was changed\. Continue it without --{option.removesuffix('_s')}, or"
        ):
            plan(project, Options(name=name, **{option: OTHER[option]}))
    assert journal.read_bytes() == before


def test_a_profile_that_is_known_no_more_is_a_sentence(tmp_path: Path) -> None:
    project = Project(tmp_path, tmp_path / "logs")
    journal = run(project, "night", START, TOLD) / "events.jsonl"
    journal.write_text(journal.read_text().replace('"profile":"cpu"', '"profile":"gone"'))
    with pytest.raises(UsageError, match="'gone', which this version does not know"):
        plan(project, Options())


@pytest.mark.parametrize(
    ("wanted", "device", "cards", "slots"),
    [(2, "cuda", ["0"], 1), (2, "cuda", ["0", "1"], 2), (3, "cuda", None, 1), (2, "mps", None, 1), (4, "cpu", None, 4)],
)
def test_one_experiment_a_gpu(wanted: int, device: str, cards: list[str] | None, slots: int) -> None:
    found, words = fitting_slots(wanted, device, cards)
    assert found == slots and bool(words) == (slots < wanted)


@pytest.fixture
def cards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cards]:
    """Two fake cards, as the driver's library and a GPU build of torch show them to this process."""
    made = make(tmp_path / "cards", cards=2)
    monkeypatch.setitem(sys.modules, "pynvml", Nvml(made))
    monkeypatch.syspath_prepend(str(shadow(tmp_path / "shadow", made)))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    stats._nvml.cache_clear()
    yield made
    stats._nvml.cache_clear()


def test_a_run_that_goes_on_with_fewer_cards(tmp_path: Path, cards: Cards, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its slots follow the cards that are left, and without any it waits for them to come back."""
    project = Project(tmp_path, tmp_path / "logs")
    new = plan(project, Options(name="a"))
    assert (new.config.device, new.config.slots, new.said) == ("cuda", 2, "")
    assert plan(project, Options(name="a", slots=5)).config.slots == 2
    (project.logs / "a").mkdir(parents=True)
    record = Journal(project.logs / "a")
    record.open()
    record.append(ev.Created(v=ev.SCHEMA, config=msgspec.to_builtins(new.config)))
    record.close()
    assert plan(project, Options(name="a")).said == ""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    left = plan(project, Options(name="a"))
    assert left.config.slots == 1 and "2 experiments at once" in left.said and not left.new
    asked = plan(project, Options(name="a", slots=3))
    assert asked.config.slots == 1 and "3 experiments at once" in asked.said
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(UsageError, match=r"Run a trains on cuda, which cannot be used now: .* Nothing was changed"):
        plan(project, Options(name="a"))
