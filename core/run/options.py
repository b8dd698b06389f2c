"""The options of a start: those from the command line, completed by the config files. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from core.config.settings import Settings, values
from core.run.limits import LimitOptions

# Keys of a config file, and the fields that they fill.
OF_NEW_RUNS = {  # the journal keeps these, so files count for new runs only
    "agent": "agent", "gate": "gate", "budget": "budget_s", "slots": "slots", "dataset": "dataset", "device": "device", "profile": "profile",
    "earlier": "earlier", "lessons": "lessons",
}  # fmt: skip
INHERITED = ("budget", "dataset", "device", "profile")  # by a new run that starts from another one
OF_LIMITS = {"max-experiments": "max_experiments", "max-hours": "max_hours", "max-crashes": "max_crashes"}
LIMIT_NAMES = {"max_crashes": "max_crashes_in_a_row"}  # names of limits in the journal, where they differ
OF_STARTS = {  # not kept, so files count for each start
    "tenancy": "tenancy", "context": "context", "gate-time": "gate_time_s", "notify": "notify",
    "notify-on": "notify_on", "report": "report", "beside": "beside",
    "ablation": "ablation",
}  # fmt: skip


@dataclass(frozen=True)
class Options:
    """Options that say which run is started, and how it works. None means the default, or the value of a continued run."""

    name: str | None = None
    origin: str | None = None  # the run whose incumbent this one starts from
    agent: str | None = None
    gate: str | None = None
    budget_s: float | None = None
    slots: int | None = None
    dataset: str | None = None
    device: str | None = None
    seed: int | None = None
    profile: str | None = None
    executor: str | None = None
    ray_address: str | None = None
    data: Path | None = None  # the folder of data that was prepared for this start
    limits: LimitOptions = field(default_factory=LimitOptions)
    earlier: bool | None = None  # whether the agent of a new run may know what earlier runs have measured; None: yes
    lessons: bool | None = None  # whether a new run begins with the lessons of an earlier one; None: no


@dataclass(frozen=True)
class StartOptions:
    """Options that no journal keeps. None means the default.

    Attributes:
        tenancy: How a language model shares the GPU with training.
        context: Context of a language model in tokens.
        gate_time_s: Seconds that a proposal waits for an answer.
        notify: A command for notifications, or a preset, see `core.run.notify`.
        notify_on: The moments at which it is run, with commas between them; None for all.
        report: Whether the final check follows at the end of the run, and the report is written.
        beside: Whether the run may share its device with another one.
        ablation: Whether each kept change is taken out of the best once more when the agent has nothing left.
    """

    tenancy: str | None = None
    context: int | None = None
    gate_time_s: float | None = None
    notify: str | None = None
    notify_on: str | None = None
    report: bool | None = None
    beside: bool | None = None
    ablation: bool | None = None


Given = TypeVar("Given", Options, StartOptions, LimitOptions)


def new_run(given: Options, config: Settings) -> Options:
    """Return the options of a new run: what is not given comes from the config files.

    A run that starts from another one takes over what would make their scores incomparable.
    """
    filled = _filled(given, config, _keys_of_new_run(given))
    return dataclasses.replace(filled, limits=configured_limits(given.limits, config))


def configured_limits(given: LimitOptions, config: Settings) -> LimitOptions:
    """Return the limits: what is not given comes from the config files."""
    return _filled(given, config, OF_LIMITS)


def start_options(given: StartOptions, config: Settings) -> StartOptions:
    """Return the options of a start: what is not given comes from the config files."""
    return _filled(given, config, OF_STARTS)


def from_files(
    given: Options, start: StartOptions, config: Settings, carried: Collection[str], *, new: bool
) -> list[str]:
    """Return the keys whose values come from the config files.

    Args:
        given: The options that were given.
        start: Those of this start.
        config: The values of the config files.
        carried: The limits that come from the run's last start instead.
        new: Whether the run is new. A continued run has the settings in its journal.
    """
    missing = _missing(given, config, _keys_of_new_run(given)) if new else {}
    ends = {key: name for key, name in OF_LIMITS.items() if LIMIT_NAMES.get(name, name) not in carried}
    return [*missing, *_missing(given.limits, config, ends), *_missing(start, config, OF_STARTS)]


def _keys_of_new_run(given: Options) -> dict[str, str]:
    return {key: name for key, name in OF_NEW_RUNS.items() if given.origin is None or key not in INHERITED}


def _missing(given: object, config: Settings, keys: Mapping[str, str]) -> dict[str, str]:
    """Return the keys, with their fields, that the config files set and that were not given."""
    set_here = values(config)
    return {key: name for key, name in keys.items() if key in set_here and getattr(given, name) is None}


def _filled(given: Given, config: Settings, keys: Mapping[str, str]) -> Given:
    set_here = values(config)
    filled: dict[str, Any] = {name: set_here[key] for key, name in _missing(given, config, keys).items()}
    return dataclasses.replace(given, **filled)  # a setting has the type of its option
