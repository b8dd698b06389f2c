"""Writes a run's report as one HTML file that needs nothing else: no network, no script, no font. Pure.

Every text that comes from an agent, a trainer or a user is escaped by `plain` or `block` of `core.reporting.markup`.
"""

from __future__ import annotations

import time

from core.reporting import card, chart, markup, page_experiments, phrases
from core.reporting.drawing import PALETTE, svg
from core.reporting.highlights import Highlight
from core.reporting.phrases import duration, typeset
from core.reporting.report import Report
from core.target import TARGET
from nanochat.contract.shell import make, quoted

RESULTS = {  # result -> its words and the colour of its label
    "confirmed": ("the gain holds", "good"),
    "not certain": ("not certain", "bad"),
    "worse": ("worse on the test split", "bad"),
    "not measured afresh": ("not measured afresh", "muted"),
    "nothing kept": ("nothing kept", "muted"),
    "no score": ("no score yet", "muted"),
}
REHEARSAL = (
    "This was a rehearsal: scores were computed from a table, and nothing was trained. They say nothing about a model."
)
STYLE = """
*{box-sizing:border-box}
html{color-scheme:light dark;-webkit-text-size-adjust:100%}
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
main{max-width:960px;margin:0 auto;padding:40px 24px 64px}
h1{font-size:32px;line-height:1.2;margin:8px 0 12px;letter-spacing:-.01em;text-wrap:balance}
h1 span{display:block;font-size:19px;line-height:1.45;font-weight:400;letter-spacing:0;color:var(--muted);margin-top:8px}
h2{font-size:20px;margin:48px 0 12px}
p{margin:0 0 12px;max-width:46em}
.meta,.note,figcaption{color:var(--muted);font-size:14px}
.meta b{color:var(--ink)}
.label{display:inline-block;border:1.5px solid currentColor;border-radius:999px;padding:1px 10px;font-size:13px;font-weight:600}
.good{color:var(--good)}.bad{color:var(--bad)}.muted{color:var(--muted)}
.rehearsal{border-left:4px solid var(--bad);padding:8px 14px;margin:0 0 16px;background:var(--soft)}
figure{margin:24px 0 0}
figcaption{margin-top:10px}
svg{display:block;width:100%;height:auto;font-family:inherit}
svg.small{display:none}
.scroll{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:15px}
th,td{text-align:left;vertical-align:top;padding:8px 14px 8px 0;border-bottom:1px solid var(--grid)}
th{font-size:13px;font-weight:600;color:var(--muted);vertical-align:bottom}
td.n,th.n{text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}
th.n{white-space:normal;min-width:6.5em}
table.slim{width:auto;min-width:min(100%,26em)}
tr.open td{border-bottom:0;padding-bottom:0}
td.wide{min-width:9em;overflow-wrap:anywhere}
td small{display:block;color:var(--muted);font-size:13.5px}
.scroll+p{margin-top:12px}
details{margin:6px 0;contain:inline-size}
summary{cursor:pointer;color:var(--best)}
pre{margin:8px 0;padding:12px;border:1px solid var(--grid);border-radius:6px;background:var(--soft);overflow-x:auto;
font:13px/1.45 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;white-space:pre}
pre.text{white-space:pre-wrap;overflow-wrap:anywhere}
pre i{display:inline-block;min-width:100%;font-style:normal}
pre i.add{color:var(--good);background:var(--add)}pre i.del{color:var(--bad);background:var(--del)}pre i.at{color:var(--muted)}
code{font:14px ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;overflow-wrap:anywhere}
dl{display:grid;grid-template-columns:max-content 1fr;gap:6px 20px;margin:0}
dt{color:var(--muted)}dd{margin:0;overflow-wrap:anywhere}
footer{margin-top:48px;border-top:1px solid var(--grid);padding-top:12px;color:var(--muted);font-size:13px}
@media(max-width:640px){main{padding:24px 16px 48px}h1{font-size:25px}h1 span{font-size:17px}h2{margin-top:36px}
svg.wide,.more{display:none}svg.small{display:block}dl{grid-template-columns:1fr;gap:0}dd{margin-bottom:10px}}
@media print{body{font-size:11pt}main{max-width:none;padding:0}h2{break-after:avoid}tr,figure{break-inside:avoid}
pre{white-space:pre-wrap;font-size:8.5pt}details::details-content{content-visibility:visible;height:auto}}
"""
SOFT = {"soft": ("#f6f8fa", "#1b2127"), "add": ("#e6f4f1", "#12302c"), "del": ("#fbeee4", "#3a2413")}


