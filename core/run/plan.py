"""Plans a start of the loop: which run, with which configuration, and whether that is possible. Writes nothing."""

from __future__ import annotations

import dataclasses
import secrets
from dataclasses import dataclass, field
from pathlib import Path

from msgspec.structs import replace

from core.config.settings import LEAST_BUDGET_S, NOTHING, Settings
from core.execution.registry import LOCAL, RAY, absolute
from core.machine import profiles, stats
from core.machine.defaults import default_profile, usable_slots
from core.machine.project import Project, UsageError, lacking
from core.model import RunConfig
from core.record import journal, run_lock
from core.record.fold import fold
from core.run import inherit
from core.run.choose_run import choose_run, new_folder, read_header, try_read_header, why_taken_in_git
from core.run.inherit import Asked, Defaults
from core.run.integrity import harness_version
from core.run.limits import LimitOptions, StartLimits, start_limits
from core.run.options import Options, configured_limits, new_run
from nanochat.contract import dataset as contract
from nanochat.contract import messages
from nanochat.contract.shell import make


@dataclass(frozen=True)
class Plan:
    """Which run to start or continue, before anything is written.

    Attributes:
        folder: The folder of the run.
        config: Its settings. Those of a continued run come from its journal.
        profile: Its profile.
        new: Whether the run is new.
        unnamed: Whether the name was chosen automatically and may be replaced.
        notice: Sentences about decisions that differ from the options; '' for none.
        data: The prepared data of a new run's dataset.
        replaceable: Whether the dataset was not chosen by the user, so that `python` may replace it.
        ends: When this start ends by itself.
        options: The options, completed by the config files.
    """

    folder: Path
    config: RunConfig
    profile: profiles.Profile
    new: bool
    unnamed: bool = False
    notice: str = ""
    data: contract.Found | None = None
    replaceable: bool = False
    ends: StartLimits = field(default_factory=StartLimits)
    options: Options = field(default_factory=Options)


def make_plan(project: Project, options: Options, config: Settings = NOTHING) -> Plan:
    """Decide which run to start or continue, and check all options. Writes nothing.

    A name means that run, or a new one. Without a name it is the latest run, unless that is finished or `origin` is given.

    Args:
        project: The source tree and its logs.
        options: Options from the command line.
        config: The values of the config files. Those that the journal of a continued run keeps do not count for it.

    Returns:
        The plan. For a new run, its data may still have to be prepared: `plan.data.manifest` is then None.

    Raises:
        UsageError: An option is invalid, or the run cannot be started or continued with it.
        JournalError: The journal of the run cannot be read.
    """
    _check_options(options)
    folder, continued = choose_run(project, options.name, options.origin)
    if continued is not None:
        return _plan_continued(options, folder, continued, config)
    filled = new_run(options, config)
    if filled != options:
        _check_options(filled)
    return _plan_new(project, filled, folder)


def renamed_if_overtaken(project: Project, chosen: Plan) -> Plan | None:
    """Return the plan with another name if its automatic name was taken meanwhile, else None."""
    if (
        not chosen.unnamed
        or read_header(chosen.folder) is not None
        or not why_taken_in_git(project)(chosen.folder.name)
    ):
        return None
    return renamed(project, chosen)


def renamed(project: Project, chosen: Plan) -> Plan:
    """Return the plan with another name that is free."""
    folder = new_folder(project)
    return dataclasses.replace(chosen, folder=folder, config=replace(chosen.config, name=folder.name))


