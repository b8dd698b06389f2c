"""Folded diffs."""

from __future__ import annotations

from core.change import edits
from tui.view import diffs, folds

OLD = "".join(f"x{n} = {n}\n" for n in range(60))
NEW = OLD.replace("x5 = 5", "x5 = 6").replace("x30 = 30\n", "").replace("x50 = 50", "x50 = 51\nnew = 1")
LINES = diffs.parse(edits.unified(OLD, NEW))


def test_a_folded_part_is_a_line_with_its_size_and_its_first_change() -> None:
    shown = folds.fold(LINES, {0, 1, 2})
    assert [line.text for line in shown] == [
        "▸ line 3  +1 −1  + x5 = 6",
        "▸ line 28  +0 −1  − x30 = 30",
        "▸ line 47  +2 −1  + x50 = 51",
    ]
    assert [line.hunk for line in shown] == [0, 1, 2]


def test_the_others_stay_open_and_rows_of_headings_are_found_at_any_width() -> None:
    shown = folds.fold(LINES, {1}, chosen=2)
    assert [line.chosen for line in shown if line.sign == "@"] == [False, False, True]
    assert "x5 = 6" in {line.text for line in shown} and "x30 = 30" not in {line.text for line in shown}
    for width in (40, 160):
        rendered = diffs.render(shown, width).plain
        rows = [rendered.split("\n")[row] for row in folds.rows(rendered)]
        assert [row[:1] for row in rows] == ["▾", "▸", "▾"]


def test_a_single_part_has_no_sign_to_fold() -> None:
    lines = diffs.parse(edits.unified(OLD, OLD.replace("x5 = 5", "x5 = 6")))
    assert folds.fold(lines, set())[0].text == "┄ line 3" and folds.fold(lines, {0})[0].text.startswith("▸ line 3")
    assert folds.fold([], {0}) == []
