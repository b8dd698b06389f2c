"""Trains a version of train.py once more, as the run did, and keeps the model. The journal and git stay as they are."""

from __future__ import annotations

import asyncio
import contextlib
import math
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from msgspec.structs import replace

from core.charter import Charter
from core.errors import UserError
from core.execution import registry as executors
from core.execution.base import Executor, ExecutorFailed
from core.export import folder as exports
from core.export import writing
from core.export.folder import EXPORT, Facts
from core.export.version import Version
from core.git.repository import Repository
from core.judging import final_check, gain, schedule
from core.judging.final_check import CLEAR
from core.judging.schedule import Work
from core.machine import profiles, stats
from core.machine.project import Project, UsageError, torch_build
from core.model import Role, RunConfig
from core.record import run_lock
from core.record.run_lock import Lock, RunBusy
from core.record.state import State
from core.reporting import phrases
from core.run.device_use import check_command_device
from core.run.integrity import IntegrityCheck, harness_version
from core.run.jobs import job as job_for
from core.target import TARGET
from core.text import capital
from nanochat.contract import layout, messages
from nanochat.contract.job import Job, Outcome, Result
from nanochat.contract.sampling import NATS, Sampling
from nanochat.contract.shell import make

LOG = "training.log"  # stderr of the harness
MEMORY_SHARE = 0.8  # of the machine's memory for a model that writes


class ExportFailed(UserError):
    """A version could not be trained again, or its model cannot be used without its training."""


@dataclass(frozen=True)
class Exported:
    """An exported model. `fresh`: whether it was trained just now."""

    folder: Path
    facts: Facts
    fresh: bool = False
    unprotected: tuple[str, ...] = ()


