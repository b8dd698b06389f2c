"""Words about a run: one line an event that matters, the status, the closing summary. Pure; state in, text out."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

import msgspec

from core.judging import policy
from core.judging.noise import Noise
from core.model import Limits, Role
from core.record import events as ev
from core.record.experiment import Experiment
from core.record.fold import RERUN_TRIES
from core.record.live import Picture
from core.record.state import State
from core.reporting import scoreboard
from core.target import TARGET
from core.text import sanitize_line
from core.verdicts import Verdict
from nanochat.contract.job import Outcome, Result
from nanochat.contract.shell import make

APPROVAL = {"ask": "asks you", "auto": "unattended"}
UNTRIED = tuple(verdict.words for verdict in Verdict if not verdict.tried)
PASTE = "To have it enforced, put that line between the two lines --- at the top of program.md, in place of one with the same key"
NOTABLE = 0.1  # of a difference between the machine's speed and that at the reference
DOING = {
    Role.BASELINE: "training",
    Role.CANDIDATE: "training",
    Role.REPLICATE: "confirming",
    Role.INCUMBENT: "again",
    Role.RERUN: "again",
}


def line(event: ev.AnyEvent, state: State) -> str | None:
    """What a headless run prints for an event, None for one that a human need not see. `state` has it folded in."""
    words = _words(event, state)
    return f"{time.strftime('%H:%M:%S', time.localtime(event.t))}  {sanitize_line(words)}" if words else None


def _words(event: ev.AnyEvent, state: State) -> str | None:
    match event:
        case ev.Started():
            config = state.config
            assert config is not None
            found = f", {state.tried} experiments so far" if state.tried else ""
            return (
                f"run {state.name}{begun_as(state.name, config.name)} · {config.dataset} on {config.device} · {config.budget_s:g} s each · "
                f"agent {event.agent} · {event.slots} at a time{found}"
            )
        case ev.Charter(problem=problem) if problem:
            return f"program.md: {problem}"
        case ev.Charter():
            proposals = "; ".join(proposal(line, sentence) for line, sentence in event.proposed)
            found = "; ".join((*event.warnings, *event.understood)) or "read"
            return f"program.md: {found}{f'; {proposals}. {PASTE}' if proposals else ''}"
        case ev.StartCommit():
            knobs = ", ".join(f"{name} = {value}" for name, value in event.knobs.items())
            return f"start from {event.commit[:7]}{' with ' + knobs if knobs else ''}"
        case ev.Proposed():
            again = f" (once more, was #{event.retry_of})" if event.retry_of else ""
            words = (
                f"#{event.number} proposed by {event.agent}{again}{_instead(event.meta)}: {_one_line(event.hypothesis)}"
            )
            return f"{words} · note: {banner}" if (banner := _new_banner(state, event.number)) else words
        case ev.Launched(role=Role.BASELINE):
            return "baseline: training"
        case ev.Launched(role=Role.CANDIDATE):
            return f"#{event.number} training"
        case ev.Launched(role=Role.REPLICATE):
            return f"#{event.number} looks promising: again on another seed"
        case ev.Launched(role=Role.RERUN):
            return f"#{event.number} once more on a new seed, as the human wished"
        case ev.Aborted():
            return f"#{event.number} is aborted by the human"
        case ev.Rerun(wanted=False):
            return f"#{event.number} is not run again after all, as the human wished"
        case ev.Revised():
            return f"#{event.number} revised by the human (+{event.added} −{event.removed})"
        case ev.Launched(role=Role.INCUMBENT):
            return f"the best is measured again{f' for #{event.number}' if event.number else ''}"
        case ev.Measured():
            return _measured(event, state)
        case ev.Rebased():
            return f"#{event.number} re-applied to the new best, and measured on that"
        case ev.Judged():
            return _judged(state.experiments[event.number])
        case ev.Refused():
            return f"no proposal for #{event.number}: {event.reason}"
        case ev.Paused():
            return f"paused{': ' + event.reason if event.reason else ''}"
        case ev.Resumed():
            return "going on"
        case ev.ApprovalChanged():
            return f"approval: {APPROVAL.get(event.mode, event.mode)} from now on{' (' + event.by + ')' if event.by else ''}"
        case ev.Hint():
            return f"hint {len(state.said)} for the agent: {_one_line(event.text)}"
        case ev.TakenBack():
            return f"hint {event.number} is taken back"
        case ev.Notice():
            return event.text
        case ev.Reported():
            change = event.best - event.baseline
            return f"on the test split: start {event.baseline:.4f}, best {event.best:.4f} ({change:+.4f}, one fresh seed each)"
        case ev.Torn():
            return f"a half-written last line of {event.size} bytes was cut off the journal; all before it is whole"
        case ev.Stopped():
            return f"stopped: {event.reason}"
    return None


def proposal(line: str, sentence: str) -> str:
    """A limit that program.md seems to ask for: nothing enforces it."""
    return f"proposed, not enforced: {line} (from “{_one_line(sentence, 120)}”)"


def _instead(meta: dict[str, Any]) -> str:
    """Falling back is never invisible."""
    return f" instead of {meta['instead']} ({_one_line(str(meta.get('why', '')), 200)})" if meta.get("instead") else ""


def _new_banner(state: State, number: int) -> str:
    """The banner of the scoreboard, with the proposal that brings it up."""
    return "" if scoreboard.banner(state, number - 1) else scoreboard.banner(state, number)


def _measured(event: ev.Measured, state: State) -> str | None:
    result = event.result
    if event.disturbed:
        given_up = event.role == Role.RERUN and event.number not in state.reruns
        so = f"none of {RERUN_TRIES} tries counts, so it is not run again" if given_up else "it does not count"
        return f"{_owner(event)} disturbed: {event.disturbed}; {so}"
    if event.role in (Role.BASELINE, Role.INCUMBENT) and result.val_bpb is not None:
        name = "baseline" if event.role == Role.BASELINE else "the best again"
        guard = f"; unprotected: {', '.join(result.unprotected)}" if result.unprotected else ""
        return f"{name}: {result.val_bpb:.4f}  ({result.steps} steps, {_rate(result)}{guard})"
    if event.role == Role.RERUN and result.val_bpb is not None:
        return f"#{event.number} again: {result.val_bpb:.4f} on this seed"
    if event.role in (Role.BASELINE, Role.INCUMBENT, Role.RERUN) or result.outcome == Outcome.INTERRUPTED:
        return f"{_owner(event)} {result.outcome}: {result.reason}"
    return None


def _owner(event: ev.Measured) -> str:
    return job_name(event.role, event.number)


def _rate(result: Result) -> str:
    return f"{result.tokens / result.charged_s / 1000:.1f}k tokens/s" if result.charged_s else "n/a tokens/s"


def _judged(experiment: Experiment) -> str:
    """Capitals only for what was kept: that is what one looks for in a long list."""
    assert experiment.verdict is not None
    score = f" {experiment.val_bpb:.4f}" if experiment.val_bpb is not None else ""
    gain = f" ({-experiment.gain:+.4f})".replace("-", "−") if experiment.gain is not None else ""
    words = verdict(experiment)
    return (
        f"#{experiment.number} {words.upper() if experiment.verdict.kept else words}{score}{gain}: "
        f"{_without(experiment.finding, words)}"
    )


def _without(finding: str, words: str) -> str:
    """A finding without the verdict that stands before it already."""
    head, colon, rest = finding.partition(": ")
    return rest if colon and head.lower() == words else finding


def verdict(experiment: Experiment, alive: bool = True) -> str:
    """What became of an experiment, in a person's words. `alive` says whether a loop still works on those without a verdict."""
    found = experiment.verdict
    if found is None:
        doing = "running" if experiment.launched else "queued" if experiment.approved else "waiting"
        return doing if alive else f"was {doing}"
    if experiment.by == "human" and found not in (Verdict.SKIPPED, Verdict.INTERRUPTED):
        return f"{found.words}, by you"
    if found is Verdict.DISCARD and experiment.gain is not None:
        if not experiment.within_noise:
            return "worse" if experiment.gain < 0 else "discard"
        return "not confirmed" if experiment.pairs > 1 else "inconclusive"
    if found is Verdict.CRASH and experiment.crash:
        return f"crash {experiment.crash}"
    return found.words