def page(report: Report) -> str:
    """Return the report as the text of an HTML file."""
    sections = (
        _head(report),
        _progress(report),
        _kept(report),
        _whole(report),
        _curves(report),
        page_experiments.others(report),
        page_experiments.every(report),
        page_experiments.hints(report),
        _topics(report),
        _noise(report),
        _setting(report),
        _agents(report),
        _program(report),
        _reproduce(report),
    )
    policy = "default-src 'none'; style-src 'unsafe-inline'"  # nothing can be loaded, whatever the page contains
    title = f"{typeset(report.title)} · {report.run}"
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8" />\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}" />\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1" />\n'
        f'<meta name="description" content="{markup.own(report.headline)}" />\n'
        f"<title>{markup.plain(title)}</title>\n<style>{_colours()}{STYLE}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(section for section in sections if section)
        + f"\n<footer>{markup.plain(card.footer(report))}</footer>\n</main>\n</body>\n</html>\n"
    )


def _colours() -> str:
    """Return the colours as CSS variables, for light and dark screens and for paper."""
    both: dict[str, tuple[str, str]] = {**SOFT}
    both.update((str(name), colours) for name, colours in PALETTE.items())
    light = ";".join(f"--{name}:{colours[0]}" for name, colours in both.items())
    dark = ";".join(f"--{name}:{colours[1]}" for name, colours in both.items())
    return f"\n:root{{{light}}}\n@media screen and (prefers-color-scheme:dark){{:root{{{dark}}}}}"


# -- what was found ---------------------------------------------------------------------------------------------------


def _head(report: Report) -> str:
    words, colour = RESULTS[report.result]
    began = time.strftime("%Y-%m-%d %H:%M", time.localtime(report.started_t))
    ended = f"Ended: {report.ended}." if report.ended else "The run has not ended."
    meta = f"Begun {began}, {duration(report.seconds)} of work. {ended}"
    rehearsal = ' <span class="label bad">rehearsal</span>' if report.rehearsal else ""
    more = f".<span>{markup.own(report.checked)}</span>" if report.checked else "."
    return (
        f'<header>\n<p class="meta"><b>{markup.plain(report.run)}</b> <span class="label {colour}">{words}</span>{rehearsal}</p>\n'
        f"<h1>{markup.own(report.found)}{more}</h1>\n"
        + (f"{markup.paragraph(report.longer)}\n" if report.longer else "")
        + (f'<p class="rehearsal">{REHEARSAL}</p>\n' if report.rehearsal else "")
        + f"{markup.paragraph(meta, 'meta')}\n</header>"
    )


def _progress(report: Report) -> str:
    wide = svg(chart.progress_chart(report.progress, chart.WIDE), "wide")
    small = svg(chart.progress_chart(report.progress, chart.SMALL), "small")
    outcomes = (
        ", ".join(f"{count} {words.replace(phrases.BY_YOU, ' by you')}" for words, count in report.outcomes.items())
        or "none yet"
    )
    others = "".join(f"; {count} {words}" for words, count in report.others.items())
    caption = (
        f"{report.tried} tried: {outcomes}{others}. The line is the best so far, with the noise of one score around it."
    )
    return markup.charts(wide, small, caption)


