"""The backlog as text: ideas are found, results are written at them, and everything else stays as a human wrote it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.record import backlog
from core.text import lines_of

WORDS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=30)
LINES = st.one_of(
    WORDS,
    WORDS.map(lambda words: f"- {words}"),
    WORDS.map(lambda words: f"* [ ] {words}"),
    WORDS.map(lambda words: f"- [x] {words} (#3: kept, -0.0040)"),
    WORDS.map(lambda words: f"  - {words}"),
    st.sampled_from(["# Ideas", "", "---", "- [ ]", "```", "- - -", "1. numbered"]),
)
ENDS = st.sampled_from(["\n", "\r\n", "\r"])
TEXTS = st.builds(
    lambda lines, last: "".join(line + end for line, end in lines) + last, st.lists(st.tuples(LINES, ENDS)), LINES
)


@given(TEXTS)
def test_without_a_result_nothing_is_changed(text: str) -> None:
    assert backlog.marked(text, {"an idea that stands nowhere": "#1: kept"}) == text
    assert backlog.extended(text, []) == text and backlog.rescued(text, text, text) == text


def test_an_idea_that_ends_like_a_result_is_recognised() -> None:
    for idea in ("0 (#0:", "as before (#5: kept, -0.0100)"):
        after = backlog.marked(f"- {idea}\n", {idea: "#12: worse, +0.0040"})
        assert [(line.text, line.tried) for line in backlog.ideas(after)] == [(idea, True)]


@given(TEXTS, st.data())
def test_a_result_changes_its_lines_alone_and_they_are_then_tried(text: str, data: st.DataObject) -> None:
    open_ideas = backlog.untried(text)
    if not open_ideas:
        return
    one = data.draw(st.sampled_from(open_ideas))
    after = backlog.marked(text, {one: "#12: kept, -0.0040"})
    changed = {line.index for line in backlog.ideas(text) if line.text == one and not line.tried}
    before, now = lines_of(text), lines_of(after)
    assert len(before) == len(now)
    assert all(old == new for index, (old, new) in enumerate(zip(before, now, strict=True)) if index not in changed)
    assert all("[x]" in now[index] and "(#12: kept, -0.0040)" in now[index] for index in changed)
    assert backlog.untried(after) == tuple(idea for idea in open_ideas if idea != one)
    assert one in {line.text for line in backlog.ideas(after) if line.tried}, "it is recognised without its mark"
    assert backlog.marked(after, {one: "#13: worse, +0.1"}) == after, "once"


@given(TEXTS, st.lists(WORDS, max_size=4))
def test_ideas_of_agents_come_at_the_end_each_once(text: str, added: list[str]) -> None:
    after = backlog.extended(text, added)
    assert after.startswith(text)
    fresh = [idea for idea in backlog.untried(after) if idea not in backlog.untried(text)]
    assert set(fresh) <= {backlog.bare(words) for words in added}
    assert backlog.extended(after, added) == after


@given(TEXTS, st.data())
def test_only_movable_ideas_change_their_places(text: str, data: st.DataObject) -> None:
    waiting = backlog.untried(text)
    wanted = set(data.draw(st.lists(st.sampled_from(waiting)))) if waiting else set()
    movable = backlog.movable(text, wanted)
    lines = [line.text for line in backlog.ideas(text) if not line.tried]
    assert set(movable) == {idea for idea in wanted if lines.count(idea) == 1}
    order = data.draw(st.permutations(waiting))[: data.draw(st.integers(0, len(waiting)))]
    after = backlog.ordered(text, [*order, "an idea that stands nowhere"], wanted)
    before, now = backlog.ideas(text), backlog.ideas(after)
    assert len(lines_of(after)) == len(lines_of(text)) and [line.index for line in now] == [
        line.index for line in before
    ]
    assert sorted((line.text, line.tried) for line in now) == sorted((line.text, line.tried) for line in before)
    stays = {line.index for line in before if line.tried or line.text not in movable}
    pairs = enumerate(zip(lines_of(text), lines_of(after), strict=True))
    places = {line.index for line in before}
    assert all(old == new for index, (old, new) in pairs if index in stays or index not in places)
    found = [idea for idea in backlog.untried(after) if idea in movable]
    named = [idea for idea in order if idea in movable]
    assert found == named + [idea for idea in waiting if idea in movable and idea not in named]


def test_a_moved_idea_takes_its_words_and_leaves_the_line_end() -> None:
    text = "\ufeff- one\r\n\nMine:\n* [ ] two\n- [x] tried (#1: kept, -0.0100)\n- three"
    assert backlog.ordered(text, ["three", "two"], {"one", "two", "three"}) == (
        "\ufeff- three\r\n\nMine:\n* [ ] two\n- [x] tried (#1: kept, -0.0100)\n- one"
    )
    assert backlog.ordered(text, ["three"], {"one", "three"}) == (
        "\ufeff- three\r\n\nMine:\n* [ ] two\n- [x] tried (#1: kept, -0.0100)\n- one"
    )
    assert backlog.ordered(text, ["three"], {"three"}) == text


def test_an_idea_that_stands_twice_is_not_moved() -> None:
    text = "- A\n- A\n- B\n- C\n"
    assert backlog.ordered(text, ["C", "A", "B"], {"A", "B", "C"}) == "- A\n- A\n- C\n- B\n"
    assert backlog.movable(text, {"A", "B"}) == ("B",)


@given(TEXTS, TEXTS, TEXTS)
def test_lines_of_an_older_copy_are_not_lost(present: str, late: str, seen: str) -> None:
    after = backlog.rescued(present, late, seen)
    assert after.startswith(present)
    kept = {line.strip() for line in (*lines_of(after), *lines_of(seen))}
    assert {line.strip() for line in lines_of(late)} <= kept | {""}


@pytest.mark.parametrize(
    ("line", "idea"),
    [
        ("- try WIDTH", "try WIDTH"),
        ("* [ ]  a wider  model  ", "a wider model"),
        ("\ufeff- the first line", "the first line"),
        ("-no idea", None),
        ("  - a detail of the line above", None),
        ("- [x] done (#2: worse, +0.0100)", None),
        ("- [X] done by hand", None),
        ("- [ ]", None),
        ("- --", None),
        ("Prose.", None),
    ],
)
def test_what_an_idea_is(line: str, idea: str | None) -> None:
    assert backlog.untried(f"# Ideas\r\n{line}\r\n") == ((idea,) if idea else ())


def test_a_long_idea_is_cut_for_agents_and_whole_in_the_file() -> None:
    long = f"- {'very ' * 100}wide"
    (idea,) = backlog.untried(long)
    assert len(idea) == backlog.LONGEST
    assert backlog.marked(long, {idea: "#1: kept"}) == f"- [x] {long[2:]} (#1: kept)"


def test_binary_content_is_left_unchanged() -> None:
    assert backlog.untried("- a\0b\n") == () and backlog.extended("- a\0b\n", ["more"]) == "- a\0b\n"
