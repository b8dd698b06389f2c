"""Phrases about a run that are used in several places. Pure."""

from __future__ import annotations

import math
import re

from core.judging import pairing
from core.judging.final_check import LONGER, SEEDS, FinalCheck, next_work, outcome
from core.judging.gain import Difference
from core.model import Notes, Role
from core.record.events import STOP_REQUESTED, Grouped, Stopped
from core.record.experiment import Experiment
from core.record.state import State
from core.target import TARGET
from core.text import sanitize_line
from core.verdicts import Verdict
from nanochat.contract.shell import make

PASTE = (
    "To enforce this limit, add the line to the front matter of program.md (between the two lines --- at the top), "
    "in place of a line with the same key"
)
READ_ONLY = (
    "This app is read-only, so nothing was changed. `make attach` with the name of the run opens one that may change it; "
    "so does `serve` with --control."
)
REHEARSAL = "a rehearsal: scores were computed from a table, and nothing was trained"
SMALLER = "It is smaller than in the run ({}): the kept changes were chosen by their scores."
TELLING = 3  # experiments from which their mean time tells how many fit into an hour
SCALE = f"{TARGET.metric} is that of the start plus paired changes, so it moves a little when the start or a parent is measured again"
WORSE, INCONCLUSIVE, NOT_CONFIRMED = "worse", "inconclusive", "not confirmed"  # for Verdict.DISCARD
BPB = f"change in {TARGET.unit} ({TARGET.better_sign})"  # the title of a column
BY_YOU = ", by you"  # after a verdict that the human gave
UNTRIED = tuple(verdict.words for verdict in Verdict if not verdict.tried)
NOTABLE = 0.1  # a difference from the reference speed from which the speed is shown
_MINUS = re.compile(r"(?<![\w.+-])-(?=\d)")  # a hyphen before a figure, but not within a name
NOT_COMPARED = "set for this machine before the run began, so not compared"


def verdict(experiment: Experiment, alive: bool = True) -> str:
    """Return the state of an experiment as text. `alive`: whether a loop still works on experiments without a verdict."""
    judged = experiment.verdict
    if judged is None:
        is_queued = experiment.approved or experiment.is_pending_retry  # nobody is asked about a retry
        doing = "running" if experiment.launched else "queued" if is_queued else "waiting"
        return doing if alive else f"was {doing}"
    if experiment.by == "human" and not judged.stopped:
        return judged.words + BY_YOU
    if judged is Verdict.DISCARD and experiment.gain is not None:
        if not experiment.within_noise:
            return WORSE if experiment.gain < 0 else judged.words
        return NOT_CONFIRMED if experiment.pairs > 1 else INCONCLUSIVE
    if judged is Verdict.CRASH and experiment.crash:
        return f"crash {experiment.crash}"
    return judged.words


def change(value: float, error: float | None = None, digits: int = 4) -> str:
    """Format a change of the score, with its standard error if known. All texts of the product format changes here."""
    return f"{value + 0.0:+.{digits}f}" + (f" ± {error:.{digits}f}" if error is not None else "")  # + 0.0: no -0.0


def change_of(difference: Difference) -> str:
    """Return the change from the start to the best, with its standard error, as text."""
    return change(difference.change, difference.error)


def scores(difference: Difference) -> str:
    """Return the scores of start and best, and the change, as text. Without an error the two are the same train.py."""
    if not difference.error:
        return f"{start_score(difference)}, no change kept"
    return f"{difference.start:.4f} -> {difference.best:.4f} ({change_of(difference)})"


def start_score(difference: Difference) -> str:
    """Return the score of the start with the number of its seeds, as text. The score moves with each further seed."""
    return f"{difference.start:.4f} ({f'mean of {difference.seeds} seeds' if difference.seeds > 1 else 'one seed'})"


def fresh_seeds(check: FinalCheck) -> str:
    """Return what the final check was measured on, as text."""
    return f"{check.seeds} fresh seed{'s' if check.seeds > 1 else ''} and the test split"


def final_check(check: FinalCheck) -> str:
    """Return what the final check has measured, as text."""
    return f"Measured afresh on {_scores(check)}"


def _scores(check: FinalCheck) -> str:
    """Return the seeds of a check, the two scores and the change, as text."""
    return f"{fresh_seeds(check)}: {scores(check)}"


def final_verdict(check: FinalCheck, resume: str = "") -> str:
    """Return whether the gain holds, as sentences. `resume`: the command that measures the lacking seeds; "" if they are being measured."""
    if not check.complete:
        return measured_so_far(check.seeds, check.wanted, resume)
    smaller = f" {SMALLER.format(change_of(check.chosen))}" if check.is_smaller and check.chosen is not None else ""
    return f"{_whether_it_holds(check)}{smaller}"


def measured_so_far(seeds: int, wanted: int, resume: str = "") -> str:
    """Return how many seeds of a check are measured, as a sentence. `resume` is that of `final_verdict`."""
    more = f"; {resume} measures the others" if resume else " so far"
    return f"{seeds} of {wanted} seeds measured{more}."