def _kept(report: Report) -> str:
    if not report.kept:
        nothing = ("Nothing was kept. The start is still the best.", *report.advice)
        return markup.section("Kept changes", *map(markup.paragraph, nothing))
    several = len(report.kept) > 1  # else the headline says it
    fresh = ("measured afresh",) if several and any(row.afresh is not None for row in report.kept) else ()
    columns = ("#", "change", phrases.BPB, "pairs", *fresh, TARGET.metric, "agent")
    rows = [
        (
            str(row.number),
            page_experiments.what(row),
            markup.own(row.change_words),
            str(row.pairs or "–"),
            *(_afresh(row) for _ in fresh),
            _score(row),
            markup.plain(row.agent),
        )
        for row in report.kept
    ]
    diffs = [_change(report, row) for row in report.kept]
    note = "Each change is against the best before it, as it is estimated now; ± is the standard error."
    if not all(row.pairs for row in report.kept):
        note += " A change without pairs is the difference of two comparisons with the start."
    if fresh:
        note += (
            " Measured afresh: the same change on fresh seeds and the test split. The number of seeds is in brackets."
        )
    table = markup.table(columns, rows, (columns[2], "pairs", *fresh, TARGET.metric), diffs)
    return markup.section("Kept changes", table, markup.paragraph(note, "note"))


def _change(report: Report, row: Highlight) -> str:
    diff = report.material.diffs.get(row.number, "")
    title = f"+{row.added} −{row.removed} lines, commit {row.commit[:7]}"
    return markup.folded(title, markup.diff(diff)) if diff else f"<small>{markup.plain(title)}</small>"


def _afresh(row: Highlight) -> str:
    if row.afresh is None:
        return "–"
    return markup.own(f"{phrases.change(row.afresh.change, row.afresh.error)} ({row.afresh.seeds})")


def _score(row: Highlight) -> str:
    return f"{row.val_bpb:.4f}" if row.val_bpb is not None else ""


def _whole(report: Report) -> str:
    if not report.kept:
        return ""
    diff = report.material.diff
    if not diff:
        return markup.section("From the start to the best", markup.paragraph("The change could not be read from git."))
    lines = diff.partition("\n@@")[2].splitlines()  # without the header
    added, removed = (sum(line.startswith(sign) for line in lines) for sign in "+-")
    change = markup.folded(f"+{added} −{removed} lines of {TARGET.path}", markup.diff(diff))
    moved = f"{report.set_for_machine}: {phrases.NOT_COMPARED}, and not part of this change. `make apply` sets it too."
    return markup.section(
        "From the start to the best", change, *([markup.paragraph(moved)] if report.set_for_machine else [])
    )


def _curves(report: Report) -> str:
    material = report.material
    best = material.best_curve if report.kept else ()
    wide, small = (
        chart.curves_chart(material.start_curve, best, style) for style in (chart.CURVES_WIDE, chart.CURVES_SMALL)
    )
    if wide is None or small is None:
        return markup.section("Training curves", markup.paragraph("No training curve was recorded."))
    caption = (
        f"Training loss, smoothed. It is not the score: {TARGET.metric} is measured on text that no training sees."
    )
    return markup.section("Training curves", markup.charts(svg(wide, "wide"), svg(small, "small"), caption))


def _topics(report: Report) -> str:
    rows = [(markup.plain(topic.name or "other"), str(topic.tried), str(topic.kept)) for topic in report.topics]
    table = (
        markup.table(("topic", "tried", "kept"), rows, ("tried", "kept"))
        if rows
        else markup.paragraph("Nothing was tried.")
    )
    untried = f"Not tried: {', '.join(report.untried)}." if report.untried else "Every topic was tried."
    return markup.section("What was explored", table, markup.paragraph(untried))


def _noise(report: Report) -> str:
    return markup.section("Noise", markup.paragraph(report.noise))


# -- where and how ----------------------------------------------------------------------------------------------------


