"""Everything about one experiment, on the whole screen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import ClassVar, Protocol

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.message import Message
from textual.screen import Screen
from textual.widgets import Static

from core.record.state import Experiment, State, experiment_id
from nanochat.contract.job import Speed
from tui.view import diffs, words
from tui.view.curves import Curve, Tail, thin
from tui.view.status import metrics_of
from tui.widgets.footer import KeysLine
from tui.widgets.pane import MOVES, Pane
from tui.widgets.plot import Plot
from tui.widgets.prompt import Prompt

LIVE_S = 2.0
LABEL = 12  # columns
OUTPUT = 4000  # characters of the trainer's output that are shown


class Body(Pane):
    """The scrolling part."""

    NUMBER: ClassVar[int] = 0
    NAME: ClassVar[str] = "body"


class Run(Protocol):
    """What is looked at: the state as it is now, and the loop that works on it, if any."""

    state: State
    folder: Path
    pid: int | None


class DetailScreen(Screen[int]):
    """Dismissed with the number that was looked at last."""

    class Walked(Message):
        """Another experiment is shown: other keys may make sense."""

    BINDINGS: ClassVar[list[BindingType]] = [
        *MOVES,
        Binding("left_square_bracket", "older", "older", show=False),
        Binding("right_square_bracket", "newer", "newer", show=False),
        Binding("escape,q,enter", "leave", "back", show=False),
        Binding("ctrl+c,ctrl+q", "app.detach", "detach", show=False, priority=True),
    ]

    def __init__(self, run: Run, numbers: Sequence[int], number: int) -> None:
        """`numbers` in the order of the table."""
        super().__init__()
        self._run, self._folder = run, run.folder
        self._numbers, self.number = (list(numbers) if number in numbers else [number]), number

    def compose(self) -> ComposeResult:
        with Body():
            yield Static(id="facts")
            yield Plot(id="against")
            yield Static(id="more")
        yield Prompt()
        yield KeysLine(
            (("[", "screen.older", "older"), ("]", "screen.newer", "newer"), ("escape", "screen.leave", "back"))
        )

    def on_mount(self) -> None:
        self.query_one(Body).focus()
        self.show()
        self.set_interval(LIVE_S, self._grow)

    def _grow(self) -> None:
        """A running experiment has a curve that grows and output that comes."""
        experiment = self._run.state.experiments.get(self.number)
        if experiment is not None and experiment.verdict is None:
            self.show()

    def on_resize(self, event: events.Resize) -> None:
        del event
        self.show()

    def action_leave(self) -> None:
        self.dismiss(self.number)

    def action_older(self) -> None:
        self._walk(1)

    def action_newer(self) -> None:
        self._walk(-1)

    def _walk(self, step: int) -> None:
        here = self._numbers.index(self.number)
        self.number = self._numbers[min(len(self._numbers) - 1, max(0, here + step))]
        self.show()
        self.query_one(Body).scroll_home(animate=False)
        self.post_message(self.Walked())

    def show(self) -> None:
        """Draw the experiment as the journal knows it now."""
        state = self._run.state
        experiment = state.experiments.get(self.number)
        if experiment is None or not self.query("#more"):  # news may come before the page is composed
            return
        body = self.query_one(Body)
        said = words.verdict(experiment, self._run.pid is not None)
        body.head(f"#{self.number} {said}")
        width = body.scrollable_content_region.width
        self.query_one("#facts", Static).update(_facts(state, experiment, said, width))
        ours, parents = _curve(state, self._folder, experiment.commit), _curve(state, self._folder, experiment.parent)
        plot = self.query_one(Plot)
        plot.display = bool(ours.loss)
        plot.show(lambda p: _draw(p, ours, parents))
        self.query_one("#more", Static).update(_more(self._folder, experiment, ours, parents, width))


def _curve(state: State, folder: Path, commit: str) -> Curve:
    path = metrics_of(state, folder, commit)
    if path is None:
        return Curve()
    tail = Tail(path)
    tail.read()
    return tail.curve


def _draw(plot: Plot, ours: Curve, parents: Curve) -> None:
    for curve, tone in ((parents, "foreground-darken-3"), (ours, "accent")):
        xs, ys = thin(curve.progress, curve.smooth(), max(8, plot.size.width * 2))
        if xs:
            plot.line(xs, ys, tone, dashed=curve is parents)
    plot.range_x(0.0, 1.0)


def _facts(state: State, e: Experiment, said: str, width: int) -> Content:
    """Hypothesis, finding, and the verdict with its arithmetic; `said` is the verdict in words."""
    pair = partial(_pair, width)
    rows: list[Content] = [Content.styled(words.sanitize_line(e.hypothesis, 10_000), "bold"), Content("")]
    if e.finding:
        rows.append(pair("finding", words.sanitize_line(e.finding, 4000)))
    reason = words.sanitize_line(e.reason)
    rows.append(pair("verdict", reason if reason.startswith(said) else f"{said}{': ' + reason if reason else ''}"))
    scores = state.scores.get(e.commit, {})
    if e.val_bpb is not None:
        each = ", ".join(f"{value:.4f} (seed {seed})" for seed, value in scores.items())
        rows.append(pair("val_bpb", f"{words.bpb(e.val_bpb)} against the parent's {_theirs(state, e)}; {each}"))
    if e.gain is not None:
        error = f" ± {e.error:.4f}" if e.error is not None else ""
        rows.append(
            pair("change", f"{words.change(-e.gain)}{error} over {e.pairs} pair{'s' if e.pairs != 1 else ''} on the same seeds; "
                          f"noise {e.sigma:.4f}")
        )  # fmt: skip
    cost = [
        f"{words.memory(e.peak_memory)} memory" if e.peak_memory else "",
        f"{words.rate(e.tokens_per_s)} tokens/s" if e.tokens_per_s else "",
        f"{e.steps} steps" if e.steps else "",
        f"{words.span(e.seconds)} in all" if e.seconds else "",
        f"{e.params:,} parameters" if e.params else "",
    ]
    rows.append(
        pair(
            "cost",
            ", ".join(filter(None, cost)) or ("nothing yet" if e.verdict is None else "nothing: it was not trained"),
        )
    )
    answer = {"auto": ", approved by itself", "time-out": ", approved by time-out", "human": ", approved by you"}
    revised = ", revised by you" if e.revised else ""
    rows.append(pair("agent", f"{words.sanitize_line(e.agent, 60)}{answer.get(e.approved, '')}{revised}"))
    told = [
        f"{name.replace('_', ' ')} {e.meta[name]}"
        for name in ("format", "tries", "prompt_tokens", "tokens")
        if name in e.meta
    ]
    if told:
        rows.append(pair("model", ", ".join(told)))
    if e.meta.get("instead"):
        rows.append(pair("instead of", f"{e.meta['instead']}: {words.sanitize_line(str(e.meta.get('why', '')), 400)}"))
    fact = state.facts.get(e.commit)
    if fact is not None and fact.probes:
        rows.append(pair("probes", _probes(fact.probes)))
    if fact is not None and (fact.speed is not None or fact.unmeasured):
        rows.append(pair("machine", _speed(fact.speed) if fact.speed else f"speed not measured: {fact.unmeasured}"))
    if fact is not None and fact.unprotected:
        rows.append(pair("unprotected", ", ".join(fact.unprotected)))
    return Content("\n").join(rows)


def _speed(speed: Speed) -> str:
    return f"{speed.mean:.0%} of the reference speed, each reading ± {speed.spread:.0%}, {speed.readings} readings"


def _theirs(state: State, e: Experiment) -> str:
    """The parent's score on the seeds that both were trained with, which the change is computed from; and its mean where that is another."""
    ours, theirs = state.scores.get(e.commit, {}), state.scores.get(e.parent, {})
    shared = [theirs[seed] for seed in ours if seed in theirs]
    mean = words.bpb(state.mean(e.parent))
    if not shared or len(shared) == len(theirs):
        return mean
    return f"{sum(shared) / len(shared):.4f} on the same seed{'s' if len(shared) > 1 else ''} ({mean} over all of its {len(theirs)})"


