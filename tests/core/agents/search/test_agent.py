"""The agent search: deterministic, never a repeat, always something new, and it listens to program.md."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from msgspec.structs import replace

from core.agents.base import AgentFailed, Context, Hint, PastExperiment
from core.agents.search.agent import MAX_DRAFTS, Search, _backlog_drafts
from core.agents.search.drafts import Knobs
from core.agents.search.options import Options
from core.agents.search.ranges import Range, range_for
from core.agents.search.steering import steering
from core.change import edits, knobs
from core.change.touched import names, touched
from core.charter import read
from core.model import Notes, Proposal, Value
from core.target import TARGET
from core.target.book import BOOK
from core.verdicts import Verdict

ROOT = Path(__file__).resolve().parents[4]
SOURCE = (ROOT / "nanochat" / "train.py").read_text()
PARENT = edits.fingerprint(SOURCE)


def context(
    number: int = 1, past: tuple[PastExperiment, ...] = (), charter: str = "Low val_bpb.", seed: int = 3
) -> Context:
    tried = {one.fingerprint: one.number for one in past if not one.verdict.may_repeat}
    return Context(
        charter=charter, source=SOURCE, parent=PARENT, number=number, seed=seed, sigma=0.008, past=past, tried=tried,
        proposed={"search": number - 1},
    )  # fmt: skip


def told(*words: str, number: int = 1, skipped: int | None = None) -> Context:
    """What is asked for when the human has said this."""
    hints = tuple(Hint(number=n, text=text, skipped=skipped) for n, text in enumerate(words, 1))
    return replace(context(number), all_hints=hints)


def judged(number: int, proposal: Proposal, gain: float | None) -> PastExperiment:
    assert proposal.source is not None
    return PastExperiment(
        number=number, parent=PARENT, fingerprint=edits.fingerprint(proposal.source), proposal=proposal, gain=gain,
        constants=knobs.moved(SOURCE, proposal.source), structural=bool(proposal.notes.edits), seeds=(1,),
        verdict=Verdict.DISCARD if gain is not None else Verdict.CRASH, crash="" if gain is not None else "exception",
    )  # fmt: skip


def night(count: int, charter: str = "Low val_bpb.", seed: int = 3) -> list[Proposal]:
    found: list[Proposal] = []
    past: tuple[PastExperiment, ...] = ()
    for number in range(1, count + 1):
        proposal = Search().propose_now(context(number, past, charter, seed))
        found.append(proposal)
        past += (judged(number, proposal, None if number % 9 == 0 else 0.004 * ((number * 7) % 11 - 7)),)
    return found


@pytest.fixture(scope="module")
def long_night() -> list[Proposal]:
    return night(30)


def test_a_night_of_proposals_is_new_each_time_and_passes_the_gate(long_night: list[Proposal]) -> None:
    found = long_night
    prints = set()
    for proposal in found:
        assert proposal.source is not None and proposal.hypothesis.endswith((".", "?"))
        edits.validate_change(SOURCE, proposal.source)
        prints.add(edits.fingerprint(proposal.source))
    assert len(prints) == 30
    kinds = [bool(p.notes.edits) for p in found]
    assert any(kinds) and not all(kinds), "both structure and knobs are tried"
    assert any(len(p.notes.edits) + len(p.notes.knobs) > 2 for p in found if p.notes.expected is not None), (
        "near misses are combined"
    )


def test_the_same_record_gives_the_same_proposal() -> None:
    assert night(6) == night(6)
    assert night(6) != night(6, seed=4)


def test_topics_to_avoid_are_avoided() -> None:
    charter = "Focus on the schedule.\nAvoid the optimizer and changes of size.\n"
    topics = [p.topic for p in night(12, charter)]
    assert "schedule" in topics and not {"optimizer", "size"} & set(topics)


def test_off_limits_knobs_are_left_alone() -> None:
    names = [knob.name for knob in knobs.read(SOURCE) if knob.name != "WARM_DOWN"]
    charter = f"---\noff_limits: {names}\n---\nOnly the schedule.\n"
    before = {knob.name: knob.value for knob in knobs.read(SOURCE)}
    for proposal in night(6, charter):
        assert proposal.source is not None
        after = {knob.name: knob.value for knob in knobs.read(proposal.source)}
        assert {name for name in before if before[name] != after[name]} <= {"WARM_DOWN"}


def test_knobs_that_do_nothing_now_are_left_alone(long_night: list[Proposal]) -> None:
    """The shipped pattern has no short layer, so the window's width is nothing to measure."""
    moved = {name for proposal in long_night for name in proposal.notes.knobs}
    assert "WINDOW" not in moved and len(moved) > 6
    assert "WINDOW" in TARGET.inactive_knobs({"WINDOW": 128, "WINDOW_PATTERN": "L", "SEQ_LEN": 256})
    assert TARGET.inactive_knobs({"WINDOW": 128, "WINDOW_PATTERN": "SL", "SEQ_LEN": 256}) == set()
    assert TARGET.inactive_knobs({"WINDOW": 256, "WINDOW_PATTERN": "SL", "SEQ_LEN": 256}) == {"WINDOW_PATTERN"}


