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
FRESH = 26  # of a change measured afresh, from as many columns
WIDTH = 1000  # columns of a text that is not for a terminal: nothing is wrapped


class Span(NamedTuple):
    """A part of a line."""

    text: str
    tone: Tone = ""


Line = tuple[Span, ...]


def text(lines: Iterable[Line]) -> str:
    """Return the lines as plain text."""
    return "\n".join("".join(span.text for span in line).rstrip() for line in lines)


def summary(status: RunStatus, width: int = WIDTH, *, brief: bool = False) -> list[Line]:
    """Return the summary of a run: first its result and what to do next, then how it came about.

    Args:
        status: The status of the run.
        width: Columns. Texts are wrapped, and names of experiments are cut to fit.
        brief: List fewer experiments, so that about 20 lines are enough.
    """
    return [*result(status, width), *details(status, width, brief=brief)]


def result(status: RunStatus, width: int) -> list[Line]:
    """Return the beginning of the summary: what the run is doing, its result, and what to do next."""
    parts = (_heading, _result, _set, _report, _next)
    return [line for part in parts for line in part(status, width)]


def details(status: RunStatus, width: int, *, bars: bool = False, brief: bool = False) -> list[Line]:
    """Return the rest of the summary. The arguments are those of `summary`; `bars`: also show changes as bars if they fit."""
    return [*_experiments(status, width, bars and width >= WIDE, brief), *_facts(status, width, brief)]


def at_end(
    status: RunStatus, folder: str, branch: str, logs: Sequence[str] = (), *, reported: bool = False
) -> list[str]:
    """Return what a run prints at its end, as lines.

    Args:
        status: The status of the run.
        folder: The path of its folder, as people read it.
        branch: The branch of the kept changes.
        logs: The option for the folder of all logs, as words; () for the default.
        reported: Whether report.html and report.png were written.
    """
    lines = [f"Run {status.run}: {count(status.tried, 'experiment')}, {status.kept} kept."]
    if status.rehearsal:
        lines.append(f"It was {REHEARSAL}.")
    if status.gain is not None:
        lines.append(f"{TARGET.metric} {status.gain.words}; noise {status.noise}.")
    lines += [check.words for check in (status.final_check, status.longer_check) if check is not None]
    lines += [
        f"  {kept.change_words:<{CHANGE}} #{kept.number:<4} {kept.name}  {kept.commit[:7]}"
        for kept in status.kept_changes
    ]
    if status.set_for_machine:
        lines.append(f"{status.set_for_machine}: {phrases.NOT_COMPARED}.")
    lines.append(f"Time: {_time(status)}.")
    lines.append(f"Results: {folder}/results.tsv and notebook.md; branch of the kept changes: {branch}.")
    if reported:
        lines.append(f"Report: {folder}/report.html{', and report.png to share' if status.tried else ''}.")
    lines += status.advice
    if not status.finished:
        lines.append(f"Resume it: {make('run', '--name', status.run, *logs)}")
    if status.kept:
        lines.append(f"Apply the best train.py: {make('apply', status.run, *logs)}")
    if status.kept and not status.rehearsal:
        lines.append(f"Keep the best model: {make('export', '--run', status.run, *logs)}")
    return lines


def one_line_summary(status: RunStatus) -> str:
    """Return a run in a few words, for the status line of tmux and the like."""
    change = f" {phrases.change(status.gain.change)}" if status.gain is not None and status.kept else ""
    fresh = f" (afresh {_afresh(status.final_check)})" if status.final_check is not None else ""
    rehearsal = " (rehearsal)" if status.rehearsal else ""
    return one_line(f"{status.run}{rehearsal}: {status.phase}, {status.kept}/{status.tried} kept{change}{fresh}", 200)


def _afresh(check: FinalCheck) -> str:
    """Return the change measured afresh, with the number of seeds if the check is not complete."""
    return phrases.change(check.change) + ("" if check.complete else f", {check.seeds} of {check.wanted} seeds")


# -- parts ------------------------------------------------------------------------------------------------------------


def _heading(status: RunStatus, width: int) -> list[Line]:
    alive = (Span(f"  [loop {status.loop.pid} alive]", "good"),) if status.loop.alive else ()
    gate = f", {APPROVAL[status.gate]}" if status.loop.alive else ""
    settings = f"{status.dataset} on {status.device}, {status.budget_s:g} s each, agent {status.agent}{gate}"
    return [
        (Span(f"{status.run}{begun_as(status.run, status.begun_as)}", "strong"), Span(f": {status.phase}"), *alive),
        *((Span(f"  {part}", "dim"),) for part in textwrap.wrap(settings, max(30, width - 2), break_on_hyphens=False)),
        *(_wrapped("note", REHEARSAL, width, "warn") if status.rehearsal else []),
    ]


