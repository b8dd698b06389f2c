"""Two experiments of a run side by side, for `compare` and the app. Pure."""

from __future__ import annotations

import textwrap

from core.change import edits
from core.judging.final_check import CLEAR
from core.judging.gain import VISIBLE, Contrast, Scale
from core.record.experiment import Experiment
from core.record.state import State
from core.reporting import phrases
from core.reporting.summary import LABEL, WIDTH, Line, Span, Tone
from core.target import TARGET
from core.text import sanitize_text
from core.verdicts import Verdict
from nanochat.contract.value import Data

START = 0  # the number of the start
LONGEST = 600  # characters of a hypothesis that are shown


class Side(Data, frozen=True, kw_only=True):
    """One of the two. Scores are those of `core.judging.gain`, in bpb.

    Attributes:
        number: The number of the experiment; 0 for the start.
        hypothesis: What it tried.
        outcome: Its verdict as people read it.
        verdict: Its verdict; "" for the start, and before it has one.
        agent: Who proposed it; "" for the start.
        val_bpb: Its score; None if it was not measured.
        raw_bpb: The mean of its trainings, without the pairs; None if it was not measured.
        seeds: Number of its trainings.
        change: The paired change against its parent; negative is better. None without a pair.
        error: Standard error of `change`.
        parent: The number of its parent, 0 for the start; None if it is the start.
        commit: Its commit.
    """

    number: int
    hypothesis: str
    outcome: str
    verdict: str
    agent: str
    val_bpb: float | None
    raw_bpb: float | None
    seeds: int
    change: float | None
    error: float | None
    parent: int | None
    commit: str

    @property
    def name(self) -> str:
        """Its number, or "the start"."""
        return f"#{self.number}" if self.number else "the start"

    @property
    def kept(self) -> bool:
        """Whether it was kept."""
        return bool(self.verdict) and Verdict(self.verdict).kept

    @property
    def is_open(self) -> bool:
        """Whether it still waits for its verdict."""
        return self.parent is not None and not self.verdict

    @property
    def against(self) -> str:
        """What it is compared with: the number of its parent, or "the start"."""
        return f"#{self.parent}" if self.parent else "the start"


class Comparison(Data, frozen=True, kw_only=True):
    """The data of `compare --json`.

    Attributes:
        run: Name of the run.
        first, second: The two.
        difference: val_bpb of the second minus that of the first; negative: the second is better. None if no pairs tell.
        error: Standard error of `difference`, in bpb.
        seeds: Pairs of the two; 0 if they are compared through the changes between them.
        words: The difference and what it means, as a sentence.
        same: Whether both have the same train.py.
        diff: The change of train.py from the first to the second as a unified diff.
        added, removed: Numbers of lines in `diff`.
        missing: Why there is no diff, as a sentence; "" if there is one.
    """

    run: str
    first: Side
    second: Side
    difference: float | None
    error: float | None
    seeds: int
    words: str
    same: bool
    diff: str
    added: int
    removed: int
    missing: str

    @property
    def sides(self) -> tuple[Side, Side]:
        """The two."""
        return self.first, self.second


def comparison(
    state: State, sigma: float, numbers: tuple[int, int], sources: tuple[str | None, str | None], *, alive: bool = True
) -> Comparison:
    """Compare two experiments.

    Args:
        state: The state of the run.
        sigma: Noise of one score, in bpb.
        numbers: The two experiments; 0 for the start.
        sources: The train.py of each; None if it is not known.
        alive: Whether a loop runs, which matters for experiments without a verdict.

    Raises:
        KeyError: There is no such experiment.
    """
    scale = Scale(state)
    first, second = (state.experiments[number] if number != START else None for number in numbers)
    sides = tuple(_side(state, scale, each, sigma, alive) for each in (first, second))
    contrast = scale.contrast(first, second, sigma)
    old, new = sources
    same = sides[0].commit == sides[1].commit or (old is not None and old == new)
    both = old is not None and new is not None
    added, removed = edits.added_removed(old or "", new or "") if both else (0, 0)
    unknown = [side.name for side, source in zip(sides, sources, strict=True) if source is None]
    return Comparison(
        run=state.name,
        first=sides[0],
        second=sides[1],
        difference=contrast.change if contrast is not None else None,
        error=contrast.error if contrast is not None else None,
        seeds=contrast.seeds if contrast is not None else 0,
        words=_words(sides[0], sides[1], contrast, same=same),
        same=same,
        diff=edits.unified(old or "", new or "") if both else "",
        added=added,
        removed=removed,
        missing=f"The train.py of {' and of '.join(unknown)} cannot be read in the folder of the run, so there is no diff."
        if unknown
        else "",
    )


