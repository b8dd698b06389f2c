"""Trackers by name. A new one needs a row in `ENTRIES`."""

from __future__ import annotations

import importlib
import os
import re
from collections.abc import Callable

from core.machine.project import UsageError
from core.track.base import Destination, Tracker
from nanochat.contract import registry
from nanochat.contract.registry import Entry

PROJECT = "autoresearch"  # the default of --project
PROJECT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")  # also the name of a folder, and valid in every tracker

Factory = Callable[[Destination], Tracker]  # raises UsageError


def _need(package: str) -> None:
    """Raise UsageError if the package of a tracker cannot be imported."""
    try:
        importlib.import_module(package)
    except ImportError as error:
        raise UsageError(
            f"`--to {package}` needs the package {package} ({error}). Nothing was exported. "
            f"`.venv/bin/python -m pip install -c requirements-track.txt {package}` installs it."
        ) from error


def _tensorboard(to: Destination) -> Tracker:
    if to.project is not None:
        raise UsageError("TensorBoard has no projects. Leave out --project. Nothing was exported.")
    _need("tensorboard")
    from core.track.tensorboard import TensorBoard  # imported late, since its package may be missing

    return TensorBoard(to.folder)


def _wandb(to: Destination) -> Tracker:
    _need("wandb")
    from core.track.wandb import WeightsAndBiases

    return WeightsAndBiases(to.folder, to.project or PROJECT)


def _trackio(to: Destination) -> Tracker:
    # It must be set before the import. Without it, trackio asks the hub for the user's name.
    os.environ["HF_HUB_OFFLINE"] = "1"
    _need("trackio")
    from core.track.trackio import Trackio

    return Trackio(to.project or PROJECT)


ENTRIES: tuple[Entry[Factory], ...] = (
    Entry("tensorboard", "event files in the folder of the run", _tensorboard),
    Entry("wandb", "Weights & Biases; WANDB_MODE=offline sends nothing", _wandb),
    Entry("trackio", "the local database of trackio", _trackio),
)


def make(name: str, to: Destination) -> Tracker:
    """Return the tracker of that name. Raises UsageError if the name is unknown, or if its package or a setting is missing."""
    entry = registry.find(name, ENTRIES)
    if entry is None:
        raise UsageError(
            f"There is no tracker {name!r}. Nothing was exported. These are known:{registry.table(ENTRIES)}"
        )
    if to.project is not None and not PROJECT_NAME.fullmatch(to.project):
        raise UsageError(
            f"{to.project!r} cannot name a project: use up to 100 letters, digits, dashes and underscores. "
            "Nothing was exported."
        )
    return entry[0](to)
