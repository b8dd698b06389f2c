"""The report of a run: its facts, the page and the pictures."""

from __future__ import annotations

import re
import struct
import xml.etree.ElementTree as ET
from dataclasses import replace

import msgspec
import pytest

from core.judging import final_check, policy, schedule
from core.judging.final_check import FIRST
from core.model import Notes, Role
from core.record import events as ev
from core.record import journal
from core.record.fold import apply, fold
from core.record.live import Picture
from core.record.state import Check, State
from core.reporting import advice, card, changes, chart, highlights, phrases, picture, status, summary
from core.reporting.commit_message import commit_message
from core.reporting.drawing import Drawing, Mark, Text, box_of, width_of
from core.reporting.page import page
from core.reporting.phrases import duration
from core.reporting.report import Material, Report
from tests.core.record.test_recorded_nights import NIGHTS, RECORDED
from tests.core.reporting.reports import START, events, report_of, state_of
from tests.events import measurement

HOSTILE = '<script>alert("x")</script> & </pre> \x00\x1b[31m\u202e $x_1$ ' + "long words " * 15


def recorded(night: str) -> State:
    return fold(journal.read(RECORDED / night / journal.NAME), State(name=night))


def checked(state: State, best: float, seeds: int = 3) -> State:
    """The state after a final check on so many seeds, in which the start has a score of 1.0 on the test split."""
    assert state.config is not None
    for index in range(seeds):
        seed = policy.seed(state.config.seed, FIRST + index)
        for commit, score in ((START, 1.0), (state.incumbent, best)):
            apply(state, measurement(role="final check", commit=commit, seed=seed, val_bpb=score))
    return state


def parsed(found: Report) -> ET.Element:
    """The page as a tree; its syntax is that of XML too, so that nothing can be left open."""
    return ET.fromstring(page(found))


def words_of(found: Report) -> str:
    return " ".join("".join(parsed(found).itertext()).split())


# -- facts ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("night", NIGHTS)
def test_a_recorded_night_has_the_figures_of_its_status(night: str) -> None:
    state = recorded(night)
    noise = schedule.noise(state)
    found, shown = report_of(state), status.status(state, noise, None, Picture())
    assert (found.start, found.best, found.tried, len(found.kept)) == (
        shown.baseline, shown.best.val_bpb, shown.tried, shown.kept,
    )  # fmt: skip
    assert {**found.outcomes, **found.others} == shown.outcomes
    assert str(noise) in found.noise and found.unprotected == shown.unprotected
    assert [row.number for row in found.kept] == state.kept
    assert sum(topic.tried for topic in found.topics) == state.tried
    assert sum(topic.kept for topic in found.topics) == len(state.kept)


def test_the_finished_night() -> None:
    found = report_of(recorded("finished"))
    assert found.headline == "3 changes kept: val_bpb 1.5016 -> 1.3211 (-0.1804 ± 0.0185). Not measured afresh."
    assert [row.change_words for row in found.kept] == ["-0.0965 ± 0.0067", "-0.0030 ± 0.0199", "-0.0809 ± 0.0185"]
    assert [row.name for row in found.kept] == ["Set K1 = 1", "Remove three constants", "Set K5 = 1"]
    assert found.ended == "the agent has nothing left to propose" and found.result == "not measured afresh"
    assert all(row.change_words.startswith("+") and row.outcome == "worse" for row in found.hurt) and found.hurt
    assert all(row.change_words.startswith("-") for row in found.near)
    assert found.near[0].outcome == "not confirmed"
    assert report_of(recorded("human")).near == (), "a gain below its standard error is not near"


@pytest.mark.parametrize(
    ("best", "result", "words"),
    [
        (0.98, "confirmed", "The gain holds."),
        (0.9999, "not certain", "The gain is not certain: {needed:.4f} was needed."),
        (1.02, "worse", "On this split the best is worse than the start."),
    ],
)
def test_the_headline_is_what_was_measured_afresh(best: float, result: str, words: str) -> None:
    """The scores that chose the changes are too good, so they come second."""
    state = checked(state_of(10, keep_every=5), best)
    noise = schedule.noise(state)
    outcome = final_check.outcome(state, noise.sigma)
    assert outcome is not None
    found = report_of(state)
    afresh, said = phrases.change_of(outcome), words.format(needed=outcome.needed)
    first = f"2 changes kept: val_bpb 1.0000 -> {best:.4f} ({afresh}) on 3 fresh seeds and the test split. {said}"
    assert found.result == result and found.headline.startswith(first)
    assert found.headline.endswith("which chose the changes: 1.0000 -> 0.9920 (-0.0080 ± 0.0141).")
    assert found.title == f"val_bpb 1.0000 -> {best:.4f} ({afresh.partition(' ')[0]})"
    assert f"Measured afresh: {afresh}" in found.subtitle and "seeds of the search: -0.0080 ± 0.0141" in found.subtitle
    shown = summary.text(summary.summary(status.status(state, noise, None, Picture()), 200))
    assert afresh in shown and phrases.typeset(afresh) in words_of(found)
    assert f"val_bpb 1.0000 -> {best:.4f} ({afresh}): 2 changes" in commit_message(state, noise).splitlines()[0]