def _check_options(options: Options) -> None:
    """Raise UsageError for an option that is invalid for every run on this machine."""
    if options.budget_s is not None and not LEAST_BUDGET_S <= options.budget_s < float("inf"):
        raise UsageError(
            f"--budget {options.budget_s:g} is not a valid training time; it must be {LEAST_BUDGET_S:g} seconds or more, such as 60."
        )
    if options.slots is not None and options.slots < 1:
        raise UsageError(f"--slots {options.slots} is too small; it must be 1 or more.")
    if options.limits.max_hours is not None and options.limits.max_hours <= 0:
        raise UsageError(
            f"--max-hours {options.limits.max_hours:g} would end the run before its first experiment. Give hours, such as 8, or 0.5 for "
            "half an hour."
        )
    if options.device is not None and options.device not in profiles.DEVICES:
        raise UsageError(f"There is no device {options.device!r}; known are {', '.join(profiles.DEVICES)}.")
    if options.device not in (None, "cpu") and (lack := lacking(str(options.device), len(stats.gpu_memory()))):
        raise UsageError(f"--device {options.device} cannot be used: {lack}. Nothing was started. --device cpu works.")
    if options.profile is not None and options.profile not in profiles.PROFILES:
        known = ", ".join(profiles.PROFILES)
        raise UsageError(f"There is no profile {options.profile!r}; known are {known}.")
    if options.gate not in (None, "auto", "ask"):
        raise UsageError(f"--gate {options.gate} is neither auto nor ask. Nothing was started.")


# -- a continued run --------------------------------------------------------------------------------------------------


def _plan_continued(options: Options, folder: Path, continued: RunConfig, settings: Settings) -> Plan:
    """Plan to continue the run in `folder` with the header `continued`. Raises UsageError."""
    _check_continued(options, folder, continued)
    state = fold(journal.read(folder / journal.NAME))
    config = replace(
        replace(continued, approval=state.approval),
        **{key: value for key, value in _changeable(options).items() if value is not None},
    )
    _check_cluster(config)
    if config.device != "cpu" and (lack := lacking(config.device, len(stats.gpu_memory()))):
        raise UsageError(
            f"Run {folder.name} trains on {config.device}, which cannot be used now: {lack}. Nothing was changed. "
            f"Fix that, or start another run with --name NEW --from {folder.name} --device cpu."
        )
    slots, notice = _usable_slots(config)
    profile = profiles.named(config.profile)
    ends = start_limits(options.limits, state, configured_limits(LimitOptions(), settings))
    return Plan(folder, replace(config, slots=slots), profile, new=False, notice=notice, ends=ends, options=options)


def _check_continued(options: Options, folder: Path, config: RunConfig) -> None:
    """Raise UsageError if a run cannot be continued with these options."""
    _check_same(config, options, folder.name)
    if config.profile not in profiles.PROFILES:
        raise UsageError(
            f"Run {folder.name} has the profile {config.profile!r}, which this version does not know. Nothing was "
            f"changed. Continue it with the version that started it, or start another run with --name NEW."
        )
    older = harness_version(folder) not in (None, *messages.UNDERSTOOD) or journal.schema(folder) == 1
    if older and run_lock.alive(folder) is None:
        raise UsageError(
            f"Run {folder.name} was begun with another version, and its copy of the harness does not understand this one. "
            f"Nothing was changed. Continue it with the version that began it, or start a new run from its best train.py: "
            f"{make('run', '--name', 'NEW', '--from', folder.name)}"
        )
    if options.origin is not None:
        raise UsageError(f"Run {folder.name} exists already, so --from cannot apply to it. Give the new run a --name.")


def _check_same(config: RunConfig, options: Options, name: str) -> None:
    """Raise UsageError for an option that would make scores of a continued run incomparable."""
    asked = {
        "budget": (options.budget_s, config.budget_s),
        "dataset": (options.dataset, config.dataset),
        "device": (options.device, config.device),
        "seed": (options.seed, config.seed),
        "profile": (options.profile, config.profile),
        "executor": (options.executor and absolute(options.executor), config.executor),
    }
    for what, (new, old) in asked.items():
        if new is None or new == old or (what == "dataset" and contract.same(str(new), str(old))):
            continue
        raise UsageError(
            f"Run {name} was started with {what} {old}; scores with {what} {new} could not be compared with them. Nothing was "
            f"changed. Continue it without --{what}, or add --name NEW --from {name} to start another."
        )


def _changeable(options: Options) -> dict[str, object]:
    """Return the options that may change from one start of a run to the next."""
    return {
        "agent": options.agent,
        "approval": options.gate,
        "slots": options.slots,
        "ray_address": options.ray_address,
    }


