"""The questions of an evaluation, and what honest answers must have in common. Pure numpy; the secret is the generator's.

Every row of the validation set is asked whole once: that is the score. About half of the rows (on a GPU up to all of them,
some several times) are asked earlier in a mutilated form, the probe: after a secret position t, the cut, the row continues
with the text of another one. A causal model cannot tell: its answers up to t must equal those of the whole row. At t itself
the true next token was nowhere to be seen, so the nats there are honest, and must agree with the score. A model that
remembers the probe and cheats only where it is safe, behind t, is better behind t than before it; honest models are not.
Some rows are asked whole twice, in other company. Every form of a row is asked in the same place of its batch, so that
a GPU multiplies it in the same order each time.

On a CPU equal means equal bits. On a GPU single values may differ by what a flipped bit of bfloat16 moves, and the mean over
all of them must not: a model that gains by what only the whole row shows is worse in the probes by as much, on average.
`benchmarks/evaluation.py` measures how small a gain is still found.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

PROBED = 0.5  # share of the rows that are probed
REPEATED = 1 / 16
FIRST_CUT = 8  # probes are cut after T / FIRST_CUT at the earliest
LIMIT_HONEST, LIMIT_BREAK = 5.0, 6.0  # standard errors
# On a GPU. What a flipped last bit moves: bfloat16 has 8 significant bits, so values from 8 to 16 lie 1/16 apart; two of them.
FLIP, FLIP_SHARE = 0.125, 1 / 64  # nats, and as a share of a log-probability
PAIRED_LIMIT = 2e-4  # bits per byte: the most by which whole rows may be better than their probes on average
PAIRED_Z = 4.5  # standard errors of an honest model's mean that must fit into this limit
LEAST_PROBES, MOST_PER_ROW = 1024, 8  # on a GPU

MOST_BEFORE = 1.0  # nats: no rounding moves a single value by so much; smaller ones are judged by their mean

DIFFERENT = "it answered the same row differently the second time, so it changed or remembered rows"
DEPENDS = (
    "its answers changed when only later tokens did (or from one question to the next): "
    "it looks at the future, or went on training"
)
PAIRED_WORDS = {
    "before_cuts": "it answered whole rows better than the same beginnings followed by other text",
    "at_cuts": "it did better where the row showed the next token than where another stood there",
    "repeats": "its answers to the same rows changed from the first time to the second",
}

Kind = Literal["probe", "whole", "repeat"]


@dataclass(frozen=True)
class Query:
    """One row of a batch. `cut` is the last position that a probe shares with its row."""

    kind: Kind
    row: int
    cut: int = -1


class Cheated(Exception):
    """The answers are not those of an honest model; the message is a sentence."""


def probes_per_row(rows: int, noise: float, limit: float) -> float:
    """How many probes a row gets on average on a GPU, so that an honest model's mean difference stays within `limit`.

    `noise` is the measured standard deviation of one difference, in nats as is the limit. Returns infinity where even
    MOST_PER_ROW probes a row would not do.
    """
    needed = (PAIRED_Z * noise / limit) ** 2 / rows
    if needed > MOST_PER_ROW:
        return math.inf
    return max(PROBED, min(1.0, LEAST_PROBES / rows), needed)


def rows_needed(noise: float, limit: float) -> int:
    """How many rows an evaluation on a GPU needs at least, so that MOST_PER_ROW probes a row are enough."""
    return math.ceil((PAIRED_Z * noise / limit) ** 2 / MOST_PER_ROW) if math.isfinite(noise) else 0


def plan(
    random: np.random.Generator, rows: int, length: int, batch: int, per_row: float = PROBED
) -> list[list[Query | None]]:
    """Batches of `batch` places, None where nobody is asked: every row whole once, each probe in an earlier batch.

    A row has one place, the same in every batch. `per_row` is the mean number of probes a row. The end of the evaluation holds
    only rows that were probed before and repeats, so that cheating late is caught as well.
    """
    places: list[list[int]] = [part.tolist() for part in np.array_split(random.permutation(rows), min(batch, rows))]
    twice = set(_spread(random, places)[: max(4, round(rows * REPEATED))])
    probed_once_more = set(_spread(random, places)[: round(per_row % 1 * rows)])
    queues: list[list[Query]] = []
    for place in places:
        keyed: list[tuple[float, Query]] = []
        for row in place:
            probes = int(per_row) + (row in probed_once_more)
            first = random.random() * 0.9
            whole = first + (1 - first) * random.random() if probes else random.random() * 0.8
            for _ in range(probes):
                cut = int(random.integers(max(1, length // FIRST_CUT), length - 1))
                keyed.append((first, Query("probe", row, cut)))
                first += (whole - first) * random.random()
            keyed.append((whole, Query("whole", row)))
            if row in twice:
                keyed.append((whole + (1 - whole) * random.random(), Query("repeat", row)))
        queues.append([query for _, query in sorted(keyed, key=lambda pair: pair[0])])
    padded = [*queues, *([[]] * (batch - len(queues)))]
    return [
        [queue[index] if index < len(queue) else None for queue in padded] for index in range(max(map(len, queues)))
    ]


def _spread(random: np.random.Generator, places: list[list[int]]) -> list[int]:
    """All rows in random order, in turns from each place: a beginning of it gives every place about as many."""
    shuffled = [random.permutation(place).tolist() for place in places]
    return [rows[turn] for turn in range(max(map(len, shuffled))) for rows in shuffled if turn < len(rows)]


class Splicer:
    """Mutilates rows: after the cut follows another place of the validation set where the same token stands before."""

    def __init__(self, tokens: np.ndarray, random: np.random.Generator) -> None:
        self._tokens = tokens
        self._random = random
        self._order = np.argsort(tokens, kind="stable")
        self._sorted = tokens[self._order]

    def splice(self, row: np.ndarray, cut: int) -> np.ndarray:
        """The inputs (T,) of a row with everything after `cut` replaced; its next token differs from the truth."""
        rest = len(row) - cut - 1
        low, high = np.searchsorted(self._sorted, [row[cut], row[cut] + 1])
        for attempt in range(24):
            if attempt < 16 and high > low:
                start = int(self._order[self._random.integers(low, high)]) + 1
            else:
                start = int(self._random.integers(0, max(1, len(self._tokens) - rest)))
            if start + rest <= len(self._tokens) and self._tokens[start] != row[cut + 1]:
                break
        other = self._tokens[start : start + rest]
        made = row.copy()
        made[cut + 1 : cut + 1 + len(other)] = other
        if made[cut + 1] == row[cut + 1]:  # a validation set of one word: any other token will do
            made[cut + 1] = self._tokens[self._tokens != row[cut + 1]][:1].sum()
        return made


@dataclass(frozen=True)
class Probe:
    """What was answered to a probe: nats (cut,) before the cut, scores (V,) at it, the nats of the row's true token there."""

    row: int
    cut: int
    before: np.ndarray
    at_cut: np.ndarray
    honest: float


