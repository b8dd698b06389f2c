"""Two experiments, and two runs, side by side: what `compare` prints."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from core import cli
from core.change import edits
from core.judging import gain, schedule
from core.record import journal
from core.reporting import run_comparison
from core.reporting.outcome import FinalCheck
from core.reporting.run_comparison import RunFacts
from core.run import comparing
from core.run.reading import read_state

TESTS = Path(__file__).resolve().parents[2]


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    """Two real runs: one of a second a training with its files, and the journal of a real night."""
    shutil.copytree(TESTS / "tui" / "recorded" / "nov23", tmp_path / "nov23")
    (tmp_path / "found").mkdir()
    shutil.copyfile(TESTS / "recorded" / "found" / journal.NAME, tmp_path / "found" / journal.NAME)
    return tmp_path


def printed(capsys: pytest.CaptureFixture[str], logs: Path, *words: str) -> str:
    with pytest.raises(SystemExit) as ended:
        cli.main(["compare", *words, "--logs", str(logs)])
    assert not ended.value.code
    return capsys.readouterr().out


def refused(capsys: pytest.CaptureFixture[str], logs: Path, *words: str) -> str:
    with pytest.raises(SystemExit) as ended:
        cli.main(["compare", *words, "--logs", str(logs)])
    assert ended.value.code not in (0, None)
    return f"{ended.value.code} {capsys.readouterr().err}"


def test_two_experiments_with_their_difference_and_what_differs(logs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shown = printed(capsys, logs, "1", "8", "--run", "nov23")
    assert shown.startswith("nov23: #1 and #8\n")
    for words in (
        "A larger step: the table",
        "A larger step still.",
        "kept, val_bpb",
        "against the start",
        "against #1",
    ):
        assert words in shown, shown
    assert "#8 is better than #1" in shown
    assert "-LR = 0.005 " in shown and "+LR = 0.02 " in shown and "+++ b/" not in shown


def test_its_data_agrees_with_the_scale_of_the_run(logs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(printed(capsys, logs, "start", "best", "--run", "nov23", "--json"))
    state = read_state(logs / "nov23")
    so_far = gain.so_far(state, schedule.noise(state).sigma)
    assert so_far is not None and found["difference"] == pytest.approx(so_far.change)
    assert found["error"] == pytest.approx(so_far.error) and found["second"]["val_bpb"] == pytest.approx(so_far.best)
    assert (found["first"]["number"], found["second"]["number"]) == (0, state.kept[-1])
    assert "-LR = 0.0005 " in found["diff"] and found["added"] == found["removed"] > 0 and not found["missing"]


def test_the_start_is_restored_from_whatever_files_are_left(logs: Path) -> None:
    folder = logs / "nov23"
    state, first = read_state(folder), comparing.source(read_state(folder), folder, 1)
    assert first is not None and "LR = 0.005 " in first
    start = first.replace("LR = 0.005 ", "LR = 0.0005 ")
    assert comparing.source(state, folder, 0) == start, "from the first experiment and its diff"
    best = comparing.source(state, folder, state.kept[-1])
    assert best is not None
    (folder / "best.diff").write_text(edits.unified(start, best))
    shutil.rmtree(folder / "00001")
    assert comparing.source(state, folder, 0) == start, "from the best and its diff"
    (folder / "train.py").write_text("something else\n")
    assert comparing.source(state, folder, 0) == start, "from another experiment"
    assert comparing.source(state, folder, 1) is None
    for child in folder.glob("0*/change.diff"):
        child.unlink()
    assert comparing.source(state, folder, 0) is None


def test_a_run_without_its_files_still_has_its_scores(logs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shown = printed(capsys, logs, "1", "2", "--run", "found")
    assert "within two standard errors" in shown
    assert "The train.py of #1 and of #2 cannot be read in the folder of the run, so there is no diff." in shown


def test_what_an_agent_wrote_cannot_steer_the_terminal(logs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = logs / "nov23" / "00009" / "train.py"
    path.write_text(path.read_text().replace("import torch\n", "import torch  # \x1b[31m\x1b]0;title\x07\n", 1))
    shown = printed(capsys, logs, "9", "2", "--run", "nov23")
    assert "-import torch  # [31m]0;title" in shown and "Markup [bold]in[/bold]" in shown
    assert "\x1b" not in shown and "\x07" not in shown


def test_an_experiment_without_a_score_has_no_difference(logs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shown = printed(capsys, logs, "4", "start", "--run", "nov23")
    assert "crash" in shown and "no score" in shown and "unknown, because #4 has no score" in shown


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("1", "99"), "There is no experiment #99. Run nov23 has #1 to #9."),
        (("1", "x"), "x names no experiment"),
        (("#1", "1"), "are the same experiment"),
        (("1",), "Name two experiments"),
        (("1", "2", "--runs", "nov23", "found"), "--runs compares two runs as a whole"),
        (("--runs", "nov23", "nov23"), "was given twice"),
        (("--runs", "nov23", "--json"), "--runs needs the names of two runs"),
        (("--runs", "nov23", "nowhere"), "There is no run called nowhere"),
    ],
)
def test_what_cannot_be_compared_is_named(
    logs: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], said: str
) -> None:
    given = words if "--runs" in words else (*words, "--run", "nov23")
    assert said in refused(capsys, logs, *given)


@pytest.mark.parametrize("words", [("nov23", "9", "2"), ("9", "2", "nov23"), ("9", "2", "--run", "nov23")])
def test_the_run_may_be_named_anywhere(logs: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]) -> None:
    assert printed(capsys, logs, *words).startswith("nov23: #9 and #2\n")


def test_more_than_two_experiments_are_refused(logs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (("nov23", "1", "2", "3"), ("1", "2", "3", "--run", "nov23")):
        assert "`compare` takes two experiments, and more were named." in refused(capsys, logs, *words)
    assert "There is no run called 3" in refused(capsys, logs, "1", "2", "3")


def test_two_runs_are_shown_with_what_each_has_kept(logs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shown = printed(capsys, logs, "--runs", "found", "nov23")
    kept = json.loads(printed(capsys, logs, "--runs", "found", "nov23", "--json"))["runs"][0]["kept_changes"]
    assert len(kept) > 1 and all(f"{one['change']:+.4f} ± " in shown for one in kept)


def test_the_best_of_a_run_that_kept_nothing_is_its_start(logs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = logs / "found" / journal.NAME
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:4]))
    said = refused(capsys, logs, "start", "best", "--run", "found")
    assert "Run found has kept no change, so its best is the start." in said
    assert "Run found has no experiment yet" in refused(capsys, logs, "1", "2", "--run", "found")


def test_two_runs_of_other_settings_have_no_difference(logs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shown = printed(capsys, logs, "--runs", "found", "nov23")
    assert "-0.0766 ± 0.0039" in shown and "-0.0550 ± 0.0050, holds" in shown and "2 cores" in shown
    assert "Not comparable:\n  other datasets" in shown and "other budgets (60 s and 1 s)" in shown
    data = json.loads(printed(capsys, logs, "--runs", "found", "nov23", "--json"))
    assert data["difference"] is None and len(data["obstacles"]) > 3 and data["runs"][1]["run"] == "nov23"


def facts(run: str, **values: object) -> RunFacts:
    check = FinalCheck(start=1.4, best=1.35, error=0.004, seeds=3, change=-0.05, needed=0.008, holds=True, words="")
    plain: dict[str, object] = {
        "run": run, "phase": "", "start": 1.4, "best": 1.3, "gain": None, "final_check": check, "tried": 9, "kept": 1, "trainings": 20,
        "kept_changes": (),
        "hours": 2.0, "agent": "search", "device": "cpu", "machine": ("a CPU",), "profile": "cpu", "dataset": "python",
        "budget_s": 60.0, "fingerprint": "f", "compiles": True, "rehearsal": False, "start_source": "s",
    }  # fmt: skip
    return RunFacts(**{**plain, **values})  # type: ignore[arg-type]


def test_comparable_runs_are_compared_by_what_was_measured_afresh() -> None:
    less = FinalCheck(start=1.4, best=1.39, error=0.003, seeds=3, change=-0.01, needed=0.006, holds=True, words="")
    found = run_comparison.run_comparison(facts("one"), facts("two", final_check=less))
    assert found.difference == pytest.approx(0.04) and found.error == pytest.approx(0.005)
    assert (
        found.words
        == "The change measured afresh differs by +0.0400 ± 0.0050 from one to two: two found less than one."
    )
    same = run_comparison.run_comparison(facts("one"), facts("two"))
    assert same.words.endswith("not certain, it is within two standard errors.")
    none = run_comparison.run_comparison(facts("one"), facts("two", final_check=None))
    assert none.difference is None and none.words == "No difference yet: a run has no score."


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"dataset": "climbmix"}, "other datasets"),
        ({"fingerprint": "g"}, "other data of python"),
        ({"profile": "gpu"}, "other profiles"),
        ({"budget_s": 30.0}, "other budgets (60 s and 30 s)"),
        ({"device": "cuda"}, "other devices"),
        ({"machine": ("another CPU",)}, "other machines"),
        ({"machine": ()}, "the machine of two was not recorded"),
        ({"compiles": False}, "torch.compile"),
        ({"rehearsal": True}, "two is a rehearsal"),
        ({"start_source": "t"}, "different train.py"),
    ],
)
def test_runs_that_differ_in_what_a_score_depends_on_have_no_difference(values: dict[str, object], said: str) -> None:
    found = run_comparison.run_comparison(facts("one"), facts("two", **values))
    assert found.difference is None and len(found.obstacles) == 1 and said in found.words


@pytest.mark.parametrize("width", [60, 80, 140])
def test_the_columns_of_two_runs_fit(width: int) -> None:
    found = run_comparison.run_comparison(facts("one"), facts("two", agent="ollama:qwen " * 9, phase="training " * 9))
    rows = list(run_comparison.text(found, width))
    assert max(map(len, rows)) <= width and rows[0].split() == ["one", "two"]
