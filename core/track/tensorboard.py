"""TensorBoard: one folder of event files an experiment, in the folder of the run."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams.summary_v2 import hparams_pb
from tensorboard.plugins.text.summary_v2 import text_pb
from tensorboard.summary.writer.record_writer import RecordWriter

from core.machine.project import shown_path
from core.record.experiment import experiment_id
from core.track.tracked import Tracked
from nanochat.contract.shell import quoted

FOLDER = "tensorboard"  # in the folder of the run
EVENTS = "events.out.tfevents"  # TensorBoard reads the files whose names contain this
VERSION = "brain.Event:2"  # of their format; their first event says it
DRAFT = "tensorboard.new"  # beside it, so that TensorBoard never shows an incomplete experiment


class TensorBoard:
    """Event files. A folder gets its name when it is complete, and is not written again.

    Args:
        folder: The folder of the run.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._draft = folder / FOLDER, folder / DRAFT

    @property
    def place(self) -> str:
        return f"`{quoted(['.venv/bin/tensorboard', '--logdir', shown_path(self._folder)])}` shows them."

    def has(self, tracked: Tracked) -> bool:
        return (self._folder / experiment_id(tracked.number)).is_dir()

    def write(self, tracked: Tracked) -> None:
        shutil.rmtree(self._draft, ignore_errors=True)
        self._folder.mkdir(parents=True, exist_ok=True)
        self._draft.mkdir()
        # EventFileWriter writes in a thread, and does not say that it has failed.
        with (self._draft / f"{EVENTS}.{tracked.begun_t:010.0f}.{platform.node()}").open("wb") as file:
            records = RecordWriter(file)
            records.write(Event(wall_time=tracked.begun_t, file_version=VERSION).SerializeToString())
            for event in _events(tracked):
                records.write(event.SerializeToString())
        os.rename(self._draft, self._folder / experiment_id(tracked.number))


def _events(tracked: Tracked) -> Iterator[Any]:
    """Yield the hyperparameters, the texts, the curve and the figures of an experiment.

    The time of a point follows from its progress, which is the share of the budget used by then.
    """
    columns = {name: value for name, value in tracked.config.items() if name not in ("hypothesis", "finding")}
    began, lasted = tracked.begun_t, tracked.ended_t - tracked.begun_t
    yield Event(wall_time=began, summary=hparams_pb(columns, trial_id=tracked.id, start_time_secs=began))
    yield Event(wall_time=began, summary=text_pb("notes", tracked.notes))
    for point in tracked.curve:
        yield _scalars(began + point.progress * lasted, point.step, point.values)
    yield _scalars(tracked.ended_t, 0, tracked.summary)


def _scalars(t: float, step: int, values: Mapping[str, float]) -> Any:
    scalars = [Summary.Value(tag=name, simple_value=value) for name, value in values.items()]
    return Event(wall_time=t, step=step, summary=Summary(value=scalars))
