"""The summary at the end of a run. Pure."""

from __future__ import annotations

from core.judging.noise import Noise
from core.record.state import State
from core.reporting import phrases
from core.reporting.phrases import one_line
from core.target import TARGET


def summary(
    state: State, noise: Noise, folder: str, branch: str, logs: str = "", *, reported: bool = False
) -> list[str]:
    """Return the summary at the end of a run.

    Args:
        state: The state of the run.
        noise: Its noise.
        folder: The path of its folder, as people read it.
        branch: The branch of the kept changes.
        logs: The option for the folder of all logs, '' for the default.
        reported: Whether report.html and report.png were written.
    """
    config = state.config
    assert config is not None
    baseline = state.mean(state.start_commit.commit) if state.start_commit else None
    best = state.mean(state.incumbent)
    lines = [f"Run {state.name}: {state.tried} experiments, {len(state.kept)} kept."]
    if config.computed:
        lines.append("It was a rehearsal: scores were computed from a table, and nothing was trained.")
    if best is not None and baseline is not None:
        lines.append(f"{TARGET.metric} {baseline:.4f} -> {best:.4f} ({best - baseline:+.4f}); noise {noise}.")
    lines += phrases.checks(state, noise.sigma)
    for number in state.kept:
        e = state.experiments[number]
        gain = phrases.change(e.gain) if e.gain is not None else ""
        lines.append(
            f"  #{number} {e.verdict.words if e.verdict else ''} {gain}  {e.commit[:7]}  {one_line(e.hypothesis, 90)}"
        )
    lines.append(f"Results: {folder}/results.tsv and notebook.md; branch of the kept changes: {branch}.")
    if reported:
        lines.append(f"Report: {folder}/report.html, and report.png to share.")
    if state.kept:
        lines.append(f"Apply the best train.py: .venv/bin/python -m core.cli apply {state.name}{logs}")
    return lines
