"""Exports and samples of a run: the real harness, a training of 25 steps, and the shipped loader."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pytest

from core.errors import UserError
from core.execution.deterministic import DeterministicExecutor, Ending
from core.export import commands, samples, writing
from core.export import folder as exports
from core.export.folder import FACTS, FILES, LOADER, TOKENIZER, WEIGHTS
from core.export.samples import Sample, Samples
from core.export.sampling import write_samples
from core.export.training import Exporter, ExportFailed, comparison, gains
from core.export.version import find
from core.judging import gain, schedule
from core.machine.project import Project, UsageError
from core.record import journal
from core.record.run_lock import Lock, RunBusy
from core.run import deletion
from core.run.reading import read_state
from tests.core.export.runs import BETTER, STEADY, UNLOADABLE, project, write
from tests.core.reporting.reports import state_of
from tests.core.reporting.test_report import checked
from tests.json_shapes import has_shape


@dataclass
class Made:
    """A run, and what its exporter said."""

    project: Project
    folder: Path
    said: list[str] = field(default_factory=list)

    def exporter(self, *, beside: bool = False) -> Exporter:
        return Exporter(self.project, self.folder, read_state(self.folder), beside, self.said.append)

    def version(self, asked: str = "best"):  # type: ignore[no-untyped-def]
        return find(read_state(self.folder), asked)


@pytest.fixture(scope="module")
def exported(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A run of which `sample` has exported the start and the best."""
    root = tmp_path_factory.mktemp("run") / "tree"
    made = Made(project(root), Path())
    made.folder = write(made.project, tiny_data)
    before = (made.folder / journal.NAME).read_bytes()
    found = write_samples(made.project, "r", "the ", 30, 0.8, 5, beside=False, say=made.said.append)
    assert (made.folder / journal.NAME).read_bytes() == before, "an export records nothing"
    (root / "found.json").write_text(samples.as_json(found))
    has_shape(samples.as_json(found), "sample")
    return made


@pytest.fixture
def made(tmp_path: Path) -> Made:
    """A run without a harness: for what is refused before anything is trained."""
    found = project(tmp_path / "tree")
    return Made(found, write(found, None))


# -- which version ----------------------------------------------------------------------------------------------------


def test_a_version_is_the_start_the_best_or_a_number(made: Made) -> None:
    best, start = made.version(), made.version("start")
    assert (best.name, best.words, best.lasting, best.val_bpb) == (
        "00002",
        "the best (experiment 2)",
        "experiment 2",
        4.0,
    )
    assert (start.name, start.words, start.lasting, start.val_bpb) == ("start", "the start", "the start", 5.0)
    assert made.version("2") == made.version("#2") == best


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ("1", "Experiment 1 of run r has no score (crash)"), ("9", "no experiment 9; its last one is 2"),
        ("-1", "is not start, best"), ("twelve", "is not start, best"), ("²", "is not start, best"),
    ],
)  # fmt: skip
def test_other_versions_are_refused(made: Made, asked: str, why: str) -> None:
    with pytest.raises(UsageError, match=r"Nothing was\s+trained\.") as refused:
        made.version(asked)
    assert why in str(refused.value)


def test_the_best_of_a_run_without_a_kept_change_is_its_start(tmp_path: Path) -> None:
    found = project(tmp_path / "tree")
    state = read_state(write(found, None, kept=False))
    assert find(state).name == "start"


# -- what is refused --------------------------------------------------------------------------------------------------


def test_a_rehearsal_and_a_run_of_an_earlier_version_have_no_model(made: Made) -> None:
    with pytest.raises(UsageError, match="earlier version") as refused:
        made.exporter().export([made.version()])
    assert "--name NEW --from r" in str(refused.value)
    computed = write(made.project, None, name="computed", executor="deterministic:/world.json")
    rehearsal = Exporter(made.project, computed, read_state(computed), False, made.said.append)
    with pytest.raises(UsageError, match="rehearsal"):
        rehearsal.export([find(read_state(computed))])
    assert not made.said and not (made.folder / "export").exists()