def lines(comparison: Comparison, width: int = WIDTH) -> list[Line]:
    """Return both hypotheses, verdicts, scores and changes, and the difference of the two, wrapped to `width` columns."""
    rows: list[Line] = []
    for side in comparison.sides:
        rows += _labelled(side.name.removeprefix("the "), _figures(side), width, "good" if side.kept else "strong")
        rows += _labelled("", phrases.one_line(side.hypothesis, LONGEST), width, "")
    clear = comparison.difference is not None and abs(comparison.difference) > CLEAR * (comparison.error or 0.0)
    tone: Tone = "" if not clear else "good" if TARGET.gain(comparison.difference or 0.0) > 0 else "bad"
    return [*rows, *_labelled("difference", comparison.words, width, tone)]


def text(comparison: Comparison, width: int = WIDTH) -> tuple[list[str], list[str]]:
    """Return what `compare` prints, as lines: the facts, and the diff."""
    facts = [f"{comparison.run}: {comparison.first.name} and {comparison.second.name}"]
    facts += ["".join(span.text for span in line).rstrip() for line in lines(comparison, width)]
    diff = sanitize_text(comparison.diff).split("\n")[2:-1]  # without the names of the files
    return [*facts, "", difference_title(comparison)], diff


def difference_title(comparison: Comparison) -> str:
    """Return the line above the diff from one to the other."""
    if comparison.missing:
        return comparison.missing
    name = TARGET.path.rpartition("/")[2]
    if not comparison.diff:
        return f"Both have the same {name}."
    return f"{name} from {comparison.first.name} to {comparison.second.name}, +{comparison.added} -{comparison.removed}"


def _side(state: State, scale: Scale, experiment: Experiment | None, sigma: float, alive: bool) -> Side:
    if experiment is None:
        start = state.start_commit.commit if state.start_commit is not None else ""
        return Side(
            number=START, hypothesis="The train.py that the run started from.", outcome="the start", verdict="", agent="",
            val_bpb=scale.score(start), raw_bpb=state.mean(start), seeds=len(state.scores.get(start, ())),
            change=None, error=None, parent=None, commit=start,
        )  # fmt: skip
    return Side(
        number=experiment.number,
        hypothesis=experiment.hypothesis,
        outcome=phrases.verdict(experiment, alive),
        verdict=experiment.verdict.value if experiment.verdict is not None else "",
        agent=experiment.agent,
        val_bpb=scale.of(experiment),
        raw_bpb=experiment.val_bpb if not experiment.is_pending_retry else None,
        seeds=len(state.scores.get(experiment.commit, ())),
        change=scale.change(experiment),
        error=scale.error(experiment, sigma),
        parent=next((number for number in state.kept if state.experiments[number].kept_as == experiment.parent), START),
        commit=experiment.commit,
    )


def _figures(side: Side) -> str:
    """Return the verdict, the score and the change of one of the two, as text."""
    parts = [side.outcome] if side.number else []
    parts.append(f"{TARGET.metric} {side.val_bpb:.4f}" if side.val_bpb is not None else "no score")
    if side.val_bpb is not None and side.raw_bpb is not None and abs(side.val_bpb - side.raw_bpb) >= VISIBLE:
        seeds = f"{side.seeds} seeds" if side.seeds > 1 else "one seed"
        parts[-1] += f" (measured {side.raw_bpb:.4f} on {seeds})"
    if side.change is not None:
        parts.append(f"{phrases.change(side.change, side.error)} against {side.against}")
    return ", ".join([*parts, *([f"by {phrases.one_line(side.agent, 60)}"] if side.agent else [])])


def _words(first: Side, second: Side, contrast: Contrast | None, *, same: bool) -> str:
    """Return the difference of the two and what it means."""
    if contrast is None:
        without = [side.name for side in (first, second) if side.val_bpb is None]
        if without:
            return f"unknown, because {' and '.join(without)} {'have' if len(without) > 1 else 'has'} no score"
        return "unknown, because no pairs of trainings on the same seeds lead from one to the other"
    if same and not contrast.error:
        return "none: both have the same train.py"
    way = (
        f"on {contrast.seeds} common seed{'s' if contrast.seeds != 1 else ''}"
        if contrast.seeds
        else "by way of their changes"
    )
    if abs(contrast.change) <= CLEAR * contrast.error:
        meaning = "not certain, it is within two standard errors"
    else:
        meaning = f"{second.name} is {'better' if TARGET.gain(contrast.change) > 0 else 'worse'} than {first.name}"
    return f"{phrases.change(contrast.change, contrast.error)} from {first.name} to {second.name}, {way}: {meaning}"


def _labelled(label: str, text: str, width: int, tone: Tone) -> list[Line]:
    """Return a text with a label, wrapped in its own column."""
    parts = textwrap.wrap(text, max(30, width - LABEL), break_on_hyphens=False) or [""]
    return [
        (Span(f"  {label if index == 0 else '':<{LABEL - 2}}", "dim"), Span(part, tone))
        for index, part in enumerate(parts)
    ]
