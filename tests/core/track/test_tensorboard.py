"""Event files, read back by TensorBoard's own reader."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from core import cli
from core.judging import gain, schedule
from core.record import journal, run_lock
from core.run.reading import read_state
from core.track.sending import send
from core.track.tensorboard import TensorBoard
from core.verdicts import Verdict
from tests.core.track.nights import START_AND_TRAINED, exported, journal_alone, with_files
from tests.product import until


def reader(folder: Path, number: int) -> EventAccumulator:
    found = EventAccumulator(str(folder / "tensorboard" / f"{number:05d}"))
    found.Reload()
    return found


def numbers(folder: Path) -> list[int]:
    return sorted(int(path.name) for path in (folder / "tensorboard").iterdir())


def figures(found: EventAccumulator) -> dict[str, float]:
    return {tag: found.Scalars(tag)[-1].value for tag in found.Tags()["scalars"]}


def columns(found: EventAccumulator) -> dict[str, object]:
    data = HParamsPluginData()
    data.ParseFromString(found.SummaryMetadata("_hparams_/session_start_info").plugin_data.content)
    values = data.session_start_info.hparams.items()
    return {name: getattr(value, value.WhichOneof("kind")) for name, value in values}


def test_every_experiment_has_its_curve_its_figures_and_its_settings(tmp_path: Path) -> None:
    folder = with_files(tmp_path)
    exported(folder, TensorBoard(folder))
    state = read_state(folder)
    kept, crashed, start = reader(folder, 8), reader(folder, 4), reader(folder, 0)
    losses = kept.Scalars("train/loss")
    assert len(losses) > 10 and losses[0].value > losses[-1].value
    assert [loss.step for loss in losses] == sorted({loss.step for loss in losses})
    assert losses[0].wall_time < losses[-1].wall_time <= kept.Scalars("val_bpb")[0].wall_time
    scale, sigma, experiment = gain.Scale(state), schedule.noise(state).sigma, state.experiments[8]
    found = figures(kept)
    assert found["val_bpb"] == pytest.approx(scale.of(experiment)) and found["kept"] == 1
    assert found["change"] == pytest.approx(scale.change(experiment)) and found["change"] < 0
    assert found["change_error"] == pytest.approx(scale.error(experiment, sigma))
    assert columns(kept)["LR"] == 0.02 and columns(start)["LR"] == 0.0005 and columns(kept)["verdict"] == "kept"
    assert columns(kept)["parent"] == 1 and str(columns(kept)["agent"]).startswith("script:")
    assert b"A larger step still." in kept.Tensors("notes")[0].tensor_proto.string_val[0]
    assert "val_bpb" not in figures(crashed) and figures(crashed)["kept"] == 0
    assert columns(crashed)["verdict"] == "crash" and figures(start)["val_bpb"] == pytest.approx(
        gain.start_score(state)
    )


def test_a_second_export_writes_only_what_is_missing(tmp_path: Path) -> None:
    folder = with_files(tmp_path)
    said = exported(folder, TensorBoard(folder))
    assert len(said) == START_AND_TRAINED + 1 and f"{START_AND_TRAINED} exported, 0 were" in said[-1]
    files = {path: path.stat().st_mtime_ns for path in folder.glob("tensorboard/*/*")}
    assert len(files) == START_AND_TRAINED
    next(iter(files)).parent.rename(tmp_path / "away")
    (folder / "tensorboard.new").mkdir()
    (folder / "tensorboard.new" / "left.by.a.killed.export").touch()
    said = exported(folder, TensorBoard(folder))
    assert len(said) == 2 and f"1 exported, {START_AND_TRAINED - 1} were" in said[-1]
    again = {path: path.stat().st_mtime_ns for path in folder.glob("tensorboard/*/*")}
    assert len(again) == START_AND_TRAINED and len(again.items() & files.items()) == START_AND_TRAINED - 1
    assert not (folder / "tensorboard.new").exists()


def test_a_night_whose_files_are_gone_has_its_figures(tmp_path: Path) -> None:
    folder = journal_alone(tmp_path)
    exported(folder, TensorBoard(folder))
    state = read_state(folder)
    ended = [one.number for one in state.experiments.values() if one.verdict not in (None, Verdict.INTERRUPTED)]
    assert numbers(folder) == [0, *ended] and len(ended) == 30, "two were cut short"
    best = reader(folder, state.kept[-1])
    assert "train/loss" not in figures(best) and figures(best)["params"] > 0
    expected = gain.so_far(state, schedule.noise(state).sigma)
    assert expected is not None and figures(best)["val_bpb"] == pytest.approx(expected.best)
    moved = state.experiments[state.kept[-1]].notes.knobs
    assert moved and moved.items() <= columns(best).items()


def test_it_follows_a_run_until_its_loop_has_ended(tmp_path: Path) -> None:
    folder = journal_alone(tmp_path)
    lines = (folder / journal.NAME).read_bytes().splitlines(keepends=True)
    half = next(i for i, line in enumerate(lines) if i > len(lines) // 2 and b'"type":"judged"' in line) + 1
    (folder / journal.NAME).write_bytes(b"".join(lines[:half]))
    first = sum(b'"type":"judged"' in line and b'"interrupted"' not in line for line in lines[:half])
    lock, said = run_lock.Lock(folder), list[str]()
    follower = threading.Thread(
        target=send, args=(folder, "tensorboard", TensorBoard(folder), said.append), kwargs={"follow": True}
    )
    follower.start()
    try:
        until(lambda: len(said) == 1 + first, within=60)
        with (folder / journal.NAME).open("ab") as file:
            file.write(b"".join(lines[half:]))
    finally:
        lock.release()
        follower.join(60)
    assert not follower.is_alive()
    assert "31 exported, 0 were" in said[-1] and 1 < first < 30 and len(numbers(folder)) == 31


def test_the_command_says_where_to_look_and_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = with_files(tmp_path)

    def command(*words: str) -> tuple[object, str, str]:
        with pytest.raises(SystemExit) as ended:
            cli.main(["track", *words, "--logs", str(tmp_path)])
        return ended.value.code, *capsys.readouterr()

    code, out, _ = command("nov23", "--to", "tensorboard")
    assert not code and f".venv/bin/tensorboard --logdir {folder / 'tensorboard'}" in out
    code, _, words = command("--to", "mlflow")
    assert code == 1 and "no tracker 'mlflow'" in words and "trackio" in words
    code, _, words = command("--to", "tensorboard", "--project", "mine")
    assert code == 1 and "TensorBoard has no projects" in words
    code, _, words = command("--to", "wandb", "--project", "a/b")
    assert code == 1 and "'a/b' cannot name a project" in words
    assert command()[0] == 2


LIMITED = """
import resource, sys
from core import cli
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), resource.RLIM_INFINITY))
cli.main(["track", "--to", "tensorboard", "--logs", sys.argv[2]])
"""


def test_an_experiment_that_a_full_disk_cut_off_is_exported_again(tmp_path: Path) -> None:
    """A limit on the size of files stands in for the full disk."""
    folder = with_files(tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, "2000", tmp_path], cwd=Path.cwd(), capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 1 and "File too large" in done.stderr and "Traceback" not in done.stderr, done.stderr
    assert numbers(folder) == []
    assert len(exported(folder, TensorBoard(folder))) == START_AND_TRAINED + 1
    assert "val_bpb" in figures(reader(folder, 0))


def test_two_exports_at_once_do_not_meet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, words = with_files(tmp_path), list[str]()

    def second(_: str) -> None:
        if not words:
            with pytest.raises(SystemExit):
                cli.main(["track", "--to", "tensorboard", "--logs", str(tmp_path)])
            words.append(capsys.readouterr().err)

    send(folder, "tensorboard", TensorBoard(folder), second, follow=False)
    assert "is being exported to tensorboard by another process" in words[0]
    assert len(list((folder / "tensorboard").iterdir())) == START_AND_TRAINED
