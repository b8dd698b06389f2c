"""Weights & Biases: one group a run of AutoResearch, one run of W&B an experiment."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import wandb

from core.machine.project import UsageError, shown_path
from core.track.base import TrackFailed
from core.track.tracked import Tracked
from nanochat.contract.shell import quoted

FOLDER = "wandb"  # in the folder of the run; W&B keeps its files there
LEDGER = "exported.txt"  # the ids of the experiments that were written completely, one a line
RECORDS_NOTHING = "disabled"


class WeightsAndBiases:
    """A project of W&B. Whether it is sent follows from WANDB_MODE, as for other programs.

    Args:
        folder: The folder of the run.
        project: The name of the project.

    Raises:
        UsageError: W&B records nothing here, or nobody is logged in.
    """

    def __init__(self, folder: Path, project: str) -> None:
        self._folder, self._project = folder / FOLDER / project, project
        mode = os.environ.get("WANDB_MODE", "online")
        if mode == RECORDS_NOTHING:
            raise UsageError(f"WANDB_MODE is {mode}, so W&B records nothing. Nothing was exported. Unset it.")
        if mode == "online":
            _log_in()
        self._offline, self._url = mode != "online", ""
        self._known = set(self._ledger.read_text().split()) if self._ledger.exists() else set()

    @property
    def place(self) -> str:
        if self._offline:
            files = f"{quoted([shown_path(self._folder)])}/wandb/offline-run-*"
            return f"Nothing was sent. `.venv/bin/wandb sync {files}` sends them to W&B."
        where = f"{self._project} of W&B{f' ({self._url})' if self._url else ''}"
        return (
            f"They are in the project {where}. Those that were exported offline are there after `.venv/bin/wandb sync`."
        )

    @property
    def _ledger(self) -> Path:
        return self._folder / LEDGER

    def has(self, tracked: Tracked) -> bool:
        return tracked.id in self._known

    def write(self, tracked: Tracked) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        for left in self._folder.glob(f"wandb/*run-*-{tracked.id}"):  # an interrupted export
            shutil.rmtree(left, ignore_errors=True)
        try:
            self._write(tracked)
        except wandb.Error as error:
            raise TrackFailed(f"W&B has refused {tracked.name} ({error}).") from error
        with self._ledger.open("a") as file:
            file.write(f"{tracked.id}\n")
        self._known.add(tracked.id)

    def _write(self, tracked: Tracked) -> None:
        run: Any = wandb.init(
            project=self._project, id=tracked.id, group=tracked.group, name=tracked.name, notes=tracked.notes,
            tags=[tracked.verdict], config=dict(tracked.config), dir=str(self._folder), settings=_settings(),
        )  # fmt: skip
        if run.disabled:
            raise TrackFailed(
                "W&B is disabled in its settings, so it records nothing. `.venv/bin/wandb enabled` changes that."
            )
        self._offline, self._url = run.offline, "" if run.offline else run.project_url or ""
        for point in tracked.curve:
            run.log(dict(point.values), step=point.step)
        run.summary.update(dict(tracked.summary))
        run.finish(exit_code=1 if tracked.failed else 0)


def _log_in() -> None:
    """Let the user log in, once and where it can be seen. Raises UsageError."""
    try:
        logged_in = wandb.login()
    except wandb.Error as error:
        raise _not_logged_in(str(error)) from error
    if not logged_in:
        raise _not_logged_in("no key was given")


def _not_logged_in(why: str) -> UsageError:
    return UsageError(
        f"W&B needs you to log in ({' '.join(why.split())}). Nothing was exported. `.venv/bin/wandb login` does that; "
        "with WANDB_MODE=offline nothing is sent, and no login is needed."
    )


def _settings() -> Any:
    """Return settings by which only the experiment is recorded: no source code, output, package list or state of this machine."""
    return wandb.Settings(
        silent=True, console="off", save_code=False, disable_code=True, disable_git=True, x_disable_stats=True,
        x_disable_meta=True, x_disable_machine_info=True, x_save_requirements=False,
    )  # fmt: skip