def test_a_run_at_work_is_not_disturbed(exported: Made, tmp_path: Path) -> None:
    made = copied(exported, tmp_path)
    shutil.rmtree(made.folder / "export")
    busy = Lock(write(made.project, None, name="busy"))
    try:
        with pytest.raises(UsageError, match="Run busy is training on cpu now") as refused:
            made.exporter().export([made.version()])
        for words in ("`make attach ARGS=busy`", "`make stop ARGS=busy`", "--beside"):
            assert words in str(refused.value)
        with pytest.raises(UsageError, match="Run busy is training on cpu now"):
            write_samples(made.project, "r", None, 5, 1.0, 0, beside=False, say=made.said.append)
    finally:
        busy.release()
    other = Lock(made.folder, loop=False)
    with pytest.raises(RunBusy, match="final report or an export of run r"):
        made.exporter().export([made.version()])
    other.release()
    place = Lock(made.folder / "export", loop=False)
    with pytest.raises(RunBusy, match="Another export of run r is being made"):
        made.exporter().export([made.version()])
    place.release()
    assert not made.said, "nothing was trained"


def test_a_copy_needs_an_empty_folder(tmp_path: Path) -> None:
    for _ in range(2):
        exports.make_empty(tmp_path / "new" / "one")
    (tmp_path / "mine").touch()
    for out, why in (
        (tmp_path, "is not an empty folder"),
        (tmp_path / "mine", "is not an empty folder"),
        (tmp_path / "mine" / "a", "cannot be made"),
    ):
        with pytest.raises(UsageError, match=f"{why}.*Nothing was trained"):
            exports.make_empty(out)


# -- what is exported -------------------------------------------------------------------------------------------------


def copied(exported: Made, tmp_path: Path) -> Made:
    root = tmp_path / "copy"
    shutil.copytree(exported.project.root, root, symlinks=True)
    found = Project(root, root / "logs")
    return Made(found, found.logs / "r")


def test_start_and_best_are_exported_once(exported: Made) -> None:
    assert len(exported.said) == 3 and exported.said[0].startswith("Two models are exported first")
    assert "The best (experiment 2) of run r is trained once more" in exported.said[2]
    for asked, source in (("start", STEADY), ("best", BETTER)):
        [found] = exported.exporter().export([exported.version(asked)])
        assert not found.fresh and (found.folder / "train.py").read_text() == source
        assert set(os.listdir(found.folder)) == set(FILES)
        assert found.facts.seed == 3 and 1 < found.facts.val_bpb < 8 and found.facts.params == 320 * 320
    assert len(exported.said) == 3, "nothing was trained again"
    left = {path.name for path in (exported.folder / "export").iterdir()}
    assert left == {"start", "00002", "lock", "training.log", "sampling.log"}


def test_the_score_is_compared_with_the_recorded_one(exported: Made) -> None:
    state = read_state(exported.folder)
    [found] = exported.exporter().export([exported.version()])
    facts = found.facts
    near = msgspec.structs.replace(facts, val_bpb=4.001)
    assert "4.0010, and the run measured 4.0000 on the same seed: the same within the noise" in comparison(near, state)
    assert "0.5000 worse, more than the noise" in comparison(msgspec.structs.replace(facts, val_bpb=4.5), state)
    assert "0.5000 better, more than the noise" in comparison(msgspec.structs.replace(facts, val_bpb=3.5), state)


def test_an_export_says_how_much_better_it_is_than_the_start(exported: Made) -> None:
    [best], [start] = (exported.exporter().export([exported.version(asked)]) for asked in ("best", "start"))
    assert best.facts.change == pytest.approx(-1.0) and best.facts.confirmed_change is None
    assert best.facts.change_words.startswith("against the start of the run: -1.0000 ± ")
    assert f"* {best.facts.change_words}\n* 102,400 parameters" in (best.folder / exports.README).read_text()
    assert start.facts.change is None and "against the start" not in (start.folder / exports.README).read_text()


