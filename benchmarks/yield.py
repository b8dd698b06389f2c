"""What a night finds: real runs of several agents with the same number of trainings, and their results measured afresh.

    python benchmarks/yield.py --keep FOLDER [--arms search tpe random] [--seeds 1 2 3] [--trainings 60] [--budget 60]
                               [--fresh 8] [--each] [--longer 4] [--no-earlier] [--profile NAME]
                               [--picture FILE.png]

An arm is an agent as in `--agent`, or `tpe` (joint TPE) or `random` (uniform values) over the knobs that matter most. `search@REF` is
the agent of another commit, such as `search@v0.1`. Each run ends after the trainings, the repeats of the keep rule included. Its start and its best
are then trained on fresh seeds and scored on the test split; with --each, every kept change between them too, so that the
table says which of them hold. --longer trains the start and the best with three times the budget as well. Measurements in FOLDER are continued. By
default `search` knows what earlier runs measured; with --no-earlier all arms begin without knowledge.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

from figures import mean, mean_error

from core.judging import final_check, schedule
from core.judging.final_check import FinalCheck
from core.model import Role
from core.record import events as ev
from core.record import journal
from core.record.fold import apply
from core.record.state import State
from core.reporting import kept_afresh
from nanochat.contract.job import Outcome

NAME = "night"
OWN = {"tpe": "arm_tpe.py", "random": "arm_random.py"}
POLL_S = 0.5


@dataclass(frozen=True)
class Found:
    """The result of a run."""

    arm: str
    seed: int
    trainings: int
    kept: int
    curve: tuple[float, ...]  # gain of the best over the start by the run's own scores, in bpb, after each training
    checked: FinalCheck | None  # None if nothing was kept, or nothing was measured afresh
    steps: tuple[final_check.Step, ...] = ()  # the kept changes one by one, measured afresh
    lines: tuple[str, ...] = ()  # the same as text
    longer: FinalCheck | None = None  # with three times the budget

    @property
    def gain(self) -> float:
        """The gain measured afresh, in bpb. A run that kept nothing has gained nothing."""
        return -self.checked.change if self.checked is not None else 0.0


def command(folder: Path, arm: str, seed: int, options: argparse.Namespace) -> list[str]:
    """Return the command of a run."""
    agent = arm.partition("@")[0]
    spec = f"python:{ROOT / 'benchmarks' / OWN[agent]}" if agent in OWN else agent
    words = [sys.executable, "autorun.py", "--headless", "--name", NAME, "--logs", str(folder / "logs"), "--agent", spec,
             "--gate", "auto", "--seed", str(seed), "--budget", str(options.budget), "--slots", "1", "--device", "cpu",
             "--max-crashes", "1000"]  # fmt: skip
    if options.no_earlier and "@" not in arm:  # earlier versions have no such option, and know nothing
        words.append("--no-earlier")
    return words + (["--profile", options.profile] if options.profile else [])


def trained(path: Path) -> int:
    """Return the number of trainings in a journal that verdicts may use."""
    if not path.exists():
        return 0
    return sum(map(_is_training, journal.read(path)))


def _is_training(event: ev.AnyEvent) -> bool:
    return (
        isinstance(event, ev.Measured) and not event.role.is_check and event.result.outcome is not Outcome.INTERRUPTED
    )


def run(folder: Path, arm: str, seed: int, options: argparse.Namespace) -> None:
    """Make or continue a run until it has its trainings, then measure its result afresh."""
    tree, path = folder / "tree", folder / "logs" / NAME / journal.NAME
    if not tree.exists():  # a clone, so that this repository gets no refs of the run
        subprocess.run(["git", "clone", "-q", str(ROOT), str(tree)], check=True)
    if trained(path) < options.trainings:
        _check_out(tree, arm.partition("@")[2] or "HEAD")
        with (folder / "log.txt").open("a") as log:
            process = subprocess.Popen(command(folder, arm, seed, options), cwd=tree, stdout=log, stderr=log)
            try:
                while process.poll() is None and trained(path) < options.trainings:
                    time.sleep(POLL_S)
            finally:
                process.terminate()
                process.wait()
        if trained(path) < options.trainings:
            print(f"{folder} has {trained(path)} of {options.trainings} trainings; log.txt there says why.")
    if options.fresh and read(path, arm, seed, options.trainings).kept:
        _check_out(tree, "HEAD")  # an earlier version has another final check
        _report(folder, "--seeds", str(options.fresh), *(["--each"] if options.each else []))
        if options.longer:
            _report(folder, "--longer", "--seeds", str(options.longer))


def _report(folder: Path, *options: str) -> None:
    words = [sys.executable, "-m", "core.cli", "report", NAME, "--logs", str(folder / "logs"), *options]
    subprocess.run(words, cwd=folder / "tree", check=True, stdout=subprocess.DEVNULL)


def _check_out(tree: Path, ref: str) -> None:
    """Check out a commit that is named as in this repository. It may be newer than the clone."""
    found = subprocess.run(
        ["git", "rev-parse", f"{ref}^{{commit}}"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    commit = found.stdout.strip()
    subprocess.run(["git", "fetch", "-q", str(ROOT), commit], cwd=tree, check=True)
    subprocess.run(["git", "checkout", "-q", "--detach", commit], cwd=tree, check=True)


def read(path: Path, arm: str, seed: int, trainings: int) -> Found:
    """Return the result of a run from its journal."""
    state, curve = State(), list[float]()
    for event in journal.read(path):
        apply(state, event)
        if _is_training(event):
            curve.append(_gain(state))
        elif isinstance(event, ev.Judged) and curve:
            curve[-1] = _gain(state)
    sigma = schedule.noise(state).sigma
    checked, longer = (final_check.outcome(state, sigma, role) for role in (Role.FINAL, Role.LONGER))
    steps = tuple(final_check.steps(state, sigma).values())
    lines = tuple(kept_afresh.lines(state, sigma)) if steps else ()
    return Found(arm, seed, len(curve), len(state.kept), tuple(curve[:trainings]), checked, steps, lines, longer)


def _gain(state: State) -> float:
    """Return the sum of the paired gains of the kept changes, in bpb."""
    return sum(state.experiments[number].gain or 0.0 for number in state.kept)


def table(found: Sequence[Found], *, each: bool = False) -> Iterator[str]:
    """Yield the lines of the table: each run, then each arm: the mean over the seeds with its standard error, and the kept changes.

    `each`: whether the kept changes were measured one by one.
    """
    yield f"{'arm':<24}{'seed':>5}{'trainings':>11}{'kept':>6}{'gain in the run':>17}{'gain afresh':>22}"
    for one in found:
        own = one.curve[-1] if one.curve else 0.0
        fresh = (
            f"{one.gain:.4f} ± {one.checked.error:.4f}" if one.checked else "0 (nothing kept)" if not one.kept else "-"
        )
        yield f"{one.arm:<24}{one.seed:>5}{one.trainings:>11}{one.kept:>6}{own:>17.4f}{fresh:>22}"
    for one in found:
        yield from (f"{one.arm} {one.seed}  {line}" for line in one.lines if each)
        if one.longer is not None:
            gained = f"{-one.longer.change:.4f} ± {one.longer.error:.4f} on {one.longer.seeds} seeds"
            yield f"{one.arm} {one.seed}  with three times the budget: {gained}"
    for arm in dict.fromkeys(one.arm for one in found):
        gains = [one.gain for one in found if one.arm == arm and (one.checked or not one.kept)]
        if gains:
            yield f"{arm:<24} mean gain afresh {mean(gains):.4f} ± {mean_error(gains):.4f} over {len(gains)} seeds"
        steps = [step for one in found if one.arm == arm for step in one.steps if step.complete]
        if each and steps:
            gaining = [step for step in steps if not step.is_simplification]
            simpler = [step for step in steps if step.is_simplification]
            holding, cheap = (sum(step.holds for step in some) for some in (gaining, simpler))
            words = f"{holding} of {len(gaining)} gains hold, {cheap} of {len(simpler)} simplifications are not clearly worse"
            yield f"{arm:<24} {words}"


def picture(found: Sequence[Found], path: Path) -> None:
    """Draw the gain of each run against its trainings."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(9, 5), dpi=130)
    arms = list(dict.fromkeys(one.arm for one in found))
    for one in found:
        place = arms.index(one.arm)
        label = one.arm if one.seed == next(other.seed for other in found if other.arm == one.arm) else None
        axes.step(range(1, len(one.curve) + 1), one.curve, where="post", color=f"C{place}", label=label)
        if one.checked is not None:
            axes.errorbar(len(one.curve), one.gain, yerr=one.checked.error, fmt="o", color=f"C{place}", capsize=3)
    axes.set_xlabel("trainings")
    axes.set_ylabel("gain over the start, bits per byte")
    axes.set_title("Gain in the run (lines), and measured afresh (points)")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.tight_layout()
    figure.savefig(path)
    pyplot.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--arms", nargs="+", default=["search", "tpe", "random"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("--trainings", type=int, default=60)
    parser.add_argument("--budget", type=float, default=60.0)
    parser.add_argument("--fresh", type=int, default=8, help="fresh seeds for the start and the best; 0 for none")
    parser.add_argument(
        "--each", action="store_true", help="measure every kept change alone on the fresh seeds as well"
    )
    parser.add_argument(
        "--longer", type=int, default=0, metavar="N", help="seeds with three times the budget; 0 for none"
    )
    parser.add_argument("--no-earlier", action="store_true", help="begin without what earlier runs measured")
    parser.add_argument("--profile")
    parser.add_argument("--picture", type=Path, metavar="FILE.png")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the run is ended as well
    found = []
    try:
        for seed in options.seeds:  # arms in turn, so that a change of the machine meets all of them
            for arm in options.arms:
                folder = options.keep.resolve() / f"{arm.replace('/', '-').replace(':', '-')}-{seed}"
                folder.mkdir(parents=True, exist_ok=True)
                run(folder, arm, seed, options)
                found.append(read(folder / "logs" / NAME / journal.NAME, arm, seed, options.trainings))
                print(list(table(found[-1:]))[1], flush=True)
    except KeyboardInterrupt:
        print("Interrupted. The same command continues.")
    print(*table(found, each=options.each), sep="\n")
    if options.picture and found:
        picture(found, options.picture)


if __name__ == "__main__":
    main()
