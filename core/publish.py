"""The derived files of a run: results.tsv for notebooks, notebook.md for people. Both follow from the state alone."""

from __future__ import annotations

from pathlib import Path

from core.model import Verdict
from core.state import Experiment, State

COLUMNS = (
    "commit", "val_bpb", "memory_gb", "status", "description",  # autoresearch's own five
    "class", "number", "gain", "noise", "agent", "seconds", "params",
)  # fmt: skip


def publish(folder: Path, state: State, sigma: float) -> None:
    """Write both files anew, each in one step. Raises OSError."""
    for name, text in (("results.tsv", tsv(state, sigma)), ("notebook.md", notebook(state, sigma))):
        draft = folder / f"{name}.new"
        draft.write_text(text, encoding="utf-8")
        draft.replace(folder / name)


def _cell(text: str) -> str:
    return " ".join(text.split())


def tsv(state: State, sigma: float) -> str:
    """One row an experiment, the baseline first, in order of their numbers."""
    rows = ["\t".join(COLUMNS)]
    base = state.baseline
    if base is not None and base.val_bpb is not None:
        noise = f"{sigma:.6f}"
        cells = (
            base.commit[:7],
            f"{base.val_bpb:.6f}",
            _gb(base.peak_memory),
            "keep",
            "baseline",
            "baseline",
            "0",
            "0.000000",
        )
        rows.append("\t".join((*cells, noise, "", f"{base.total_wall_s:.1f}", str(base.params or ""))))
    rows += [_row(e, e.verdict, sigma) for e in state.experiments.values() if e.verdict is not None]
    return "\n".join(rows) + "\n"


def _gb(size: int) -> str:
    return f"{size / 1e9:.1f}"


def _row(e: Experiment, verdict: Verdict, sigma: float) -> str:
    kind = f"{verdict.value}: {e.crash}" if e.crash else verdict.value
    noise = "within noise" if e.within_noise else f"{e.sigma or sigma:.6f}"
    return "\t".join(
        (
            e.commit[:7],
            f"{e.val_bpb if e.val_bpb is not None else 0.0:.6f}",
            _gb(e.peak_memory),
            verdict.upstream,
            _cell(e.hypothesis),
            kind,
            str(e.number),
            f"{e.gain:.6f}" if e.gain is not None else "",
            noise,
            _cell(e.agent),
            f"{e.seconds:.1f}",
            str(e.params or ""),
        )
    )


def notebook(state: State, sigma: float) -> str:
    """The findings as Markdown, newest last."""
    config = state.config
    assert config is not None
    baseline, best = state.mean(state.fit.commit) if state.fit else None, state.mean(state.best)
    lines = [f"# Run {config.name}", ""]
    lines.append(f"{config.dataset} on {config.device}, {config.budget_s:g} s of training each, seed {config.seed}.")
    if baseline is not None and best is not None:
        lines.append(
            f"Baseline {baseline:.4f}, best {best:.4f} ({best - baseline:+.4f}), noise of one run {sigma:.4f}; "
            f"{len(state.kept)} kept of {state.judged}."
        )
    lines.append("")
    for e in state.experiments.values():
        if e.verdict is None:
            continue
        score = f" {e.val_bpb:.4f}" if e.val_bpb is not None else ""
        kind = f" ({e.crash})" if e.crash else ""
        lines.append(
            f"- **#{e.number} {e.verdict.words}{kind}**{score} · {_cell(e.hypothesis)} +{e.added} -{e.removed}, by {e.agent}  "
        )
        lines.append(f"  {_cell(e.finding)}")
    return "\n".join(lines) + "\n"