def test_the_change_of_an_export_is_that_of_the_run_and_of_its_final_check() -> None:
    state = checked(state_of(11, keep_every=5), 0.9)
    so_far = gain.so_far(state, schedule.noise(state).sigma)
    found = gains(state, state.incumbent)
    assert so_far is not None and (found["change"], found["change_error"]) == (so_far.change, so_far.error)
    assert found["confirmed_change"] == pytest.approx(-0.1) and found["confirmed_error"] > 0
    other = state.experiments[7]
    assert gains(state, other.commit).keys() == {"change"} and gains(state, state.commits[0]) == {}


def test_the_loader_writes_the_same_text_without_the_loop(exported: Made, tmp_path: Path) -> None:
    """From a copy of the folder, in an interpreter that finds no module of this project."""
    found = json.loads((exported.project.root / "found.json").read_text())
    assert found["best"]["version"] == "the best (experiment 2)" and found["start"]["text"] != found["best"]["text"]
    exports.make_empty(tmp_path / "out")
    exports.copy(exported.folder / "export" / "00002", tmp_path / "out")
    done = subprocess.run(
        [sys.executable, str(tmp_path / "out" / LOADER), "the ", "--tokens", "30", "--temperature", "0.8", "--seed", "5"],
        cwd=tmp_path, env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"}, capture_output=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout.decode() == f"the {found['best']['text']}\n"


def test_the_readme_shows_how_other_code_uses_the_model(exported: Made, tmp_path: Path) -> None:
    exports.make_empty(tmp_path / "out")
    exports.copy(exported.folder / "export" / "00002", tmp_path / "out")
    readme = (tmp_path / "out" / exports.README).read_text()
    example = readme.split("```python\n")[1].split("```")[0]
    (tmp_path / "out" / "mine.py").write_text(f"{example}print(tuple(logits.shape), tokens.shape[1])\n")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "out/mine.py"], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("(1, ") and ", 320) " in done.stdout


def test_the_loader_is_short_enough_to_be_copied() -> None:
    lines = [line for line in exports.SCRIPTS[LOADER].read_text().splitlines() if line.strip()]
    assert len(lines) <= 24


def test_the_command_says_what_there_is_and_makes_a_copy(
    exported: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(exported.project.root)
    commands.export("r", "2", tmp_path / "out")
    said = capsys.readouterr().out
    assert "Experiment 2 of run r was exported before. Nothing was trained." in said
    assert f"{tmp_path / 'out'} has the weights (0.4 MB)" in said and "`.venv/bin/python" in said
    assert set(os.listdir(tmp_path / "out")) == set(FILES)
    commands.export("r", "2", as_json=True)
    told = capsys.readouterr()
    assert not has_shape(told.out, "export")["fresh"] and "was exported before" in told.err
    commands.export("r", "start")
    assert f"{Path('logs', 'r', 'export', 'start')} has the weights" in capsys.readouterr().out
    with pytest.raises(UsageError, match="is not an empty folder"):
        commands.export("r", "start", tmp_path / "out")


@pytest.mark.parametrize("lost", [TOKENIZER, WEIGHTS, FACTS])
def test_an_incomplete_export_is_ignored(exported: Made, tmp_path: Path, lost: str) -> None:
    made = copied(exported, tmp_path)
    assert made.exporter().existing(made.version()) is not None
    path = made.folder / "export" / "00002" / lost
    if lost == WEIGHTS:
        os.truncate(path, 100)
    elif lost == FACTS:
        path.write_text("{}")
    else:
        path.unlink()
    assert made.exporter().existing(made.version()) is None


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (Ending(outcome="crash", reason="KeyError: 'x'"), "KeyError: 'x'. The run is unchanged"),
        (4.0, "saved no weights"),
    ],
)
def test_a_training_that_fails_leaves_nothing(
    exported: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: float | Ending, why: str
) -> None:
    made = copied(exported, tmp_path)
    place = made.folder / "export" / "00002"
    (place / TOKENIZER).unlink()
    (place / "mine").touch()
    maker = lambda slot: DeterministicExecutor(lambda source, seed: answer)  # noqa: E731
    monkeypatch.setattr("core.execution.registry.check", lambda *_: maker)
    with pytest.raises(ExportFailed, match=re.escape(why)):
        made.exporter().export([made.version("start"), made.version()])
    left = {path.name for path in place.parent.iterdir()}
    assert left == {"start", "00002", "lock", "training.log", "sampling.log"} and (place / "mine").exists()


