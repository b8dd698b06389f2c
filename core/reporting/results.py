"""The derived files of a run: results.tsv for data analysis, notebook.md for people."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from core.reporting import phrases
from core.reporting.highlights import Highlight
from core.reporting.phrases import BPB
from core.target import TARGET
from core.verdicts import Verdict

COLUMNS = (
    "commit", "val_bpb", "memory_gb", "status", "description",  # the five columns of upstream autoresearch
    "class", "change", "noise", "agent", "seconds", "number", "params", "sigma", "raw_bpb",
)  # fmt: skip
TITLES = "\t".join(COLUMNS) + "\n"
BASELINE = "baseline"
SIGN = f"In all changes {TARGET.better_sign}."
TSV, NOTEBOOK = "results.tsv", "notebook.md"
BEST_DIFF = "best.diff"  # the change from the start to the best
HTML, PNG = "report.html", "report.png"  # the report, written when the run ends


@dataclass(frozen=True)
class Row:
    """One experiment, or the baseline (number 0, no verdict)."""

    number: int
    commit: str
    verdict: Verdict | None
    hypothesis: str
    val_bpb: float | None = None  # on the scale of the run, see `core.judging.gain`; None without a score
    raw_bpb: float | None = None  # mean over its seeds
    memory: int = 0  # peak, in bytes
    crash: str = ""
    change: float | None = None  # mean paired change in bpb, negative is better
    pairs: int = 0
    sigma: float | None = None  # noise of one measurement when it was judged
    within_noise: bool | None = False  # None if the verdict compares no scores
    agent: str = ""
    seconds: float = 0.0  # wall time of all its trainings
    params: int | None = None
    finding: str = ""
    words: str = ""  # the verdict as text; "" for the baseline
    added: int = 0
    removed: int = 0

    @property
    def status(self) -> str:
        """The status as upstream autoresearch writes it: keep, discard or crash."""
        return "keep" if self.verdict is None else self.verdict.upstream

    @property
    def score(self) -> str:
        """val_bpb as text: 0.000000 for a crash, as in upstream autoresearch, and nan without a score, since plots skip it."""
        if self.val_bpb is None:
            return "0.000000" if self.status == "crash" else "nan"
        return f"{self.val_bpb:.6f}"

    @property
    def kind(self) -> str:
        """The column `class`: the verdict, with the class of a crash."""
        if self.verdict is None:
            return BASELINE
        return f"{self.verdict.value}: {self.crash}" if self.crash else self.verdict.value

    @property
    def noise(self) -> str:
        """Whether the gain or loss is beyond the noise, as text; "" if nothing was compared."""
        if self.change is None or self.within_noise is None:
            return ""
        if not self.within_noise:
            return "conclusive"
        return "not confirmed" if self.verdict is Verdict.DISCARD and self.pairs > 1 else "inconclusive"


@dataclass(frozen=True)
class Header:
    """The head of the notebook."""

    name: str
    dataset: str
    device: str
    budget_s: float
    seed: int
    noise: str  # its standard deviation and interval, as text
    gain: str = ""  # the scores of start and best, and the change, as text; "" before the start was measured
    checks: tuple[str, ...] = ()  # the outcomes of the final and the longer check, as sentences
    scoreboard: tuple[
        tuple[str, int, int, float, float], ...
    ] = ()  # agent, tried, kept, change in bpb, seconds proposing
    highlights: tuple[tuple[str, tuple[Highlight, ...]], ...] = ()  # title, and the experiments below it
    untried: tuple[str, ...] = ()  # topics that no experiment was about
    lessons: tuple[str, ...] = ()  # what the run has taught, in the words of a language model


def tsv_line(row: Row) -> str:
    """Return the line of a row in results.tsv."""
    cells = (
        row.commit[:7],
        row.score,
        f"{row.memory / 2**30:.1f}",  # in GiB, as in upstream autoresearch
        row.status,
        _cell(row.hypothesis),
        row.kind,
        "" if row.change is None else f"{row.change:+.6f}",
        row.noise,
        _cell(row.agent),
        f"{row.seconds:.1f}",
        str(row.number),
        "" if row.params is None else str(row.params),
        "" if row.sigma is None else f"{row.sigma:.6f}",
        "" if row.raw_bpb is None else f"{row.raw_bpb:.6f}",
    )
    return "\t".join(cells) + "\n"


def head(verdicts: Collection[Verdict], header: Header) -> str:
    """Return the text of notebook.md before the findings. `verdicts`: those of all experiments that have one."""
    kept, tried = sum(one.kept for one in verdicts), sum(one.tried for one in verdicts)
    lines = [
        f"# Run {header.name}",
        "",
        f"{_text(header.dataset)} on {header.device}, {header.budget_s:g} s of training each, seed {header.seed}.",
    ]
    if header.gain:
        lines.append(
            f"{TARGET.metric} {header.gain}; noise {header.noise}. {kept} kept of {tried}. {SIGN} {phrases.SCALE}."
        )
    if kept:
        lines += ["", f"The whole change from the start to the best is in `{BEST_DIFF}`."]
    for check in header.checks:
        lines += ["", check]
    if len(header.scoreboard) > 1:
        lines += ["", f"| agent | tried | kept | {BPB} | seconds proposing |", "| --- | --- | --- | --- | --- |"]
        lines += [
            f"| {_text(who)} | {tried} | {got} | {phrases.change(change)} | {s:.0f} |"
            for who, tried, got, change, s in header.scoreboard
        ]
    for title, found in header.highlights:
        if found:
            lines += ["", f"## {title}", "", *map(_highlight, found)]
    if header.untried:
        lines += ["", "## Not tried", "", f"{', '.join(header.untried)}."]
    if header.lessons:
        lines += ["", "## Lessons", "", *(f"- {_text(line)}" for line in header.lessons)]
    lines += ["", "## All experiments", ""]
    return "\n".join(lines) + "\n"


def _highlight(highlight: Highlight) -> str:
    return f"- {highlight.change_words} · #{highlight.number} {_text(highlight.name)}"


def finding(row: Row) -> str:
    """Return the finding of an experiment with a verdict, as two lines of notebook.md."""
    score = "" if row.val_bpb is None else f" {row.val_bpb:.4f}"
    change = "" if row.change is None else f" ({phrases.change(row.change)})"
    agent = f", by {_text(row.agent)}" if row.agent else ""
    return (
        f"- **#{row.number} {row.words}**{score}{change} · {_text(row.hypothesis)} "
        f"[+{row.added} -{row.removed} lines{agent}]  \n  {_text(row.finding)}\n"
    )


def replace(folder: Path, table: str, notes: str) -> None:
    """Replace results.tsv and notebook.md, each in one step, so that readers never see an incomplete file. Raises OSError."""
    for name, text in ((TSV, table), (NOTEBOOK, notes)):
        draft = folder / f".{name}.new"
        draft.write_text(text, encoding="utf-8", newline="\n")
        os.replace(draft, folder / name)


def _cell(text: str) -> str:
    """Return text as one printable line without double quotes, which would begin a quoted field."""
    if text.isascii() and text.isprintable():  # most text is, and this is quick
        return " ".join(text.split()).replace('"', "'")
    kept = "".join(" " if unicodedata.category(c) in ("Cc", "Zl", "Zp") else c for c in text)
    kept = "".join(c for c in kept if unicodedata.category(c) not in ("Cf", "Cs", "Co", "Cn"))
    return " ".join(kept.split()).replace('"', "'")


def _text(text: str) -> str:
    """Return text as one printable line for Markdown, with tags escaped."""
    return _cell(text).replace("&", "&amp;").replace("<", "&lt;")
