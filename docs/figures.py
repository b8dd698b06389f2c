"""Draw the pictures of docs/research.md: python docs/figures.py [--journal FILE]

keep-rule.svg   the bounds of the keep rule, and what it does with a change of a known true gain (simulated)
aa-night.svg    a night of edits that change nothing, from its journal
effects.svg     what the model of `search` says about each change of a simulated night, beside the true effects

It also prints the figures that the page quotes.
"""

from __future__ import annotations

import argparse
import math
import random
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]  # before this folder, whose name for this file is also one there

import matplotlib.pyplot as plt
import night
import search_worlds as worlds
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from core.agents.base import PastExperiment
from core.agents.search.ideas import structural
from core.agents.search.joint import Model, Record
from core.change import knobs
from core.judging import policy
from core.model import Value
from core.record import events as ev
from core.record import journal

FOLDER = ROOT / "docs" / "figures"
JOURNAL = ROOT / "tests" / "recorded" / "aa-night" / journal.NAME
BLUE, ORANGE, GREY, PALE = "#0072B2", "#D55E00", "#666666", "#DDDDDD"  # told apart by the colour-blind (Okabe and Ito)
STYLE: Any = {
    "font.size": 9.0, "axes.titlesize": 9.5, "axes.titleweight": "bold", "axes.titlelocation": "left",
    "axes.spines.top": False, "axes.spines.right": False, "axes.edgecolor": GREY, "axes.linewidth": 0.8,
    "xtick.color": GREY, "ytick.color": GREY, "xtick.labelcolor": "black", "ytick.labelcolor": "black",
    "svg.hashsalt": "figures", "figure.facecolor": "white",
}  # fmt: skip
WIDTH = 7.2  # inches; 690 pixels on a page

SCORE, SIGMA = 1.5, 0.005  # of the simulated trainings of picture 1, in bpb; its result does not depend on them
GAINS = [step / 4 for step in range(-16, 17)]  # true gains, in standard deviations of one score
DRAWS = 4000  # changes for each true gain
KIND, TRAININGS = "plain", 75  # of the simulated nights of picture 3


def save(figure: Figure, name: str) -> None:
    figure.savefig(FOLDER / f"{name}.svg", metadata={"Date": None, "Creator": None})
    plt.close(figure)


def point(axes: Axes, words: str, at: tuple[float, float], off: tuple[float, float], **style: Any) -> None:
    """Write words beside a point, at a distance from it in points of type."""
    axes.annotate(words, at, off, textcoords="offset points", **{"ha": "center", **style})


# -- 1: the keep rule -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Chances:
    """What became of many changes with one true gain, as shares, and the mean number of trainings for each."""

    kept: float
    worse: float
    trainings: float


def judge(gain: float, dice: random.Random) -> policy.Decision:
    """Judge one change with a true gain in sigmas by the real rule, with the noise known."""
    candidate: dict[int, float] = {}
    incumbent: dict[int, float] = {}
    while True:
        decision = policy.decide(candidate, incumbent, SIGMA, run_seed=1)
        if decision.action != "measure":
            return decision
        assert decision.seed is not None
        candidate[decision.seed] = SCORE - SIGMA * (gain + dice.gauss())
        incumbent[decision.seed] = SCORE - SIGMA * dice.gauss()


def chances(gain: float, draws: int) -> Chances:
    dice = random.Random(f"keep rule {gain}")
    verdicts = [judge(gain, dice) for _ in range(draws)]
    kept = sum(verdict.action == "keep" for verdict in verdicts)
    worse = sum(verdict.action == "discard" and not verdict.within_noise for verdict in verdicts)
    return Chances(kept / draws, worse / draws, sum(verdict.pairs for verdict in verdicts) / draws)


def keep_rule() -> None:
    figure, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, 3.3), width_ratios=(1, 1.05))
    bounds(left)
    power(right, [chances(gain, DRAWS * (5 if gain == 0 else 1)) for gain in GAINS])
    figure.tight_layout(w_pad=2.5)
    save(figure, "keep-rule")


def bounds(axes: Axes) -> None:
    """Draw what is done with each gain after each number of pairs."""
    last, top, bottom = policy.MAX_PAIRS, 5.0, -4.0
    axes.fill_between(list(policy.KEEP), list(policy.KEEP.values()), top, color=BLUE, alpha=0.18, lw=0)
    for values, colour in ((policy.KEEP, BLUE), (policy.FUTILE, GREY)):
        axes.plot(list(values), list(values.values()), "o-", color=colour, ms=4)
    axes.fill_between((1, last), policy.WORSE, bottom, color=ORANGE, alpha=0.18, lw=0)
    axes.plot((1, last), (policy.WORSE,) * 2, "-", color=ORANGE)
    axes.text(4.9, 4.25, "kept", color=BLUE, weight="bold", ha="center", va="center")
    axes.text(1.15, 2.4, "looks promising:\nanother pair", va="center")
    axes.text(4.9, -0.6, "inconclusive (one pair)\nor not confirmed", color=GREY, ha="center", va="center")
    axes.text(4.9, -3.0, "worse", color=ORANGE, weight="bold", ha="center", va="center")
    axes.set(xlim=(0.8, last + 0.2), ylim=(bottom, top), xticks=range(1, last + 1), yticks=range(-4, 6, 2))
    axes.set(xlabel="pairs measured so far", ylabel="mean gain, in standard errors", title="The bounds")