def _one_line(text: str, limit: int = 160) -> str:
    return sanitize_line(text, limit)


def counts(state: State) -> dict[str, int]:
    """Verdicts by name, only those that occurred."""
    found: dict[str, int] = {}
    for experiment in state.experiments.values():
        if experiment.verdict is not None:
            found[experiment.verdict.value] = found.get(experiment.verdict.value, 0) + 1
    return found


def facts(state: State, noise: Noise, loop: int | None, live: Picture, warnings: list[str]) -> dict[str, Any]:
    """Everything `status --json` says about a run."""
    config = state.config
    assert config is not None
    baseline = state.mean(state.start_commit.commit) if state.start_commit else None
    best = state.mean(state.best)
    last = [
        {
            "number": e.number,
            "verdict": e.verdict.value if e.verdict else "",
            "outcome": verdict(e, alive=loop is not None),
            "val_bpb": e.val_bpb,
            "gain": e.gain,
            "within_noise": e.within_noise,
            "agent": e.agent,
            "hypothesis": e.hypothesis,
            "finding": e.finding,
        }
        for e in list(state.experiments.values())[-5:]
    ]
    scores = scoreboard.scores(state)
    return {
        "run": state.name,
        "begun_as": config.name,
        "loop": {"alive": loop is not None, "pid": loop},
        "phase": phase(state, loop, live),
        "dataset": config.dataset,
        "device": config.device,
        "profile": config.profile,
        "executor": config.executor,
        "budget_s": config.budget_s,
        "agent": state.started.agent if state.started else config.agent,
        "gate": state.approval,
        "paused": state.paused,
        "baseline": baseline,
        "best": {
            "val_bpb": best,
            "commit": state.best,
            "measurements": len(state.scores.get(state.best, {})),
            "experiment": state.kept[-1] if state.kept else 0,
        },
        "sigma": noise.sigma,
        "sigma_low": noise.interval[0],
        "sigma_high": noise.interval[1],
        "noise": str(noise),
        "experiments": len(state.experiments),
        "judged": state.judged,
        "limits": _set(state.started.limits) if state.started else {},
        "tried": state.tried,
        "kept": len(state.kept),
        "verdicts": counts(state),
        "outcomes": dict(Counter(verdict(e) for e in state.experiments.values() if e.verdict is not None)),
        "last": last,
        "unprotected": list(state.unprotected),
        "unmeasured": state.unmeasured,
        "banner": scoreboard.banner(state),
        "scoreboard": scoreboard.lines(scores),
        "agents": [score.facts for score in scores],
        "warnings": warnings,
        "understood": list(understood(state)),
        "proposed": [list(proposal) for proposal in state.charter.proposed] if state.charter else [],
        "charter_warnings": list(state.charter.warnings) if state.charter else [],
        "hints": [said.text for said in state.said if not said.taken_back],
        "charter_problem": state.charter.problem if state.charter else "",
        "live": msgspec.to_builtins(live) if live.t else {},
    }