def _whether_it_holds(check: FinalCheck) -> str:
    if check.holds:
        return "The gain holds."
    if check.is_worse:
        return "On this split the best is worse than the start. Look at the kept changes before you use them."
    return f"The gain is not certain: {check.needed:.4f} was needed."


def final_result(check: FinalCheck, resume: str = "") -> str:
    """Return what the final check has measured, and whether the gain holds, as text. `resume` is that of `final_verdict`."""
    return f"{final_check(check)}. {final_verdict(check, resume)}"


def longer_result(check: FinalCheck, state: State, resume: str = "") -> str:
    """Return what the check with a longer budget has measured, and whether the gain holds there, as text.

    `resume` is that of `final_verdict`.
    """
    assert state.config is not None
    if not check.complete:
        words = measured_so_far(check.seeds, check.wanted, resume)
    elif check.holds:
        words = "The gain holds with the longer budget."
    elif check.is_worse:
        words = "With the longer budget the best is worse than the start."
    else:
        words = f"With the longer budget the gain is not certain: {check.needed:.4f} was needed."
    budget = f"With {LONGER:g} times the budget ({LONGER * state.config.budget_s:g} s)"
    return f"{budget}, on {_scores(check)}. {words}"


def checks(state: State, sigma: float) -> list[str]:
    """Return the outcomes of the checks that were made, as sentences. `sigma`: noise of one measurement, in bpb."""
    final, longer = (outcome(state, sigma, role) for role in (Role.FINAL, Role.LONGER))
    return [
        *([final_result(final, resume_check(state))] if final is not None else []),
        *([longer_result(longer, state, resume_check(state, Role.LONGER))] if longer is not None else []),
    ]


def planned_check(state: State, seeds: int, role: Role, *, each: bool = False, slots: int = 1) -> str:
    """Return how many trainings a check still needs, and how long they take, as a sentence; "" if that is not known, or for none.

    `slots`: how many run at the same time. The other arguments are those of `final_check.next_work`.
    """
    if pairing.has_several_groups(state) or state.baseline is None:
        return ""
    left = len(list(next_work(state, seeds, role, each=each)))
    wall_s = state.baseline.result.total_wall_s * (LONGER if role is Role.LONGER else 1)
    at_once = f", {min(slots, left)} at a time" if min(slots, left) > 1 else ""
    return (
        f"{count(left, 'training')}{at_once}, about {duration(math.ceil(left / slots) * wall_s)}."
        if left and wall_s >= 1
        else ""
    )


def interrupted_check(state: State, role: Role, seeds: int, *, each: bool = False) -> str:
    """Return what an interrupted check has measured, and how it continues, as sentences. `seeds`: the seeds that were asked for."""
    measured, resume = state.check(role).scores, check_command(state, role, seeds, each=each)
    if each:
        done = sum(min(seeds, len(measured.get(commit, {}))) for commit in state.commits)
        return f"Interrupted. {done} of {count(len(state.commits) * seeds, 'training')} are kept; {resume} continues."
    both = [measured.get(commit, {}).keys() for commit in (state.commits[0], state.incumbent)]
    pairs = len(both[0] & both[1])
    single = " and one training of another" if both[0] != both[1] else ""
    return (
        f"Interrupted. {count(pairs, 'pair')} of {seeds}{single} {'is' if pairs == 1 and not single else 'are'} kept; "
        f"{resume} continues."
    )


def resume_check(state: State, role: Role = Role.FINAL) -> str:
    """Return the command that continues a check; "" while a loop works on the run."""
    return "" if state.stopped is None or state.checking else check_command(state, role)


def check_command(state: State, role: Role, seeds: int = SEEDS, *, each: bool = False) -> str:
    """Return the command that makes a check or continues it. The arguments are those of `final_check.next_work`."""
    options = [*(["--longer"] if role is Role.LONGER else []), *(["--each"] if each else [])]
    return make("report", state.name, *options, *(["--seeds", str(seeds)] if seeds != SEEDS else []))


def again(state: State, experiment: Experiment) -> str:
    """Return that an earlier experiment had the same hypothesis, and how that ended, as a clause; "" if none had."""
    earlier = state.experiments.get(experiment.same_as) if experiment.same_as is not None else None
    if earlier is None:
        return ""
    where = ", on the new best" if earlier.proposed.parent != experiment.proposed.parent else ""
    return f"again{where} (#{earlier.number} was {verdict(earlier)})"


def pace(state: State) -> str:
    """Return how long a training takes here, and how many experiments fit into an hour, as a clause; "" before the baseline has run."""
    config, base = state.config, state.baseline
    if config is None or config.computed or base is None or base.result.total_wall_s <= 0:
        return ""
    took = [
        experiment.seconds for experiment in state.experiments.values() if experiment.verdict and experiment.measured
    ]
    mean = sum(took) / len(took) if len(took) >= TELLING else base.result.total_wall_s
    hourly = f"{'about' if len(took) >= TELLING else 'at most'} {count(max(1, round(state.slots * 3600 / mean)), 'experiment')} an hour"
    return f"one training took {duration(base.result.total_wall_s)} (its budget is {config.budget_s:g} s), {hourly}"