def power(axes: Axes, found: Sequence[Chances]) -> None:
    """Draw how often a change is kept or called worse, by its true gain."""
    for values, colour in (([one.kept for one in found], BLUE), ([one.worse for one in found], ORANGE)):
        axes.plot(GAINS, [100 * value for value in values], color=colour, lw=2)
    axes.text(2.2, 40, "kept", color=BLUE, weight="bold")
    axes.text(-2.1, 40, "called worse", color=ORANGE, weight="bold")
    for gain in (0, 1, 2, 3):
        one = found[GAINS.index(gain)]
        print(f"true gain {gain} sigma: kept {one.kept:.2%}, worse {one.worse:.2%}, {one.trainings:.2f} trainings")
        axes.plot(gain, 100 * one.kept, "o", color=BLUE, ms=4.5)
        if gain:
            point(axes, f"{one.kept:.0%}", (gain, 100 * one.kept), (7, -7), ha="left", color=BLUE)
        else:
            point(
                axes,
                f"{one.kept:.1%}",
                (0, 100 * one.kept),
                (0, 30),
                color=BLUE,
                arrowprops={"arrowstyle": "-", "color": BLUE},
            )
    axes.set(xlim=(-4, 4), ylim=(-2, 102), xticks=range(-4, 5), yticks=(0, 25, 50, 75, 100))
    axes.set(xlabel="true gain, in standard deviations of one score", ylabel="% of such changes", title="What they do")


# -- 2: a night without any effect ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Training:
    """One training of a night."""

    hours: float  # since the start of the run
    seed: int
    score: float
    speed: float  # of the machine, relative to the reference
    per_cpu: float  # steps in a CPU second
    per_reference: float  # steps in a reference second


def trainings(events: Sequence[ev.AnyEvent]) -> list[Training]:
    """Return the scored trainings of a night whose machine's speed was measured."""
    found = []
    for event in events:
        if not isinstance(event, ev.Measured) or event.result.speed is None or event.result.val_bpb is None:
            continue
        hours, result, speed = (event.t - events[0].t) / 3600, event.result, event.result.speed.mean
        per_cpu, per_reference = result.steps / result.cpu_s, result.steps / result.charged_s
        found.append(Training(hours, event.seed, event.result.val_bpb, speed, per_cpu, per_reference))
    return found


def aa_night(path: Path) -> None:
    events = list(journal.read(path))
    told, found = night.tally(events), trainings(events)
    print("\n".join(night.report(told)))
    figure, axes = plt.subplots(4, 1, figsize=(WIDTH, 6.6), sharex=True, height_ratios=(1, 1, 1, 1.3))
    relative(axes[0], found, "per_cpu", ORANGE, "Steps in a CPU second", "; line: speed of the machine")
    mean = statistics.fmean(one.speed for one in found)
    axes[0].plot([one.hours for one in found], [one.speed / mean for one in found], color=GREY, lw=1, zorder=1)
    relative(axes[1], found, "per_reference", BLUE, "Steps in a reference second")
    axes[1].set_ylim(axes[0].get_ylim())
    scores(axes[2], found)
    verdicts(axes[3], events, told)
    axes[3].set_xlabel("hours since the start of the run")
    figure.align_ylabels()
    figure.tight_layout(h_pad=0.8)
    save(figure, "aa-night")


def relative(axes: Axes, found: Sequence[Training], name: str, colour: str, title: str, more: str = "") -> None:
    """Draw a figure of each training as a percentage of the mean."""
    values = [getattr(one, name) for one in found]
    mean = statistics.fmean(values)
    spread = statistics.stdev(values) / mean
    print(f"{name}: sd {spread:.1%} of the mean, {min(values) / mean:.1%} to {max(values) / mean:.1%}")
    axes.axhline(1, color=PALE, lw=0.8, zorder=0)
    axes.plot([one.hours for one in found], [value / mean for value in values], "o", color=colour, ms=3.5)
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.set(ylabel="of the mean", title=f"{title}: sd {spread:.1%}{more}")


