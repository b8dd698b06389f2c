"""What `search` takes from plain English: a few forms, each of which is a whole sentence. Of all else it says that it cannot use it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.agents.search.steering import SAID, Steering, answer, unfit
from core.change import edits, knobs
from core.change.touched import names
from core.charter import read
from core.charter.directions import NotUsable, described, parse

SOURCE = (Path(__file__).resolve().parents[3] / "nanochat" / "train.py").read_text()
KNOWN = names(SOURCE)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("try WIDTH", "try WIDTH"),
        ("Please try `MATRIX_LR` next.", "try MATRIX_LR"),
        ("try width first", "try WIDTH"),
        ("try the total batch, please", "try TOTAL_BATCH"),
        ("explore warm-up and WARM_DOWN", "try WARM_UP, WARM_DOWN"),
        ("Try WIDTH, DEPTH, and SEQ_LEN!", "try WIDTH, DEPTH, SEQ_LEN"),
        ("try a lower MATRIX_LR", "try MATRIX_LR (down)"),
        ("raise EMBED_LR", "try EMBED_LR (up)"),
        ("lower EMBED_LR", "try EMBED_LR (down)"),
        ("try increasing the softcap", "try SOFTCAP (up)"),
        ("set WIDTH to 256", "set WIDTH to 256"),
        ("WIDTH=256.", "set WIDTH to 256"),
        ("try MATRIX_LR = 0.03, please", "set MATRIX_LR to 0.03"),
        ("set total batch to 2**12", "set TOTAL_BATCH to 2**12"),
        ("use a SOFTCAP of 15", "set SOFTCAP to 15"),
        ("set WINDOW_PATTERN to SSL", "set WINDOW_PATTERN to SSL"),
        ("avoid the optimizer", "leave optimizer alone"),
        ("avoid changes to the optimiser and changes of size", "leave optimizer, size alone"),
        ("Don't touch DEPTH.", "leave DEPTH alone"),
        ("never change WIDTH or DEPTH", "leave WIDTH, DEPTH alone"),
        ("stop proposing attention", "leave attention alone"),
        ("leave DEPTH alone", "leave DEPTH alone"),
        ("stop proposing z-loss", "leave z-loss alone"),
        ("try GELU and sandwich MLP next", "try gelu, sandwich-mlp"),
        ("only heads, z loss", "only heads, z-loss"),
        ("leave GPT.forward as it is", "leave GPT.forward alone"),
        ("Keep HEAD_DIM fixed", "leave HEAD_DIM alone"),
        ("focus on residual connections", "try residuals"),
        ("Concentrate on attention heads now", "try heads"),
        ("only the schedule", "only schedule"),
        ("attention only", "only attention"),
        ("only change WIDTH", "only WIDTH"),
        ("focus on heads; avoid the optimizer.", "try heads|leave optimizer alone"),
        ("Try WIDTH. Avoid heads.", "try WIDTH|leave heads alone"),
        ("try lower DEPTH and higher WIDTH", "try DEPTH (down)|try WIDTH (up)"),
        (
            "try a smaller batch, smaller width",
            "try TOTAL_BATCH, WIDTH (down)",
        ),
        ("try a larger batch size and DEPTH", "try TOTAL_BATCH, DEPTH (up)"),
        ("try BATCH_SIZE", "try BATCH_SIZE"),
        ("avoid the sequence length", "leave SEQ_LEN alone"),
        ("set batch to 2**12", "set TOTAL_BATCH to 2**12"),
        ("try layers, the final learning rate", "try DEPTH, FINAL_LR"),
        ("attention heads", "try heads"),
        ("the schedule and the optimizer, please", "try schedule, optimizer"),
        ("- try WIDTH\n- leave DEPTH alone\n", "try WIDTH|leave DEPTH alone"),
    ],
)
def test_forms_that_are_sure(text: str, words: str) -> None:
    assert "|".join(described(parse(text, KNOWN))) == words


UNSURE = """
the optimizer is not the problem
I'd rather see fewer attention tricks
warm-down shape is boring, try width first
we tried muon already
don't avoid muon
don't avoid the optimizer
stop proposing the book
no need to focus on attention
trying width did not help
Try DEPTH. But not now.
try WIDTH? no
try WIDTH?
try WIDTH...
should we try WIDTH
you could try WIDTH
why try WIDTH
I did try WIDTH, and it failed
do not only try WIDTH
try everything but WIDTH
try anything except WIDTH
try WIDTH, not DEPTH
try WIDTH but avoid DEPTH
try WIDTH instead of DEPTH
try to avoid the optimizer
avoid avoiding the optimizer
never avoid attention
avoid a larger WIDTH
lower attention
reduce attention
avoid setting WIDTH to 256
leave WIDTH at 256
never leave WIDTH alone
do not keep WIDTH fixed
stop avoiding heads
let's try WIDTH if it helps
Focus on attention! Not heads!
avoid not trying WIDTH
avoid everything
avoid changes that touch the optimizer too much
never change WIDTH and DEPTH at the same time
do not change DEPTH too much
don't change the schedule unless you must
leave WIDTH alone until morning
it is wrong to leave WIDTH unchanged
leave nothing alone
not only attention
only avoid the optimizer
if only attention worked
only WIDTH matters
attention is all you need
great, another attention trick
sure, avoid the optimizer, what could go wrong
focus on anything but heads
don't focus on heads
focus less on heads
stop focusing on heads
more attention, less optimizer
prefer WIDTH over DEPTH
WIDTH
WIDTH 192
WIDTH was 192
WIDTH == 192
WIDTH != 192
set WIDTH
set WIDTH and DEPTH to 4
set WIDTH to 192 or 256
set WIDTH to what it was
do not set WIDTH to 192
don't ever set WIDTH = 192
set everything to 0
set attention to 3
DEPTH = 4 was bad
I like WIDTH = 192
higher attention
try fewer heads
try more attention
larger WIDTH
no more heads
no WIDTH
lower the bar
try harder
try again
try MUON
try WIDHT
try attention and magic
try attenntion
vermeide den Optimizer
versuche WIDTH
n'évite pas WIDTH
evita el optimizer
尝试 WIDTH
~~try WIDTH~~
"try WIDTH"
he said: try WIDTH
the reviewer wrote that we should avoid the optimizer
last night you were told to focus on heads
forget the hint to avoid the optimizer
take back try WIDTH
ignore "only attention"
nobody should try WIDTH
avoid the optimizer like I would avoid a fortune
Avoid the optimizer. Just kidding.
Try WIDTH. No, wait.
Not this. Try WIDTH.
don't try WIDTH first
do not try the optimizer next
never change WIDTH now
avoid heads for now
avoid the optimizer instead
don't tune the optimizer too
leave WIDTH alone for now
keep HEAD_DIM fixed first
stop trying attention first
first, avoid the optimizer
now leave DEPTH alone
then avoid heads
next, only the schedule
only the schedule for now
only attention first
attention only, now
try only WIDTH next
focus only on heads for now
""".strip().splitlines()


@pytest.mark.parametrize("text", ["", "  \n", ".", *UNSURE])
@pytest.mark.parametrize("reason", [False, True])
def test_of_all_else_it_says_that_it_cannot_use_it(text: str, reason: bool) -> None:
    with pytest.raises(NotUsable):
        parse(text, KNOWN, reason=reason)
    assert answer(text, SOURCE, (), {}, reason=reason).startswith("search cannot use this: ")
    if text.strip():
        assert not read(f"# Aim\n\n{text}\n", KNOWN).directions


@pytest.mark.parametrize("text", ["WIDTH = 256", "only WIDTH", "attention only", "lower WIDTH"])
def test_a_reason_for_skipping_needs_a_verb(text: str) -> None:
    """It may as well say what is wrong with the proposal."""
    assert parse(text, KNOWN)
    with pytest.raises(NotUsable):
        parse(text, KNOWN, reason=True)


PIECES = [
    "not",
    "never",
    "don't",
    "do",
    "try",
    "avoid",
    "leave",
    "alone",
    "only",
    "focus",
    "on",
    "set",
    "to",
    "the",
    "=",
]
PIECES += ["WIDTH", "attention", ",", "?", "first", "now", "please"]
NEGATED = st.sampled_from(["don't try", "do not change", "never touch", "avoid", "leave alone", "stop trying"])


@given(st.lists(st.sampled_from(PIECES), max_size=8) | st.tuples(NEGATED, *[st.sampled_from(PIECES)] * 2).map(list))
def test_a_sentence_with_a_negation_only_ever_says_what_to_leave_alone(words: list[str]) -> None:
    try:
        found = parse(" ".join(words), KNOWN)
    except NotUsable:
        return
    said = set(" ".join(words).split())
    if {"not", "never", "don't"} & said:
        assert {direction.kind for direction in found} == {"avoid"}
    if {"avoid", "only"} & {direction.kind for direction in found}:
        assert not {"first", "now"} & said, "what is meant for a while must not be for ever"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("# Worth trying\n\n- attention\n- `WIDTH`, DEPTH\n", "try attention|try WIDTH, DEPTH"),
        ("## Avoid\n\nThe optimizer.\n", "leave optimizer alone"),
        ("Worth trying: the schedule.", "try schedule"),
        ("**Focus on** heads.", "try heads"),
        ("Worth trying:\n\n- attention\n\nAvoid:\n\n- heads\n", "try attention|leave heads alone"),
        ("# Rules\n\nDo not touch:\n1. DEPTH\n", "leave DEPTH alone"),
        ("# My goals\n\n## Ideas\n\n- try WIDTH\n\n# Aim\n\nBe brave.", "try WIDTH"),
        ("# Aim\n\nBe brave.\n\n# Hints\n\nLowest val_bpb. Focus on heads.", "try heads"),
        ("# Aim\n\n## Notes\n\nBe brave.\n\n## Hints\n\nFocus on heads.", "try heads"),
        ("# Worth trying\n\n***\n\n- attention\n  - heads\n", "try attention|try heads"),
        ("Focus on the schedule.\nAvoid the optimizer.", "try schedule|leave optimizer alone"),
        ("> Avoid the optimizer.\n", ""),
        ("```\nAvoid the optimizer.\n```\n", ""),
        ("<!-- Avoid the optimizer. -->\nLow.", ""),
        ("- [x] try WIDTH\n", ""),
        ("<del>Try WIDTH.</del>\n", ""),
        ("| try WIDTH | avoid heads |\n| --- | --- |\n| try DEPTH | x |\n", ""),
        ("Set WIDTH to 256.", ""),
    ],
)  # fmt: skip
def test_directions_in_program_md(text: str, words: str) -> None:
    assert "|".join(described(read(text, KNOWN).directions)) == words


GOVERNED = [  # each has a sentence that `search` could read, and something that governs it and that it cannot read
    "Do none of these:\n\n- try WIDTH\n- focus on heads",
    "Do none of these:\n- try WIDTH",
    "Do not\n\ntry WIDTH.",
    "🚫\n\n- try WIDTH",
    "None of these helped.\n\n- try WIDTH\n\n***\n\n- focus on heads",
    "# Ideas that failed\n\n- Try attention.\n- Lower MATRIX_LR.",
    "# Done\n\n## Worth trying\n\n- attention",
    "Ideas that failed\n---\n\n- Try attention.",
    "# What we tried last night (all worse)\n\n- try WIDTH\n- avoid the optimizer",
    "# Not allowed\n- change only heads",
    "# Avoid\n\n- try WIDTH",
    "# Avoid\n\n- avoid WIDTH",
    "# Things to avoid\n\nFocus on attention.",
    "# Avoid\n\n## Ideas\n\n- try WIDTH",
    "# Avoid\n\n## Worth trying\n\n- attention",
    "# Worth trying\n\nAvoid:\n\n- attention",
    "Avoid:\n\nTry WIDTH.",
    "**Avoid**\n\n- try WIDTH",
    "- Avoid:\n- try WIDTH",
    "# Worth trying\n\n- attention\n\nBut not:\n\n- heads",
    "# Worth trying\n\nNothing below this line:\n\n1. heads",
    "# Avoid\n\nExcept:\n\n- heads",
    "# Avoid\n\nheads\n\n(just kidding)",
    "# Avoid\n- heads\n- but not for long",
    "# Worth trying\n\n- attention\n- heads, some day",
    "# Worth trying later\n- heads",
    "# Worth trying?\n- heads",
    "# ~~Worth trying~~\n- heads",
    "# Worth trying ![not](x.png)\n- heads",
    "Lower WIDTH\n\nis bad.",
    "# Hints\n\nNothing in this section is meant.\n\n## Ideas\n\nTry WIDTH.",
    "All of this is a joke.\n\n# Hints\n\nTry WIDTH.",
    "<s>\n\nTry WIDTH.\n\n</s>",
    "# Aim\n\n<details>\n\n# Hints\n\nTry WIDTH.",
    "# Aim\n\nBe <s>brave.\n\n# Hints\n\nTry WIDTH.</s>",
    "# Aim <s>\n\nTry WIDTH.",
    "> None of these:\n\n- try WIDTH",
    "```\nfailed:\n```\n\n- try WIDTH",
    "    failed:\n\nTry WIDTH.",
    "| failed |\n| --- |\n\nTry WIDTH.",
    "- # Failed\n- try WIDTH",
    "![Try WIDTH.](x.png)",
    "[Try WIDTH.](x)",
    "Try `try WIDTH`.",
    "What raises val_bpb:\n\n- try WIDTH",
]


@pytest.mark.parametrize("text", GOVERNED)
def test_a_section_of_which_something_cannot_be_read_gives_no_directions(text: str) -> None:
    assert not read(text, KNOWN).directions


def test_a_lead_in_that_cannot_be_read_is_shown() -> None:
    assert read("Do none of these:\n\n- try WIDTH", KNOWN).unused == ("Do none of these:", "try WIDTH")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("set WIDTH to 256", "search understands: set WIDTH to 256"),
        ("set SEQ_LEN to 128", "search understands: set SEQ_LEN to 128"),
        ("set TIE_EMBEDDINGS to on", "search understands: set TIE_EMBEDDINGS to on"),
        ("set WINDOW to 64", "WINDOW changes nothing while the other constants are as they are"),
        ("set WIDTH to 192", "WIDTH = 192 does not fit: WIDTH must be a multiple of HEAD_DIM, which is 128"),
        ("set WIDTH to 128", "WIDTH is 128 already"),
        ("leave DEPTH alone; set TOTAL_BATCH to 2**11", "TOTAL_BATCH is 2**11 already"),
        ("set WIDTH to 1.5", "WIDTH is a whole number, not 1.5"),
        ("set WIDTH to wide", "WIDTH is a whole number, not wide"),
        ("set WIDTH to 0", "out of range"),
        ("set WIDTH to -128", "out of range"),
        ("set KV_GROUPS to 0", "out of range"),
        ("set DEPTH to 9**99999", "not 9**99999"),
        ("set MATRIX_LR to 1e999", "out of range"),
        ("set WINDOW_PATTERN to banana", "WINDOW_PATTERN is one of L, S"),
        ("set TIE_EMBEDDINGS to 2", "TIE_EMBEDDINGS is True or False"),
        ("set WIDTH to 2*128", "WIDTH is a whole number, not 2*128"),
        ("DEPTH=3;WIDTH=256", "DEPTH is a whole number, not 3;WIDTH=256"),
        ("set MATRIX_LR to 0,03", "MATRIX_LR is a number, not 0,03"),
        ("set NOSUCH to 3", "neither a constant"),
        ("set Block to 3", "Block is not one of the constants"),
        ("try Block", "Block is not one of the constants"),
        ("set HEAD_DIM to 64", "HEAD_DIM is off limits in program.md"),
        ("try HEAD_DIM", "HEAD_DIM is off limits in program.md"),
        ("try WIDHT", "(did you mean WIDTH?)"),
        ("try WEIGHT_DECAY", "(did you mean MATRIX_DECAY?)"),
        (
            "try a smaller batch, smaller weight decay",
            "“weight decay” may be MATRIX_DECAY or ADAM_DECAY (did you mean MATRIX_DECAY?)",
        ),
        ("try a smaller batch, smaller weight decay", "“try TOTAL_BATCH (down)” alone would do"),
        ("set the learning rate to 0.03", "may be MATRIX_LR or EMBED_LR"),
        ("try WIDHT and the schedul", "(did you mean WIDTH?); “schedul” is neither"),
        ("try gellu", "nor an idea of the book nor a topic"),
        ("try sandwich-mpl", "(did you mean sandwich-mlp?)"),
        ("try z-loss", "search understands: try z-loss"),
        ("set z-loss to 3", "it knows forms"),
        ("raise gelu", "it knows forms"),
        ("try gelu; avoid gelu", "contradict each other"),
        ("avoid the activation. try gelu", "search understands: leave activation alone; try gelu"),
        ("set DEPTH to 3", "experiment #7 has this very change"),
        ("raise DEPTH", "experiment #7 has this very change"),
        ("try DEPTH", "search understands: try DEPTH"),
        ("try WINDOW", "WINDOW changes nothing while the other constants are as they are"),
        ("only WINDOW", "search cannot use this: WINDOW changes nothing"),
        (
            "try VALUE_STD, WINDOW",
            "search understands: try VALUE_STD, but it cannot use the rest: WINDOW changes",
        ),
        ("raise MUON_STEPS", "MUON_STEPS is 5, and search knows no higher value"),
        ("lower KV_GROUPS", "KV_GROUPS is 1, and search knows no lower value"),
        ("raise KV_GROUPS", "KV_GROUPS = 2 does not fit: KV_GROUPS must divide the number of heads, which is 1"),
        ("lower SOFTCAP", "SOFTCAP is 0.0, and search knows no lower value"),
        ("lower WIDTH", "WIDTH can only change together with HEAD_DIM, which must be left alone"),
        ("lower TIE_EMBEDDINGS", "TIE_EMBEDDINGS is False, and search knows no lower value"),
        ("raise WINDOW_PATTERN", "the values of WINDOW_PATTERN have no order"),
        ("set ADAM_BETA2 to 1", "ADAM_BETA2 = 1 is out of range: it must be below 1"),
        ("set MUON_MOMENTUM to 1.5", "must be below 1"),
        ("set MUON_STEPS to 9", "must be at most 5"),
        ("set WARM_DOWN to 5", "must be at most 1"),
        ("set ROPE_BASE to 0", "must be above 0"),
        ("set MATRIX_LR to -1", "must be at least 0"),
        ("set TOTAL_BATCH to 3072", "TOTAL_BATCH must be a multiple of BATCH_SIZE * SEQ_LEN, which is 2048"),
        ("set BATCH_SIZE to 64", "BATCH_SIZE can only change together with TOTAL_BATCH, which must be left alone"),
        ("raise SEQ_LEN", "SEQ_LEN can only change together with TOTAL_BATCH, which must be left alone"),
        (
            "set BATCH_SIZE to 64; leave DEPTH alone",
            "search understands: leave DEPTH alone, but it cannot use the rest: “set BATCH",
        ),
        ("set WIDTH to 256; set WIDTH to 2**8; raise ADAM_BETA2", "set WIDTH to 2**8; try ADAM_BETA2 (up)"),
        ("try SEQ_LEN", "search understands: try SEQ_LEN"),
        ("try TOTAL_BATCH; set BATCH_SIZE to 64", "search understands: try TOTAL_BATCH; set BATCH_SIZE to 64"),
        ("set WIDTH to 256; set DEPTH to 4", "set WIDTH to 256; set DEPTH to 4 (each in an experiment of its own)"),
        (
            "set WIDTH to 192; avoid heads",
            "search understands: leave heads alone, but it cannot use the rest: “set WIDTH to 192”: WIDTH",
        ),
        ("try WIDTH. But not now.", "search cannot use this: “But not now.”: it knows forms"),
        ("avoid heads. try WIDHT", "search cannot use this: “try WIDHT”: “WIDHT” is neither"),
        ("set WIDTH to 256; leave WIDTH alone", "“set WIDTH to 256” and the rest of it contradict each other"),
        ("only heads; try DEPTH", "contradict each other"),
        ("try attention. only the schedule", "“try attention” and the rest of it contradict each other"),
        ("avoid heads; focus on heads", "contradict"),
        ("only WIDTH; avoid the optimizer", "search understands: only WIDTH; leave optimizer alone"),
    ],
)
def test_the_reply_explains_how_a_hint_is_understood(text: str, words: str) -> None:
    three = edits.fingerprint(knobs.set_knobs(SOURCE, {"DEPTH": 3}))
    assert words in answer(text, SOURCE, ("HEAD_DIM",), {three: 7}, leave=["TOTAL_BATCH"])


def test_what_is_left_alone_by_a_later_part_of_a_hint_counts_for_the_parts_before() -> None:
    words = answer("set BATCH_SIZE to 64; leave TOTAL_BATCH alone", SOURCE, (), {})
    assert (
        "understands: leave TOTAL_BATCH alone, but" in words
        and "BATCH_SIZE can only change together with TOTAL_BATCH" in words
    )


def test_a_topic_without_any_possible_change_is_reported() -> None:
    small = "MATRIX_LR = 0.01  # learning rate\n\n\ndef train(run):\n    return MATRIX_LR\n"
    assert "nothing to try about attention in this train.py" in answer("focus on attention", small, (), {})
    assert answer("try the optimizer and heads", small, (), {}).startswith("search understands: try optimizer, but")
    assert answer("avoid attention", small, (), {}) == "search understands: leave attention alone"
    assert "nothing to try" in answer("only the optimizer", small, ("MATRIX_LR",), {})


def test_a_direction_that_cannot_be_followed_is_reported() -> None:
    charter = read(
        "---\noff_limits: [DEPTH]\n---\nTry DEPTH, WINDOW.\n\nTry heads.\n\nAvoid heads. Try WIDTH.\n", KNOWN
    )
    assert unfit(charter, SOURCE) == (
        "search cannot follow “try DEPTH, WINDOW”: DEPTH is off limits in program.md",
        "search cannot follow “try DEPTH, WINDOW”: WINDOW changes nothing while the other constants are as they are",
        "search cannot follow “try heads”: another sentence contradicts it, in whole or in part",
    )


@given(
    st.text(max_size=60)
    | st.from_regex(r"set (WIDTH|MATRIX_LR|WINDOW_PATTERN|TIE_EMBEDDINGS) to .{1,20}", fullmatch=True)
)
def test_no_hint_crashes(text: str) -> None:
    assert answer(text, SOURCE, (), {}).startswith("search ")


def test_a_later_wish_counts_more_than_those_before() -> None:
    found = Steering()

    def say(text: str) -> None:
        for direction in parse(text, KNOWN):
            found.follow(direction, SAID, 1)

    say("try WIDTH; set DEPTH to 3; avoid heads; leave MATRIX_LR alone")
    assert found.focus == {"WIDTH": ("", 1)} and found.settings and found.leave == {"MATRIX_LR"}
    say("avoid size")
    assert not found.focus and not found.settings and found.weights["size"] == 0
    say("try WIDTH; try MATRIX_LR; focus on heads")
    assert set(found.focus) == {"WIDTH", "MATRIX_LR"} and not found.leave and found.weights["heads"] == SAID
    say("only attention")
    assert not found.focus and {topic for topic, weight in found.weights.items() if weight} == {"attention"}