def _more(folder: Path, e: Experiment, ours: Curve, parents: Curve, width: int) -> Content:
    """Below the curve: diff, traceback, output, and where it all lies."""
    rows: list[Content] = []
    if ours.loss:
        theirs = parents.at(1.0)
        end = f"loss {ours.smooth()[-1]:.3f}" + (f", the parent's {theirs:.3f}" if theirs is not None else "")
        rows += [Content.styled(f"{end} (smoothed; the parent's curve is dotted)", "$foreground 60%"), Content("")]
    own = folder / experiment_id(e.number)
    try:
        diff = (own / "change.diff").read_text(encoding="utf-8", errors="replace")
    except OSError:
        diff = ""
    rows += [diffs.render(diffs.parse(diff), width), Content("")]
    if e.traceback:
        rows += [Content.styled("traceback", "bold $warning"), Content(words.sanitize_text(e.traceback)), Content("")]
    output = _output(own)
    if output:
        rows += [Content.styled("output of the trainer", "bold"), Content(words.sanitize_text(output)), Content("")]
    rows.append(_pair(width, "git", f"git show {e.commit[:12]}"))
    files = sorted(str(path.relative_to(own)) for path in own.rglob("*") if path.is_file()) if own.is_dir() else []
    rows.append(_pair(width, "files", f"{folder.parent.name}/{folder.name}/{own.name}: {', '.join(files[:12])}"))
    return Content("\n").join(rows)


def _output(own: Path) -> str:
    found = sorted(own.glob("*/output.txt")) if own.is_dir() else []
    try:
        return found[-1].read_text(encoding="utf-8", errors="replace")[-OUTPUT:] if found else ""
    except OSError:
        return ""


def _probes(found: Mapping[str, float]) -> str:
    """What the secret questions of the evaluation said; anything odd would have been a broken rule."""
    return f"{found.get('probes', 0):.0f} secret questions were answered as an honest model does"


def _pair(width: int, name: str, text: str) -> Content:
    return Content.assemble((f"{name:<{LABEL}}", "$foreground 60%"), words.hanging(text, width, LABEL))
