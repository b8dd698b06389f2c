"""The summary of a run, for `make status`, the app and the end of a run: what was found, whether it is true, what to do next. Pure."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

from core.model import ApprovalMode
from core.reporting import phrases
from core.reporting.highlights import Highlight
from core.reporting.outcome import FinalCheck
from core.reporting.phrases import (
    PASTE,
    REHEARSAL,
    UNTRIED,
    begun_as,
    count,
    duration,
    one_line,
    proposed_limit,
    resume_command,
)
from core.reporting.status import Recent, RunStatus
from core.target import TARGET
from nanochat.contract.shell import make

Tone = Literal["", "strong", "dim", "good", "bad", "warn"]
APPROVAL: dict[ApprovalMode, str] = {"ask": "asks you", "auto": "unattended"}
LABEL = 14  # width of the column of labels
CHANGE = 18  # width of a change with its standard error
FEW = 3  # near misses, and changes that hurt, that are listed
BRIEF_KEPT, BRIEF = 4, 2  # kept changes, and of the others, in a brief summary
LEAST = 8  # columns below which the beginning of a hypothesis says nothing
EIGHTHS = " ▏▎▍▌▋▊▉"
WIDE, BAR = 118, 20  # columns from which changes are also shown as bars, and those of a bar
WIDTH = 1000  # columns of a text that is not for a terminal: nothing is wrapped


class Span(NamedTuple):
    """A part of a line."""

    text: str
    tone: Tone = ""


Line = tuple[Span, ...]


def text(lines: Iterable[Line]) -> str:
    """Return the lines as plain text."""
    return "\n".join("".join(span.text for span in line).rstrip() for line in lines)


def summary(found: RunStatus, width: int = WIDTH, *, bars: bool = False, brief: bool = False) -> list[Line]:
    """Return the summary of a run: first its result and what to do next, then how it came about.

    Args:
        found: The status of the run.
        width: Columns. Texts are wrapped, and names of experiments are cut to fit.
        bars: Also show changes as bars if they fit.
        brief: List fewer experiments, so that about 20 lines are enough.
    """
    return [*result(found, width), *details(found, width, bars=bars, brief=brief)]


def result(found: RunStatus, width: int) -> list[Line]:
    """Return the beginning of the summary: what the run is doing, its result, and what to do next."""
    parts = (_heading, _result, _set, _report, _next)
    return [line for part in parts for line in part(found, width)]


def details(found: RunStatus, width: int, *, bars: bool = False, brief: bool = False) -> list[Line]:
    """Return the rest of the summary. The arguments are those of `summary`."""
    return [*_experiments(found, width, bars and width >= WIDE, brief), *_facts(found, width, brief)]


def at_end(
    found: RunStatus, folder: str, branch: str, logs: Sequence[str] = (), *, reported: bool = False
) -> list[str]:
    """Return what a run prints at its end, as lines.

    Args:
        found: The status of the run.
        folder: The path of its folder, as people read it.
        branch: The branch of the kept changes.
        logs: The option for the folder of all logs, as words; () for the default.
        reported: Whether report.html and report.png were written.
    """
    lines = [f"Run {found.run}: {count(found.tried, 'experiment')}, {found.kept} kept."]
    if found.rehearsal:
        lines.append(f"It was {REHEARSAL}.")
    if found.gain is not None:
        lines.append(f"{TARGET.metric} {found.gain.words}; noise {found.noise}.")
    lines += [check.words for check in (found.final_check, found.longer_check) if check is not None]
    lines += [
        f"  {one.change_words:<{CHANGE}} #{one.number:<4} {one.name}  {one.commit[:7]}" for one in found.kept_changes
    ]
    if found.set_for_machine:
        lines.append(f"{found.set_for_machine}: {phrases.NOT_COMPARED}.")
    lines.append(f"Time: {_time(found)}.")
    lines.append(f"Results: {folder}/results.tsv and notebook.md; branch of the kept changes: {branch}.")
    if reported:
        lines.append(f"Report: {folder}/report.html{', and report.png to share' if found.tried else ''}.")
    lines += found.advice
    if found.kept:
        lines.append(f"Apply the best train.py: {make('apply', found.run, *logs)}")
    if found.kept and not found.rehearsal:
        lines.append(f"Keep the best model: {make('export', '--run', found.run, *logs)}")
    return lines


def one_line_summary(found: RunStatus) -> str:
    """Return a run in a few words, for the status line of tmux and the like."""
    change = f" {found.gain.change:+.4f}" if found.gain is not None and found.kept else ""
    fresh = f" (afresh {found.final_check.change:+.4f})" if found.final_check is not None else ""
    rehearsal = " (rehearsal)" if found.rehearsal else ""
    return one_line(f"{found.run}{rehearsal}: {found.phase}, {found.kept}/{found.tried} kept{change}{fresh}", 200)


# -- parts ------------------------------------------------------------------------------------------------------------


def _heading(found: RunStatus, width: int) -> list[Line]:
    alive = (Span(f"  [loop {found.loop.pid} alive]", "good"),) if found.loop.alive else ()
    gate = f", {APPROVAL[found.gate]}" if found.loop.alive else ""
    settings = f"{found.dataset} on {found.device}, {found.budget_s:g} s each, agent {found.agent}{gate}"
    return [
        (Span(f"{found.run}{begun_as(found.run, found.begun_as)}", "strong"), Span(f": {found.phase}"), *alive),
        *((Span(f"  {part}", "dim"),) for part in textwrap.wrap(settings, max(30, width - 2), break_on_hyphens=False)),
        *(_wrapped("note", REHEARSAL, width, "warn") if found.rehearsal else []),
    ]


def _result(found: RunStatus, width: int) -> list[Line]:
    """Return the scores of start and best, and whether the gain holds."""
    gain = found.gain
    if gain is None:
        return _wrapped("result", "no score yet", width)
    if not found.kept:
        start = phrases.start_score(gain.difference)
        words = f"{TARGET.metric} of the start {start}" + (f": none of {found.tried} was kept" if found.tried else "")
        return _wrapped("result", words, width, "strong")
    words, counts = f"{TARGET.metric} {gain.words}", f"   {found.kept} kept of {found.tried} tried"
    fits = LABEL + len(words) + len(counts) <= width
    first: list[Line] = [(_label("result"), Span(words, "strong"), Span(counts))]
    lines = first if fits else _wrapped("result", words, width, "strong")
    for label, check in (("afresh", found.final_check), ("longer", found.longer_check)):
        if check is not None:
            lines += _wrapped(label, check.words.removeprefix("Measured afresh "), width, _tone(check))
    if found.final_check is None and not found.loop.alive and not found.checking:
        lines += _wrapped("afresh", f"not measured yet; {make('report', found.run)} does it", width, "warn")
    return lines


def _set(found: RunStatus, width: int) -> list[Line]:
    """Return which constants of train.py were set before the run began."""
    if not found.set_for_machine:
        return []
    applied = f"; {make('apply', found.run)} sets it too" if found.kept and not found.applied else ""
    return _wrapped("set", f"{found.set_for_machine} ({phrases.NOT_COMPARED}{applied})", width)


def _report(found: RunStatus, width: int) -> list[Line]:
    """Return where the report and the picture are."""
    if not found.report:
        return []
    return _wrapped("report", f"{found.report}{f', and {found.picture} to share' if found.picture else ''}", width)


def _tone(check: FinalCheck) -> Tone:
    return "good" if check.holds else "bad" if check.change > check.needed else "warn"


def _experiments(found: RunStatus, width: int, bars: bool, brief: bool) -> list[Line]:
    """Return the experiments that matter, and the latest ones while the loop runs."""
    few = BRIEF if brief else FEW
    near, hurt = found.near_misses[:few], found.hurt[:few]
    kept = _largest(found.kept_changes, BRIEF_KEPT) if brief else found.kept_changes
    largest = (
        max((abs(one.change) for one in (*found.kept_changes, *near, *hurt) if one.change), default=0.0)
        if bars
        else 0.0
    )
    lines = _highlights("kept", kept, "good", width, largest)
    if more := len(found.kept_changes) - len(kept):
        lines += _wrapped("", f"and {count(more, 'smaller one')}; {make('notebook', found.run)} has all", width)
    lines += _highlights("near misses", near, "warn", width, largest)
    lines += _highlights("hurt most", hurt, "bad", width, largest)
    if found.loop.alive:
        wide = max((len(e.outcome) for e in found.last), default=0)
        rows = [_recent(e, wide, width) for e in reversed(found.last)]
        lines += _labelled("latest", rows)
    return lines


def _largest(found: Sequence[Highlight], most: int) -> Sequence[Highlight]:
    """Return the changes with the largest gains, in their order. One more is listed if it would be the only one left out."""
    if len(found) <= most + 1:
        return found
    chosen = {one.number for one in sorted(found, key=lambda one: one.change or 0.0)[:most]}
    return [one for one in found if one.number in chosen]


def _highlights(label: str, found: Sequence[Highlight], tone: Tone, width: int, largest: float) -> list[Line]:
    bars = BAR if largest else 0
    room = max(8, width - LABEL - CHANGE - bars - 8)
    return _labelled(
        label,
        [
            (
                Span(f"{one.change_words:<{CHANGE}}{_bar(one, largest, bars):<{bars}}", tone),
                Span(f"#{one.number:<5} "),
                Span(one.named(room)),
            )
            for one in found
        ],
    )


def _bar(one: Highlight, largest: float, columns: int) -> str:
    """Return the size of a change as a bar. The largest one fills all columns but the last two."""
    if not columns or one.change is None:
        return ""
    eighths = max(1, round(abs(one.change) / largest * (columns - 2) * 8))
    full, rest = divmod(eighths, 8)
    return "█" * full + EIGHTHS[rest].strip()


def _recent(e: Recent, wide: int, width: int) -> Line:
    score = f"{e.val_bpb:.4f}" if e.val_bpb is not None else "     -"
    room = width - LABEL - wide - 16
    hypothesis = one_line(e.hypothesis, room) if room >= LEAST else ""
    return (Span(f"#{e.number:<5} {e.outcome:<{wide}} {score}  "), Span(hypothesis, "dim"))


def _facts(found: RunStatus, width: int, brief: bool) -> list[Line]:
    """Return the counts, the time, the topics, the noise, the agents, the lessons, what was read in program.md, and warnings."""
    lines = _wrapped("tried", f"{found.tried}: {_outcomes(found)}", width)
    lines += _wrapped("time", _time(found), width)
    if found.topics:
        topics = ", ".join(
            f"{one.name or 'other'} {one.tried}{f' ({one.kept} kept)' if one.kept else ''}" for one in found.topics
        )
        lines += _wrapped(
            "topics", f"{topics}; not tried: {', '.join(found.untried)}" if brief and found.untried else topics, width
        )
    if found.topics and found.untried and not brief:
        lines += _wrapped("not tried", ", ".join(found.untried), width)
    lines += _wrapped("noise", f"{found.noise} of one score", width)
    agents = [words for words in found.scoreboard if not (brief and words.startswith(" "))]  # without their details
    for index, words in enumerate(agents):
        lines += _wrapped("agents" if index == 0 else "", words, width)
    for index, words in enumerate(found.lessons[:BRIEF] if brief else found.lessons):
        lines += _wrapped("lessons" if index == 0 else "", one_line(words, 300), width)
    understood = () if brief else found.understood
    if said := "; ".join(filter(None, [found.charter_problem, *found.charter_warnings, *understood])):
        lines += _wrapped("program.md", one_line(said, 1000), width, "warn" if found.charter_problem else "")
    for line, sentence in found.proposed:
        lines += _wrapped("", proposed_limit(line, sentence), width)
    if found.proposed:
        lines += _wrapped("", f"{PASTE}.", width)
    notes = [
        ("note", found.banner),
        ("speed", found.unmeasured and f"not measured: {found.unmeasured}"),
        ("unprotected", ", ".join(found.unprotected)),
        *(("warning", words) for words in found.warnings),
    ]
    for label, words in notes:
        if words:
            lines += _wrapped(label, words, width, "warn")
    return lines


def _time(found: RunStatus) -> str:
    """Return how long the loops have worked, and what the agents cost, as text."""
    tokens = f" and {found.tokens / 1000:.0f}k tokens" if found.tokens else ""
    return f"{duration(found.worked_s)} of work; the proposals took {duration(found.proposing_s)}{tokens}"


def _outcomes(found: RunStatus) -> str:
    """Return the counts of verdicts: those that count as tried, the others, and the limit at which the run ends."""
    outcomes = dict(sorted(found.outcomes.items(), key=lambda item: -item[1]))
    untried = [(words, outcomes.pop(words)) for words in UNTRIED if words in outcomes]
    told = (
        ", ".join(f"{count} {words.replace(phrases.BY_YOU, ' by you')}" for words, count in outcomes.items())
        or "none yet"
    )
    more = "".join(f"; {count} {words}" for words, count in untried)
    limit = found.limits.get("max_experiments")
    ends = f"; ends at {count(int(limit), 'verdict')}, {found.judged} given" if limit and found.loop.alive else ""
    return f"{told}{more}{ends}"


def _next(found: RunStatus, width: int) -> list[Line]:
    """Return what to do next. Nothing while the loop runs."""
    if found.loop.alive:
        return []
    if found.applied:
        apply = "your train.py is the best one already"
    else:
        apply = f"{make('apply', found.run)} commits the best train.py to your checkout"
    if not found.rehearsal:
        apply += f"; {make('export', '--run', found.run)} keeps its model"
    goes_on = (
        "goes on with it until you stop it; --max-experiments N ends it by itself" if found.finished else "resumes it"
    )
    steps = [*([apply] if found.kept else []), f"{resume_command(found.run)} {goes_on}", *found.advice]
    lines: list[Line] = []
    for index, words in enumerate(steps):
        lines += _wrapped("next" if index == 0 else "", words, width)
    return lines


# -- lines ------------------------------------------------------------------------------------------------------------


def _label(name: str) -> Span:
    return Span(f"  {name:<{LABEL - 2}}", "dim")


def _labelled(name: str, rows: Sequence[Line]) -> list[Line]:
    """Return the rows with a label before the first one."""
    return [(_label(name if index == 0 else ""), *row) for index, row in enumerate(rows)]


def _wrapped(name: str, words: str, width: int, tone: Tone = "") -> list[Line]:
    """Return a text with a label, wrapped in its own column."""
    parts = textwrap.wrap(words, max(30, width - LABEL), break_on_hyphens=False, break_long_words=False)
    return _labelled(name, [(Span(part, tone),) for part in parts])