def test_before_all_seeds_are_measured_there_is_no_verdict() -> None:
    state = checked(state_of(10, keep_every=5), 0.98, seeds=1)
    noise = schedule.noise(state)
    facts = status.status(state, noise, None, Picture())
    assert facts.final_check is not None and not facts.final_check.holds
    assert (facts.final_check.seeds, facts.final_check.wanted) == (1, 3)
    found = report_of(state)
    assert found.result == "not measured afresh" and "0.9920" in found.title
    lines = "\n".join(summary.at_end(facts, "logs/x", "a branch"))
    for text in (found.headline, facts.final_check.words, summary.text(summary.summary(facts)), lines):
        assert "1 of 3 seeds measured" in text and "holds" not in text and "not certain" not in text
        assert f"`make report ARGS={state.name}`" in text
    running = status.status(state, noise, 1, Picture()).final_check
    assert running is not None and running.words.endswith("1 of 3 seeds measured so far.")


def test_a_gain_that_is_clearly_smaller_afresh_is_said_to_be() -> None:
    smaller = "It is smaller than in the run (-0.0080 ±"
    state = state_of(10, keep_every=5)
    assert smaller not in report_of(checked(state, 0.9999)).checked, "two standard errors are more than the difference"
    state = checked(state_of(10, keep_every=5), 0.9999)
    outcome = final_check.outcome(state, 0.001)
    assert outcome is not None and smaller in phrases.final_result(outcome)
    outcome = final_check.outcome(checked(state_of(10, keep_every=5), 0.98), 0.001)
    assert outcome is not None and smaller not in phrases.final_result(outcome), "it is larger"


def test_the_longer_check_stands_below_the_headline() -> None:
    state = state_of(6, keep_every=3)
    assert report_of(state).longer == ""
    for commit, score in ((START, 1.0), (state.incumbent, 0.9)):
        state.checks.setdefault(Role.LONGER, Check()).scores[commit] = {7: score, 8: score, 9: score}
    found = report_of(state)
    assert found.longer.startswith("With 3 times the budget (") and found.longer.endswith(
        "The gain holds with the longer budget."
    )
    assert "The gain holds with the longer budget." in page(found) and "measured afresh" not in found.found


def test_a_night_that_kept_nothing_says_so() -> None:
    found = report_of(state_of(12))
    assert found.headline == "None of 12 changes was kept: the start has val_bpb 1.0000 (one seed)."
    assert found.result == "nothing kept"
    assert "Nothing was kept. The start is still the best." in words_of(found)
    assert report_of(state_of(0)).headline == "Nothing was tried: the start has val_bpb 1.0000 (one seed)."


def test_a_run_that_kept_nothing_says_what_to_do_next() -> None:
    """Which gains it can see, and which near misses are worth another training."""
    state = state_of(12)
    miss = state.experiments[3]
    assert miss.judged is not None
    miss.judged = msgspec.structs.replace(miss.judged, gain=0.003, within_noise=True)
    noise = schedule.noise(state)
    seen = policy.KEEP[2] * noise.sigma
    told = advice.after_nothing(state, noise)
    assert f"a gain of at least {seen:.4f} over 2 seeds" in told[0] and "--name night-longer --budget 2" in told[0]
    assert "#3 (-0.0030 ± 0.0010)" in told[1] and "make run ARGS='--name night'" in told[1]
    facts = status.status(state, noise, None, Picture())
    for words in told:
        assert words in summary.text(summary.summary(facts)) and words in summary.at_end(facts, "logs/x", "b")
        assert phrases.typeset(words) in words_of(report_of(state))
    assert advice.after_nothing(state_of(0), noise) == advice.after_nothing(state_of(12, keep_every=4), noise) == ()


def test_a_night_that_has_not_ended_says_so() -> None:
    state = fold(list(events(10, 5))[:-1])  # type: ignore[arg-type]
    assert report_of(state).found == "2 changes kept so far: val_bpb 1.0000 -> 0.9920 (-0.0080 ± 0.0141)"
    assert "The run has not ended." in words_of(report_of(state))