def test_a_model_that_cannot_be_loaded_does_not_cost_the_other_one(tiny_data: Path, tmp_path: Path) -> None:
    made = Made(project(tmp_path / "tree"), Path())
    made.folder = write(made.project, tiny_data, better=UNLOADABLE)
    with pytest.raises(ExportFailed, match=r"answers otherwise than the trained one.* its other exports are kept\."):
        made.exporter().export([made.version("start"), made.version()])
    assert made.exporter().existing(made.version("start")) is not None
    assert {path.name for path in (made.folder / "export").iterdir() if path.is_dir()} == {"start"}


def test_models_that_do_not_answer_cost_no_export(
    exported: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = copied(exported, tmp_path)
    monkeypatch.setattr(writing, "START_S", -10_000.0)
    with pytest.raises(UserError, match=r"The models did not answer within .* The exports are kept\. Try again\."):
        write_samples(made.project, "r", "the ", 30, 0.8, 5, beside=False, say=made.said.append)
    (made.folder / "export" / "00002" / FACTS).unlink()
    with pytest.raises(ExportFailed, match=r"The model did not answer within .* its other exports are kept\."):
        made.exporter().export([made.version("start"), made.version()])
    assert made.exporter().existing(made.version("start")) is not None


def test_a_run_is_deleted_with_its_exports(exported: Made, tmp_path: Path) -> None:
    made = copied(exported, tmp_path)
    deletion.delete(deletion.what_belongs_to(made.project, "r"))
    assert not made.folder.exists()


# -- texts ------------------------------------------------------------------------------------------------------------

START = Sample(version="the start", commit="a", val_bpb=1.5, text="one\n    two\x1b[31m" + "z" * 90, tokens=3)
BEST = Sample(version="the best (experiment 2)", commit="b", val_bpb=1.25, text="three", tokens=1)


def test_texts_stand_beside_each_other_where_there_is_room() -> None:
    both = Samples(run="r", prompt="def ", temperature=1.0, seed=0, start=START, best=BEST)
    wide, narrow = (samples.as_text(both, width, styled=False).splitlines() for width in (140, 80))
    assert wide[0].split("  ")[0] == "The start, val_bpb 1.5000" and wide[0].endswith(
        "The best (experiment 2), val_bpb 1.2500"
    )
    assert "def one" in wide[1] and "def three" in wide[1] and max(map(len, wide)) <= 140
    assert narrow[:2] == ["The start, val_bpb 1.5000", "def one"]
    assert narrow[-2:] == ["The best (experiment 2), val_bpb 1.2500", "def three"] and max(map(len, narrow)) <= 80
    for lines in (wide, narrow):
        assert "\x1b" not in "".join(lines) and "".join(lines).count("z") == 90, "nothing is cut off"
    assert "\x1b[1m" in samples.as_text(both, 80, styled=True)


def test_without_a_kept_change_there_is_one_text() -> None:
    one = Samples(run="r", prompt="", temperature=1.0, seed=0, start=BEST, best=None)
    assert samples.as_text(one, 140, styled=False) == "The best (experiment 2), val_bpb 1.2500\nthree"
    assert json.loads(samples.as_json(one))["best"] is None


def test_a_temperature_is_a_number_from_0_on(made: Made) -> None:
    for wrong in (-1.0, float("nan"), float("inf")):
        with pytest.raises(UserError, match="must be 0 or more"):
            write_samples(made.project, "r", None, 5, wrong, 0, beside=False, say=made.said.append)
