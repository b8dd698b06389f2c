"""The text of the detail screen."""

from __future__ import annotations

from collections.abc import Mapping

from textual.content import Content

from core.judging import final_check, pairing, schedule
from core.judging.gain import Contrast, Scale
from core.record.experiment import Experiment
from core.record.state import State
from core.reporting import findings, kept_afresh, phrases
from nanochat.contract.job import Speed
from tui.view import expected, words
from tui.view.curves import Curve

LABEL = 12  # width of the column of labels
APPROVALS = {"auto": ", approved automatically", "time-out": ", approved by time-out", "human": ", approved by you"}
EXPECTED = "what search expected of each alone and of all together; negative is better"
Fact = tuple[str, str]  # a label and its text


def experiment_facts(state: State, experiment: Experiment, verdict: str, width: int) -> Content:
    """Return the hypothesis, the finding, the verdict with its figures, the cost, the agent and the job. `verdict` is its text."""
    hypothesis = words.sanitize_line(experiment.hypothesis, 10_000)
    scale = Scale(state)
    sigma = schedule.noise(state).sigma if state.config else experiment.sigma
    paired = scale.paired(experiment, sigma)
    facts = [
        *_verdict_facts(experiment, verdict, scale),
        *_score_facts(state, experiment, scale),
        *_change_facts(experiment, scale, paired),
        *_afresh_facts(state, experiment, sigma),
        ("cost", _cost(experiment)),
        *_agent_facts(experiment),
        *_job_facts(state, experiment),
    ]
    rows = [Content.styled(hypothesis, "bold"), Content("")]
    rows += [_labelled(label, text, width) for label, text in facts]
    if bars := expected.chart(experiment, width - LABEL, (-paired.change, paired.error) if paired else None):
        rows += [
            Content(""),
            _labelled("changes", EXPECTED, width),
            *(Content.assemble(" " * LABEL, bar) for bar in bars),
            Content(""),
        ]
    return Content("\n").join(rows)


def loss_legend(own: tuple[str, Curve], parents: tuple[str, Curve], marks: str) -> Content:
    """Return the line above the plot of the loss, after an empty one; nothing if the experiment has no curve.

    Args:
        own: The name and the curve of the experiment.
        parents: Those of its parent.
        marks: How the two curves are drawn.
    """
    if not own[1].loss:
        return Content("")
    parts: list[Content] = []
    for (name, curve), mark, tone in zip((own, parents), marks, ("$accent", "$primary"), strict=True):
        if curve.loss:
            parts.append(Content.assemble((f"{mark} ", tone), f"{name} {curve.smooth()[-1]:.3f}   "))
    return Content.assemble("\n", *parts, ("smoothed loss, nats per token", "$foreground 60%"))


def output_and_files(experiment: Experiment, output: str, files: str, width: int) -> list[Content]:
    """Return the traceback, the trainer's output, and the paths of the files, below the diff."""
    rows = [Content("")]
    if experiment.traceback:
        traceback = words.sanitize_text(experiment.traceback)
        rows += [Content.styled("traceback", "bold $warning"), Content(traceback), Content("")]
    if output:
        rows += [Content.styled("output of the trainer", "bold"), Content(words.sanitize_text(output)), Content("")]
    rows.append(_labelled("git", f"git show {experiment.commit[:12]}", width))
    rows.append(_labelled("files", files, width))
    return rows


def _verdict_facts(experiment: Experiment, verdict: str, scale: Scale) -> list[Fact]:
    """Return the verdict with its reason, which is in the finding if there is one."""
    found = findings.shown(experiment, scale) if experiment.finding else experiment.reason
    reason = words.sanitize_line(found, 4000)
    is_told = reason.lower().startswith(verdict.split()[0].lower())  # such as “Crashed, exception” of “crash exception”
    return [("verdict", reason if is_told else f"{verdict}{': ' + reason if reason else ''}")]


def _score_facts(state: State, experiment: Experiment, scale: Scale) -> list[Fact]:
    facts: list[Fact] = []
    if experiment.retry_of is not None:
        facts.append(("continues", f"#{experiment.retry_of}, which was interrupted; its scores count here too"))
    if experiment.val_bpb is not None:
        scores = state.scores.get(experiment.commit, {})
        each = ", ".join(f"{value:.4f} (seed {seed})" for seed, value in scores.items())
        parents = _parents_score(state, experiment)
        if (score := scale.of(experiment)) is not None:
            facts.append(("val_bpb", words.bpb(score)))
        facts.append(("scores", f"{words.bpb(experiment.val_bpb)} against the parent's {parents}; {each}"))
    return facts