def test_a_night_without_a_score_says_so() -> None:
    state = fold(list(events(0))[:3])  # type: ignore[arg-type]
    found = report_of(state)
    assert found.headline == "The start has no score yet. Nothing was compared." and found.ended == ""
    assert "The run has not ended." in words_of(found)


def test_a_rehearsal_says_that_it_is_one() -> None:
    state = state_of(10, keep_every=5)
    assert state.config is not None
    state.config = msgspec.structs.replace(state.config, executor="deterministic:/x.json")
    found = report_of(state)
    assert found.headline.startswith("In a rehearsal, 2 changes kept: ") and "nothing was trained" in words_of(found)
    assert found.subtitle.startswith("Rehearsal with computed scores.")


@pytest.mark.parametrize(
    ("notes", "hypothesis", "name"),
    [
        (Notes(knobs={"WIDTH": 256}, before={"WIDTH": 128}), "Raise WIDTH.", "WIDTH 128 → 256"),
        (Notes(edits=("two-back",), knobs={}), "Mix a little of the token.", "Mix a little of the token"),
        (
            Notes(knobs={"EMBED_LR": 0.4, "MLP_RATIO": 3}, before={"EMBED_LR": 0.2, "MLP_RATIO": 4}, edits=("two-back",)),
            "All of it.",
            "EMBED_LR 0.2 → 0.4, MLP_RATIO 4 → 3, two-back",
        ),
        (
            Notes(knobs=dict.fromkeys(("EMBED_LR", "MATRIX_LR", "MLP_RATIO"), 3), before=dict.fromkeys(("EMBED_LR", "MATRIX_LR", "MLP_RATIO"), 1)),
            "All of it.",
            "EMBED_LR 1 → 3, MATRIX_LR 1 → 3, +1",
        ),
        (Notes(knobs={"K" * 60: 1, "J": 2}, before={"K" * 60: 0, "J": 1}), "Both.", "K" * 41 + "…, +1"),
        (Notes(), "Use a larger step: the table starts at zero.", "Use a larger step"),
        (Notes(), "x" * 200, "x" * 45 + "…"),
        (Notes(), "", ""),
    ],
)  # fmt: skip
def test_a_change_has_a_short_name(notes: Notes, hypothesis: str, name: str) -> None:
    state = State()
    for event in events(1):
        is_proposal = type(event).__name__ == "Proposed"
        apply(state, msgspec.structs.replace(event, notes=notes, hypothesis=hypothesis) if is_proposal else event)  # type: ignore[call-arg,arg-type]
    assert changes.short_name(state.experiments[1]) == name and len(name) <= changes.NAME


def test_a_combination_is_named_by_all_its_changes_where_there_is_room() -> None:
    state = state_of(5, keep_every=5)
    names = ("SEQ_LEN", "MLP_RATIO", "MATRIX_LR", "EMBED_LR")
    notes = Notes(knobs=dict.fromkeys(names, 3), before=dict.fromkeys(names, 4), edits=("two-back",))
    kept = state.experiments[5]
    kept.proposed = msgspec.structs.replace(kept.proposed, notes=notes)
    kept.latest = kept.proposed
    (found,) = highlights.kept(state, 0.001)
    every = [*(f"{name} 4 → 3" for name in names), "two-back"]
    assert found.full_name == ", ".join(every) and found.parts == tuple(every)
    assert found.name == f"{', '.join(every[:4])}, +1" and len(found.name) <= changes.LINE
    assert found.named(30) == "SEQ_LEN 4 → 3, +4"
    text = summary.text(summary.summary(status.status(state, schedule.noise(state), None, Picture()), 80))
    assert "SEQ_LEN 4 → 3, MLP_RATIO 4 → 3, +3" in text and max(map(len, text.splitlines())) <= 80
    assert all(part in " ".join(commit_message(state, schedule.noise(state)).split()) for part in every)


def test_topics_are_those_of_the_target() -> None:
    found = report_of(state_of(10, keep_every=5))
    assert [(topic.name, topic.tried, topic.kept) for topic in found.topics] == [("schedule", 10, 2)]
    assert "attention" in found.untried and "schedule" not in found.untried


def test_a_topic_that_a_hypothesis_names_was_tried() -> None:
    """An experiment counts for one topic, and is about others too."""
    assert "embeddings" in report_of(state_of(4)).untried
    assert "embeddings" not in report_of(state_of(4, hypothesis="Raise the rate of the Embeddings {}.")).untried


# -- the page ---------------------------------------------------------------------------------------------------------