def _result(status: RunStatus, width: int) -> list[Line]:
    """Return the scores of start and best, and whether the gain holds."""
    gain = status.gain
    if gain is None:
        return _wrapped("result", "no score yet", width)
    if not status.kept:
        start = phrases.start_score(gain.difference)
        words = f"{TARGET.metric} of the start {start}" + (f": none of {status.tried} was kept" if status.tried else "")
        return _wrapped("result", words, width, "strong")
    words, counts = f"{TARGET.metric} {gain.words}", f"   {status.kept} kept of {status.tried} tried"
    fits = LABEL + len(words) + len(counts) <= width
    first: list[Line] = [(_label("result"), Span(words, "strong"), Span(counts))]
    lines = first if fits else _wrapped("result", words, width, "strong")
    for label, check in (("afresh", status.final_check), ("longer", status.longer_check)):
        if check is not None:
            lines += _wrapped(label, check.words.removeprefix("Measured afresh "), width, _tone(check))
    if status.final_check is None and not status.loop.alive and not status.checking:
        lines += _wrapped("afresh", f"not measured yet; {make('report', status.run)} does it", width, "warn")
    return lines


def _set(status: RunStatus, width: int) -> list[Line]:
    """Return which constants of train.py were set before the run began."""
    if not status.set_for_machine:
        return []
    applied = f"; {make('apply', status.run)} sets it too" if status.kept and not status.applied else ""
    return _wrapped("set", f"{status.set_for_machine} ({phrases.NOT_COMPARED}{applied})", width)


def _report(status: RunStatus, width: int) -> list[Line]:
    """Return where the report and the picture are."""
    if not status.report:
        return []
    return _wrapped("report", f"{status.report}{f', and {status.picture} to share' if status.picture else ''}", width)


def _tone(check: FinalCheck) -> Tone:
    return "good" if check.holds else "bad" if check.check.is_worse else "warn"


def _experiments(status: RunStatus, width: int, bars: bool, brief: bool) -> list[Line]:
    """Return the experiments that matter, and the latest ones while the loop runs."""
    few = BRIEF if brief else FEW
    near, hurt = status.near_misses[:few], status.hurt[:few]
    kept = _largest(status.kept_changes, BRIEF_KEPT) if brief else status.kept_changes
    largest = (
        max(
            (abs(highlight.change) for highlight in (*status.kept_changes, *near, *hurt) if highlight.change),
            default=0.0,
        )
        if bars
        else 0.0
    )
    lines = _highlights("kept", kept, "good", width, largest)
    if more := len(status.kept_changes) - len(kept):
        lines += _wrapped("", f"and {count(more, 'smaller one')}; {make('notebook', status.run)} has all", width)
    lines += _highlights("near misses", near, "warn", width, largest)
    lines += _highlights("hurt most", hurt, "bad", width, largest)
    if status.loop.alive:
        wide = max((len(e.outcome) for e in status.last), default=0)
        rows = [_recent(e, wide, width) for e in reversed(status.last)]
        lines += _labelled("latest", rows)
    return lines


def _largest(highlights: Sequence[Highlight], most: int) -> Sequence[Highlight]:
    """Return the changes with the largest gains, in their order. One more is listed if it would be the only one left out."""
    if len(highlights) <= most + 1:
        return highlights
    chosen = {
        highlight.number for highlight in sorted(highlights, key=lambda highlight: highlight.change or 0.0)[:most]
    }
    return [highlight for highlight in highlights if highlight.number in chosen]


def _highlights(label: str, highlights: Sequence[Highlight], tone: Tone, width: int, largest: float) -> list[Line]:
    bars = BAR if largest else 0
    several = len(highlights) > 1 and any(highlight.afresh for highlight in highlights)  # else the final check says it
    fresh = FRESH if several and width >= WIDE else 0
    room = max(8, width - LABEL - CHANGE - bars - fresh - 8)
    rows: list[Line] = []
    for highlight in highlights:
        found = _fresh_change(highlight)
        rows.append(
            (
                Span(f"{highlight.change_words:<{CHANGE}}{_bar(highlight, largest, bars):<{bars}}", tone),
                Span(f"{f'afresh {found}' if found else '':<{fresh}}" if fresh else "", "dim"),
                Span(f"#{highlight.number:<5} "),
                Span(highlight.named(room)),
            )
        )
        if several and not fresh and found:
            rows.append((Span(f"{found:<{CHANGE}}measured afresh", "dim"),))
    return _labelled(label, rows)


def _fresh_change(highlight: Highlight) -> str:
    """Return the change alone on fresh seeds, as text; "" if it was not measured."""
    found = highlight.afresh
    return phrases.change(found.change, found.error) if found is not None else ""


def _bar(highlight: Highlight, largest: float, columns: int) -> str:
    """Return the size of a change as a bar. The largest one fills all columns but the last two."""
    if not columns or highlight.change is None:
        return ""
    eighths = max(1, round(abs(highlight.change) / largest * (columns - 2) * 8))
    full, rest = divmod(eighths, 8)
    return "█" * full + EIGHTHS[rest].strip()