def _change_facts(experiment: Experiment, scale: Scale, paired: Contrast | None) -> list[Fact]:
    """Return the present change, as in the table, and the one over the pairs with the parent if that is another."""
    change = scale.change(experiment)
    if change is None or paired is None:
        return []
    pairs = f"{paired.seeds} pair{'s' if paired.seeds != 1 else ''} on the same seeds"
    found = f"{words.change(paired.change)} ± {paired.error:.4f} over {pairs}"
    if not scale.is_paired(experiment):
        found = f"{words.change(change)} on the scale of the run; {found}"
    noise = f"; noise {experiment.sigma:.4f} at the verdict" if experiment.sigma else ""
    return [("change", f"{found}{noise}")]


def _afresh_facts(state: State, experiment: Experiment, sigma: float) -> list[Fact]:
    """Return what a kept change alone has gained on fresh seeds, if that was measured."""
    step = final_check.steps(state, sigma).get(experiment.number)
    return [("afresh", phrases.typeset(kept_afresh.words(step)))] if step is not None else []


def _parents_score(state: State, experiment: Experiment) -> str:
    """Return the parent's mean score on the seeds that both were trained with, which the change is computed from.

    If the parent was trained with more seeds, the mean of all its scores is added.
    """
    ours, parents = pairing.paired_scores(state, experiment.commit, experiment.parent)
    shared = [parents[seed] for seed in ours if seed in parents]
    mean = words.bpb(state.mean(experiment.parent))
    if not shared or len(shared) == len(parents):
        return mean
    seeds = f"on the same seed{'s' if len(shared) > 1 else ''}"
    return f"{sum(shared) / len(shared):.4f} {seeds} ({mean} over all of its {len(parents)})"


def _cost(experiment: Experiment) -> str:
    parts = [
        f"{words.memory(experiment.peak_memory)} memory" if experiment.peak_memory else "",
        f"{words.rate(experiment.tokens_per_s)} tokens/s" if experiment.tokens_per_s else "",
        f"{experiment.steps} steps" if experiment.steps else "",
        f"{words.duration(experiment.seconds)} in all" if experiment.seconds else "",
        f"{experiment.params:,} parameters" if experiment.params else "",
    ]
    nothing = "nothing yet" if experiment.verdict is None else "nothing: it was not trained"
    return ", ".join(filter(None, parts)) or nothing


def _agent_facts(experiment: Experiment) -> list[Fact]:
    """Return who proposed and approved it, and the tries and tokens of a language model."""
    notes = experiment.notes
    approval = APPROVALS.get(experiment.approved, "")
    revised = ", revised by you" if experiment.revised else ""
    facts: list[Fact] = [("agent", f"{words.sanitize_line(experiment.agent, 60)}{approval}{revised}")]
    counts = (("tries", notes.tries), ("prompt tokens", notes.prompt_tokens), ("tokens", notes.tokens))
    parts = [f"format {notes.format}"] if notes.format else []
    parts += [f"{name} {count}" for name, count in counts if count is not None]
    if parts:
        facts.append(("model", ", ".join(parts)))
    if asked := phrases.asked_for(notes):
        facts.append(("operator", asked))
    if notes.instead:
        facts.append(("instead of", f"{notes.instead}: {words.sanitize_line(notes.why, 400)}"))
    return facts


def _job_facts(state: State, experiment: Experiment) -> list[Fact]:
    """Return the harness' remarks on the training."""
    measured = state.facts.get(experiment.commit)
    if measured is None:
        return []
    job = measured.result
    facts: list[Fact] = []
    if job.probes:
        facts.append(("probes", _probes(job.probes)))
    if job.speed is not None or job.unmeasured:
        facts.append(("machine", _speed(job.speed) if job.speed else f"speed not measured: {job.unmeasured}"))
    if measured.node:
        facts.append(("node", words.sanitize_line(measured.node, 80)))
    if job.unprotected:
        facts.append(("unprotected", ", ".join(job.unprotected)))
    return facts


def _speed(speed: Speed) -> str:
    told = f"{speed.mean:.0%} of the reference speed, each reading ± {speed.spread:.0%}, {speed.readings} readings"
    return f"{told} in {speed.stopped_s:.1f} s" if speed.stopped_s else told


def _probes(probes: Mapping[str, float]) -> str:
    """Describe the probes of the evaluation. All were answered honestly, or the experiment would have broken a rule."""
    return f"passed all {probes.get('probes', 0):.0f} leakage probes"


def _labelled(label: str, text: str, width: int) -> Content:
    return Content.assemble((f"{label:<{LABEL}}", "$foreground 60%"), words.wrap_indented(text, width, LABEL))