def _set(limits: Limits) -> dict[str, float | int]:
    """The limits that are set, by name."""
    return {name: value for name, value in msgspec.structs.asdict(limits).items() if value is not None}


def understood(state: State) -> tuple[str, ...]:
    """What was understood of program.md, and whether the run stands on more than that allows."""
    words = state.charter.understood if state.charter else ()
    return (warning, *words) if (warning := over(state)) else words


def over(state: State) -> str:
    """That the best itself is over a limit of program.md; '' where it is not."""
    limit, params = state.charter.limits.max_params if state.charter else None, state.params
    if not limit or not params or params <= limit:
        return ""
    return f"the best itself has {params:,} parameters: only a change that makes it smaller passes"


def begun_as(name: str, header: str) -> str:
    """What to add to the name of a run whose folder was renamed or copied; '' for any other."""
    return f" (begun as {sanitize_line(header)})" if header != name else ""


def going_on(name: str) -> str:
    """The command that continues this very run, as it is typed."""
    return make("run", "--name", name)


def phase(state: State, loop: int | None, live: Picture) -> str:
    """What the run is doing, in words."""
    if loop is None:
        if state.stopped is not None:
            return f"stopped ({state.stopped.reason})"
        return f"loop dead; {going_on(state.name)} continues it"
    if state.paused:
        return f"paused {state.pause_reason}".strip()
    slots = [
        f"{job_name(slot.role, slot.number)} {doing(slot.role, slot.phase)} {slot.progress:.0%}"
        + (f" ({words})" if (words := machine(slot.speed)) else "")
        for slot in live.slots
    ]
    ends = ["then it stops"] if live.stopping else []
    asking = live.phase or ("proposing" if live.proposing and not slots else "")
    return (
        ", ".join([*(slots or starting(state)), *([_one_line(asking)] if asking else []), *ends])
        or "between experiments"
    )


def machine(speed: float | None) -> str:
    """How fast the machine is, where that is worth a word; '' where it is about as at the reference, or not known."""
    return f"machine {speed:.0%} of reference" if speed and abs(speed - 1) >= NOTABLE else ""


def starting(state: State) -> list[str]:
    """Jobs that were launched and have not said anything yet."""
    return [f"{job_name(launched.role, launched.number)} starting" for launched in state.running.values()]


def job_name(role: Role, number: int | None) -> str:
    """Whose job it is: the best is run again for the sake of an experiment, and is not that."""
    return f"#{number}" if number is not None and role not in (Role.BASELINE, Role.INCUMBENT) else role


def doing(role: Role, phase: str) -> str:
    """What a job does just now."""
    return DOING.get(role, phase) if phase == "training" else phase


