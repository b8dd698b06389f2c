"""What a new run knows from earlier ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from core.machine.project import Project
from core.model import Effect, Notes, RunConfig
from core.record import events as ev
from core.record import journal
from core.record.fold import fold
from core.record.state import State
from core.reporting import log_lines
from core.run import earlier_runs
from core.run.opening import open_run
from core.run.plan import Options, make_plan
from core.run.reading import read_state
from core.target import TARGET
from core.verdicts import Verdict
from nanochat.data.prepare import prepare
from tests.core.run.runs import SHIPPED, START, write_run

ROOT = Path(__file__).resolve().parents[3]
NIGHTS = (
    "found",
    "fifty",
    "forty",
    "default-1",
    "default-2",
    "default-3",
    "default-50",
)  # the recorded nights that ship, in their order


@pytest.mark.parametrize(("at", "name"), enumerate(NIGHTS))
def test_what_ships_is_what_the_recorded_nights_measured(at: int, name: str) -> None:
    state = fold(journal.read(ROOT / "tests" / "recorded" / name / journal.NAME), State())
    assert state.config is not None
    night = TARGET.measured[at]
    assert night.effects == tuple(earlier_runs.effects_of(state)) and len(night.effects) >= 14
    assert night.about(state.config) and night.budget_s == state.config.budget_s
    ideas = {entry.name for entry in TARGET.book}
    for effect in night.effects:
        assert set(effect.edits) <= ideas
        assert all(f"\n{name} = " in SHIPPED for name in effect.after)


def test_what_ships_besides_is_the_mean_over_the_seeds_of_the_benchmark() -> None:
    rows = [json.loads(line) for line in (ROOT / "benchmarks" / "effects.jsonl").read_text().splitlines()]
    (entry,) = (entry for entry in TARGET.book if entry.name == "bigrams")
    scores: dict[int, dict[str, float]] = {}
    for row in rows:
        if row["budget_s"] == 60.0:
            scores.setdefault(row["seed"], {})[row["name"]] = row["result"]["val_bpb"]
    gains = [
        (found["baseline 1"] + found["baseline 2"]) / 2 - changed
        for found in scores.values()
        for words, changed in found.items()
        if entry.hypothesis.startswith(words.removesuffix("."))
    ]
    (effect,) = TARGET.measured[len(NIGHTS)].effects
    assert len(gains) == 12 and effect.edits == ("bigrams",)
    assert effect.gain == pytest.approx(sum(gains) / 12, abs=1e-5)


def tried(number: int, notes: Notes, gain: float | None) -> list[ev.AnyEvent]:
    commit = f"{number:040}"
    proposed = ev.Proposed(
        number=number, commit=commit, parent="0" * 40, fingerprint=commit, hypothesis="An idea.", agent="search", charter="",
        notes=notes,
    )  # fmt: skip
    verdict = Verdict.CRASH if gain is None else Verdict.DISCARD
    return [proposed, ev.Judged(number=number, verdict=verdict, finding="", gain=gain)]


WIDER = Notes(knobs={"WIDTH": 256}, edits=(), before={"WIDTH": 128})
GELU = Notes(knobs={}, edits=("gelu",), before={})
FREE = Notes(idea=("Block",))  # a language model's own code


def config_of(folder: Path, **other: object) -> RunConfig:
    config = read_state(folder).config
    assert config is not None
    return msgspec.structs.replace(config, name="new", **other)


def of_runs(found: ev.Earlier) -> list[Effect]:
    """The effects of the runs in the logs, without those of recorded nights under other conditions."""
    return [effect for effect in found.effects if effect.noise is None]


def test_scored_experiments_of_comparable_runs(tmp_path: Path) -> None:
    project = Project(tmp_path, tmp_path / "logs")
    first = write_run(project, "first", START, *tried(1, GELU, -0.01), *tried(2, WIDER, None), *tried(3, FREE, 0.004))
    write_run(project, "second", START, *tried(1, WIDER, 0.02), budget_s=100.0)
    write_run(project, "longer", START, *tried(1, GELU, 0.5), budget_s=300.0)
    write_run(project, "other-data", START, *tried(1, GELU, 0.5), fingerprint="other")
    write_run(project, "gpu", START, *tried(1, GELU, 0.5), device="cuda", profile="gpu-24")
    write_run(project, "empty", START)
    broken = write_run(project, "broken", START, *tried(1, GELU, 0.5)) / journal.NAME
    broken.write_bytes(b"not a journal\n" + broken.read_bytes())
    lacking = write_run(project, "lacking", START, *tried(1, GELU, 0.5)) / journal.NAME
    lines = lacking.read_bytes().splitlines(keepends=True)
    lacking.write_bytes(b"".join(line for line in lines if b'"proposed"' not in line))
    found = earlier_runs.known_effects(project, config_of(first, profile="cpu", dataset="text:mine"))
    assert found is not None and (found.runs, found.own) == (("second", "first"), 2)
    assert of_runs(found) == [
        Effect(gain=0.02, before={"WIDTH": 128}, after={"WIDTH": 256}),
        Effect(gain=-0.01, edits=("gelu",)),
    ]
    state = State()
    assert log_lines.line(found, state) is not None
    assert "known from earlier runs: the effects of 2 experiments of second, first" in str(log_lines.line(found, state))


def test_the_recorded_nights_count_on_their_dataset_and_budget(tmp_path: Path) -> None:
    project = Project(tmp_path, tmp_path / "logs")
    config = config_of(write_run(project, "one", START))
    found = earlier_runs.known_effects(project, config)
    shipped = sum(len(measured.effects) for measured in TARGET.measured)
    assert found is not None and found.shipped == shipped and not found.own
    assert 0 < len(found.effects) < shipped, "a change of several nights counts once"
    assert "of recorded nights" in str(log_lines.line(found, State()))


@pytest.mark.parametrize(
    "other", [{"dataset": "tinystories"}, {"budget_s": 300.0}, {"device": "cuda", "profile": "gpu-8"}]
)
def test_under_other_conditions_only_the_ideas_of_the_recorded_nights_count(
    tmp_path: Path, other: dict[str, Any]
) -> None:
    project = Project(tmp_path, tmp_path / "logs")
    config = msgspec.structs.replace(config_of(write_run(project, "one", START)), **other)
    found = earlier_runs.known_effects(project, config)
    assert found is not None and not found.own
    assert "of recorded nights with another dataset, profile or budget" in str(log_lines.line(found, State()))
    assert all(effect.edits and not effect.after and effect.noise for effect in found.effects)
    gains = {effect.edits: effect.gain for effect in found.effects}
    of_key_shift = [
        one.gain for night in TARGET.measured for one in night.effects if one.edits == ("key-shift",) and not one.after
    ]
    times = len(of_key_shift)
    assert times > 3 and gains["key-shift",] == pytest.approx(sum(of_key_shift) / times, abs=1e-5)
    assert gains["no-rotary",] == -0.04914


def test_a_rehearsal_knows_nothing(tmp_path: Path) -> None:
    project = Project(tmp_path, tmp_path / "logs")
    config = config_of(write_run(project, "one", START))
    assert earlier_runs.known_effects(project, msgspec.structs.replace(config, executor="deterministic:x")) is None


def test_one_change_counts_once_and_others_do_not_crowd_it_out(tmp_path: Path) -> None:
    project = Project(tmp_path, tmp_path / "logs")
    first = write_run(project, "first", START, *tried(1, GELU, -0.01), *tried(2, GELU, -0.02))
    for number in range(3):
        write_run(project, f"rehearsal-{number}", START, *tried(1, GELU, 0.5), executor="deterministic:x")
    strange = Notes(knobs={}, edits=("no such idea",), before={})
    write_run(project, "third", START, *tried(1, GELU, 0.0), *tried(2, strange, 0.3), *tried(3, GELU, float("nan")))
    found = earlier_runs.known_effects(project, config_of(first, dataset="text:mine"))
    assert found is not None and of_runs(found) == [Effect(gain=-0.01, edits=("gelu",), times=3)]
    assert found.runs == ("third", "first") and found.own == 3


@pytest.mark.parametrize("wanted", [True, False])
def test_a_new_run_records_it_once(tmp_path: Path, corpus: Path, wanted: bool) -> None:
    project = Project(tmp_path, tmp_path / "logs")
    prepare(f"text:{corpus}", 320)
    (tmp_path / "nanochat").mkdir()
    (tmp_path / "nanochat" / "train.py").write_text(SHIPPED)
    (tmp_path / "program.md").write_text("Low.")
    options = Options(name="new", dataset=f"text:{corpus}", profile="tiny", earlier=wanted)
    chosen = make_plan(project, options)
    same = ("fingerprint", "profile", "executor", "budget_s", "dataset")
    before = {name: getattr(chosen.config, name) for name in same}
    write_run(project, "old", START, *tried(1, GELU, 0.01), **before)
    for _ in range(2):
        active, lock = open_run(project, make_plan(project, options), options, lambda event, state: None)
        found = active.state.earlier
        active.journal.close()
        lock.release()
        if wanted:
            assert (
                found is not None and found.runs == ("old",) and of_runs(found) == [Effect(gain=0.01, edits=("gelu",))]
            )
        else:
            assert found is None
    assert sum(isinstance(event, ev.Earlier) for event in journal.read(chosen.folder / journal.NAME)) == wanted


TAUGHT = ev.Lessons(lines=("Raise WIDTH.",), judged=10, agent="ollama:m")


def test_lessons_come_from_the_run_of_origin_or_the_latest_on_the_same_data(tmp_path: Path) -> None:
    project = Project(tmp_path, tmp_path / "logs")
    first = write_run(project, "first", START, TAUGHT, ev.Lessons(judged=20, agent="ollama:m", problem="No answer."))
    write_run(project, "other-data", START, TAUGHT, fingerprint="other")
    empty = write_run(project, "without", START)
    (write_run(project, "broken", START, TAUGHT) / journal.NAME).write_bytes(b"not a journal\n")
    config = config_of(first)
    assert earlier_runs.lessons(project, config, None) == ev.Lessons(
        lines=TAUGHT.lines, agent="ollama:m", source="first"
    )
    assert earlier_runs.lessons(project, config, "other-data") == ev.Lessons(
        lines=TAUGHT.lines, agent="ollama:m", source="other-data"
    )
    none = earlier_runs.lessons(project, config, empty.name)
    assert isinstance(none, ev.Notice) and "Run without has no lessons" in none.text


@pytest.mark.parametrize("wanted", [None, True])
def test_a_new_run_begins_with_lessons_only_if_the_user_says_so(
    tmp_path: Path, corpus: Path, wanted: bool | None
) -> None:
    project = Project(tmp_path, tmp_path / "logs")
    prepare(f"text:{corpus}", 320)
    (tmp_path / "nanochat").mkdir()
    (tmp_path / "nanochat" / "train.py").write_text(SHIPPED)
    (tmp_path / "program.md").write_text("Low.")
    options = Options(name="new", dataset=f"text:{corpus}", profile="tiny", lessons=wanted)
    chosen = make_plan(project, options)
    same = ("fingerprint", "profile", "executor", "budget_s", "dataset")
    write_run(project, "old", START, TAUGHT, **{name: getattr(chosen.config, name) for name in same})
    for _ in range(2):
        active, lock = open_run(project, make_plan(project, options), options, lambda event, state: None)
        found = active.state.lessons
        active.journal.close()
        lock.release()
        assert (found is not None and found.source == "old" and found.lines == TAUGHT.lines) == bool(wanted)
        assert active.state.lessons_at == 0, "they do not put off the first of its own"
    assert sum(isinstance(event, ev.Lessons) for event in journal.read(chosen.folder / journal.NAME)) == bool(wanted)