def test_where_all_is_off_limits_it_says_so() -> None:
    with pytest.raises(AgentFailed, match="nothing new"):
        Search().propose_now(context(charter=f"---\noff_limits: {sorted(names(SOURCE))}\n---\nNothing.\n"))


def test_after_a_keep_it_takes_one_more_step_that_way() -> None:
    source = knobs.set_knobs(SOURCE, {"MATRIX_LR": 0.03})
    moved = Proposal(
        hypothesis="Faster.", source=source, topic="optimizer", notes=Notes(knobs={"MATRIX_LR": 0.03}, before={"MATRIX_LR": 0.02})
    )  # fmt: skip
    kept = replace(judged(1, moved, 0.05), verdict=Verdict.KEEP)
    after = replace(context(2, (kept,)), source=source, parent=kept.fingerprint)
    found = Search().propose_now(after)
    assert found.notes.knobs == {"MATRIX_LR": 0.045} and found.hypothesis.startswith(
        "One more step in the same direction: MATRIX_LR "
    )
    again = replace(judged(2, found, -0.01), parent=kept.fingerprint)
    other = Search().propose_now(replace(after, past=(kept, again), tried={again.fingerprint: 2}, number=3))
    assert other.notes.knobs != found.notes.knobs, "a step that failed is not taken again"


def test_an_idea_is_not_blamed_for_what_the_machine_cut_short() -> None:
    """The first proposal comes again after it was disturbed, as if nothing had been tried."""
    first = Search().propose_now(context())
    cut_short = replace(judged(1, first, None), verdict=Verdict.DISTURBED, crash="")
    assert Search().propose_now(context(1, (cut_short,))) == first
    assert Search().propose_now(context(1, (judged(1, first, 0.0),))) != first


def test_a_step_stays_within_what_makes_sense() -> None:
    assert Range("log", 0.01, 0.1).further(0.02, 0.04) == 0.08
    assert Range("log", 0.01, 0.1).further(0.02, 0.06) is None
    assert Range("power", 8, 12).further(2**11, 2**10) == 2**9
    assert Range("int", 1, 6).further(2, 4) == 6
    assert Range("choice", 0, 1, (False, True)).further(False, True) is None
    off = next(knob for knob in knobs.read(SOURCE) if knob.name == "SOFTCAP")
    assert off.value == 0.0 and range_for(off).low == 5.0, (
        "what is off is tried where others use it, not beside nothing"
    )
    assert Range("float", 0.0, 1.0).at(0.85) == 0.85 and Range("power", 8, 12).at(0.15) == 2**9


def test_it_opens_with_the_knobs_that_matter_most_and_clear_steps() -> None:
    opening, past = list[dict[str, Value]](), tuple[PastExperiment, ...]()
    for number in range(1, 16):
        turn_of_knobs = replace(context(number, past), proposed={"search": 1})
        proposal = Search().propose_now(turn_of_knobs)
        opening.append(proposal.notes.knobs)
        past += (judged(number, proposal, -0.01),)
    assert opening[0] == {"DEPTH": 1} and opening[1] == {"MATRIX_LR": 0.034}
    assert {"TOTAL_BATCH": 2**10, "BATCH_SIZE": 4} in opening and {"EMBED_LR": 0.34} in opening
    assert {"DEPTH": 3} in opening, "the other way, later"
    assert "DEPTH" not in {name for p in night(12, "Avoid changes of size.") for name in p.notes.knobs}


