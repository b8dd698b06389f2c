"""Trains a version of train.py once more, as the run did, and keeps the model. The journal and git stay as they are."""

from __future__ import annotations

import asyncio
import contextlib
import math
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

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
from core.judging import schedule
from core.judging.schedule import Work
from core.machine import profiles, stats
from core.machine.project import Project, UsageError, torch_build
from core.model import Role, RunConfig
from core.record import run_lock
from core.record.run_lock import Lock, RunBusy
from core.record.state import State
from core.reporting import phrases
from core.run.beside import check_free
from core.run.integrity import IntegrityCheck, harness_version
from core.run.jobs import job as job_for
from nanochat.contract import messages
from nanochat.contract.job import Job, Outcome, Result
from nanochat.contract.sampling import NATS, Sampling
from nanochat.contract.shell import make

LOG = "training.log"  # stderr of the harness
CLEAR = 2.0  # standard deviations from which two scores differ by more than the noise
MEMORY_SHARE = 0.8  # of the machine's memory for a model that writes


class ExportFailed(UserError):
    """A version could not be trained again, or its model cannot be used without its training."""


@dataclass(frozen=True)
class Exported:
    """An exported model. `fresh`: whether it was trained just now."""

    folder: Path
    facts: Facts
    fresh: bool
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
        return Exported(target, facts, fresh=False) if facts is not None else None

    def export(self, version: Version) -> Exported:
        """Return the model of a version, trained once more if need be.

        Raises:
            UsageError: The run cannot be exported, or its device is used by a run.
            RunBusy: A final report or another export is being made.
            ExportFailed: The training failed, or the model cannot be loaded.
            TamperedError: The run's copies of the harness and the data were altered.
        """
        if found := self.existing(version):
            return found
        self._check()
        with self._locked():
            return self.existing(version) or self._export(version)

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
            check_free(self._project, config.device)

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

    def _export(self, version: Version) -> Exported:
        place = self._folder / EXPORT
        draft = place / f".{version.name}.new"
        usual = version.measured.result.total_wall_s
        self._say(
            f"{version.words[0].upper()}{version.words[1:]} of run {self._folder.name} is trained once more, as the run did: "
            f"{self.config.budget_s:g} s on {self.config.device} with seed {version.measured.seed}, {phrases.duration(usual)} in all."
        )
        shutil.rmtree(draft, ignore_errors=True)  # left by an export that was killed
        try:
            draft.mkdir()
            result = self._train(version, draft)
            facts = self._facts(version, result, (draft / exports.WEIGHTS).stat().st_size)
            facts = self._check_loading(version, draft, facts)
            exports.fill(draft, facts, self._folder / "data")
            exports.move(draft, place / version.name)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
        return Exported(place / version.name, facts, fresh=True, unprotected=result.unprotected)

    def _train(self, version: Version, out: Path) -> Result:
        """Train a version in the folder `out`, which then holds its weights. Raises ExportFailed and TamperedError."""
        seal = IntegrityCheck(self._folder)
        job = self._job(version, out)
        slot = executors.Slot(self._folder / "harness", self.config.device, out.parent / LOG, 0, self.config.compiles)
        try:
            result = asyncio.run(_run(executors.check(self.config.executor)(slot), job))
        except ExecutorFailed as error:
            raise ExportFailed(
                f"{version.words[0].upper()}{version.words[1:]} could not be trained. {error}"
            ) from error
        seal.check()
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

    def _check_loading(self, version: Version, draft: Path, facts: Facts) -> Facts:
        """Load the weights into an untrained model and compare its answers with those of the trained one. Raises ExportFailed."""
        [found] = writing.write(self._folder, self.config, [sampling(self._folder, self.config, draft, facts)])
        if found.reason:
            raise self._failed(version, found.reason)
        return replace(facts, batches=found.steps)

    def _facts(self, version: Version, result: Result, size: int) -> Facts:
        config = self.config
        assert result.val_bpb is not None
        return Facts(
            run=self._folder.name, version=version.words, commit=version.commit, dataset=config.dataset, device=config.device,
            seed=version.measured.seed, budget_s=config.budget_s, val_bpb=result.val_bpb, recorded_bpb=version.val_bpb,
            params=result.params, vocab_size=config.vocab_size, seq_len=config.seq_len, batches=0,
            nats=result.probes.get(NATS, math.nan), weights_bytes=size, torch=torch_build(), seconds=result.total_wall_s,
        )  # fmt: skip

    def _failed(self, version: Version, reason: str) -> ExportFailed:
        return ExportFailed(
            f"{version.words[0].upper()}{version.words[1:]} of run {self._folder.name} could not be exported: "
            f"{phrases.one_line(reason, 400).rstrip('.')}. The run is unchanged, and no file was left."
        )


async def _run(executor: Executor, job: Job) -> Result:
    try:
        return await executor.run(job, lambda message: None)
    finally:
        await executor.close()


def sampling(folder: Path, config: RunConfig, export: Path, facts: Facts) -> Sampling:
    """Return the request that only loads an exported model and compares it. `folder`: that of the run."""
    return Sampling(
        source=str(export / exports.TRAIN), weights=str(export / exports.WEIGHTS), data=str(folder / "data"),
        device=config.device, seq_len=config.seq_len, memory_limit=int(stats.memory_total() * MEMORY_SHARE), nats=facts.nats,
    )  # fmt: skip


def comparison(facts: Facts, state: State) -> str:
    """Return how the score of an export compares with what the run measured, as a sentence."""
    noise = CLEAR * math.sqrt(2) * schedule.noise(state).sigma
    difference = facts.val_bpb - facts.recorded_bpb
    if abs(difference) <= noise:
        meaning = f"the same within the noise (±{noise:.4f})"
    else:
        meaning = f"{abs(difference):.4f} {'worse' if difference > 0 else 'better'}, more than the noise explains"
        meaning += ". The machine may have been busy; export it again from a quiet one" if difference > 0 else ""
    return f"val_bpb {facts.val_bpb:.4f}, and the run measured {facts.recorded_bpb:.4f} on the same seed: {meaning}."
