"""Lays out the charts of a report: the progress of the run, and the training curves of start and best. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean

from core.reporting.axes import decimals, score_range, ticks
from core.reporting.diagnosis import Point as Loss
from core.reporting.drawing import (
    Anchor,
    Area,
    Box,
    Colour,
    Drawing,
    Line,
    Mark,
    Point,
    Shape,
    Text,
    box_of,
    cut,
    width_of,
)
from core.reporting.phrases import count, typeset
from core.reporting.report import Attempt, Progress
from core.target import TARGET

Shapes = list[Line | Area | Mark | Text]
BUCKETS = 40  # points of a training curve; each is the mean of a section
LONGEST = 20.0  # width of a name, in heights of its text
CROSSING, TOO_FAR = 5.0, 14.0  # costs of a name's place: of a crossing; from which it is left out
SKIPPED = 0.1  # share of a training at its beginning that does not decide the axis, since the loss falls steeply there


@dataclass(frozen=True)
class Style:
    """Sizes of a chart, in pixels. `labels`: the largest number of kept changes that are named."""

    width: float
    height: float
    text: float = 13.0
    dot: float = 3.0
    labels: int = 12


WIDE, SMALL = Style(900, 430), Style(440, 380, labels=6)
CURVES_WIDE, CURVES_SMALL = Style(900, 300), Style(440, 280)


@dataclass(frozen=True)
class Frame:
    """The area of a plot in pixels, and the values at its edges."""

    box: Box
    x0: float
    x1: float
    low: float
    high: float

    def x(self, value: float) -> float:
        return self.box.left + (value - self.x0) / (self.x1 - self.x0) * (self.box.right - self.box.left)

    def y(self, value: float) -> float:
        """Return the pixel of a value; one outside the edges is put on the edge."""
        clipped = min(max(value, self.low), self.high)
        return self.box.bottom - (clipped - self.low) / (self.high - self.low) * (self.box.bottom - self.box.top)


# -- progress ---------------------------------------------------------------------------------------------------------


def limits(progress: Progress) -> tuple[float, float]:
    """Return the lowest and the highest val_bpb of the chart, with room for the names of kept changes below the best."""
    levels = [score for _, score in progress.steps] or [1.0]
    others = [a.val_bpb for a in progress.attempts if a.val_bpb is not None and not a.kept]
    bottom, top = score_range(levels, others, progress.sigma)
    named = len(progress.steps) > 1
    return bottom - (0.06 if named else 0.0) * (top - bottom), top


def progress_chart(progress: Progress, style: Style) -> Drawing:
    """Return the chart of all experiments: their scores, the running best with its noise, and the names of kept changes."""
    size = style.text
    low, high = limits(progress)
    edge = any(not a.kept and (a.val_bpb is None or a.val_bpb > high) for a in progress.attempts)
    strip = style.dot * 4 if edge else 0.0  # for what has no place in the plot
    right = style.width - width_of("0.0000", size, bold=True) - 8
    box = Box(size * 4.6, size * 2.2 + strip, right, style.height - size * 4.7)
    frame = Frame(box, 0.0, max(progress.last, 1) * 1.02, low, high)
    shapes = _axes(frame, size, whole=True)
    shapes.append(Text((2.0, size * 1.2), f"{TARGET.metric} ({TARGET.direction})", size, "muted"))
    shapes.append(Text((box.right, box.bottom + size * 2.75), "experiment", size, "muted", "end"))
    corners = _staircase(progress, frame)
    if corners:
        noise = progress.sigma / (high - low) * (box.bottom - box.top)
        upper = [(x, max(box.top, y - noise)) for x, y in corners]
        lower = [(x, min(box.bottom, y + noise)) for x, y in reversed(corners)]
        band = Area((*upper, *lower), "band")
        shapes = [band, *shapes, Line(tuple(corners), "best", 2.2 * style.dot / 3)]
    attempts = [_attempt(attempt, frame, style) for attempt in progress.attempts if not attempt.kept]
    kept = [_attempt(attempt, frame, style) for attempt in progress.attempts if attempt.kept]
    shapes = [*shapes, *attempts, *kept]
    shapes += _levels(progress, frame, size, [*attempts, *kept])
    shapes += _names(progress, frame, style, corners, [mark.at for mark in attempts], shapes)
    shapes += _legend(progress, frame, style)
    if progress.start is None:
        middle = ((box.left + box.right) / 2, (box.top + box.bottom) / 2)
        shapes.append(Text(middle, "no score yet", size * 1.2, "muted", "middle"))
    return Drawing(
        style.width, style.height, tuple(shapes), f"{TARGET.metric} of {count(len(progress.attempts), 'experiment')}"
    )


def _axes(frame: Frame, size: float, *, whole: bool) -> Shapes:
    """Return the axes with grid lines and values. `whole`: the horizontal axis counts experiments, else it is a share."""
    box, shapes = frame.box, Shapes()
    values = ticks(frame.low, frame.high, max(3, int((box.bottom - box.top) / 70)))
    for value in values:
        y = frame.y(value)
        shapes.append(Line(((box.left, y), (box.right, y)), "grid"))
        shapes.append(Text((box.left - 8, y + size * 0.35), f"{value:.{decimals(values)}f}", size, "muted", "end"))
    for value in ticks(frame.x0, frame.x1, max(2, int((box.right - box.left) / 90))):
        if whole and value != int(value):
            continue
        words, x = (f"{value:.0f}" if whole else f"{value:.0%}"), frame.x(value)
        shapes.append(Text((x, box.bottom + size * 1.55), words, size, "muted", "middle"))
    shapes.append(Line(((box.left, box.bottom), (box.right, box.bottom)), "other"))
    return shapes


def _staircase(progress: Progress, frame: Frame) -> list[Point]:
    """Return the corners of the running best."""
    corners: list[Point] = []
    for number, score in progress.steps:
        if corners:
            corners.append((frame.x(number), corners[-1][1]))
        corners.append((frame.x(number), frame.y(score)))
    return [*corners, (frame.box.right, corners[-1][1])] if corners else []


def _attempt(attempt: Attempt, frame: Frame, style: Style) -> Mark:
    """Return the mark of an experiment. One without a score, or far above the best, lies above the plot."""
    x, score, words = frame.x(attempt.number), attempt.val_bpb, typeset(attempt.words)
    if attempt.kept and score is not None:
        return Mark((x, frame.y(score)), "best", "dot", style.dot * 1.8, words, rim=True)
    if score is None:
        return Mark((x, frame.box.top - style.dot * 2), "bad", "cross", style.dot, words)
    if score > frame.high:
        return Mark((x, frame.box.top - style.dot * 2), "other", "up", style.dot, words)
    if score < frame.low:
        return Mark((x, frame.box.bottom - style.dot * 2), "other", "down", style.dot, words)
    return Mark((x, frame.y(score)), "other", "dot", style.dot, words)


def _levels(progress: Progress, frame: Frame, size: float, marks: Sequence[Mark]) -> list[Text]:
    """Return the scores of the start and of the best, beside the ends of the line. That of the start covers no mark."""
    if progress.start is None:
        return []
    best, right = progress.steps[-1][1], frame.box.right + 6
    middle = frame.y(best) + size * 0.35
    first = _start_label(progress.start, frame, size, marks)
    last = [Text((right, middle - size * 1.15), "best", size, "best", bold=True)]
    last.append(Text((right, middle), f"{best:.4f}", size, "best", bold=True))
    return [first, *last] if len(progress.steps) > 1 else [first]


def _start_label(start: float, frame: Frame, size: float, marks: Sequence[Mark]) -> Text:
    """Return the score of the start, just above the line or else at the nearest height at which it covers no experiment."""
    level, covered = frame.y(start), [_around(mark.at, mark.at, mark.radius) for mark in marks]
    above = [level - size * (0.6 + 0.6 * step) for step in range(int((level - frame.box.top) / (0.6 * size)))]
    below = [level + size * (1.3 + 0.6 * step) for step in range(int((frame.box.bottom - level) / (0.6 * size)) - 1)]
    places = sorted([*above, *below], key=lambda y: (abs(y - level), y)) or [level - size * 0.6]
    labels = [Text((frame.box.left + 6, y), f"start {start:.4f}", size, halo=True) for y in places]
    free = (label for label in labels if not any(box_of(label).overlaps(other) for other in covered))
    return next(free, labels[0])


# -- names of kept changes --------------------------------------------------------------------------------------------


def _names(
    progress: Progress, frame: Frame, style: Style, corners: Sequence[Point], others: Sequence[Point], drawn: Shapes
) -> Shapes:
    """Return the names of the kept changes with the largest gains, each where it covers nothing.

    Below the running best there is nothing but better scores that were not confirmed, so the names are put there.
    """
    taken = [box_of(shape) for shape in drawn if isinstance(shape, Text)]
    taken += [_around(one, other, 3.0) for one, other in pairwise(corners)]
    taken += [_around(shape.at, shape.at, shape.radius) for shape in drawn if isinstance(shape, Mark) and shape.rim]
    drops = {number: before - after for (_, before), (number, after) in pairwise(progress.steps)}
    kept = {attempt.number: attempt for attempt in progress.attempts if attempt.kept}
    scores, shapes, crossing = dict(progress.steps), Shapes(), list[Box]()
    largest = sorted(drops.keys() & kept.keys(), key=lambda number: -drops[number])
    left = style.labels
    for number in [*sorted(largest[:left]), *largest[left:]]:
        at = (frame.x(number), frame.y(scores[number]))
        placed = _place(at, kept[number].name, style, frame.box, taken, others, crossing) if left else None
        if placed is not None:
            leader = _leader(at, placed, style)
            taken.append(box_of(placed))
            crossing += [_around(line.points[0], line.points[-1], 2.0) for line in leader]
            shapes += [*leader, placed]
            left -= 1
    return shapes


def _around(one: Point, other: Point, margin: float) -> Box:
    (x0, x1), (y0, y1) = sorted((one[0], other[0])), sorted((one[1], other[1]))
    return Box(x0 - margin, y0 - margin, x1 + margin, y1 + margin)


def _place(
    at: Point, name: str, style: Style, within: Box, taken: Sequence[Box], others: Sequence[Point], lines: Sequence[Box]
) -> Text | None:
    """Return the text of a name at the best free place near a point, or None if no place is free.

    A place costs more the further it is away, for each experiment that it covers, and for each crossing with a leading line.

    Args:
        at: The point.
        name: The name.
        style: The sizes.
        within: The plot, which a name must not leave.
        taken: What a name must not cover.
        others: The experiments that were not kept.
        lines: The leading lines of other names.
    """
    best: tuple[float, Text] | None = None
    for text, cost in _places(at, name, style, within):
        box = box_of(text)
        if not box.inside(within) or any(box.overlaps(other) for other in taken):
            continue
        cost += 3.0 * sum(box.left < x < box.right and box.top < y < box.bottom for x, y in others)
        leader = [_around(line.points[0], line.points[-1], 0.5) for line in _leader(at, text, style)]
        cost += CROSSING * sum(box.overlaps(line) for line in lines)
        cost += CROSSING * sum(line.overlaps(other) for line in leader for other in taken)
        if best is None or cost < best[0]:
            best = cost, text
    return best[1] if best and best[0] <= TOO_FAR else None


def _places(at: Point, name: str, style: Style, within: Box) -> Iterator[tuple[Text, float]]:
    """Yield possible places for a name with their costs: below the point, to its left and right."""
    (x, y), size, gap = at, style.text, style.dot * 1.8 + 4
    sides: tuple[tuple[Anchor, float, float, float], ...] = (
        ("end", x - 4, x - within.left, 0.0),
        ("start", x + 4, within.right - x, 0.4),
    )
    for row in range(14):
        for anchor, left, room, cost in sides:
            words = cut(name, size, min(max(room - 8, 6 * size), LONGEST * size))
            lost = 0.35 * max(0, min(len(name), 30) - len(words))
            yield (
                Text((left, y + gap + size * (0.75 + 0.7 * row)), words, size, anchor=anchor, halo=True),
                row + lost + cost,
            )


def _leader(at: Point, text: Text, style: Style) -> list[Line]:
    """Return a thin line from a point to its name if they are apart."""
    top = text.at[1] - style.text * 0.85
    if top - at[1] < style.text * 1.6:
        return []
    return [Line(((at[0], at[1] + style.dot * 1.8 + 2), (at[0], text.at[1] - style.text * 0.1)), "other", 0.8)]


def _legend(progress: Progress, frame: Frame, style: Style) -> Shapes:
    """Return the meaning of the marks that occur, in a row below the chart."""
    size, dot = style.text, style.dot
    entries: list[tuple[str, Shape | None, Colour, float]] = []
    scored = [a for a in progress.attempts if not a.kept and a.val_bpb is not None]
    if any(a.kept for a in progress.attempts):
        entries.append(("kept", "dot", "best", dot * 1.8))
    if scored:
        entries.append(("not kept", "dot", "other", dot))
    if any(a.val_bpb is not None and a.val_bpb > frame.high for a in scored):
        entries.append(("far worse", "up", "other", dot))
    if any(a.val_bpb is None for a in progress.attempts):
        entries.append(("no score", "cross", "bad", dot))
    if progress.steps:
        entries.append(("noise", None, "band", 0.0))
    x, y, shapes = frame.box.left, style.height - size * 0.7, Shapes()
    for words, shape, colour, radius in entries:
        middle = y - size * 0.35
        if shape is not None:
            shapes.append(Mark((x + size / 2, middle), colour, shape, radius))
        else:
            left, right, half = x - size * 0.1, x + size, size * 0.45
            corners = ((left, middle - half), (right, middle - half), (right, middle + half), (left, middle + half))
            shapes.append(Area(corners, colour))
        shapes.append(Text((x + size * 1.4, y), words, size, "muted"))
        x += size * 2.6 + width_of(words, size) * 0.92
    return shapes


# -- training curves --------------------------------------------------------------------------------------------------


def curves_chart(start: Sequence[Loss], best: Sequence[Loss], style: Style) -> Drawing | None:
    """Return the training losses of start and best against progress, or None if neither was recorded. Both are smoothed."""
    both: tuple[tuple[str, Colour, Sequence[Loss]], ...] = (("start", "muted", start), ("best", "best", best))
    drawn = [(name, colour, points) for name, colour, loss in both if len(points := smoothed(loss)) > 1]
    if not drawn:
        return None
    shown = [
        loss for _, _, points in drawn for progress, loss in points if progress >= SKIPPED or loss == points[-1][1]
    ]
    low, high = min(shown), max(shown)
    pad = max(0.05 * (high - low), 1e-3)
    size = style.text
    box = Box(size * 4.6, size * 2.2, style.width - size * 4.0, style.height - size * 3.4)
    frame = Frame(box, 0.0, 1.0, low - pad, high + 2 * pad)
    shapes = _axes(frame, size, whole=False)
    shapes.append(Text((2.0, size * 1.2), "training loss (nats)", size, "muted"))
    shapes.append(
        Text(((box.left + box.right) / 2, box.bottom + size * 3.0), "progress of the training", size, "muted", "middle")
    )
    ends: list[float] = []
    for name, colour, points in drawn:
        inside = [(frame.x(progress), frame.y(loss)) for progress, loss in points if loss <= frame.high]
        shapes.append(Line(tuple(inside), colour, 2.0))
        y = inside[-1][1] + size * 0.35
        if any(abs(y - other) < size * 1.1 for other in ends):
            y = ends[-1] + (size * 1.1 if y >= ends[-1] else -size * 1.1)
        ends.append(y)
        shapes.append(Text((inside[-1][0] + 6, y), name, size, colour, bold=name == "best"))
    return Drawing(style.width, style.height, tuple(shapes), "training loss of the start and of the best")


def smoothed(points: Sequence[Loss]) -> list[Loss]:
    """Return a curve as the means of at most BUCKETS sections of equal length."""
    count = min(BUCKETS, len(points))
    cuts = [len(points) * index // count for index in range(count + 1)] if count else []
    sections = [points[one:other] for one, other in pairwise(cuts)]
    return [(fmean([p for p, _ in part]), fmean([loss for _, loss in part])) for part in sections]
