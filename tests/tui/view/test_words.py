"""Text that a terminal may safely show."""

from __future__ import annotations

import math
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from core.record import events as ev
from core.record.experiment import Experiment
from core.verdicts import Verdict
from tui.view import words


def experiment(**fields: object) -> Experiment:
    proposed = ev.Proposed(number=1, commit="c", parent="p", fingerprint="f", hypothesis="h", agent="a", charter="")
    made = Experiment(proposed)
    if by := fields.pop("approved", None):
        made.approval = ev.Approved(number=1, by=by)  # type: ignore[arg-type]
    made.launched = bool(fields.pop("launched", False))
    made.judged = ev.Judged(number=1, finding="", **fields) if fields else None  # type: ignore[arg-type]
    return made


@given(st.text(), st.integers(1, 80))
def test_cleaned_text_is_one_harmless_line(text: str, limit: int) -> None:
    found = words.sanitize_line(text, limit)
    assert len(found) <= limit and "\n" not in found
    assert all(unicodedata.category(c)[0] != "C" for c in found)


@given(st.text())
def test_cleaned_lines_keep_only_line_breaks(text: str) -> None:
    assert all(c == "\n" or unicodedata.category(c)[0] != "C" for c in words.sanitize_text(text))


def test_escape_sequences_and_direction_marks_are_gone() -> None:
    assert words.sanitize_line("a\x1b[31mb\u202ec\x07") == "a[31mbc"
    assert words.sanitize_line("  two\n\twords ") == "two words"


@given(st.lists(st.floats(), max_size=50), st.integers(0, 30))
@example([0.0, 2.2e-308], 2)
def test_a_sparkline_takes_any_numbers(values: list[float], width: int) -> None:
    found = words.sparkline(values, width)
    assert len(found) <= width and set(found) <= set(words.BLOCKS)


def test_a_falling_loss_falls() -> None:
    assert words.sparkline([8, 6, 4, 2], 4) == "█▆▃▁"


@given(st.floats(), st.integers(1, 40))
def test_a_bar_is_as_long_as_asked(share: float, width: int) -> None:
    full, rest = words.bar(share, width)
    assert len(full + rest) == width


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, "waiting"),
        ({"approved": "auto"}, "queued"),
        ({"approved": "auto", "launched": True}, "running"),
        ({"verdict": Verdict.KEEP}, "kept"),
        ({"verdict": Verdict.DISCARD, "gain": -0.1}, "worse"),
        ({"verdict": Verdict.DISCARD, "gain": 0.01, "pairs": 2, "within_noise": True}, "not confirmed"),
        ({"verdict": Verdict.DISCARD, "gain": -0.01, "pairs": 1, "within_noise": True}, "inconclusive"),
        ({"verdict": Verdict.CRASH, "crash": "output shape"}, "crash output shape"),
        ({"verdict": Verdict.INVALID}, "invalid"),
        ({"verdict": Verdict.DISCARD, "by": "human"}, "discarded, by you"),
    ],
)
def test_words_for_people(fields: dict[str, object], said: str) -> None:
    assert words.verdict(experiment(**fields)) == said


def test_every_verdict_has_its_own_letter() -> None:
    assert len({verdict.letter for verdict in Verdict}) == len(Verdict)


def test_figures() -> None:
    assert words.bpb(math.nan) == words.bpb(None) == words.change(None) == words.rate(0) == words.memory(0) == "–"
    assert words.change(-0.00123) == "−0.0012" and words.change(0.5) == "+0.5000"
    assert words.clock(143.2) == "2:24" and words.clock(-3) == "0:00"
    assert words.duration(22320) == "6h12m" and words.duration(61) == "1m" and words.duration(5) == "5s"
    assert words.rate(412_000) == "412k" and words.rate(2_500_000) == "2.5M" and words.rate(9_500) == "9.5k"
    assert words.memory(38.1e9) == "38.1 GB" and words.memory(541e6) == "541 MB"


@pytest.mark.parametrize("share", [0.0, 0.04, 0.32, 0.5, 0.96])
def test_a_bar_shows_its_share_without_colours(share: float) -> None:
    full, rest = words.bar(share, 12)
    assert len(full + rest) == 12 and not set(full) & set(rest)