def _setting(report: Report) -> str:
    config = report.config
    safe = "nothing; the sandbox was complete" if report.start is not None else "unknown"
    rows = (
        ("machine", ", ".join(report.material.machine) or "unknown"),
        ("device", config.device),
        ("profile", config.profile),
        (
            "set in train.py",
            typeset(f"{report.set_for_machine} ({phrases.NOT_COMPARED})") if report.set_for_machine else "nothing",
        ),
        ("dataset", config.dataset),
        ("budget", f"{config.budget_s:g} s of training each, {config.slots} at a time"),
        ("agent", config.agent),
        ("seed", str(config.seed)),
        ("unprotected", ", ".join(report.unprotected) or ("nothing was trained" if report.rehearsal else safe)),
        *([("nodes", report.nodes)] if report.nodes else []),
    )
    return markup.section(
        "Where it was measured",
        "<dl>" + "".join(f"<dt>{markup.plain(k)}</dt><dd>{markup.plain(v)}</dd>" for k, v in rows) + "</dl>",
    )


def _agents(report: Report) -> str:
    if not report.agents:
        return ""
    columns = ("agent", "tried", "kept", phrases.BPB, "proposals", "without a proposal", "s a proposal", "tokens")
    rows = [
        (
            markup.plain(one.agent), str(one.tried), str(one.kept), markup.own(phrases.change(one.change)), str(one.proposed), str(one.failed),
            f"{one.seconds / max(1, one.proposed + one.failed):.1f}", f"{one.tokens:,}",
        )
        for one in report.agents
    ]  # fmt: skip
    asked = ("agent", "operator", "asked for", "usable", "kept", phrases.BPB)
    operators = [
        (
            markup.plain(one.agent),
            markup.plain(name),
            str(row.asked),
            str(row.usable),
            str(row.kept),
            markup.own(phrases.change(row.change)),
        )
        for one in report.agents
        for name, row in one.operators.items()
    ]
    tables = markup.table(columns, rows, columns[1:]) + (markup.table(asked, operators, asked[2:]) if operators else "")
    return markup.section("Agents and what they cost", tables)


def _program(report: Report) -> str:
    program, changed = report.material.program, report.material.program_changed
    if not program:
        return markup.section("program.md", markup.paragraph("It cannot be read any more."))
    title = "program.md as it is now; the run used an earlier version" if changed else "program.md as the run used it"
    return markup.section("program.md", markup.folded(title, f'<pre class="text">{markup.block(program)}</pre>'))


def _reproduce(report: Report) -> str:
    config, logs = report.config, report.material.logs
    begin, best = report.commits
    commands = []
    if report.kept:
        commands += [
            ("Commit the best train.py on your branch", make("apply", report.run, *logs).strip("`")),
            (
                "Read the kept changes, one commit each",
                quoted([*report.material.git, "log", "-p", f"{begin[:12]}..{report.material.branch or best[:12]}"]),
            ),
            ("Go on from the best", make("run", "--from", report.run, *logs).strip("`")),
        ]
        seeds = report.check.seeds if report.check is not None else 0
        commands.append(
            (
                "Measure start and best on further seeds",
                make("report", report.run, "--seeds", str(seeds + 5), *logs).strip("`"),
            )
        )
    options = ("--name", f"{report.run}-again", "--seed", str(config.seed), "--agent", config.agent, "--dataset", config.dataset,
               "--device", config.device, "--profile", config.profile, "--budget", f"{config.budget_s:g}",
               "--slots", str(config.slots), "--executor", config.executor, *report.limits, *report.knows, *logs)  # fmt: skip
    lacks = [
        *(["a new run knows more of earlier ones"] if not report.knows else []),
        *(["what you told the agents is not repeated"] if report.hints else []),
    ]
    but = f" ({'; '.join(lacks)})" if lacks else ""
    again = f"Repeat the run with its seed{but}"
    commands.append((again, make("run", *options).strip("`")))
    items = "".join(
        f"<dt>{markup.plain(what)}</dt><dd><code>{markup.plain(command)}</code></dd>" for what, command in commands
    )
    where = f"The run started from commit {begin[:12]}" + (f"; the best is {best[:12]}" if report.kept else "")
    branch = f" on the branch {report.material.branch}" if report.kept and report.material.branch else ""
    return markup.section("How to reproduce it", f"<dl>{items}</dl>", markup.paragraph(f"{where}{branch}.", "note"))
