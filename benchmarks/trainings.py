"""Run single trainings in the real harness, as the loop does, and record each as a line of JSON. Used by truth.py."""

from __future__ import annotations

import sys
import tempfile
import time
from contextlib import AsyncExitStack, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

import msgspec
from load import Load
from training import machine as processor

from core.change import knobs
from core.execution.base import ExecutorFailed
from core.execution.local import LocalExecutor
from core.machine import profiles, stats
from core.machine.defaults import default_profile
from core.machine.profiles import Profile
from core.run import integrity
from core.run.jobs import RAM_SHARE
from nanochat.contract import dataset as contract
from nanochat.contract.job import Job, Outcome, Result


class Unmeasured(Exception):
    """Nothing can be measured. The message is shown to the user."""


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A training: its settings, the machine, and the harness' result. `load`: seed of the load; "" for none."""

    mode: str
    name: str
    seed: int
    budget_s: float
    gauge: bool
    load: str
    slots: int = 1
    processor: str
    profile: str
    began: float  # seconds since the epoch
    result: Result

    @property
    def scored(self) -> bool:
        return self.result.outcome is Outcome.SCORED

    @property
    def val_bpb(self) -> float:
        assert self.result.val_bpb is not None
        return self.result.val_bpb


@dataclass(frozen=True)
class Wanted:
    """A planned training."""

    name: str
    source: str
    budget_s: float
    seed: int = 1
    gauge: bool = True
    load: str = ""


class Record:
    """Rows, which are also written to a file if `path` is given. Each is written at once."""

    def __init__(self, path: Path | None) -> None:
        """Read the rows of an existing file, and remove an incomplete last line. Raises Unmeasured."""
        self._path = path
        self.rows: list[Row] = []
        if path is not None:
            try:
                path.touch()  # fail now, not after the first training
            except OSError as error:
                raise Unmeasured(f"{path} cannot be written: {error.strerror}.") from error
            self.rows = read(path)
            whole = path.read_bytes().rfind(b"\n") + 1
            with path.open("r+b") as file:
                file.truncate(whole)

    def add(self, row: Row) -> None:
        self.rows.append(row)
        if self._path is not None:
            with self._path.open("ab") as file:
                file.write(msgspec.json.encode(row) + b"\n")


def read(path: Path) -> list[Row]:
    """Read the rows of a file, without an incomplete last line. Raises Unmeasured."""
    try:
        lines = path.read_bytes().split(b"\n")[:-1]
        return [msgspec.json.decode(line, type=Row) for line in lines if line.strip()]
    except (OSError, msgspec.DecodeError) as error:
        raise Unmeasured(f"{path} cannot be read as trainings of this benchmark: {error}.") from error


def fitted(profile: Profile) -> str:
    """Return the shipped train.py with the knobs that a run with this profile would set."""
    source = (ROOT / "nanochat" / "train.py").read_text(encoding="utf-8")
    values = {knob.name: knob.value for knob in knobs.read(source)}
    return knobs.set_knobs(source, profiles.applicable_knobs(profile, values))


def this_machine(name: str | None) -> Profile:
    """Return the profile of that name, or the one for this machine's CPU."""
    return profiles.named(name) if name else default_profile("cpu")[1]


class Bench:
    """An async context manager with frozen copies of harness and data, and one or more slots to train in."""

    def __init__(self, mode: str, profile: Profile, record: Record, *, slots: int = 1) -> None:
        self.mode, self.profile, self.record, self.slots = mode, profile, record, slots
        self._processor = processor()
        self._count = 0

    async def __aenter__(self) -> Bench:
        """Freeze harness and data, and start the executors. Raises Unmeasured if the data is not prepared."""
        found = contract.find(contract.resolve(self.profile.dataset), self.profile.vocab_size)
        if found.manifest is None:
            raise Unmeasured(f"The dataset {self.profile.dataset} is not prepared: run `make prepare` first.")
        async with AsyncExitStack() as stack:
            self._folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            integrity.freeze(ROOT, found.folder, self._folder)  # later edits of the sources have no effect
            self._executors = [
                LocalExecutor(self._folder / "harness", "cpu", self._folder / f"harness-{slot}.log")
                for slot in range(self.slots)
            ]
            for executor in self._executors:
                stack.push_async_callback(executor.close)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *details: Any) -> None:
        await self._stack.aclose()

    @property
    def reference_s(self) -> float | None:
        """The gauge's reference, measured by the first training with the gauge and used by all others."""
        return next((row.result.speed.reference_s for row in self.record.rows if row.result.speed), None)

    async def run(self, wanted: Wanted, slot: int = 0, *, slots: int = 1) -> Row:
        """Run, record and print a training, under its load if it has one. Raises Unmeasured if the harness failed."""
        job, began = self._job(wanted), time.time()
        with Load(wanted.load) if wanted.load else nullcontext():
            try:
                result = await self._executors[slot].run(job, lambda message: None)
            except ExecutorFailed as error:
                raise Unmeasured(str(error)) from error
        row = Row(
            mode=self.mode, name=wanted.name, seed=wanted.seed, budget_s=wanted.budget_s, gauge=wanted.gauge, load=wanted.load,
            slots=slots, processor=self._processor, profile=self.profile.name, began=began, result=result,
        )  # fmt: skip
        self.record.add(row)
        print(describe(row), flush=True)
        return row

    def _job(self, wanted: Wanted) -> Job:
        self._count += 1
        profile, out = self.profile, self._folder / f"{self._count:05d}"
        out.mkdir()
        (out / "train.py").write_text(wanted.source, encoding="utf-8")
        return Job(
            id=out.name, source=str(out / "train.py"), out=str(out), data=str(self._folder / "data"), seed=wanted.seed,
            budget_s=wanted.budget_s, gauge=wanted.gauge, reference_s=self.reference_s, wall_factor=profile.wall_factor,
            setup_s=profile.setup_s, warmup_s=profile.warmup_s, hang_s=profile.hang_s, seq_len=profile.seq_len,
            eval_tokens=profile.eval_tokens, score_batch=profile.score_batch,
            memory_limit=int(stats.memory_total() * RAM_SHARE / self.slots), preflight=False,
        )  # fmt: skip


def describe(row: Row) -> str:
    """Return a training as a line of text."""
    result = row.result
    words = [time.strftime("%H:%M:%S", time.localtime(row.began)), f"{row.budget_s:g} s", f"seed {row.seed}", row.name]
    words.append(f"val_bpb {result.val_bpb:.4f}" if row.scored else f"{result.outcome.value}: {result.reason}")
    words += [f"{result.steps} steps", f"charged {result.charged_s:.1f} s", f"CPU {result.cpu_s:.1f} s"]
    words.append(f"wall {result.wall_s:.1f} s")
    if result.speed is None:
        words.append("speed not measured")
    else:
        speed = result.speed
        words.append(f"speed {speed.mean:.3f} +-{speed.spread:.3f}, busy {speed.busy:.2f}, {speed.readings} readings")
    return "  ".join(words)


def heading(profile: Profile) -> str:
    """Return the machine and the profile as a line of text."""
    values = ", ".join(f"{name} = {value}" for name, value in profile.knobs.items()) or "train.py as shipped"
    return f"{processor()}; profile {profile.name}: {values}; dataset {profile.dataset}"
