"""Makes the rows of results.tsv and notebook.md, and the head of the notebook, from the state of a run. Writes nothing."""

from __future__ import annotations

from core.judging import gain
from core.judging.noise import Noise
from core.record.experiment import Experiment
from core.record.state import State
from core.reporting import findings, highlights, phrases, results, scoreboard
from core.reporting.phrases import verdict
from core.reporting.results import Header, Row


def header(state: State, noise: Noise) -> Header:
    """Return the head of the notebook. `noise`: that of the run."""
    config = state.config
    assert config is not None
    return Header(
        name=state.name,
        dataset=config.dataset,
        device=config.device,
        budget_s=config.budget_s,
        seed=config.seed,
        noise=str(noise),
        checks=tuple(phrases.checks(state, noise.sigma)),
        gain=phrases.scores(difference) if (difference := gain.so_far(state, noise.sigma)) is not None else "",
        scoreboard=tuple(
            (score.agent, score.tried, score.kept, score.change, score.seconds) for score in scoreboard.scores(state)
        ),
        highlights=(
            ("Kept", highlights.kept(state, noise.sigma)),
            ("Near misses", highlights.near_misses(state, noise.sigma)),
            ("Hurt most", highlights.hurt(state, noise.sigma)),
        ),
        untried=highlights.untried(state) if state.tried else (),
        lessons=state.lessons.lines if state.lessons else (),
    )


def rows(state: State, sigma: float) -> list[Row]:
    """Return the baseline, then every experiment with a verdict, in order of their numbers."""
    base, scale = baseline(state, sigma), gain.Scale(state)
    experiments = [row(scale, e) for e in state.experiments.values() if e.verdict is not None]
    return [base, *experiments] if base is not None else experiments


def baseline(state: State, sigma: float) -> Row | None:
    """Return the row of the baseline, or None before it was measured. `sigma`: noise of one score, in bpb."""
    base = state.baseline
    if base is None:
        return None
    score = gain.score(state, base.commit)
    return Row(
        number=0,
        commit=base.commit,
        verdict=None,
        hypothesis=results.BASELINE,
        val_bpb=score,
        raw_bpb=score,
        memory=base.result.peak_memory,
        sigma=sigma,
        seconds=base.result.total_wall_s,
        params=base.result.params,
    )


def row(scale: gain.Scale, experiment: Experiment) -> Row:
    """Return the row of an experiment with a verdict. `scale`: that of its run."""
    return Row(
        number=experiment.number,
        commit=experiment.commit,
        verdict=experiment.verdict,
        hypothesis=experiment.hypothesis,
        val_bpb=scale.of(experiment),
        raw_bpb=experiment.val_bpb,
        memory=experiment.peak_memory,
        crash=experiment.crash or "",
        change=scale.change(experiment),
        pairs=experiment.pairs,
        sigma=experiment.sigma or None,
        within_noise=experiment.within_noise if experiment.gain is not None else None,
        agent=experiment.agent,
        seconds=experiment.seconds,
        params=experiment.params,
        finding=findings.shown(experiment, scale),
        words=verdict(experiment),
        added=experiment.added,
        removed=experiment.removed,
    )