def test_the_opening_does_not_undo_a_kept_change() -> None:
    source = knobs.set_knobs(SOURCE, {"DEPTH": 3})
    deeper = Proposal(
        hypothesis="Deeper.", source=source, topic="size", notes=Notes(knobs={"DEPTH": 3}, before={"DEPTH": 2})
    )
    kept = replace(judged(1, deeper, 0.05), verdict=Verdict.KEEP)
    opening, past = list[dict[str, Value]](), (kept,)
    for number in range(2, 20):
        tried = {one.fingerprint: one.number for one in past}
        turn_of_knobs = replace(
            context(number, past), source=source, parent=kept.fingerprint, proposed={"search": 1}, tried=tried
        )
        proposal = Search().propose_now(turn_of_knobs)
        opening.append(proposal.notes.knobs)
        past += (
            replace(
                judged(number, proposal, -0.01),
                parent=kept.fingerprint,
                constants=knobs.moved(source, proposal.source or ""),
            ),
        )
    assert {"EMBED_LR": 0.34} in opening and {"DEPTH": 2} not in opening


def test_a_model_narrower_than_one_head_is_tried_with_narrower_heads() -> None:
    width, head = ({knob.name: knob.value for knob in knobs.read(SOURCE)}[name] for name in ("WIDTH", "HEAD_DIM"))
    assert width == head == 128
    found = Search().propose_now(told("try a lower WIDTH"))
    assert found.notes.knobs == {"WIDTH": 64, "HEAD_DIM": 64}
    asked = Search().propose_now(told("set WIDTH to 96"))
    assert asked.notes.knobs == {"WIDTH": 96, "HEAD_DIM": 96}
    kept = Search().propose_now(
        replace(told("set WIDTH to 64"), charter="---\noff_limits: [HEAD_DIM]\n---\nLow val_bpb.")
    )
    assert "WIDTH" not in kept.notes.knobs, "what must follow is off limits"


def test_it_looks_for_topics_and_names_in_what_the_human_says() -> None:
    for number in range(1, 9):
        proposal = Search().propose_now(told("Avoid changes of size.", "Do not touch MATRIX_LR.", number=number))
        assert proposal.topic != "size" and "MATRIX_LR" not in proposal.notes.knobs


def test_what_was_skipped_stays_skipped() -> None:
    names = [entry.name for entry in BOOK if entry.topic == "heads"]
    skipped = tuple(
        replace(
            judged(n, Proposal(hypothesis="h", source=f"{SOURCE}\nX = {n}\n", notes=Notes(edits=(name,), knobs={})), 0.0),
            verdict=Verdict.SKIPPED, finding="Skipped by the human.", parent="another",
        )
        for n, name in enumerate(names, 1)
    )  # fmt: skip
    found = [Search().propose_now(context(n, skipped, "Only the heads matter, focus on heads.")) for n in range(20, 30)]
    assert not {name for proposal in found for name in proposal.notes.edits} & set(names)


def test_a_topic_that_stands_at_the_head_of_a_comment_is_avoided_too() -> None:
    for proposal in night(25, "Do not change the optimizer."):
        assert not {"ADAM_DECAY", "MATRIX_DECAY", "MATRIX_LR"} & proposal.notes.knobs.keys()


def test_a_name_that_is_asked_for_comes_first_both_ways() -> None:
    asked = told("Please try SEQ_LEN.")
    first = Search().propose_now(asked)
    assert (
        "SEQ_LEN" in first.notes.knobs and "DEPTH" not in first.notes.knobs and first.hypothesis.startswith("Asked for")
    )
    second = Search().propose_now(replace(asked, number=2, past=(judged(1, first, 0.0),)))
    assert "SEQ_LEN" in second.notes.knobs and second.notes.step != first.notes.step