def scores(axes: Axes, found: Sequence[Training]) -> None:
    """Draw how far each score is from the mean of its seed. Without an effect of the edits, that is the machine's doing."""
    seeds = {one.seed: [other.score for other in found if other.seed == one.seed] for one in found}
    seeds = {seed: values for seed, values in seeds.items() if len(values) > 1}
    off = [(one.hours, one.score - statistics.fmean(seeds[one.seed])) for one in found if one.seed in seeds]
    spread = math.sqrt(sum(value**2 for _, value in off) / max(1, len(off) - len(seeds)))
    print(f"val_bpb on one seed: sd {spread:.4f} over {len(off)} trainings on {len(seeds)} seeds")
    axes.axhline(0, color=PALE, lw=0.8, zorder=0)
    axes.plot(*zip(*off, strict=True), "o", color=BLUE, ms=3.5)
    axes.set(ylabel="bpb", title=f"val_bpb minus the mean of the same seed: sd {spread:.4f}")


def verdicts(axes: Axes, events: Sequence[ev.AnyEvent], told: night.Tally) -> None:
    """Draw the gain of each edit at its verdict."""
    for event in events:
        if isinstance(event, ev.Judged) and event.gain is not None and event.error:
            hours, z, again = (event.t - events[0].t) / 3600, event.gain / event.error, event.pairs > 1
            axes.plot(hours, z, "o", color=BLUE, ms=3.5, mfc=BLUE if again else "white")
            if again:
                axes.plot(hours, policy.KEEP[min(event.pairs, policy.MAX_PAIRS)], "_", color=BLUE, ms=8)
    axes.axhspan(policy.WORSE, -4, color=ORANGE, alpha=0.18, lw=0)
    for height, words, colour in ((4.4, "needed to be kept", BLUE), (-3.0, "worse", ORANGE)):
        axes.text(0.5, height, words, color=colour, transform=axes.get_yaxis_transform(), ha="center", va="center")
    kept, worse = told.count("kept"), told.count("called worse")
    axes.set(ylim=(-4, 5), yticks=(-4, -2, 0, 2, 4), ylabel="gain, in\nstandard errors")
    axes.set_title(f"Verdicts on {len(told.outcomes)} edits that change nothing: {kept} kept, {worse} called worse")


# -- 3: several changes at once -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Effect:
    """The effect of one change alone on the train.py that a night started from. Gains are in sigmas."""

    name: str
    label: str
    true: float
    expected: float
    spread: float


@dataclass(frozen=True)
class Simulated:
    """A night of `search` in a drawn world, and the effects of all changes that were in a combination."""

    night: worlds.Night
    effects: list[Effect]  # the best first
    whole: list[Effect]  # of each kept combination as a whole

    def tried(self) -> list[PastExperiment]:
        """Return the scored experiments that made at least one of these changes."""
        names = {effect.name for effect in self.effects}
        return [one for one in self.night.past if one.gain is not None and names & changed(one)]


def changed(one: PastExperiment) -> set[str]:
    """Return the names of the knobs and edits that an experiment changed."""
    return {*one.constants, *structural(one)}


def simulate(world: int) -> Simulated:
    source = (ROOT / "nanochat" / "train.py").read_text(encoding="utf-8")
    run = worlds.run("search", worlds.KINDS[KIND], source, world, TRAININGS)
    start = {knob.name: knob for knob in knobs.read(source)}
    record = Record(run.past, start, worlds.SIGMA)
    model = Model(record.rows, (), ())
    values: dict[str, Value | None] = {}  # the last value of a knob in a combination; None for an edit
    for one in run.past:
        if one.proposal.notes.expected is not None:
            values |= {name: after for name, (_, after) in one.constants.items()} | dict.fromkeys(structural(one))
    effects = []
    for name, value in values.items():
        if value is None:
            label, change, true = name, record.change({}, (name,)), run.world.gain(source, frozenset((name,)))
        else:
            before = start[name].value
            label, change = f"{name} {before} → {value:.3g}", record.change({name: (before, value)})
            true = run.world.gain(knobs.set_knobs(source, {name: value}))
        if true and change.size:  # a knob may be back at its first value
            effects.append(Effect(name, label, true, model.expected.gain(change), model.spread(change)))
    whole = []
    for one in run.past:
        if one.proposal.notes.expected is not None and one.verdict.kept:
            change, before, after = (
                record.change(one.constants, structural(one)),
                run.truth(one.parent),
                run.truth(one.fingerprint),
            )
            assert before is not None and after is not None
            label = f"all {change.size} of experiment {one.number}"
            whole.append(Effect("", label, after - before, model.expected.gain(change), model.spread(change)))
    return Simulated(run, sorted(effects, key=lambda effect: effect.true, reverse=True), whole)