def _recent(e: Recent, wide: int, width: int) -> Line:
    score = f"{e.val_bpb:.4f}" if e.val_bpb is not None else "     -"
    room = width - LABEL - wide - 16
    hypothesis = one_line(e.hypothesis, room) if room >= LEAST else ""
    return (Span(f"#{e.number:<5} {e.outcome:<{wide}} {score}  "), Span(hypothesis, "dim"))


def _facts(status: RunStatus, width: int, brief: bool) -> list[Line]:
    """Return the counts, the time, the topics, the noise, the agents, the lessons, what was read in program.md, and warnings."""
    lines = _wrapped("tried", f"{status.tried}: {_outcomes(status)}", width)
    lines += _wrapped("time", "; ".join(filter(None, (_time(status), status.pace))), width)
    if status.topics:
        topics = ", ".join(
            f"{topic.name or 'other'} {topic.tried}{f' ({topic.kept} kept)' if topic.kept else ''}"
            for topic in status.topics
        )
        lines += _wrapped(
            "topics", f"{topics}; not tried: {', '.join(status.untried)}" if brief and status.untried else topics, width
        )
    if status.topics and status.untried and not brief:
        lines += _wrapped("not tried", ", ".join(status.untried), width)
    lines += _wrapped("noise", f"{status.noise} of one score", width)
    if status.tried and not brief:
        lines += _wrapped("scores", phrases.SCALE, width)
    agents = [note for note in status.scoreboard if not (brief and note.startswith(" "))]  # without their details
    for index, note in enumerate(agents):
        lines += _wrapped("agents" if index == 0 else "", note, width)
    for index, note in enumerate(status.lessons[:BRIEF] if brief else status.lessons):
        lines += _wrapped("lessons" if index == 0 else "", one_line(note, 300), width)
    understood = () if brief else status.understood
    if reading := "; ".join(filter(None, [status.charter_problem, *status.charter_warnings, *understood])):
        lines += _wrapped("program.md", one_line(reading, 1000), width, "warn" if status.charter_problem else "")
    for line, sentence in status.proposed:
        lines += _wrapped("", proposed_limit(line, sentence), width)
    if status.proposed:
        lines += _wrapped("", f"{PASTE}.", width)
    notes = [
        ("note", status.banner),
        ("speed", status.unmeasured and f"not measured: {status.unmeasured}"),
        ("unprotected", ", ".join(status.unprotected)),
        *(("warning", note) for note in status.warnings),
    ]
    for label, note in notes:
        if note:
            lines += _wrapped(label, note, width, "warn")
    return lines


def _time(status: RunStatus) -> str:
    """Return how long the loops have worked, and what the agents cost, as text."""
    tokens = f" and {status.tokens / 1000:.0f}k tokens" if status.tokens else ""
    return f"{duration(status.worked_s)} of work; the proposals took {duration(status.proposing_s)}{tokens}"


def _outcomes(status: RunStatus) -> str:
    """Return the counts of verdicts: those that count as tried, the others, and the limit at which the run ends."""
    outcomes = dict(sorted(status.outcomes.items(), key=lambda item: -item[1]))
    untried = [(words, outcomes.pop(words)) for words in UNTRIED if words in outcomes]
    text = (
        ", ".join(f"{count} {words.replace(phrases.BY_YOU, ' by you')}" for words, count in outcomes.items())
        or "none yet"
    )
    more = "".join(f"; {count} {words}" for words, count in untried)
    limit = status.limits.get("max_experiments")
    ends = (
        f"; ends at {count(int(limit), 'experiment')}, {status.counted} so far" if limit and status.loop.alive else ""
    )
    return f"{text}{more}{ends}"


def _next(status: RunStatus, width: int) -> list[Line]:
    """Return what to do next. Nothing while the loop runs."""
    if status.loop.alive:
        return []
    if status.applied:
        apply = "your train.py is the best one already"
    else:
        apply = f"{make('apply', status.run)} commits the best train.py to your checkout"
    if not status.rehearsal:
        apply += f"; {make('export', '--run', status.run)} keeps its model"
    goes_on = (
        "continues it until you stop it; --max-experiments N ends it by itself" if status.finished else "resumes it"
    )
    steps = [*([apply] if status.kept else []), f"{resume_command(status.run)} {goes_on}", *status.advice]
    lines: list[Line] = []
    for index, step in enumerate(steps):
        lines += _wrapped("next" if index == 0 else "", step, width)
    return lines


# -- lines ------------------------------------------------------------------------------------------------------------


def _label(name: str) -> Span:
    return Span(f"  {name:<{LABEL - 2}}", "dim")


def _labelled(name: str, rows: Sequence[Line]) -> list[Line]:
    """Return the rows with a label before the first one."""
    return [(_label(name if index == 0 else ""), *row) for index, row in enumerate(rows)]


def _wrapped(name: str, text: str, width: int, tone: Tone = "") -> list[Line]:
    """Return a text with a label, wrapped in its own column."""
    parts = textwrap.wrap(text, max(30, width - LABEL), break_on_hyphens=False, break_long_words=False)
    return _labelled(name, [(Span(part, tone),) for part in parts])