def test_over_the_limit_only_smaller_models_are_proposed() -> None:
    told = replace(context(charter="---\nmax_params: 900k\n---\nLow val_bpb."), params=1_441_926)
    past: tuple[PastExperiment, ...] = ()
    for number in range(1, 6):
        proposal = Search().propose_now(replace(told, number=number, past=past))
        moved = proposal.notes.knobs
        assert moved and all(value < proposal.notes.before[name] for name, value in moved.items())
        assert {"WIDTH", "DEPTH", "MLP_RATIO"} & moved.keys() and "1,441,926" in proposal.hypothesis
        past += (judged(number, proposal, None),)


@pytest.mark.parametrize("charter", ["Avoid the heads. Low val_bpb.", "---\noff_limits: [HEAD_DIM]\n---\nLow val_bpb."])
def test_what_must_stay_still_counts_for_what_makes_sense(charter: str) -> None:
    for proposal in night(25, charter):
        assert proposal.source is not None
        found = {knob.name: knob.value for knob in knobs.read(proposal.source)}
        assert "HEAD_DIM" not in proposal.notes.knobs and found["WIDTH"] % found["HEAD_DIM"] == 0


def test_it_reports_a_limit_that_leaves_no_smaller_model() -> None:
    charter = "---\noff_limits: [WIDTH, DEPTH, MLP_RATIO]\nmax_params: 900k\n---\n"
    told = replace(context(charter=charter), params=1_441_926)
    with pytest.raises(AgentFailed, match="no smaller model"):
        Search().propose_now(told)


@pytest.mark.parametrize("charter", ["Low val_bpb.", "At most 900k parameters. Low val_bpb."])
def test_a_limit_in_prose_or_a_hint_is_not_enforced(charter: str) -> None:
    asked = replace(told("At most 900k parameters."), params=1_441_926, charter=charter)
    assert "parameters" not in Search().propose_now(asked).hypothesis


def test_a_value_that_is_asked_for_comes_next_and_once() -> None:
    asked = told("try SEQ_LEN", "set WIDTH to 192", "set WIDTH to 256", "set SEQ_LEN to 512")
    first = Search().propose_now(asked)
    assert first.notes.knobs == {"SEQ_LEN": 512, "TOTAL_BATCH": 4096} and first.hypothesis.startswith(
        "Asked for: raise SEQ_LEN"
    )
    second = Search().propose_now(replace(asked, number=2, past=(judged(1, first, 0.0),)))
    assert second.notes.knobs == {"WIDTH": 256}, "192 does not fit HEAD_DIM"
    third = Search().propose_now(replace(asked, number=3, past=(judged(1, first, 0.0), judged(2, second, 0.0))))
    assert third.notes.step == "SEQ_LEN up" or "SEQ_LEN" in third.notes.knobs


@pytest.mark.parametrize(
    ("words", "topics"),
    [("only the schedule", {"schedule"}), ("only attention and WARM_UP", {"attention", "schedule"})],
)
def test_only_means_nothing_else(words: str, topics: set[str]) -> None:
    past: tuple[PastExperiment, ...] = ()
    for number in range(1, 8):
        proposal = Search().propose_now(replace(told(words, number=number), past=past))
        assert proposal.topic in topics and proposal.notes.knobs.keys() <= {
            "WARM_UP", "WARM_DOWN", "FINAL_LR", "WINDOW", "WINDOW_PATTERN", "ROPE_BASE", "SOFTCAP"
        }  # fmt: skip
        past += (judged(number, proposal, 0.001),)


