"""trackio's database, read back."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from core.judging import gain
from core.run.reading import read_state
from tests.core.track.nights import START_AND_TRAINED, with_files

pytest.importorskip("trackio", reason="`.venv/bin/python -m pip install -c requirements-track.txt trackio` brings it")


def track(folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Export a run in a process of its own, since trackio reads TRACKIO_DIR when it is imported."""
    return subprocess.run(
        [sys.executable, "-m", "core.cli", "track", folder.name, "--to", "trackio", "--logs", str(folder.parent)],
        env={**os.environ, "TRACKIO_DIR": str(folder.parent / "trackio"), **variables}, capture_output=True, text=True,
    )  # fmt: skip


def rows(folder: Path, query: str) -> list[Any]:
    with sqlite3.connect(folder.parent / "trackio" / "autoresearch.db") as database:
        return database.execute(query).fetchall()


def test_every_experiment_is_a_run_and_a_second_export_adds_none(tmp_path: Path) -> None:
    folder = with_files(tmp_path)
    done = track(folder)
    assert done.returncode == 0 and f"{START_AND_TRAINED} exported, 0 were" in done.stdout, done.stderr
    assert "trackio show --project autoresearch" in done.stdout and "* " not in done.stdout
    state = read_state(folder)
    name, count = f"nov23-{state.id[:6]}-00008", rows(folder, "SELECT COUNT(*) FROM metrics")
    assert len(rows(folder, "SELECT DISTINCT run_name FROM metrics")) == START_AND_TRAINED
    points = [
        (step, json.loads(values))
        for step, values in rows(folder, f"SELECT step, metrics FROM metrics WHERE run_name = '{name}' ORDER BY id")
    ]
    losses = [values["train/loss"] for _, values in points if "train/loss" in values]
    assert len(losses) > 10 and losses[0] > losses[-1]
    assert (
        points[-1][1]["val_bpb"] == pytest.approx(gain.Scale(state).of(state.experiments[8]))
        and points[-1][1]["kept"] == 1
    )
    [(config,)] = rows(folder, f"SELECT config FROM configs WHERE run_name = '{name}'")
    assert json.loads(config)["LR"] == 0.02 and json.loads(config)["_Group"] == f"nov23-{state.id[:6]}"
    again = track(folder)
    assert (
        f"0 exported, {START_AND_TRAINED} were" in again.stdout
        and rows(folder, "SELECT COUNT(*) FROM metrics") == count
    )


def test_what_an_interrupted_export_left_is_replaced(tmp_path: Path) -> None:
    folder = with_files(tmp_path)
    track(folder)
    name, count = f"nov23-{read_state(folder).id[:6]}-00008", rows(folder, "SELECT COUNT(*) FROM metrics")
    code = f"import trackio; run, = [r for r in trackio.Api().runs('autoresearch') if r.name == '{name}']; run.rename('{name}.new')"
    subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "TRACKIO_DIR": str(tmp_path / "trackio")}, check=True
    )
    done = track(folder)
    assert f"1 exported, {START_AND_TRAINED - 1} were" in done.stdout, done.stderr
    assert rows(folder, "SELECT COUNT(*) FROM metrics") == count
    assert len(rows(folder, "SELECT DISTINCT run_name FROM metrics")) == START_AND_TRAINED


def test_a_server_is_refused(tmp_path: Path) -> None:
    done = track(with_files(tmp_path), TRACKIO_SPACE_ID="someone/space")
    assert done.returncode == 1 and "TRACKIO_SPACE_ID is set" in done.stderr and not (tmp_path / "trackio").exists()