def status(found: dict[str, Any]) -> str:
    """The status for people."""
    alive = f"loop {found['loop']['pid']} alive" if found["loop"]["alive"] else "no loop"
    best, baseline = found["best"]["val_bpb"], found["baseline"]
    lines = [
        f"{found['run']}{begun_as(found['run'], found['begun_as'])}: {found['phase']}  [{alive}]",
        f"  {found['dataset']} on {found['device']}, {found['budget_s']:g} s each, agent {found['agent']}, "
        f"{APPROVAL.get(found['gate'], found['gate'])}",
    ]
    if best is not None and baseline is not None:
        number = found["best"]["experiment"]
        whose = (
            f"from #{number}, {best - baseline:+.4f} from the baseline {baseline:.4f}" if number else "is the baseline"
        )
        lines.append(f"  best {best:.4f} {whose}; noise {found['noise']}")
    outcomes = dict(sorted(found["outcomes"].items()))
    untried = [(words, outcomes.pop(words)) for words in UNTRIED if words in outcomes]
    told = ", ".join(f"{count} {words}" for words, count in outcomes.items()) or "none yet"
    more = "".join(f"; {count} {words}" for words, count in untried)
    limit = found["limits"].get("max_experiments")
    ends = f"; ends at {limit} verdicts, {found['judged']} given" if limit and found["loop"]["alive"] else ""
    lines.append(f"  {found['kept']} kept of {found['tried']} tried: {told}{more}{ends}")
    wide = max((len(e["outcome"]) for e in found["last"]), default=0)
    for e in reversed(found["last"]):
        score = f"{e['val_bpb']:.4f}" if e["val_bpb"] is not None else "     -"
        lines.append(f"  #{e['number']:<4} {e['outcome']:<{wide}} {score}  {_one_line(e['hypothesis'], 80)}")
    lines += [f"  {words}" for words in found["scoreboard"]]
    if said := "; ".join(filter(None, [found["charter_problem"], *found["charter_warnings"], *found["understood"]])):
        lines.append(f"  program.md: {_one_line(said, 1000)}")
    lines += [f"  {proposal(line, sentence)}" for line, sentence in found["proposed"]]
    lines += [f"  {PASTE}."] if found["proposed"] else []
    if found["banner"]:
        lines.append(f"  note: {found['banner']}")
    if found["unmeasured"]:
        lines.append(f"  speed not measured: {found['unmeasured']}")
    if found["unprotected"]:
        lines.append(f"  unprotected: {', '.join(found['unprotected'])}")
    lines += [f"  warning: {words}" for words in found["warnings"]]
    return "\n".join(lines)


def summary(state: State, noise: Noise, folder: str, branch: str, logs: str = "") -> list[str]:
    """The last words of a run. `logs` is the option that names the folder of its logs, where that is not the usual one."""
    config = state.config
    assert config is not None
    baseline = state.mean(state.start_commit.commit) if state.start_commit else None
    best = state.mean(state.best)
    lines = [f"Run {state.name}: {state.tried} experiments, {len(state.kept)} kept."]
    if best is not None and baseline is not None:
        lines.append(f"{TARGET.metric} {baseline:.4f} -> {best:.4f} ({best - baseline:+.4f}); noise {noise}.")
    for number in state.kept:
        e = state.experiments[number]
        gain = f"{-e.gain:+.4f}" if e.gain is not None else ""
        lines.append(
            f"  #{number} {e.verdict.words if e.verdict else ''} {gain}  {e.commit[:7]}  {_one_line(e.hypothesis, 90)}"
        )
    lines.append(f"Results: {folder}/results.tsv and notebook.md; branch of the kept changes: {branch}.")
    if state.kept:
        lines.append(f"Take it home: .venv/bin/python -m core.cli apply {state.name}{logs}")
    return lines


def final(found: ev.Reported, noise: Noise, folder: str) -> str:
    """What the difference on the test split is worth, and where all of it lies."""
    error = 2**0.5 * noise.sigma  # of a difference of two single scores
    gain, limit = policy.figures(found.baseline - found.best, 2 * error)
    outcome = "Conclusive" if abs(found.baseline - found.best) > 2 * error else "Inconclusive"
    return (
        f"{outcome}: {gain} on one seed; {limit} was needed. The difference of two such scores has a standard error of {error:.4f}. "
        f"Curves and output: {folder}/report."
    )


def run_line(found: dict[str, Any]) -> str:
    """One run in the list of all runs."""
    best = found["best"]["val_bpb"]
    score = f"best {best:.4f}" if best is not None else "no score yet"
    return f"{found['run']:<14} {score}  {found['kept']:>3} kept of {found['tried']:<4}  {found['phase']}{begun_as(found['run'], found['begun_as'])}"
