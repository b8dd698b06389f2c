"""Run a night of the real loop on given edits, and count the verdicts in its journal."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import edits
import figures
import msgspec
from figures import number, percent
from load import Load
from trainings import ROOT, Unmeasured, fitted

from core.agents.script import Entry
from core.judging import schedule
from core.machine import profiles
from core.machine.profiles import Profile
from core.record import events as ev
from core.record import journal
from core.record.fold import apply
from core.record.state import State
from core.verdicts import Verdict
from nanochat.contract.job import Outcome

AIM_KEPT, AIM_WORSE, AIM_NOISE = 0, 2, 0.25
NAME = "night"
OUTCOMES = ("kept", "called worse", "inconclusive", "disturbed", "other")


@dataclass(frozen=True)
class Settings:
    """The settings of a night."""

    folder: Path  # for its clone, script and logs
    profile: str | None
    budget_s: float
    slots: int
    seed: int
    load: str  # seed of the load; "" for none


def useless(profile: Profile, count: int, seed: int) -> list[Entry]:
    """Return edits of the fitted train.py without effect. Raises Unmeasured if there are too few."""
    try:
        return [Entry(hypothesis=one.words, source=one.source) for one in edits.draw(fitted(profile), count, seed)]
    except ValueError as error:
        raise Unmeasured(str(error)) from error


def run(entries: Sequence[Entry], settings: Settings) -> list[ev.AnyEvent]:
    """Try the entries in the real loop under the load, and return the events of its journal.

    Continues a night that is in the folder. Raises Unmeasured if the loop failed.
    """
    folder = settings.folder
    tree, script, logs = folder / "tree", folder / "script.jsonl", folder / "logs"
    if not tree.exists():  # a clone, so that this repository gets no refs of the run
        subprocess.run(["git", "clone", "-q", str(ROOT), str(tree)], check=True)
    if not script.exists():
        script.write_bytes(b"".join(msgspec.json.encode(entry) + b"\n" for entry in entries))
    command = [
        sys.executable, "autorun.py", "--headless", "--name", NAME, "--logs", str(logs), "--agent", f"script:{script}",
        "--gate", "auto", "--seed", str(settings.seed), "--slots", str(settings.slots), "--budget", str(settings.budget_s),
        "--max-experiments", str(len(entries)), "--device", "cpu", "--no-report",
    ]  # fmt: skip
    command += ["--profile", settings.profile] if settings.profile else []
    with Load(settings.load) if settings.load else nullcontext():
        code = _wait(subprocess.Popen(command, cwd=tree))
    path = logs / NAME / journal.NAME
    if not path.exists():
        raise Unmeasured(f"the loop ended with {code} before it began.")
    return list(journal.read(path))


def _wait(process: subprocess.Popen[bytes]) -> int:
    """Wait for the loop and return its exit code. Ctrl-C also reaches the loop, which then ends. Other exceptions end the loop."""
    try:
        return process.wait()
    except KeyboardInterrupt:
        return process.wait()
    finally:
        process.terminate()
        process.wait()


@dataclass
class Tally:
    """The results of a night."""

    outcomes: dict[int, str] = field(default_factory=dict)  # of each experiment
    words: dict[int, str] = field(default_factory=dict)  # hypothesis of each experiment
    gains: dict[int, float] = field(default_factory=dict)  # val_bpb of the best minus its own, first pair
    by_seed: dict[int, list[float]] = field(default_factory=dict)  # val_bpb of every training, by its seed
    speeds: list[float] = field(default_factory=list)  # the machine's mean speed in each training
    trainings: int = 0
    hours: float = 0.0
    profile: str = ""
    budget_s: float = math.nan
    prior: float = math.nan
    sigma: float = math.nan  # the run's own estimate of the noise at its end
    sigma_now: float = math.nan  # the same estimate, begun with the prior of this version of AutoResearch

    def count(self, outcome: str) -> int:
        return sum(found == outcome for found in self.outcomes.values())

    @property
    def true_noise(self) -> float:
        """The noise of one measurement, from the first pairs of edits without effect."""
        return figures.rms(list(self.gains.values())) / math.sqrt(2)


def tally(events: Iterable[ev.AnyEvent]) -> Tally:
    """Fold a journal, and count each verdict in the state at its time."""
    state, told = State(), Tally()
    for event in events:
        if isinstance(event, ev.Judged):
            _judged(state, event, told)
        if isinstance(event, ev.Measured):
            told.trainings += 1
            if event.result.speed is not None:
                told.speeds.append(event.result.speed.mean)
            if event.result.outcome is Outcome.SCORED and event.result.val_bpb is not None:
                told.by_seed.setdefault(event.seed, []).append(event.result.val_bpb)
        apply(state, event)
    if state.config is not None:
        told.prior, told.hours = state.config.noise_prior, state.worked_s / 3600
        told.profile, told.budget_s = state.config.profile, state.config.budget_s
        told.sigma = schedule.noise(state).sigma
        if told.profile in profiles.PROFILES:
            prior = profiles.named(told.profile).noise_prior(told.budget_s)
            state.config = msgspec.structs.replace(state.config, noise_prior=prior)
            told.sigma_now = schedule.noise(state).sigma
    return told


def _judged(state: State, event: ev.Judged, told: Tally) -> None:
    verdict = Verdict(event.verdict)
    if verdict is Verdict.INTERRUPTED:
        return  # it is repeated when the night is continued
    experiment = state.experiments[event.number]
    own, best = state.scores.get(experiment.commit, {}), state.scores.get(experiment.parent, {})
    first = next(iter(own), None)  # scores are in the order of measurement
    if first is not None and first in best:
        told.gains[event.number] = best[first] - own[first]
    if verdict.kept:
        outcome = "kept"
    elif verdict is Verdict.DISCARD:
        outcome = "inconclusive" if event.within_noise else "called worse"
    else:
        outcome = "disturbed" if verdict is Verdict.DISTURBED else "other"
    told.outcomes[event.number] = outcome
    told.words[event.number] = experiment.hypothesis


def counts(told: Tally) -> list[str]:
    """Return counts of verdicts and trainings, the hours and the machine's speed, as lines."""
    lines = [", ".join(f"{told.count(outcome)} {outcome}" for outcome in OUTCOMES) + f" of {len(told.outcomes)} edits"]
    lines.append(f"{told.trainings} trainings in {told.hours:.2f} hours")
    if told.speeds:
        lines.append(
            f"machine speed in them {figures.mean(told.speeds):.3f} of the reference, sd {number(figures.sd(told.speeds), 3)}, "
            f"{min(told.speeds):.3f} to {max(told.speeds):.3f}"
        )
    else:
        lines.append("machine speed: not measured")
    return lines


def report(told: Tally) -> list[str]:
    """Return a report of an A/A night, as lines."""
    freedom = len(told.gains)
    low, high = figures.sd_interval(told.true_noise, freedom)
    return [
        "",
        *counts(told),
        f"aim for 60 edits: {AIM_KEPT} kept, at most {AIM_WORSE} called worse",
        f"noise of one measurement: the run's estimate {number(told.sigma)} (its prior {number(told.prior)}); true "
        f"{number(told.true_noise)} (80% interval {number(low)} to {number(high)}, {freedom} pairs); "
        f"{_off(told.sigma, told.true_noise)} (aim: {AIM_NOISE:.0%}); with the prior of this version {number(told.sigma_now)}, "
        f"{_off(told.sigma_now, told.true_noise)}",
        "The true one is the root mean square of the first paired differences over sqrt(2). Pairs that share a score of the best "
        "share its error, which widens the interval.",
        f"sd of val_bpb over {sum(map(len, told.by_seed.values()))} trainings on {len(told.by_seed)} seeds, the same computation on "
        f"each seed: {number(figures.pooled_sd(list(told.by_seed.values())))}",
    ]


def _off(estimate: float, true: float) -> str:
    return f"{percent(estimate / true - 1, 0)} off" if true else "-"