def material() -> Material:
    curve = tuple((i / 50, 5.0 - 3.0 * (i / 50) ** 0.3) for i in range(51))
    return Material(
        diffs={5: f"--- a\n+++ b\n@@ -1 +1 @@\n-WIDTH = 1\n+WIDTH = 2  # {HOSTILE}\n"}, diff="-old <b>\n+new\n",
        start_curve=curve, best_curve=curve[:40], program=HOSTILE, machine=("A card",), branch="autoresearch/night",
    )  # fmt: skip


@pytest.mark.parametrize(("count", "keep_every"), [(0, 0), (1, 0), (1, 1), (300, 0), (300, 12), (300, 2)])
def test_a_page_needs_nothing_else(count: int, keep_every: int) -> None:
    tree = parsed(report_of(state_of(count, keep_every, HOSTILE), material()))
    for element in tree.iter():
        assert element.tag not in {"script", "link", "iframe", "img", "object", "embed", "base", "form"}
        assert not {"src", "href", "srcset", "data", "action"} & element.attrib.keys()
        assert not any(name.startswith("on") for name in element.attrib)
        assert "url(" not in element.attrib.get("style", "") and "@import" not in (element.text or "")


def test_what_others_wrote_is_escaped() -> None:
    text = page(report_of(state_of(10, keep_every=5, hypothesis=HOSTILE), material()))
    assert "<script" not in text and "&lt;script&gt;" in text
    assert not {"\x00", "\x1b", "\u202e"} & set(text)


def test_the_page_shows_diffs_curves_and_commands() -> None:
    text = page(report_of(state_of(10, keep_every=5), material()))
    assert '<i class="add">+WIDTH = 2' in text and '<i class="del">-WIDTH = 1</i>' in text
    words = words_of(report_of(state_of(10, keep_every=5), material()))
    assert "training loss (nats)" in words and "make apply ARGS=night" in words and "autoresearch/night" in words
    assert "−0.0040 ± 0.0010" in words and "a minus is better" in words
    assert "No training curve was recorded." in words_of(report_of(state_of(10, keep_every=5)))


def test_the_page_has_every_experiment_and_what_the_human_said() -> None:
    state = state_of(10, hypothesis="Change the learning rate of the embeddings by a factor of {}")
    apply(state, ev.Hint(text="try <b>WIDTH</b>"))
    apply(state, ev.Hint(text="no, avoid it"))
    apply(state, ev.TakenBack(number=1))
    apply(state, ev.Hint(text="make it better", unused="it knows other forms"))
    words = words_of(report_of(state))
    assert "make it better (not used by search: it knows other forms)" in words
    assert (
        "10 experiments" in words and "hint 2 no, avoid it" in words.replace("2no", "2 no") and "try <b>" not in words
    )
    for number in state.experiments:
        assert words.count(f"by a factor of {number} ") <= words.count(f"by a factor of {number}") > 0
    assert "embeddings by…" not in words, "a name that is cut is left out, since its sentence follows"
    assert "what you told the agents is not repeated" in words
    assert "What you told" not in words_of(report_of(state_of(10)))


@pytest.mark.parametrize("style", [chart.WIDE, chart.SMALL])
def test_the_name_of_the_axis_hides_no_figure(style: chart.Style) -> None:
    for count in (8, 10, 100):
        shapes = chart.progress_chart(report_of(state_of(count)).progress, style).shapes
        texts = [shape for shape in shapes if isinstance(shape, Text)]
        assert str(count) in {text.text for text in texts}, "the last figure"
        name = next(text for text in texts if text.text == "experiment")
        assert not any(box_of(name).overlaps(box_of(other)) for other in texts if other is not name)


@pytest.mark.parametrize("night", NIGHTS)
def test_the_page_of_a_recorded_night_has_every_kept_change(night: str) -> None:
    state = recorded(night)
    found = report_of(state)
    words = words_of(found)
    for one in found.kept:
        assert phrases.typeset(one.change_words) in words and one.name.rstrip("…") in words
    steps = sum(one.change for one in found.kept if one.change is not None)
    assert found.gain is not None and steps == pytest.approx(found.gain.change), "the kept changes add up to the gain"


def test_minus_signs_are_not_put_into_names() -> None:
    assert phrases.typeset("nov27-2: -0.1 (-3), a -> b, 1e-5") == "nov27-2: −0.1 (−3), a → b, 1e-5"


@pytest.mark.parametrize(("seconds", "words"), [(0, "0 s"), (80, "80 s"), (600, "10 min"), (25_930, "7 h 12 min")])
def test_times_in_words(seconds: float, words: str) -> None:
    assert duration(seconds) == words