@pytest.mark.parametrize(
    ("words", "charter", "within"),
    [
        (("only TIE_EMBEDDINGS",), "Low val_bpb.", 1),
        (("only WINDOW",), "Low val_bpb.", 0),
        (("only MATRIX_LR", "leave MATRIX_LR alone"), "Low val_bpb.", 0),
        ((), "Only the normalisation.", 3),
        ((f"avoid {', '.join(TARGET.topics)}",), "Low val_bpb.", 0),
        ((), f"Leave {', '.join(TARGET.topics)} alone.", 0),
        (("only the schedule; avoid size",), "---\nmax_params: 900k\n---\n", 0),
    ],
)
def test_a_wish_that_leaves_nothing_to_try_is_ignored_with_one_notice(
    words: tuple[str, ...], charter: str, within: int
) -> None:
    off_limits = read(charter).off_limits
    past: tuple[PastExperiment, ...] = ()
    beyond: list[Proposal] = []
    while len(beyond) < 2:
        number = len(past) + 1
        asked = replace(told(*words, number=number), past=past, charter=charter, params=1_441_926)
        asked = replace(asked, tried={one.fingerprint: one.number for one in past})
        proposal = Search().propose_now(asked)
        assert proposal.source is not None
        edits.validate_change(SOURCE, proposal.source, off_limits=off_limits)
        past += (judged(number, proposal, 0.001),)
        beyond += [proposal] if proposal.notes.aside else []
        assert beyond or number < 40, "the ideas within the wish come to an end"
    assert ["Nothing new was left within" in proposal.hypothesis for proposal in beyond] == [True, False]
    assert len(past) >= within + 2


def test_code_that_is_to_be_left_alone_is_left_alone_while_there_is_something_else() -> None:
    ideas = [entry for entry in BOOK if entry.topic == "activation"]
    code = {name for entry in ideas if (new := edits.try_apply(SOURCE, entry.edits)) for name in touched(SOURCE, new)}
    assert Search().propose_now(told("only the activation", number=2)).topic == "activation"
    leave = f"leave {', '.join(sorted(code))} alone"
    found = Search().propose_now(told("only the activation", leave, number=2))
    assert found.topic != "activation" and "“only activation”" in found.hypothesis and found.source is not None
    edits.validate_change(SOURCE, found.source, off_limits=code)


def test_an_idea_of_the_book_is_proposed_when_it_is_asked_for_and_never_when_it_is_unwelcome() -> None:
    asked = told("try z-loss")
    proposal = Search().propose_now(asked)
    assert proposal.notes.edits == ("z-loss",) and proposal.source is not None
    past = PastExperiment(
        number=1, parent=asked.parent, fingerprint=edits.fingerprint(proposal.source), proposal=proposal,
        verdict=Verdict.DISCARD,
    )  # fmt: skip
    again = Search().propose_now(replace(asked, number=2, past=(past,), tried={past.fingerprint: 1}))
    assert again.notes.edits != ("z-loss",)
    avoiding, names = told("avoid z-loss"), set[str]()
    tried: dict[str, int] = {}
    for number in range(1, 60):
        found = Search().propose_now(replace(avoiding, number=number, tried=tried, proposed={"search": number * 3}))
        names |= set(found.notes.edits or ())
        assert found.source is not None
        tried = tried | {edits.fingerprint(found.source): number}
    assert len(names) > 20 and "z-loss" not in names


@pytest.mark.parametrize(("sigmas", "next_steps"), [(5.0, True), (2.0, False)])
def test_after_a_step_that_gained_much_similar_steps_come_next(sigmas: float, next_steps: bool) -> None:
    start = context()
    step = Proposal(
        hypothesis="Lower DEPTH.", source=knobs.set_knobs(SOURCE, {"DEPTH": 1}), agent="search", topic="size",
        notes=Notes(knobs={"DEPTH": 1}, before={"DEPTH": 2}, step="DEPTH down"),
    )  # fmt: skip
    won = replace(judged(1, step, sigmas * start.sigma), verdict=Verdict.KEEP)
    assert step.source is not None
    past, steps = (won,), []
    for number in range(2, 6):
        now = replace(
            context(number, past),
            source=step.source,
            parent=edits.fingerprint(step.source),
            proposed={"search": number},
        )
        found = Search().propose_now(now)
        steps.append(found.notes.step)
        past += (replace(judged(number, found, 0.0), parent=now.parent),)
    sizes = ["TOTAL_BATCH down", "WIDTH down", "SEQ_LEN down", "MLP_RATIO down"]
    assert (steps == sizes) == next_steps


