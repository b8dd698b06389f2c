"""The questions of an exam, and what honest answers must have in common. Pure numpy; the secret is the generator's.

Every row of the validation set is asked whole once: that is the score. About half of the rows are asked earlier in a
mutilated form, the probe: after a secret position t the row goes on with the text of another one. A causal model cannot
tell: its answers up to t must equal those of the whole row. At t itself the true next token was nowhere to be seen, so the
nats there are honest, and must agree with the score. A model that remembers the probe and cheats only where it is safe,
behind t, is better behind t than before it; honest models are not. Some rows are asked whole twice, in other company.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

PROBED = 0.5  # share of the rows that are probed
REPEATED = 1 / 16
FIRST_CUT = 8  # probes are cut after T / FIRST_CUT at the earliest
LIMIT_HONEST, LIMIT_BREAK = 5.0, 6.0  # standard errors

Kind = Literal["probe", "whole", "repeat"]


@dataclass(frozen=True)
class Ask:
    """One row of a batch. `cut` is the last position that a probe shares with its row."""

    kind: Kind
    row: int
    cut: int = -1


class Cheated(Exception):
    """The answers are not those of an honest model; the message is a sentence."""


def plan(random: np.random.Generator, rows: int, length: int, batch: int) -> list[list[Ask]]:
    """Batches of at most `batch` asks: every row whole once, a probe in an earlier batch than its whole.

    The end of the exam holds only rows that were probed before and repeats, so that cheating late is caught as well.
    """
    keyed: list[tuple[float, Ask]] = []
    twice = set(random.choice(rows, size=min(rows, max(4, round(rows * REPEATED))), replace=False).tolist())
    for row in range(rows):
        if random.random() < PROBED:
            first = random.random() * 0.9
            cut = int(random.integers(max(1, length // FIRST_CUT), length - 1))
            keyed.append((first, Ask("probe", row, cut)))
            whole = first + (1 - first) * random.random()
        else:
            whole = random.random() * 0.8
        keyed.append((whole, Ask("whole", row)))
        if row in twice:
            keyed.append((whole + (1 - whole) * random.random(), Ask("repeat", row)))
    batches: list[list[Ask]] = []
    later: list[Ask] = []
    queue = [ask for _, ask in sorted(keyed, key=lambda pair: pair[0])]
    while queue or later:
        current: list[Ask] = []
        present: set[int] = set()
        source, later = later + queue, []
        while source and len(current) < batch:
            ask = source.pop(0)
            if ask.row in present:
                later.append(ask)
            else:
                current.append(ask)
                present.add(ask.row)
        queue = source
        batches.append(current)
    return batches


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


@dataclass
class Exam:
    """Collects answers and judges them. `tolerance` is 0 where the same question gives the same bits."""

    rows: int
    length: int
    tolerance: float = 0.0
    reference: np.ndarray | None = None  # nats of an earlier honest run, (rows, length)
    nats: np.ndarray = field(init=False)
    _probed: dict[int, tuple[int, np.ndarray, np.ndarray, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.nats = np.full((self.rows, self.length), np.nan, dtype=np.float32)

    def probe(self, ask: Ask, nats: np.ndarray, at_cut: np.ndarray, honest: float) -> None:
        """Nats (T,) of a probe's own targets, logits (V,) at the cut, and the nats of the true token there."""
        self._probed[ask.row] = (ask.cut, nats[: ask.cut].copy(), at_cut.copy(), honest)

    def cut(self, row: int) -> int | None:
        """Where the row was cut, if it was probed."""
        found = self._probed.get(row)
        return found[0] if found else None

    def whole(self, ask: Ask, nats: np.ndarray, at_cut: np.ndarray | None) -> None:
        """Nats (T,) of a whole row. Raises Cheated when they do not fit its probe, or its first time."""
        if ask.kind == "repeat":
            if not self._same(self.nats[ask.row], nats):
                raise Cheated("it answered the same row differently the second time, so it changed or remembered rows")
            return
        self.nats[ask.row] = nats
        if ask.row in self._probed:
            cut, before, logits, _ = self._probed[ask.row]
            if not self._same(before, nats[:cut]) or at_cut is None or not self._same(logits, at_cut):
                raise Cheated(
                    "its answers changed when only later tokens did (or from one question to the next): "
                    "it looks at the future, or went on training"
                )

    def _same(self, one: np.ndarray, other: np.ndarray) -> bool:
        if self.tolerance == 0:
            return bool(np.array_equal(one, other))
        return bool(np.max(np.abs(one - other), initial=0.0) <= self.tolerance)

    def judge(self) -> dict[str, float]:
        """After all answers: the statistics of the probes. Raises Cheated."""
        values = self.nats.astype(np.float64)
        if self.reference is not None:
            values = values - self.reference
        rows = np.array(sorted(self._probed), dtype=int)
        found = {"probes": float(len(rows)), "honest_z": 0.0, "break_z": 0.0}
        if len(rows) < 8:
            return found
        cuts = np.array([self._probed[row][0] for row in rows])
        honest = np.array([self._probed[row][3] for row in rows])
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
        to the same position in rows without a probe, so that an honest model has no reason to differ.
        """
        logs = np.log(self.nats.astype(np.float64) + 0.1)
        if self.reference is not None:
            logs -= np.log(np.maximum(self.reference, 0.0) + 0.1)
        others = np.setdiff1d(np.arange(self.rows), rows)
        if len(others) >= 8:
            logs = logs - logs[others].mean(axis=0)
        steps = []
        for row, cut in zip(rows, cuts, strict=True):
            width = min(cut + 1, self.length - 1 - cut)
            if width >= 4:
                steps.append(logs[row, cut + 1 - width : cut + 1].mean() - logs[row, cut + 1 : cut + 1 + width].mean())
        return float(_z(np.array(steps))) if len(steps) >= 8 else 0.0


def _z(values: np.ndarray) -> float:
    """Mean over its standard error."""
    spread = values.std(ddof=1)
    return float(values.mean() / (spread / math.sqrt(len(values)))) if spread > 0 else 0.0