# -- pictures ---------------------------------------------------------------------------------------------------------


SIZES = [(0, 0), (1, 0), (1, 1), (40, 6), (300, 0), (300, 12), (300, 2)]


@pytest.mark.parametrize("style", [chart.WIDE, chart.SMALL])
@pytest.mark.parametrize(("count", "keep_every"), SIZES)
def test_the_names_of_kept_changes_cover_no_other_text(count: int, keep_every: int, style: chart.Style) -> None:
    found = report_of(state_of(count, keep_every, "Name the change {} in some words"))
    drawing = chart.progress_chart(found.progress, style)
    texts = [shape for shape in drawing.shapes if isinstance(shape, Text)]
    names = [text for text in texts if text.text.startswith("Name the")]
    assert len(names) == min(len(found.kept), style.labels)
    for name in names:
        assert not any(box_of(name).overlaps(box_of(other)) for other in texts if other is not name), name
    _inside(drawing)


@pytest.mark.parametrize("style", [chart.WIDE, chart.SMALL])
@pytest.mark.parametrize("score", [0.99, 0.999, 1.0, 1.001, 1.01])
def test_the_score_of_the_start_covers_no_experiment(score: float, style: chart.Style) -> None:
    found = report_of(state_of(40, keep_every=6)).progress
    first = replace(found.attempts[0], val_bpb=score)
    drawing = chart.progress_chart(replace(found, attempts=(first, *found.attempts[1:])), style)
    (start,) = [shape for shape in drawing.shapes if isinstance(shape, Text) and shape.text.startswith("start ")]
    box = box_of(start)
    for mark in (shape for shape in drawing.shapes if isinstance(shape, Mark)):
        assert not (box.left < mark.at[0] < box.right and box.top < mark.at[1] < box.bottom), (start, mark)
    _inside(drawing)


def _inside(drawing: Drawing) -> None:
    for shape in drawing.shapes:
        points = [shape.at] if hasattr(shape, "at") else shape.points
        for x, y in points:
            assert -1 <= x <= drawing.width + 1 and -1 <= y <= drawing.height + 1, shape


def test_the_axis_is_about_the_best_and_not_about_the_worst() -> None:
    found = report_of(state_of(40, keep_every=6)).progress
    low, high = chart.limits(found)
    assert 0.94 < low < 0.976 and 1.0 < high < 1.03
    worst = replace(found.attempts[0], val_bpb=9.0)
    assert chart.limits(replace(found, attempts=(worst, *found.attempts[1:]))) == pytest.approx((low, high), abs=0.01)


def test_values_on_the_axes_are_round() -> None:
    assert chart.ticks(0.9537, 1.061, 4) == pytest.approx([0.96, 0.98, 1.0, 1.02, 1.04, 1.06])
    assert chart.ticks(0, 300, 5) == [0, 50, 100, 150, 200, 250, 300]


@pytest.mark.parametrize("best", [(), tuple((i / 10, 4.0 - i / 10) for i in range(11))])
def test_curves_of_start_and_best(best: tuple[tuple[float, float], ...]) -> None:
    start = tuple((i / 200, 9.0 - 5 * (i / 200) ** 0.2) for i in range(201))
    drawing = chart.curves_chart(start, best, chart.CURVES_WIDE)
    assert drawing is not None
    _inside(drawing)
    assert chart.curves_chart((), (), chart.CURVES_WIDE) is None
    assert chart.curves_chart(((0.01, 5.0), (0.02, 4.0)), (), chart.CURVES_WIDE) is not None, (
        "a training that ended early"
    )


@pytest.mark.parametrize(("count", "keep_every"), [(0, 0), (1, 1), (300, 12)])
def test_the_card_has_the_size_of_a_shared_picture(count: int, keep_every: int) -> None:
    drawing = card.card(report_of(state_of(count, keep_every, "$x^2$ " + "many words " * 18)))
    _inside(drawing)
    for shape in drawing.shapes:
        if isinstance(shape, Text):
            assert shape.at[0] - 0.5 <= 1200 - (
                width_of(shape.text, shape.size) * 0.8 if shape.anchor == "start" else 0
            )
    data = picture.png(drawing)
    assert data[:8] == b"\x89PNG\r\n\x1a\n" and struct.unpack(">II", data[16:24]) == (1200, 675)


def test_the_card_names_no_folder_of_the_user() -> None:
    found = report_of(recorded("app"))
    assert "/recorded/" not in " ".join(shape.text for shape in card.card(found).shapes if isinstance(shape, Text))
    assert re.search(r"text:corpus", card.footer(found))