class Exporter:
    """Exports versions of one run.

    Args:
        project: The source tree and its logs.
        folder: The folder of the run.
        state: The state of the run.
        beside: Whether to train although a run uses the device.
        say: Called with a sentence before a training.
    """

    def __init__(self, project: Project, folder: Path, state: State, beside: bool, say: Callable[[str], None]) -> None:
        self._project, self._folder, self._state = project, folder, state
        self._beside, self._say = beside, say

    @property
    def config(self) -> RunConfig:
        assert self._state.config is not None
        return self._state.config

    def existing(self, version: Version) -> Exported | None:
        """Return an earlier export of this version, or None."""
        target = self._folder / EXPORT / version.name
        facts = exports.read(target, version.commit)
        return Exported(target, facts) if facts is not None else None

    def export(self, versions: Sequence[Version]) -> list[Exported]:
        """Return the models of versions, trained once more if need be. If one fails, those before it are kept.

        Raises:
            UsageError: The run cannot be exported, or its device is used by a run.
            RunBusy: A final report or another export is being made.
            ExportFailed: A training failed, or a model cannot be loaded.
            TamperedError: The run's copies of the harness and the data were altered.
        """
        fresh: dict[str, Exported] = {}
        if any(self.existing(version) is None for version in versions):
            self._check()
            with self._locked():
                fresh = self._export([version for version in versions if self.existing(version) is None])
        exported = (fresh.get(version.name) or self.existing(version) for version in versions)
        return [one for one in exported if one is not None]

    def _check(self) -> None:
        """Raise UsageError if this run cannot be exported now. Writes nothing."""
        name, config = self._folder.name, self.config
        if config.computed:
            raise UsageError(f"Run {name} is {phrases.REHEARSAL}. So there is no model to export.")
        if config.profile not in profiles.PROFILES or (harness_version(self._folder) or 0) < messages.EXPORTS:
            raise UsageError(
                f"Run {name} was begun with an earlier version, and its copy of the harness cannot save a model. Nothing was "
                f"trained. {make('run', '--name', 'NEW', '--from', name)} starts a new run from its best train.py, which can be "
                f"exported once it is trained."
            )
        if not self._beside:
            check_command_device(self._project, self._folder, config.device)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Keep other exports away, and the loop of this run from starting."""
        place = self._folder / EXPORT
        place.mkdir(exist_ok=True)
        with contextlib.ExitStack() as stack:
            if run_lock.alive(self._folder) is None:
                stack.callback(Lock(self._folder, loop=False).release)
            try:
                stack.callback(Lock(place, loop=False).release)
            except RunBusy as error:
                raise RunBusy(
                    f"Another export of run {self._folder.name} is being made. Nothing was trained. Try again when it has ended."
                ) from error
            yield

    def _export(self, versions: Sequence[Version]) -> dict[str, Exported]:
        """Train versions, check that their weights can be loaded, and move them to their folders. Returns them by name."""
        drafts = {version.name: self._folder / EXPORT / f".{version.name}.new" for version in versions}
        loaded = dict[str, Exported]()
        for draft in drafts.values():
            shutil.rmtree(draft, ignore_errors=True)  # left by an export that was killed
        try:
            results, failure = asyncio.run(self._train_all(versions, drafts))
            done = [version for version in versions if version.name in results]
            for version in done:
                loaded[version.name] = self._finish(version, drafts[version.name], results[version.name])
            if failure is not None:
                raise failure
            return loaded
        finally:
            for draft in drafts.values():
                shutil.rmtree(draft, ignore_errors=True)

    async def _train_all(
        self, versions: Sequence[Version], drafts: Mapping[str, Path]
    ) -> tuple[dict[str, Result], ExportFailed | None]:
        """Train versions in their drafts, which then have their weights. Ends at the first failure, and returns it with the rest."""
        config, results = self.config, dict[str, Result]()
        slot = executors.Slot(
            self._folder / layout.HARNESS,
            config.device,
            self._folder / EXPORT / LOG,
            0,
            config.compiles,
            self._state.id,
            self._state.kind,
        )
        try:
            executor = executors.maker(config)(slot)
        except ExecutorFailed as error:
            raise ExportFailed(f"Nothing was trained. {error}") from error
        seal = IntegrityCheck(self._folder)
        try:
            for version in versions:
                self._announce(version)
                drafts[version.name].mkdir()
                results[version.name] = await self._train(executor, version, drafts[version.name])
                seal.check()
        except ExportFailed as error:
            return results, error
        finally:
            await executor.close()
        return results, None

    def _announce(self, version: Version) -> None:
        usual = phrases.duration(version.measured.result.total_wall_s)
        self._say(
            f"{capital(version.words)} of run {self._folder.name} is trained once more, as the run did: "
            f"{self.config.budget_s:g} s on {self.config.device} with seed {version.measured.seed}, {usual} in all."
        )

    async def _train(self, executor: Executor, version: Version, out: Path) -> Result:
        """Train a version. Raises ExportFailed."""
        try:
            result = await executor.run(self._job(version, out), lambda message: None)
        except ExecutorFailed as error:
            raise self._failed(version, str(error)) from error
        if result.outcome is not Outcome.SCORED or not (out / exports.WEIGHTS).exists():
            raise self._failed(version, result.reason or "the harness saved no weights")
        return result

    def _job(self, version: Version, out: Path) -> Job:
        repo = Repository.find(self._project.root, self._project.logs / "repository")
        if repo is None:
            raise UsageError(f"The repository of run {self._folder.name} is gone. Nothing was trained.")
        (out / exports.TRAIN).write_text(repo.source(version.commit), encoding="utf-8")
        work = Work(Role.RERUN, version.commit, version.measured.seed)
        profile = profiles.named(self.config.profile)
        job = job_for(self._state, profile, Charter(), work, f"export {version.name}", out, stats.memory_total())
        return replace(job, keep_weights=True, keep_compiled=False, preflight=False)

    def _finish(self, version: Version, draft: Path, result: Result) -> Exported:
        """Check that the weights can be loaded, and move the version to its folder. Raises ExportFailed."""
        facts = self._check_loading(version, draft, result)
        target = self._folder / EXPORT / version.name
        exports.fill(draft, facts, self._folder / layout.DATA)
        exports.move(draft, target)
        return Exported(target, facts, fresh=True, unprotected=result.unprotected)

    def _check_loading(self, version: Version, draft: Path, result: Result) -> Facts:
        """Load weights into an untrained model, and compare its answers with those of the trained one. Raises ExportFailed."""
        facts = self._facts(version, draft, result)
        try:
            [answer] = writing.write(self._folder, self.config, [sampling(self._folder, self.config, draft, facts)])
        except (writing.SamplingFailed, ExecutorFailed) as error:
            raise self._failed(version, str(error)) from error
        if answer.reason:
            raise self._failed(version, answer.reason)
        return replace(facts, batches=answer.steps)

    def _facts(self, version: Version, out: Path, result: Result) -> Facts:
        config, size = self.config, (out / exports.WEIGHTS).stat().st_size
        assert result.val_bpb is not None
        return Facts(
            run=self._folder.name, version=version.lasting, commit=version.commit, dataset=config.dataset, device=config.device,
            seed=version.measured.seed, budget_s=config.budget_s, val_bpb=result.val_bpb, recorded_bpb=version.val_bpb,
            params=result.params, vocab_size=config.vocab_size, seq_len=config.seq_len, batches=0,
            nats=result.probes.get(NATS, math.nan), weights_bytes=size, torch=torch_build(), seconds=result.total_wall_s,
            **gains(self._state, version.commit),
        )  # fmt: skip

    def _failed(self, version: Version, reason: str) -> ExportFailed:
        return ExportFailed(
            f"{capital(version.words)} of run {self._folder.name} could not be exported: "
            f"{phrases.one_line(reason, 400).rstrip('.')}. The run is unchanged, and its other exports are kept. "
            f"The logs are in {self._folder / EXPORT}."
        )


class Gains(TypedDict, total=False):
    """The fields of `Facts` about the change from the start of the run."""

    change: float
    change_error: float
    confirmed_change: float
    confirmed_error: float


def gains(state: State, commit: str) -> Gains:
    """Return the change from the start of a run to one of its versions. Empty for the start."""
    sigma = schedule.noise(state).sigma
    if state.start_commit is None or commit == state.start_commit.commit:
        return {}
    if commit != state.incumbent:
        scale, start = gain.Scale(state), gain.start_score(state)
        one = next((e for e in state.experiments.values() if e.commit == commit), None)
        score = scale.of(one) if one is not None else None
        return {"change": score - start} if score is not None and start is not None else {}
    result = Gains()
    if (so_far := gain.so_far(state, sigma)) is not None:
        result["change"], result["change_error"] = so_far.change, so_far.error
    if (check := final_check.outcome(state, sigma)) is not None:
        result["confirmed_change"], result["confirmed_error"] = check.change, check.error
    return result


def sampling(folder: Path, config: RunConfig, export: Path, facts: Facts) -> Sampling:
    """Return the request that only loads an exported model and compares it. `folder`: that of the run."""
    return Sampling(
        source=str(export / exports.TRAIN), weights=str(export / exports.WEIGHTS), data=str(folder / layout.DATA),
        device=config.device, seq_len=config.seq_len, memory_limit=int(stats.memory_total() * MEMORY_SHARE), nats=facts.nats,
    )  # fmt: skip


def comparison(facts: Facts, state: State) -> str:
    """Return how the score of an export compares with what the run measured, as a sentence."""
    noise = CLEAR * math.sqrt(2) * schedule.noise(state).sigma
    difference = facts.val_bpb - facts.recorded_bpb
    if abs(difference) <= noise:
        meaning = f"the same within the noise (±{noise:.4f})"
    else:
        meaning = f"{abs(difference):.4f} {'worse' if TARGET.gain(difference) < 0 else 'better'}, more than the noise explains"
        meaning += (
            ". The machine may have been busy; export it again from a quiet one" if TARGET.gain(difference) < 0 else ""
        )
    return f"{TARGET.metric} {facts.val_bpb:.4f}, and the run measured {facts.recorded_bpb:.4f} on the same seed: {meaning}."