def test_two_values_in_one_hint_follow_one_after_the_other() -> None:
    asked = told("leave MATRIX_LR alone", "set WIDTH to 256; set DEPTH to 4; set WIDTH to 512; avoid the optimizer")
    past: tuple[PastExperiment, ...] = ()
    moved = []
    for number in range(1, 10):
        proposal = Search().propose_now(replace(asked, number=number, past=past))
        assert proposal.topic != "optimizer"
        moved.append(proposal.notes.knobs)
        past += (judged(number, proposal, 0.0),)
    assert moved[:3] == [{"WIDTH": 256}, {"DEPTH": 4}, {"WIDTH": 512}]


def test_a_wish_stays_when_another_one_of_its_hint_is_fulfilled() -> None:
    asked = told("set WIDTH to 256; try MATRIX_LR; avoid the embeddings")
    source = knobs.set_knobs(SOURCE, {"WIDTH": 256})
    found = Search().propose_now(replace(asked, source=source, parent=edits.fingerprint(source)))
    assert found.notes.knobs.keys() == {"MATRIX_LR"}
    assert "embeddings" not in {
        Search().propose_now(replace(asked, number=n, source=source)).topic for n in range(2, 6)
    }
    gone = SOURCE.replace("SOFTCAP", "CAP")
    removed = replace(judged(1, Proposal(hypothesis="h", source=gone), 0.1), idea=("SOFTCAP",))
    asked = replace(told("try SOFTCAP; avoid size"), source=gone, past=(removed,))
    assert "size" not in {Search().propose_now(replace(asked, number=n)).topic for n in range(2, 8)}


def test_a_constant_that_is_asked_for_again_is_moved_again() -> None:
    """The opening, program.md or an earlier hint may have moved it on another train.py."""
    first = Search().propose_now(told("try MATRIX_LR"))
    moved = replace(judged(1, first, 0.0), parent="another", fingerprint="another")
    asked = told("try MATRIX_LR", "try a larger MATRIX_LR", number=2)
    found = Search().propose_now(replace(asked, past=(moved,), tried={}))
    assert found.notes.knobs == first.notes.knobs and found.hypothesis.startswith("Asked for")


def test_what_an_earlier_version_noted_is_done() -> None:
    asked = told("set WIDTH to 256")
    first = Search().propose_now(asked)
    noted = replace(first, notes=replace(first.notes, said=1))
    again = replace(asked, number=2, past=(replace(judged(1, noted, 0.0), fingerprint="another"),))
    assert Search().propose_now(again).notes.knobs != {"WIDTH": 256}


def test_a_reason_for_skipping_is_heard_as_a_hint_is() -> None:
    for number in range(1, 7):
        asked = told("Avoid changes of size.", "only WIDTH", number=number, skipped=3)
        assert Search().propose_now(asked).topic != "size"


def test_the_way_that_is_asked_for_is_the_way_it_goes() -> None:
    found = Search().propose_now(told("Please try a lower MATRIX_LR."))
    assert found.notes.knobs["MATRIX_LR"] < found.notes.before["MATRIX_LR"]


def test_a_hint_takes_precedence_over_program_md() -> None:
    charter = (ROOT / "program.md").read_text()

    def share(*hints: str) -> int:
        asked = (
            replace(told(*hints, number=number), charter=charter, seed=seed)
            for number in range(2, 12, 2)
            for seed in range(4)
        )
        return sum(Search().propose_now(each).topic == "normalisation" for each in asked)

    assert share("Focus on normalisation, please.") > 2 * share() and share() < 10


def test_lines_of_the_backlog_of_which_all_was_tried_leave_room_for_other_changes() -> None:
    every = {knob.name: knob for knob in knobs.read(SOURCE)}
    lines = tuple(f"{verb} {name}" for verb in ("try", "explore", "test", "tune", "vary", "look at") for name in every)
    told = replace(context(), backlog=lines)
    _, wanted = steering(told, ())
    known = Knobs(every, every)
    asked = list(_backlog_drafts(told, wanted, known, Options(told, known, ()), random.Random(1)))
    assert len(asked) > MAX_DRAFTS
    stale = {edits.fingerprint(draft.source): 1 for draft in asked if draft is not None}
    found = Search().propose_now(replace(told, tried=stale))
    assert found.source is not None and edits.fingerprint(found.source) not in stale and not found.notes.follows