def machine_speed(speed: float | None) -> str:
    """Return the machine's speed against that when the run began, as text, or '' if it is unknown or about the same."""
    if not speed or abs(speed - 1) < NOTABLE:
        return ""
    return f"machine {abs(speed - 1):.0%} {'faster' if speed > 1 else 'slower'} than at the start"


def grouped(event: Grouped) -> str:
    """Return what a comparison of nodes has shown, as a sentence; "" if nothing was compared."""
    if not event.other:
        return ""
    node, other = sanitize_line(event.node, 80), sanitize_line(event.other, 80)
    size, side = f"{abs(event.difference):.4f} {TARGET.unit}", "higher" if event.difference > 0 else "lower"
    if event.group == event.node:
        return f"Node {node} scores {size} {side} than {other} on the same train.py; pairs stay on one of them."
    return f"Node {node} scores like {other} on the same train.py ({size} apart), so a pair may use both."


def unequal_nodes(state: State) -> str:
    """Return which nodes of a cluster give the same scores, as a sentence, if some were found to differ; else ""."""
    if not any(state.groups.get(node) == node for node in state.nodes):
        return ""
    compared = {state.nodes[0], *state.groups, *state.groups.values()}
    groups: dict[str, list[str]] = {}
    for node in (node for node in state.nodes if node in compared):
        groups.setdefault(pairing.group(state, node), []).append(sanitize_line(node, 80))
    text = "; ".join(" and ".join(nodes) for nodes in groups.values())
    return f"Nodes give different scores, so only scores of one group are compared: {text}."


def duration(seconds: float) -> str:
    """Return a time as text, such as "7 h 12 min" or "40 s"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min"


def why_ended(stopped: Stopped) -> str:
    """Return why a loop ended, as a clause."""
    return "stopped by you" if stopped.reason == STOP_REQUESTED else stopped.reason


def ended(stopped: Stopped) -> str:
    """Return how a loop ended, and why, as text."""
    why = why_ended(stopped)
    return why if why != stopped.reason else f"{'finished' if stopped.finished else 'stopped'}: {why}"


def count(number: int, noun: str) -> str:
    """Return a number with its noun, such as "1 experiment" or "2 experiments"."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def dataset(name: str) -> str:
    """Return the name of a dataset without the folders of a text file."""
    return f"text:{name.rpartition('/')[2]}" if name.startswith("text:") else name


def begun_as(name: str, header: str) -> str:
    """Return a suffix for the name of a run whose folder was renamed or copied, else ''."""
    return f" (begun as {sanitize_line(header)})" if header != name else ""


def resume_command(name: str) -> str:
    """Return the command that continues this run."""
    return make("run", "--name", name)


def set_for_machine(state: State) -> str:
    """Return the constants that were set before the run began, such as "DEPTH 2 -> 1"; "" for none.

    The start has them already, so the change from the start to the best does not show them. Journals of earlier versions lack the
    values before.
    """
    start = state.start_commit
    if start is None:
        return ""
    return ", ".join(
        f"{name} {start.before[name]} -> {value}" if name in start.before else f"{name} = {value}"
        for name, value in start.knobs.items()
        if start.before.get(name) != value
    )


def over_limit_warning(state: State) -> str:
    """Return a warning if the incumbent exceeds max_params of program.md, else ''."""
    limit, params = state.charter.limits.max_params if state.charter else None, state.params
    if not limit or not params or params <= limit:
        return ""
    return f"the best train.py has {params:,} parameters, more than max_params: only smaller models are accepted"


def understood(state: State) -> tuple[str, ...]:
    """Return what was understood of program.md, after a warning if the incumbent exceeds a limit."""
    words = state.charter.understood if state.charter else ()
    return (warning, *words) if (warning := over_limit_warning(state)) else words


def proposed_limit(line: str, sentence: str) -> str:
    """Return a proposed limit of program.md as text."""
    return f"proposed, not enforced: {line} (from “{one_line(sentence, 120)}”)"


def typeset(text: str) -> str:
    """Return a text of this program with arrows and minus signs instead of "->" and hyphens before figures."""
    return _MINUS.sub("−", text.replace("->", "→"))


def one_line(text: str, limit: int = 160) -> str:
    return sanitize_line(text, limit)


def asked_for(notes: Notes) -> str:
    """Return what a language model was asked for, such as "repair of #5", or "" if nothing was noted."""
    operator = sanitize_line(notes.dropped or notes.operator, 40)
    words = operator + (f" of {', '.join(f'#{number}' for number in notes.on)}" if notes.on else "")
    if notes.instead and operator:
        return f"{words}; without a usable answer"
    return f"{words}; without a usable answer, so a draft was asked for" if notes.dropped else words
