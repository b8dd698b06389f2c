"""The status of a run, as data for `status --json` and as text. Pure."""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec

from core.judging import final_check
from core.judging.noise import Noise
from core.model import Limits
from core.record.live import Picture
from core.record.state import State
from core.reporting import phrases, scoreboard
from core.reporting.phrases import (
    PASTE,
    UNTRIED,
    begun_as,
    doing,
    job_name,
    machine_speed,
    one_line,
    proposed_limit,
    resume_command,
    understood,
    verdict,
)

APPROVAL = {"ask": "asks you", "auto": "unattended"}


def counts(state: State) -> dict[str, int]:
    """Return verdict -> count, for the verdicts that occurred."""
    found: dict[str, int] = {}
    for experiment in state.experiments.values():
        if experiment.verdict is not None:
            found[experiment.verdict.value] = found.get(experiment.verdict.value, 0) + 1
    return found


def facts(state: State, noise: Noise, loop: int | None, live: Picture, warnings: list[str]) -> dict[str, Any]:
    """Return the data of `status --json`.

    Args:
        state: The state of the run.
        noise: Its noise.
        loop: The pid of its loop, or None.
        live: The present activity of the loop.
        warnings: Sentences for the human.
    """
    config = state.config
    assert config is not None
    baseline = state.mean(state.start_commit.commit) if state.start_commit else None
    best = state.mean(state.incumbent)
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
            "commit": state.incumbent,
            "measurements": len(state.scores.get(state.incumbent, {})),
            "experiment": state.kept[-1] if state.kept else 0,
        },
        "final_check": _final_check(state, noise),
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


def _final_check(state: State, noise: Noise) -> dict[str, Any] | None:
    """Return the outcome of the final check as data and as text, or None."""
    found = final_check.outcome(state, noise.sigma)
    if found is None:
        return None
    told = {"change": found.change, "holds": found.holds, "words": phrases.final_result(found)}
    return {"start": found.start, "best": found.best, "error": found.error, "seeds": found.seeds} | told


def _set(limits: Limits) -> dict[str, float | int]:
    """Return name -> value of the limits that are set."""
    return {name: value for name, value in msgspec.structs.asdict(limits).items() if value is not None}


def phase(state: State, loop: int | None, live: Picture) -> str:
    """Return what the run is doing, as text."""
    if loop is None:
        if state.stopped is not None:
            return f"stopped ({state.stopped.reason})"
        return f"loop ended unexpectedly; {resume_command(state.name)} resumes the run"
    if state.paused:
        return f"paused {state.pause_reason}".strip()
    slots = [
        f"{job_name(slot.role, slot.number)} {doing(slot.role, slot.phase)} {slot.progress:.0%}"
        + (f" ({words})" if (words := machine_speed(slot.speed)) else "")
        for slot in live.slots
    ]
    ends = ["then it stops"] if live.stopping else []
    asking = live.phase or ("proposing" if live.proposing and not slots else "")
    return (
        ", ".join([*(slots or starting(state)), *([one_line(asking)] if asking else []), *ends])
        or "between experiments"
    )


def starting(state: State) -> list[str]:
    """Return a phrase for each launched job, for the time before they report progress."""
    return [f"{job_name(launched.role, launched.number)} starting" for launched in state.running.values()]


def status_text(found: dict[str, Any]) -> str:
    """Return the status as text, from the data of `facts`."""
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
    if found["final_check"]:
        lines.append(f"  {found['final_check']['words']}")
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
        lines.append(f"  #{e['number']:<4} {e['outcome']:<{wide}} {score}  {one_line(e['hypothesis'], 80)}")
    lines += [f"  {words}" for words in found["scoreboard"]]
    if said := "; ".join(filter(None, [found["charter_problem"], *found["charter_warnings"], *found["understood"]])):
        lines.append(f"  program.md: {one_line(said, 1000)}")
    lines += [f"  {proposed_limit(line, sentence)}" for line, sentence in found["proposed"]]
    lines += [f"  {PASTE}."] if found["proposed"] else []
    if found["banner"]:
        lines.append(f"  note: {found['banner']}")
    if found["unmeasured"]:
        lines.append(f"  speed not measured: {found['unmeasured']}")
    if found["unprotected"]:
        lines.append(f"  unprotected: {', '.join(found['unprotected'])}")
    lines += [f"  warning: {words}" for words in found["warnings"]]
    return "\n".join(lines)


def run_line(found: dict[str, Any]) -> str:
    """Return the line of a run in the list of all runs."""
    best = found["best"]["val_bpb"]
    score = f"best {best:.4f}" if best is not None else "no score yet"
    return f"{found['run']:<14} {score}  {found['kept']:>3} kept of {found['tried']:<4}  {found['phase']}{begun_as(found['run'], found['begun_as'])}"
