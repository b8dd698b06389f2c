"""The derived files of a run, from plain rows: results.tsv for notebooks, notebook.md for people."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from core.verdicts import Verdict

COLUMNS = (
    "commit", "val_bpb", "memory_gb", "status", "description",  # autoresearch's own five
    "class", "gain", "noise", "agent", "seconds", "number", "params", "sigma",
)  # fmt: skip
BASELINE = "baseline"
TSV, NOTEBOOK = "results.tsv", "notebook.md"


@dataclass(frozen=True)
class Row:
    """One experiment, or the baseline (number 0, no verdict)."""

    number: int
    commit: str
    verdict: Verdict | None
    hypothesis: str
    val_bpb: float | None = None  # mean over its seeds; None when it has no score
    memory: int = 0  # peak, bytes
    crash: str = ""
    gain: float | None = None  # mean paired improvement in bpb, positive is better
    pairs: int = 0
    sigma: float | None = None  # noise of one measurement when it was judged
    within_noise: bool = False
    agent: str = ""
    seconds: float = 0.0  # wall, over all its trainings
    params: int | None = None
    finding: str = ""
    words: str = ""  # the verdict as a person reads it; the baseline has none
    added: int = 0
    removed: int = 0

    @property
    def status(self) -> str:
        """In autoresearch's own three words."""
        return "keep" if self.verdict is None else self.verdict.upstream

    @property
    def score(self) -> str:
        """val_bpb; 0.000000 for crashes, as autoresearch has it, and nan, which no plot shows, for what was never run."""
        if self.val_bpb is None:
            return "0.000000" if self.status == "crash" else "nan"
        return f"{self.val_bpb:.6f}"

    @property
    def kind(self) -> str:
        """Our own class."""
        if self.verdict is None:
            return BASELINE
        return f"{self.verdict.value}: {self.crash}" if self.crash else self.verdict.value

    @property
    def noise(self) -> str:
        """Whether the gain or loss is beyond the noise, in words; "" where nothing was compared."""
        if self.gain is None:
            return ""
        if not self.within_noise:
            return "conclusive"
        return "not confirmed" if self.verdict is Verdict.DISCARD and self.pairs > 1 else "inconclusive"


@dataclass(frozen=True)
class Header:
    """What the notebook says of a run before its findings."""

    name: str
    dataset: str
    device: str
    budget_s: float
    seed: int
    noise: str  # its standard deviation and interval, in words
    baseline: float | None = None
    best: float | None = None
    scoreboard: tuple[
        tuple[str, int, int, float, float], ...
    ] = ()  # agent, tried, kept, gain in bpb, seconds proposing


def tsv(rows: Iterable[Row]) -> str:
    """One line a row under a line of COLUMNS; a description can break neither lines, columns nor quotes."""
    lines = [COLUMNS]
    for row in rows:
        lines.append(
            (
                row.commit[:7],
                row.score,
                f"{row.memory / 2**30:.1f}",  # as autoresearch has it: MiB / 1024
                row.status,
                _cell(row.hypothesis),
                row.kind,
                "" if row.gain is None else f"{row.gain:.6f}",
                row.noise,
                _cell(row.agent),
                f"{row.seconds:.1f}",
                str(row.number),
                "" if row.params is None else str(row.params),
                "" if row.sigma is None else f"{row.sigma:.6f}",
            )
        )
    return "".join("\t".join(line) + "\n" for line in lines)


def notebook(rows: Sequence[Row], header: Header) -> str:
    """The findings as Markdown, one an experiment, newest last."""
    judged = [row for row in rows if row.verdict is not None]
    kept = sum(row.verdict is not None and row.verdict.kept for row in judged)
    tried = sum(row.verdict is not None and row.verdict.tried for row in judged)
    lines = [
        f"# Run {header.name}",
        "",
        f"{_text(header.dataset)} on {header.device}, {header.budget_s:g} s of training each, seed {header.seed}.",
    ]
    if header.baseline is not None and header.best is not None:
        lines.append(
            f"Baseline {header.baseline:.4f}, best {header.best:.4f} ({header.best - header.baseline:+.4f}); "
            f"noise {header.noise}. {kept} kept of {tried}."
        )
    if len(header.scoreboard) > 1:
        lines += ["", "| agent | tried | kept | gain | seconds proposing |", "| --- | --- | --- | --- | --- |"]
        lines += [
            f"| {_text(who)} | {tried} | {got} | {gain:.4f} | {s:.0f} |"
            for who, tried, got, gain, s in header.scoreboard
        ]
    lines.append("")
    for row in judged:
        lines += _finding(row)
    return "\n".join(lines) + "\n"


def _finding(row: Row) -> list[str]:
    assert row.verdict is not None
    score = "" if row.val_bpb is None else f" {row.val_bpb:.4f}"
    gain = "" if row.gain is None else f" ({-row.gain:+.4f})"
    agent = f", by {_text(row.agent)}" if row.agent else ""
    return [
        f"- **#{row.number} {row.words}**{score}{gain} · {_text(row.hypothesis)} "
        f"[+{row.added} -{row.removed} lines{agent}]  ",
        f"  {_text(row.finding)}",
    ]


def publish(folder: Path, rows: Sequence[Row], header: Header) -> None:
    """Write both files anew, each in one step: a reader never sees half of one. Raises OSError."""
    for name, text in ((TSV, tsv(rows)), (NOTEBOOK, notebook(rows, header))):
        draft = folder / f".{name}.new"
        draft.write_text(text, encoding="utf-8", newline="\n")
        os.replace(draft, folder / name)


def _cell(text: str) -> str:
    """One line of printable text without double quotes, which a reader of the file would take for the start of a field."""
    kept = "".join(" " if unicodedata.category(c) in ("Cc", "Zl", "Zp") else c for c in text)
    kept = "".join(c for c in kept if unicodedata.category(c) not in ("Cf", "Cs", "Co", "Cn"))
    return " ".join(kept.split()).replace('"', "'")


def _text(text: str) -> str:
    """The same for Markdown, where a tag could hide what follows it."""
    return _cell(text).replace("&", "&amp;").replace("<", "&lt;")
