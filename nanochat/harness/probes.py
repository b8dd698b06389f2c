"""Plan the queries of an evaluation, and detect cheating in the answers. Pure numpy.

Every row of the validation set is asked whole once, which gives the score. At least half of the rows (on a GPU some repeatedly)
are also asked earlier as a probe. A probe has the tokens of its row up to a secret position t, the cut, and then other text.
Cheating is detected by these rules:

- A causal model cannot distinguish a probe from its row, so its answers before and at t must equal those to the whole row.
- A probe does not contain the true next token of t. So the nats of that token at t must agree with the score.
- A model could remember the probe and cheat only after t. Then it is better after t than before it, unlike honest models.
- Some rows are asked whole twice, together with other rows. Both answers must be equal.
- A model could train between the queries, and answer each known prefix as before. Then it is better or worse in rows that it saw
  late than in those that it saw early. The order of the rows is random, so for an honest model the two are alike.

The cuts are spread over all positions of a row: none comes a second time before each has come once. So a model that cheats at a
few positions only is found as likely as possible. On a CPU there are enough probes for all positions if there are enough rows.

A row always has the same place in its batch, so that a GPU adds in the same order each time. The random generator is secret.

On a CPU, answers must be equal to the bit. On a GPU, single values may differ by a flipped bit of bfloat16, but their means must
not: a model that uses information from the whole row is worse in the probes, on average. `benchmarks/evaluation.py` measures how
small a gain is detected.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

PROBED = 0.5  # least share of the rows that are probed
REPEATED = 1 / 16  # share of the rows that are asked whole twice
LIMIT_HONEST, LIMIT_BREAK, LIMIT_LATE = 5.0, 6.0, 5.0  # standard errors
LEAST_ROWS = 16  # for a comparison of late rows with early ones
# On a GPU, the effect of two flipped last bits: bfloat16 has 8 significant bits, so values from 8 to 16 are 1/16 apart.
FLIP, FLIP_SHARE = 0.125, 1 / 64  # nats, and as a share of a log-probability
PAIRED_LIMIT = 2e-4  # bits per byte by which whole rows may be better than their probes on average
PAIRED_Z = 4.5  # standard errors of an honest model's mean difference that must fit into this limit
LEAST_PROBES, MOST_PER_ROW = 1024, 8  # on a GPU

MOST_BEFORE = 1.0  # nats: more than rounding changes a single value; smaller differences are judged by their mean

DIFFERENT = "it answered the same row differently the second time, so it changed or remembered rows"
DEPENDS = (
    "its outputs changed when only later tokens changed (or between queries): "
    "it uses future tokens, or it kept training"
)
PAIRED_WORDS = {
    "before_cuts": "it scored whole rows better than the same prefixes followed by other text",
    "at_cuts": "it predicted a token better if its input contained that token than if it contained another",
    "repeats": "its outputs for the same rows changed from the first time to the second",
}

Kind = Literal["probe", "whole", "repeat"]


@dataclass(frozen=True)
class Query:
    """A row to ask. `cut` is the last position that a probe shares with its row."""

    kind: Kind
    row: int
    cut: int = -1


class Cheated(Exception):
    """The answers are not those of an honest model. The message is a clause for the user."""


def covering(rows: int, length: int) -> float:
    """Return the number of probes per row on a CPU: enough for a cut at every position if there are as many rows."""
    return min(1.0, max(PROBED, (length - 1) / rows))


def probes_per_row(rows: int, noise: float, limit: float) -> float:
    """Return the number of probes per row on a GPU that keeps an honest model's mean difference within `limit`.

    Args:
        rows: Number of scored rows.
        noise: Standard deviation of one difference, in nats.
        limit: Allowed mean difference, in nats.

    Returns:
        The mean number of probes per row; infinity if it would exceed MOST_PER_ROW.
    """
    needed = (PAIRED_Z * noise / limit) ** 2 / rows
    if needed > MOST_PER_ROW:
        return math.inf
    return max(PROBED, min(1.0, LEAST_PROBES / rows), needed)


def rows_needed(noise: float, limit: float) -> int:
    """Return the minimum number of rows on a GPU for which MOST_PER_ROW probes per row are enough. 0 for infinite noise."""
    return math.ceil((PAIRED_Z * noise / limit) ** 2 / MOST_PER_ROW) if math.isfinite(noise) else 0


def plan(
    random: np.random.Generator, rows: int, length: int, batch: int, per_row: float = PROBED
) -> list[list[Query | None]]:
    """Plan all queries of an evaluation.

    Every row is asked whole once, after its probes, and always at the same place in its batch. The end of the evaluation has only
    repeats and rows that were probed before, so that a model cannot safely cheat late.

    Args:
        random: The secret generator.
        rows: Number of rows.
        length: Tokens per row.
        batch: Rows per batch.
        per_row: Mean number of probes per row.

    Returns:
        Batches of `batch` places each. None marks an unused place.
    """
    places: list[list[int]] = [part.tolist() for part in np.array_split(random.permutation(rows), min(batch, rows))]
    twice = set(_spread(random, places)[: max(4, round(rows * REPEATED))])
    probed_once_more = set(_spread(random, places)[: round(per_row % 1 * rows)])
    cuts = _cuts(random, length)
    queues: list[list[Query]] = []
    for place in places:
        keyed: list[tuple[float, Query]] = []
        for row in place:
            probes = int(per_row) + (row in probed_once_more)
            first = random.random() * 0.9
            whole = first + (1 - first) * random.random() if probes else random.random() * 0.8
            for _ in range(probes):
                keyed.append((first, Query("probe", row, next(cuts))))
                first += (whole - first) * random.random()
            keyed.append((whole, Query("whole", row)))
            if row in twice:
                keyed.append((whole + (1 - whole) * random.random(), Query("repeat", row)))
        queues.append([query for _, query in sorted(keyed, key=lambda pair: pair[0])])
    padded = [*queues, *([[]] * (batch - len(queues)))]
    return [
        [queue[index] if index < len(queue) else None for queue in padded] for index in range(max(map(len, queues)))
    ]


def _cuts(random: np.random.Generator, length: int) -> Iterator[int]:
    """Yield positions before the last one of a row without end: all of them in random order, again and again."""
    while True:
        yield from random.permutation(length - 1).tolist()


def _spread(random: np.random.Generator, places: list[list[int]]) -> list[int]:
    """Return all rows in random order, alternating between places, so that any prefix has about as many rows of each place."""
    shuffled = [random.permutation(place).tolist() for place in places]
    return [rows[turn] for turn in range(max(map(len, shuffled))) for rows in shuffled if turn < len(rows)]


class Splicer:
    """Makes probes. The text after the cut is replaced by text that follows the same token elsewhere in `tokens`."""

    def __init__(self, tokens: np.ndarray, random: np.random.Generator) -> None:
        self._tokens = tokens
        self._random = random
        self._order = np.argsort(tokens, kind="stable")
        self._sorted = tokens[self._order]

    def splice(self, row: np.ndarray, cut: int) -> np.ndarray:
        """Return a copy of a row (T,) with everything after `cut` replaced. The token after the cut differs from the true one."""
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
        if made[cut + 1] == row[cut + 1]:  # very repetitive text: use any other token
            made[cut + 1] = self._tokens[self._tokens != row[cut + 1]][:1].sum()
        return made


@dataclass(frozen=True)
class Probe:
    """The answer to a probe."""

    row: int
    cut: int
    before: np.ndarray  # nats before the cut, (cut,)
    at_cut: np.ndarray  # scores at the cut, (V,)
    honest: float  # nats of the true next token at the cut, which the probe does not contain


@dataclass
class Evaluation:
    """Collects answers and checks them for cheating.

    Attributes:
        rows: Number of rows.
        length: Tokens per row, T.
        limit: None on a CPU: the answers to equal tokens must be equal, and scores at cuts are logits. On a GPU, the nats per token
            by which whole rows may be better than their probes on average; scores at cuts are log-probabilities.
        reference: Nats of an earlier scored run, (rows, T). It reduces the variance of the statistics.
        nats: The nats of each target, float32 (rows, T). NaN for rows that were not answered yet.
    """

    rows: int
    length: int
    limit: float | None = None
    reference: np.ndarray | None = None
    nats: np.ndarray = field(init=False)
    _turn: int = 0  # answers so far
    _seen: np.ndarray = field(init=False)  # the turn at which a prefix was asked first, float32 (rows, T); NaN before
    _probes: dict[int, list[Probe]] = field(default_factory=dict)
    _before: list[tuple[float, int]] = field(default_factory=list)  # sums and counts of differences before the cuts
    _at_cuts: list[float] = field(default_factory=list)  # differences at the cuts
    _repeated: list[tuple[float, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.nats = np.full((self.rows, self.length), np.nan, dtype=np.float32)
        self._seen = self.nats.copy()

    def probe(self, query: Query, nats: np.ndarray, at_cut: np.ndarray, honest: float) -> None:
        """Add the answer to a probe.

        Args:
            query: The query.
            nats: Nats of the probe's own targets, (T,).
            at_cut: Scores at the cut, (V,).
            honest: Nats of the row's true next token at the cut.
        """
        self._note_seen(query.row, query.cut + 1)
        found = Probe(query.row, query.cut, nats[: query.cut].copy(), at_cut.copy(), honest)
        self._probes.setdefault(query.row, []).append(found)

    def cuts(self, row: int) -> list[int]:
        """Return the cuts of the row's probes so far."""
        return [probe.cut for probe in self._probes.get(row, ())]

    def whole(self, query: Query, nats: np.ndarray, at_cuts: Sequence[np.ndarray] = ()) -> None:
        """Add the answer to a whole row.

        Args:
            query: The query, of kind `whole` or `repeat`.
            nats: Nats of the targets, (T,).
            at_cuts: Scores (V,) at each of `cuts`. Not used for a repeat.

        Raises:
            Cheated: The answer differs from those to the row's probes, or from the first answer to the row.
        """
        if query.kind == "repeat":
            self._repeated.append(self._same(self.nats[query.row], nats, DIFFERENT))
            return
        self._note_seen(query.row, self.length)
        self.nats[query.row] = nats
        for probe, at_cut in zip(self._probes.get(query.row, ()), at_cuts, strict=True):
            self._before.append(self._same(probe.before, nats[: probe.cut], DEPENDS))
            self._same_scores(probe.at_cut, at_cut)
            self._at_cuts.append(probe.honest - float(nats[probe.cut]))

    def _note_seen(self, row: int, prefix: int) -> None:
        """Note that the model was asked for the first `prefix` positions of a row."""
        self._turn += 1
        seen = self._seen[row, :prefix]
        seen[np.isnan(seen)] = self._turn

    def _same(self, first: np.ndarray, other: np.ndarray, otherwise: str) -> tuple[float, int]:
        """Return the sum and the number of differences. Raises Cheated with the message `otherwise` if one is too large."""
        difference = first.astype(np.float64) - other
        most = float(np.max(np.abs(difference), initial=0.0))
        if not most <= (0.0 if self.limit is None else MOST_BEFORE):
            raise Cheated(otherwise)
        return float(difference.sum()), len(difference)

    def _same_scores(self, first: np.ndarray, other: np.ndarray) -> None:
        if self.limit is None:
            same = np.array_equal(first, other)
        else:
            same = bool((np.abs(first - other) <= np.maximum(FLIP, FLIP_SHARE * np.abs(first))).all())
        if not same:
            raise Cheated(DEPENDS)

    def _paired(self) -> dict[str, float]:
        """Return the mean differences in nats, probes minus whole rows. Raises Cheated if one exceeds the limit. GPU only."""
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
        """Check the statistics of all answers. Call it after the last answer.

        Returns:
            Statistics by name: `probes` (their number), `honest_z` and `break_z` (standard errors; 0.0 with fewer than 8 probes),
            `late_z` (likewise; 0.0 with fewer than LEAST_ROWS rows), and on a GPU `before_cuts`, `at_cuts` and `repeats` (nats).

        Raises:
            Cheated: A statistic exceeds its limit.
        """
        values = self.nats.astype(np.float64)
        if self.reference is not None:
            values = values - self.reference
        probes = [probe for row in sorted(self._probes) for probe in self._probes[row]]
        found = {"probes": float(len(probes)), "honest_z": 0.0, "break_z": 0.0, **self._paired()}
        found["late_z"] = self._late(values)
        if abs(found["late_z"]) > LIMIT_LATE:
            raise Cheated(
                f"it was {abs(found['late_z']):.0f} standard errors {'better' if found['late_z'] > 0 else 'worse'} in rows that it saw "
                f"late than in rows that it saw early: it kept training"
            )
        if len(probes) < 8:
            return found
        rows, cuts = (np.array([getattr(probe, name) for probe in probes]) for name in ("row", "cut"))
        honest = np.array([probe.honest for probe in probes])
        if self.reference is not None:
            honest = honest - self.reference[rows, cuts]
        expected = values[:, : self.length - 1].mean()
        found["honest_z"] = float(_z(honest - expected))
        if found["honest_z"] > LIMIT_HONEST:
            raise Cheated(
                f"with the next token hidden it was {found['honest_z']:.0f} standard errors worse than its score: "
                f"it uses tokens that it should not see"
            )
        found["break_z"] = self._break(rows, cuts)
        if found["break_z"] > LIMIT_BREAK:
            raise Cheated(
                f"it was {found['break_z']:.0f} standard errors better after the cuts of the probes than before them: "
                f"it remembered earlier queries"
            )
        return found

    def _late(self, values: np.ndarray) -> float:
        """Return how much better the rows are that were seen late, in standard errors. `values`: nats, (rows, T).

        That is Spearman's rank correlation of the time and the quality, which single rows can hardly move, as a z value (Fisher 1915;
        the variance is that of Fieller, Hartley and Pearson 1957).
        """
        if self.rows < LEAST_ROWS:
            return 0.0
        times, quality = (np.argsort(np.argsort(part)) for part in (self._seen.mean(axis=1), -values.mean(axis=1)))
        correlation = np.clip(np.corrcoef(times, quality)[0, 1], -0.999, 0.999)
        return float(np.arctanh(correlation) / math.sqrt(1.06 / (self.rows - 3)))

    def _break(self, rows: np.ndarray, cuts: np.ndarray) -> float:
        """Return how much better the answers are after the cuts than before them, in standard errors.

        Compares logarithms of nats, so that a few hard tokens do not dominate, over equally many positions on both sides. Each
        value is relative to the mean at its position in rows without a probe (or in all rows, if fewer than 8 have none). So the
        expected difference of an honest model is 0.
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
    """Return the mean divided by its standard error; 0 if all values are equal."""
    spread = values.std(ddof=1)
    return float(values.mean() / (spread / math.sqrt(len(values)))) if spread > 0 else 0.0