@dataclass
class Evaluation:
    """Collects answers and judges them.

    `limit` is None where the same question gives the same bits. Else it is the most, in nats a token, by which whole rows
    may be better than their probes on average. What is given as scores at a cut: logits, or log-probabilities with a limit.
    """

    rows: int
    length: int
    limit: float | None = None
    reference: np.ndarray | None = None  # nats of an earlier honest run, (rows, length)
    nats: np.ndarray = field(init=False)
    _probes: dict[int, list[Probe]] = field(default_factory=dict)
    _before: list[tuple[float, int]] = field(default_factory=list)  # sums and numbers of differences before the cuts
    _at_cuts: list[float] = field(default_factory=list)  # differences at the cuts
    _repeated: list[tuple[float, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.nats = np.full((self.rows, self.length), np.nan, dtype=np.float32)

    def probe(self, query: Query, nats: np.ndarray, at_cut: np.ndarray, honest: float) -> None:
        """Nats (T,) of a probe's own targets, scores (V,) at the cut, and the nats of the true token there."""
        found = Probe(query.row, query.cut, nats[: query.cut].copy(), at_cut.copy(), honest)
        self._probes.setdefault(query.row, []).append(found)

    def cuts(self, row: int) -> list[int]:
        """Where the row was cut in the probes so far."""
        return [probe.cut for probe in self._probes.get(row, ())]

    def whole(self, query: Query, nats: np.ndarray, at_cuts: Sequence[np.ndarray] = ()) -> None:
        """Nats (T,) of a whole row, and its scores (V,) at each of `cuts`. Raises Cheated when they do not fit its probes,
        or its first time."""
        if query.kind == "repeat":
            self._repeated.append(self._same(self.nats[query.row], nats, DIFFERENT))
            return
        self.nats[query.row] = nats
        for probe, at_cut in zip(self._probes.get(query.row, ()), at_cuts, strict=True):
            self._before.append(self._same(probe.before, nats[: probe.cut], DEPENDS))
            self._same_scores(probe.at_cut, at_cut)
            self._at_cuts.append(probe.honest - float(nats[probe.cut]))

    def _same(self, one: np.ndarray, other: np.ndarray, otherwise: str) -> tuple[float, int]:
        """The sum of the differences, and how many there are. Raises Cheated where one is too large."""
        difference = one.astype(np.float64) - other
        most = float(np.max(np.abs(difference), initial=0.0))
        if not most <= (0.0 if self.limit is None else MOST_BEFORE):
            raise Cheated(otherwise)
        return float(difference.sum()), len(difference)

    def _same_scores(self, one: np.ndarray, other: np.ndarray) -> None:
        if self.limit is None:
            same = np.array_equal(one, other)
        else:
            same = bool((np.abs(one - other) <= np.maximum(FLIP, FLIP_SHARE * np.abs(one))).all())
        if not same:
            raise Cheated(DEPENDS)

    def _paired(self) -> dict[str, float]:
        """On a GPU: mean differences in nats, probes less whole rows. Raises Cheated where one is above the limit."""
        if self.limit is None:
            return {}
        found = {
            "before_cuts": _mean(self._before),
            "at_cuts": float(np.mean(self._at_cuts)) if self._at_cuts else 0.0,
            "repeats": _mean(self._repeated),
        }
        for name, words in PAIRED_WORDS.items():
            if abs(found[name]) > self.limit if name == "repeats" else found[name] > self.limit:
                raise Cheated(f"{words} by {abs(found[name]):.5f} nats a token, and {self.limit:.5f} is the limit")
        return found

    def judge(self) -> dict[str, float]:
        """After all answers: the statistics of the probes. Raises Cheated."""
        values = self.nats.astype(np.float64)
        if self.reference is not None:
            values = values - self.reference
        probes = [probe for row in sorted(self._probes) for probe in self._probes[row]]
        found = {"probes": float(len(probes)), "honest_z": 0.0, "break_z": 0.0, **self._paired()}
        if len(probes) < 8:
            return found
        rows, cuts = (np.array([getattr(probe, name) for probe in probes]) for name in ("row", "cut"))
        honest = np.array([probe.honest for probe in probes])
        if self.reference is not None:
            honest = honest - self.reference[rows, cuts]
        expected = values[:, max(1, self.length // FIRST_CUT) : self.length - 1].mean()
        found["honest_z"] = float(_z(honest - expected))
        if found["honest_z"] > LIMIT_HONEST:
            raise Cheated(
                f"where the next token was hidden it did worse than its score by {found['honest_z']:.0f} standard errors: "
                f"it sees what it should not"
            )
        found["break_z"] = self._break(rows, cuts)
        if found["break_z"] > LIMIT_BREAK:
            raise Cheated(
                f"it did better behind the cuts of the probes than before them by {found['break_z']:.0f} standard errors: "
                f"it remembered what it was asked"
            )
        return found

    def _break(self, rows: np.ndarray, cuts: np.ndarray) -> float:
        """How much better it did behind the cuts than before them, in standard errors.

        Logarithms, since a few hard tokens would drown all others; as many positions before as behind, and each relative
        to the same position in rows without a probe (in all rows, where each has one), so that an honest model has no reason
        to differ.
        """
        logs = np.log(self.nats.astype(np.float64) + 0.1)
        if self.reference is not None:
            logs -= np.log(np.maximum(self.reference, 0.0) + 0.1)
        others = np.setdiff1d(np.arange(self.rows), rows)
        logs = logs - logs[others if len(others) >= 8 else slice(None)].mean(axis=0)
        steps = []
        for row, cut in zip(rows, cuts, strict=True):
            width = min(cut + 1, self.length - 1 - cut)
            if width >= 4:
                steps.append(logs[row, cut + 1 - width : cut + 1].mean() - logs[row, cut + 1 : cut + 1 + width].mean())
        return float(_z(np.array(steps))) if len(steps) >= 8 else 0.0


def _mean(sums: Sequence[tuple[float, int]]) -> float:
    count = sum(number for _, number in sums)
    return sum(total for total, _ in sums) / count if count else 0.0


def _z(values: np.ndarray) -> float:
    """Mean over its standard error."""
    spread = values.std(ddof=1)
    return float(values.mean() / (spread / math.sqrt(len(values)))) if spread > 0 else 0.0