def several(count: int) -> None:
    nights = [simulate(world) for world in range(1, count + 1)]
    errors = [(one.expected - one.true, one.spread) for found in nights for one in found.effects]
    within = [sum(abs(error) <= times * spread for error, spread in errors) for times in (1, 2)]
    rms = math.sqrt(statistics.fmean(error**2 for error, _ in errors))
    print(
        f"{len(errors)} effects in {count} worlds: {within[0]} within one sd, {within[1]} within two; rms error {rms:.2f} sigma"
    )
    draw_effects(nights[0])


def draw_effects(found: Simulated) -> None:
    figure, axes = plt.subplots(
        2, 2, figsize=(WIDTH, 4.6), width_ratios=(1.25, 1), height_ratios=(1, 2.4), squeeze=False
    )
    gains(axes[0, 0], found.tried())
    grid(axes[1, 0], found)
    axes[0, 1].axis("off")
    estimates(axes[1, 1], [*found.effects, *found.whole])
    axes[1, 1].axhline(len(found.effects) - 0.5, color=GREY, lw=0.6)
    figure.tight_layout(h_pad=0.4, w_pad=1.0)
    save(figure, "effects")


def gains(axes: Axes, tried: Sequence[PastExperiment]) -> None:
    """Draw what each experiment measured, one column each."""
    for column, one in enumerate(tried):
        assert one.gain is not None
        colour = "black" if one.verdict.kept else GREY
        gain, error = one.gain / worlds.SIGMA, math.sqrt(2 / len(one.seeds))
        axes.errorbar(column, gain, error, fmt="o", color=colour, ms=4, lw=1.2)
        if one.verdict.kept:
            point(axes, "kept", (column, gain + error), (0, 2), weight="bold")
    axes.axhline(0, color=PALE, lw=0.8, zorder=0)
    axes.set(
        xlim=(-0.6, len(tried) - 0.4),
        xticks=(),
        ylabel="gain, in σ",
        title="What was measured",
        ylim=(-3, 5),
        yticks=(-2, 0, 2, 4),
    )
    axes.spines["bottom"].set_visible(False)


def grid(axes: Axes, found: Simulated) -> None:
    """Draw which experiment made which change."""
    tried = found.tried()
    for row, effect in enumerate(found.effects):
        axes.axhline(row, color=PALE, lw=0.8, zorder=0)
        for column, one in enumerate(tried):
            if effect.name in changed(one):
                axes.plot(column, row, "s", ms=6, color="black" if one.verdict.kept else GREY)
    rows = [*found.effects, *found.whole]
    axes.axhline(len(found.effects) - 0.5, color=GREY, lw=0.6)
    axes.set(
        xlim=(-0.6, len(tried) - 0.4),
        ylim=(len(rows) - 0.4, -0.6),
        xlabel="experiment (several squares: a combination)",
    )
    axes.set_xticks(range(len(tried)), [str(one.number) for one in tried], fontsize=7.5)
    axes.set_yticks(range(len(rows)), [effect.label for effect in rows])
    axes.tick_params(length=0)
    axes.spines[["left", "bottom"]].set_visible(False)


def estimates(axes: Axes, effects: Sequence[Effect]) -> None:
    """Draw what the model says about each change, beside the truth."""
    axes.axvline(0, color=PALE, lw=0.8, zorder=0)
    first = effects[0]
    sides = ("right", "left") if first.expected <= first.true else ("left", "right")
    for x, label, colour, side in zip(
        (first.expected, first.true), ("estimate ± sd", "true"), (BLUE, ORANGE), sides, strict=True
    ):
        point(axes, label, (x, 0), (0, 6), color=colour, weight="bold", ha=side)
    for row, effect in enumerate(effects):
        axes.errorbar(effect.expected, row, xerr=effect.spread, fmt="o", color=BLUE, ms=4, lw=1.6)
        axes.plot(effect.true, row, "D", color=ORANGE, ms=4.5, mfc="white", mew=1.4)
    axes.set(ylim=(len(effects) - 0.4, -0.6), yticks=(), xlabel="gain, in σ")
    axes.set_title("What the model makes of it", pad=14)
    axes.spines["left"].set_visible(False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--journal", type=Path, default=JOURNAL, help="journal of the A/A night")
    parser.add_argument(
        "--worlds", type=int, default=4, help="simulated nights for the quoted figures; the first one is drawn"
    )
    options = parser.parse_args()
    if not options.journal.exists():
        parser.error(f"{options.journal} does not exist; --journal names another one")
    FOLDER.mkdir(exist_ok=True)
    plt.rcParams.update(STYLE)
    keep_rule()
    several(options.worlds)
    aa_night(options.journal)


if __name__ == "__main__":
    main()
