"""truth.py --establish and --effects: measure the true effects of ten edits, and check whether a night finds them.

The true effect of an edit is the mean over seeds of what it gains on the baselines of the same seed, measured without the loop
and without its keep rule.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import figures
from figures import number
from night import Tally, counts
from slots import REFERENCE, REFERENCE_S
from trainings import Bench, Record, Row, Unmeasured, Wanted, fitted, read

from core.agents.script import Entry
from core.change.edits import apply
from core.machine.profiles import Profile
from core.model import Edit

ESTABLISHED = Path(__file__).with_name("effects.jsonl")
MODE = "establish"
BASELINES = ("baseline 1", "baseline 2")  # on each seed
FIRST_SEED = 1000
REAL = 2.0  # least real gain, in standard deviations of one measurement
SURE = 2.0  # least effect with a sure sign, in standard errors


def knob(name: str, old: str, new: str) -> Edit:
    return Edit(search=f"\n{name} = {old}  #", replace=f"\n{name} = {new}  #")


PAIRS = (
    Edit(
        search="        spans = [",
        replace="        self.pairs = nn.Embedding(16384, WIDTH, dtype=tables)  # of the previous token and this one\n        spans = [",
    ),
    Edit(
        search="        self.embed.weight.normal_(std=EMBED_STD)\n",
        replace="        self.embed.weight.normal_(std=EMBED_STD)\n        self.pairs.weight.zero_()\n",
    ),
    Edit(
        search="        x = norm(self.embed(tokens).to(self.dtype))  # (B, T, C)\n",
        replace="        pairs = (F.pad(tokens, (1, 0))[:, :-1] * 7919 + tokens) % 16384  # (B, T)\n"
        "        x = norm((self.embed(tokens) + self.pairs(pairs)).to(self.dtype))  # (B, T, C)\n",
    ),
    Edit(
        search="    embeddings = [table.weight for table in model.value_embeds.values()]\n",
        replace="    embeddings = [model.pairs.weight, *(table.weight for table in model.value_embeds.values())]\n",
    ),
)
NO_SMEAR = Edit(search="        x = norm(x + self.smear.to(self.dtype) * previous)", replace="        x = norm(x)")
EDITS: dict[str, tuple[Edit, ...]] = {
    "Rotary embeddings of a shorter base wavelength, 3000.": (knob("ROPE_BASE", "10000.0", "3000.0"),),
    "Embeddings of hashed pairs of tokens, added to those of the token.": PAIRS,
    "Logits within +-15.": (knob("SOFTCAP", "0.0", "15.0"),),
    "Matrices learn half as fast again.": (knob("MATRIX_LR", "0.02", "0.03"),),
    "Scalars learn a fifth more slowly.": (knob("SCALAR_LR", "0.05", "0.04"),),
    "The learning rates fall over four fifths of the budget.": (knob("WARM_DOWN", "0.5", "0.8"),),
    "The previous token's embedding is left out.": (NO_SMEAR,),
    "Half as many tokens a step, so twice the steps.": (
        knob("BATCH_SIZE", "8", "4"),
        knob("TOTAL_BATCH", "2**11", "2**10"),
    ),
    "AdamW remembers squared gradients a little longer.": (knob("ADAM_BETA2", "0.95", "0.96"),),
    "The unembedding learns a quarter as fast.": (knob("UNEMBED_LR", "0.004", "0.001"),),
}


def entries() -> list[Entry]:
    """Return the edits as lines for the agent `script`."""
    return [Entry(hypothesis=words, edits=edits) for words, edits in EDITS.items()]


def plan(seeds: int) -> list[tuple[str, int]]:
    """Name and seed of every training: seed after seed, each with a baseline in the middle of each half of the edits.

    The edits begin at another one on each seed, so that none is always the first.
    """
    planned, words = [], list(EDITS)
    for seed in range(FIRST_SEED, FIRST_SEED + seeds):
        first = seed % len(words)
        order = words[first:] + words[:first]
        half, middle = len(words) // 2, len(words) // 4
        for baseline, part in zip(BASELINES, (order[:half], order[half:]), strict=True):
            planned += [(name, seed) for name in (*part[:middle], baseline, *part[middle:])]
    return planned


async def establish(profile: Profile, record: Record, seeds: int, budget_s: float, slots: int) -> None:
    """Run what the record lacks of the plan for this profile and budget, `slots` trainings at once. Raises Unmeasured."""
    source = fitted(profile)
    sources = {words: apply(source, edits) for words, edits in EDITS.items()}
    done = {(row.name, row.seed) for row in of(record.rows, profile.name, budget_s)}
    left = [wanted for wanted in reversed(plan(seeds)) if wanted not in done]

    async def work(slot: int) -> None:
        while left:
            name, seed = left.pop()
            await bench.run(Wanted(name, sources.get(name, source), budget_s, seed), slot, slots=slots)

    async with Bench(MODE, profile, record, slots=slots) as bench, asyncio.TaskGroup() as group:
        if left and slots > 1 and bench.reference_s is None:  # else each slot would take its own
            await bench.run(Wanted(REFERENCE, source, min(REFERENCE_S, budget_s)))
        for slot in range(slots):
            group.create_task(work(slot))


def of(rows: Iterable[Row], profile: str, budget_s: float) -> list[Row]:
    """Return the rows of this mode with a profile and a budget."""
    return [row for row in rows if row.mode == MODE and row.profile == profile and row.budget_s == budget_s]


@dataclass(frozen=True)
class Truth:
    """The paired gains of each edit in bits per byte; positive is better."""

    gains: dict[str, list[float]]

    @property
    def sigma(self) -> float:
        """Noise of one measurement. A difference has this variance once for the edit and shared by the baselines for their mean."""
        return figures.pooled_sd(list(self.gains.values())) / math.sqrt(1 + 1 / len(BASELINES))

    def gain(self, words: str) -> float:
        return figures.mean(self.gains.get(words, []))

    def error(self, words: str) -> float:
        return figures.mean_error(self.gains.get(words, []))

    def real(self, words: str) -> bool:
        """Return whether an edit surely helps, by more than REAL times the noise."""
        return self.gain(words) > REAL * self.sigma and self.sign(words) > 0

    def sign(self, words: str) -> int:
        """Return 1 if an edit surely helps, -1 if it surely hurts, else 0."""
        gain, error = self.gain(words), self.error(words)
        return 0 if not abs(gain) > SURE * error else 1 if gain > 0 else -1


def truth(rows: Iterable[Row]) -> Truth:
    """Compare each edit with the mean of the baselines of the same seed."""
    scores = {(row.name, row.seed): row.val_bpb for row in rows if row.scored}
    gains: dict[str, list[float]] = {words: [] for words in EDITS}
    for name, seed in sorted(scores):
        base = [scores[baseline, seed] for baseline in BASELINES if (baseline, seed) in scores]
        if name in gains and base:
            gains[name].append(figures.mean(base) - scores[name, seed])
    return Truth(gains)


def established(path: Path, profile: str, budget_s: float) -> Truth:
    """Read the true effects from a file. Raises Unmeasured if it has none for this profile and budget."""
    found = truth(of(read(path) if path.exists() else [], profile, budget_s))
    if math.isnan(found.sigma):
        raise Unmeasured(
            f"no true effects are known for profile {profile} at {budget_s:g} s: run --establish 12 first."
        )
    return found


def report_truth(found: Truth) -> list[str]:
    """Return a report of the true effects, as lines."""
    cells = [("edit", "pairs", "true gain", "standard error")]
    for words in sorted(EDITS, key=found.gain, reverse=True):
        gain, error = found.gain(words), found.error(words)
        cells.append((words, str(len(found.gains[words])), number(gain, sign=True), number(error)))
    return ["", *figures.table(cells), f"noise of one measurement, from these pairs: {number(found.sigma)}"]


def report(told: Tally, found: Truth) -> list[str]:
    """Return a report of a night's verdicts on the edits, as lines."""
    cells = [("edit", "true gain", "standard error", "first pair", "outcome", "")]
    judged = {words: n for n, words in told.words.items() if words in EDITS}
    for words, n in judged.items():
        first = number(told.gains.get(n, math.nan), sign=True)
        gain, error = number(found.gain(words), sign=True), number(found.error(words))
        cells.append((words, gain, error, first, told.outcomes[n], _remark(found, words, told.outcomes[n])))
    remarks = [cell[-1] for cell in cells]
    real = sum(found.real(words) for words in judged)
    return [
        "",
        *counts(told),
        *figures.table(cells),
        f"found {remarks.count('found')} of {real} real gains: true gains of more than {REAL:g} x {number(found.sigma)}, the noise of "
        "one measurement",
        f"misjudged {remarks.count('misjudged')} of {len(judged)}: kept though it surely hurts, or called worse though it surely "
        f"helps (by more than {SURE:g} standard errors of the true effect)",
        "True gains are those on the train.py that the night began with; what was kept before an edit may change its own.",
    ]


def _remark(found: Truth, words: str, outcome: str) -> str:
    sign = found.sign(words)
    if (outcome == "kept" and sign < 0) or (outcome == "called worse" and sign > 0):
        return "misjudged"
    if found.real(words):
        return "found" if outcome == "kept" else "missed"
    return ""