def _check_cluster(config: RunConfig) -> None:
    """Raise UsageError for an address of a cluster with another executor, and for a device that trainings there cannot use."""
    if config.executor == RAY and config.device == "mps":
        raise UsageError("--executor ray trains on cpu or cuda, not on mps. Nothing was started. --device cpu works.")
    if config.ray_address and config.executor != RAY:
        raise UsageError(
            f"--ray-address has no meaning for the executor {config.executor}. Nothing was started. Leave it out, or begin another "
            f"run with --executor ray."
        )


def _usable_slots(config: RunConfig) -> tuple[int, str]:
    """Return how many trainings run in parallel, and a sentence if that is fewer than wanted. The nodes of a cluster are not known yet."""
    return (config.slots, "") if config.ray_address else usable_slots(config.slots, config.device, stats.cards())


# -- a new run --------------------------------------------------------------------------------------------------------


def _plan_new(project: Project, options: Options, folder: Path) -> Plan:
    """Plan a new run in `folder`. Raises UsageError."""
    gpus = stats.gpu_memory()
    defaults = _defaults(project, options, len(gpus))
    device, profile = defaults.device, defaults.profile
    replaceable = options.dataset is None and options.origin is None
    dataset, prepared = _dataset(options, defaults, replaceable)
    budget = options.budget_s if options.budget_s is not None else profile.budget_s
    cores, threads = stats.physical_cores(), stats.logical_cores()
    wanted = options.slots or profiles.default_slots(device, len(gpus), cores, threads, stats.memory_total())
    config = RunConfig(
        name=folder.name,
        dataset=dataset,
        data=str(prepared.folder),
        fingerprint=prepared.manifest.fingerprint if prepared.manifest else "",
        device=device,
        profile=profile.name,
        budget_s=budget,
        seq_len=profile.seq_len,
        vocab_size=profile.vocab_size,
        eval_tokens=profile.eval_tokens,
        seed=options.seed if options.seed is not None else secrets.randbelow(10**6),
        slots=wanted,
        base_commit="",
        noise_prior=profile.noise_prior(budget),
        agent=options.agent or "search",
        approval="ask" if options.gate == "ask" else "auto",
        executor=absolute(options.executor or LOCAL),
        ray_address=options.ray_address or "",
    )
    _check_cluster(config)
    slots, notice = _usable_slots(config)
    return Plan(
        folder,
        replace(config, slots=slots),
        profile,
        new=True,
        unnamed=options.name is None,
        notice=" ".join(filter(None, (defaults.notice, notice))),
        data=prepared,
        replaceable=replaceable,
        ends=start_limits(options.limits),
        options=options,
    )


def _defaults(project: Project, options: Options, gpus: int) -> Defaults:
    """Return the defaults of a new run, from this machine or from the run that it starts from. Raises UsageError."""
    notice = ""
    if options.origin is not None:
        folder = project.pick(options.origin)
        if origin := try_read_header(folder):
            asked = Asked(options.device, options.profile, options.budget_s, options.dataset)
            return inherit.defaults(asked, origin, folder, default_profile, lambda device: lacking(device, gpus))
        notice = (
            f"The header of run {folder.name} cannot be read, so its dataset, profile and budget are not taken over."
        )
    device, profile = default_profile(options.device)
    return Defaults(device, profiles.named(options.profile) if options.profile else profile, notice=notice)


def _dataset(options: Options, defaults: Defaults, replaceable: bool) -> tuple[str, contract.Found]:
    """Return the dataset of a new run and its prepared data. Raises UsageError."""
    vocab = defaults.profile.vocab_size
    try:
        if options.data is not None and (ready := contract.read(options.data)).vocab_size == vocab:
            return ready.dataset, contract.Found(options.data, ready, ready.options)
        source = contract.resolve(options.dataset or defaults.profile.dataset)
        contract.check(source)
    except contract.DataError as error:
        other = " --dataset chooses another dataset." if options.origin and not options.dataset else ""
        raise UsageError(f"{error} Nothing was started.{other}") from None
    prepared = contract.find(source, vocab, None if options.dataset else defaults.options)
    if replaceable and prepared.manifest is None and source != "python":
        embedded = contract.find("python", vocab)  # the embedded dataset, which needs no network
        if embedded.manifest is not None:
            return "python", embedded
    return source, prepared
