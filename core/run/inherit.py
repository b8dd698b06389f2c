"""The settings that a new run takes over when it starts from another run's incumbent, so that scores can be compared."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from core.machine.profiles import PROFILES, Profile
from core.model import RunConfig
from nanochat.contract import dataset as contract
from nanochat.contract.layout import DATA
from nanochat.contract.text import printable


@dataclass(frozen=True)
class Defaults:
    """The defaults of a new run. `profile` has the dataset, the budget and the sizes."""

    device: str
    profile: Profile
    options: contract.Options | None = None  # of the dataset; None for those that it was last prepared with
    notice: str = ""  # what was taken over, or why not, as sentences; '' for nothing


@dataclass(frozen=True)
class Asked:
    """Options from the command line; None for the default."""

    device: str | None = None
    profile: str | None = None
    budget_s: float | None = None
    dataset: str | None = None


def defaults(
    asked: Asked,
    origin: RunConfig,
    folder: Path,
    machine: Callable[[str | None], tuple[str, Profile]],
    lacking: Callable[[str], str],
) -> Defaults:
    """Return the defaults of a new run that starts from the incumbent of another run.

    Args:
        asked: Options that were given. They take precedence.
        origin: The header of the other run.
        folder: The folder of the other run.
        machine: Returns the device and the profile of this machine, for a given device or the default one.
        lacking: Returns why a device cannot be used here, as a clause; '' if it can.
    """
    name, notices = folder.name, []
    lack = "" if asked.device or origin.device == "cpu" else lacking(origin.device)
    device, suitable = machine(asked.device or (None if lack else origin.device))
    usual = machine(None)
    profile = PROFILES.get(asked.profile) if asked.profile else PROFILES.get(origin.profile)
    same = device == origin.device and profile is not None
    if profile is None or (not asked.profile and not same):
        profile = suitable
    elif profile.name == origin.profile:
        profile = replace(
            profile,
            seq_len=origin.seq_len, vocab_size=origin.vocab_size, eval_tokens=origin.eval_tokens, budget_s=origin.budget_s,
        )  # fmt: skip
    elif same and origin.profile in PROFILES and origin.budget_s != PROFILES[origin.profile].budget_s:
        profile = replace(profile, budget_s=origin.budget_s)  # the budget was an option of that run
    taken = []
    if not asked.dataset and origin.dataset != usual[1].dataset:
        taken.append(f"dataset {printable(origin.dataset)}")
    if not asked.device and device == origin.device != usual[0]:
        taken.append(f"device {device}")
    if not asked.profile and profile.name == origin.profile != usual[1].name:
        taken.append(f"profile {profile.name}")
    if asked.budget_s is None and profile.budget_s == origin.budget_s != PROFILES[profile.name].budget_s:
        taken.append(f"budget {origin.budget_s:g} s")
    if taken:
        notices.append(f"Taken over from run {name}: {', '.join(taken)}.")
    if lack:
        notices.append(
            f"Run {name} trains on {origin.device}, which cannot be used now ({lack}), so this run trains on {device}."
        )
    if not asked.profile and profile.name != origin.profile:
        why = (
            f"trained on {origin.device}"
            if origin.profile in PROFILES
            else "has a profile that this version does not know"
        )
        notices.append(
            f"Run {name} {why}, so this run has the profile {profile.name} of {device} and a budget of {profile.budget_s:g} s; its "
            f"scores cannot be compared with those of {name}."
        )
    return Defaults(device, replace(profile, dataset=origin.dataset), _options(folder, origin), " ".join(notices))


def _options(folder: Path, origin: RunConfig) -> contract.Options | None:
    """Return the options with which the data of a run was prepared, or None if they are not known."""
    for place in (folder / DATA, Path(origin.data)):
        try:
            manifest = contract.read(place)
        except contract.DataError:
            continue
        if manifest.fingerprint == origin.fingerprint and manifest.schema == contract.SCHEMA:
            return manifest.options
    return None
