"""What models answer: any text is a proposal or an EditError, and never a partial edit."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from core import edits, knobs
from core.agents import formats
from core.agents.formats import TIERS, Tier
from core.edits import EditError
from core.model import Proposal
from core.proposer import realise
from tests.product import ROOT, TRAIN

SOURCE = (ROOT / "nanochat" / "train.py").read_text()


def parse(tier: Tier, text: str, source: str = TRAIN) -> Proposal | None:
    try:
        return formats.parse(tier, text, source)
    except EditError as error:
        assert str(error)
        return None


@given(st.sampled_from(TIERS), st.one_of(st.text(), st.binary().map(lambda b: b.decode("utf-8", "replace"))))
@example("edits", "{" * 5000)
@example("edits", '{"hypothesis": "x", "edits": [{"search": "", "replace": ""}]}')
@example("knob", '{"hypothesis": 1, "knob": [], "move": null}')
@example("blocks", "<<<<<<< SEARCH\n\n=======\n\n>>>>>>> REPLACE")
@example("edits", "<think>" * 100)
def test_any_text_is_a_proposal_or_a_reason(tier: Tier, text: str) -> None:
    parse(tier, text)


@given(st.integers(0, 300), st.sampled_from(TIERS))
def test_an_answer_that_was_cut_off_is_never_half_used(cut: int, tier: Tier) -> None:
    whole = {
        "knob": json.dumps({"hypothesis": "h", "knob": "LR", "move": "2"}),
        "edits": json.dumps({"hypothesis": "h", "edits": [{"search": "LR = 0.01 ", "replace": "LR = 0.02 "}]}),
        "blocks": "Why.\n<<<<<<< SEARCH\nLR = 0.01  # learning rate\n=======\nLR = 0.02  # learning rate\n>>>>>>> REPLACE\n",
    }[tier]
    found = parse(tier, whole[:cut])
    if cut < len(whole.rstrip()):
        assert found is None
    else:
        assert found is not None


@pytest.mark.parametrize(
    "text",
    [
        '{"hypothesis": "h", "edits": [{"search": "LR = 0.01 ", "replace": "LR = 0.02 "}]}',
        '```json\n{"hypothesis": "h", "edits": [{"search": "LR = 0.01 ", "replace": "LR = 0.02 "}]}\n```',
        'Sure! Here it is: {"hypothesis": "h", "edits": [{"search": "LR = 0.01 ", "replace": "LR = 0.02 "}], "more": 1} Good luck.',
        '<think>{"no": 1} hm</think>{"hypothesis": "h", "edits": [{"search": "LR = 0.01 ", "replace": "LR = 0.02 "}]}',
        'Such as {} or {"hypothesis": 1}: {"hypothesis": "h", "edits": [{"search": "LR = 0.01 ", "replace": "LR = 0.02 "}]} {}',
        '{"answer": {"hypothesis": "h", "edits": [{"search": "LR = 0.01 ", "replace": "LR = 0.02 ",},],}}',
        '{"hypothesis": "h", "edits": [{"search": "6: LR = 0.01  # learning rate", "replace": "6: LR = 0.02  # learning rate"}]}',
        '{"hypothesis": "h", "edits": [{"search": "\\r\\nLR = 0.01  # learning rate\\r\\n", "replace": "\\r\\nLR = 0.02  # learning rate\\r\\n"}]}',
    ],
)  # fmt: skip
def test_small_slips_do_not_matter(text: str) -> None:
    found = parse("edits", text)
    assert found is not None
    assert knobs.read(edits.apply(TRAIN, found.edits))[0].value == 0.02


ANSWERS: dict[Tier, list[str]] = {
    "knob": [
        '{"hypothesis": "h", "knob": "LR", "move": "2"}',
        'Here: ```json\n{"hypothesis": "close with </think> or [/THINK]", "knob": "BATCH", "move": "0.5"}\n``` {}',
    ],
    "edits": [
        '{"hypothesis": "h", "edits": [{"search": "LR = 0.01 ", "replace": "LR = 0.02 "}]}',
        '{"hypothesis": "<think>", "edits": [{"search": "LR = 0.01 ", "replace": "TAG = \'</think>\'\\nLR = 0.02 "}]}',
    ],
    "blocks": [
        "Why.\n<<<<<<< SEARCH\nLR = 0.01  # learning rate\n=======\nLR = 0.02\n>>>>>>> REPLACE\n",
        "<answer>```\n<<<<<<< SEARCH\nDECAY = 0.0 \n=======\nEND = '</think>'  # <think>\nDECAY = 0.1 \n>>>>>>> REPLACE\n```</answer>\n"
        "<<<<<<< SEARCH\nLR = 0.01  # learning rate\n=======\nLR = 0.02\n>>>>>>> REPLACE\n",
    ],
}  # fmt: skip
DRAFTS = st.one_of(
    st.text(max_size=30),
    st.lists(
        st.sampled_from(
            [
                '{"hypothesis": "draft", "knob": "LR", "move": "4"}',
                '{"hypothesis": "draft", "edits": [{"search": "LR = 0.01 ", "replace": "LR = 9 "}]}',
                "<<<<<<< SEARCH\nLR = 0.01  # learning rate\n=======\nLR = 9\n>>>>>>> REPLACE\n",
                "<<<<<<< SEARCH\nLR = 0.01 ", "=======\n", '{"hypothesis": "', "<think>", "</think>", "```json\n", "\\", '"', "\r\n",
                "<|channel|>final", "<|start|>assistant", "[THINK]", " No, that is wrong. ", "{}", "{", "<",
            ]
        ),
        max_size=6,
    ).map("".join),
)  # fmt: skip
THOUGHTS = (
    "<think>{}</think>", "{}</think>", "<Thinking>\n{}\n</Thinking>\n", "<thought>{}</thought>", "{}</ reasoning >", "[THINK]{}[/THINK]",
    "{}[/THINK]", "◁think▷{}◁/think▷", "<seed:think>{}</seed:think>", '<think budget="9">{}</think>', "{}</thought_process>",
    "<|channel|>analysis<|message|>{}<|end|><|start|>assistant<|channel|>final<|message|>",
    "{}<|end|><|start|>assistant<|channel|>final <|constrain|>json<|message|>", "{}<|end|><|start|>assistant<|message|>",
    "<|START_THINKING|>{}<|END_THINKING|>", "<|begin_of_thought|>{}<|end_of_thought|>", "<|channel>thought\n{}<channel|>",
    "analysisWe need a change. {} assistantfinal", "<think>{}</think>\n<think>again</think>", "<reflection>{}</reflection>",
)  # fmt: skip


@given(st.sampled_from([(tier, text) for tier in TIERS for text in ANSWERS[tier]]), st.sampled_from(THOUGHTS), DRAFTS)
@settings(max_examples=400)
def test_an_answer_is_the_same_after_any_thoughts(answer: tuple[Tier, str], form: str, draft: str) -> None:
    tier, text = answer
    alone = parse(tier, text)
    assert alone is not None and parse(tier, form.replace("{}", draft) + text) == alone


@pytest.mark.parametrize("form", THOUGHTS)
@pytest.mark.parametrize("tier", TIERS)
def test_thoughts_alone_are_no_answer(tier: Tier, form: str) -> None:
    opening = form.partition("{}")[0]
    for text in ANSWERS[tier]:
        assert parse(tier, form.replace("{}", text)) is None, "ended, and nothing follows"
        if opening.strip():
            assert parse(tier, opening + text) is None and formats.said(opening + text) == "", "not ended"


@pytest.mark.parametrize(
    "piece", ["{", '{"a":', '[{"a":[{},', "=======\n", "<<<<<<< SEARCH\n", "<", "< ", "</think>", "{},"]
)
def test_an_endless_answer_is_read_at_once(piece: str) -> None:
    text = "<<<<<<< SEARCH\n" + piece * (100_000 // len(piece))
    began = time.process_time()
    assert all(parse(tier, text) is None for tier in TIERS)
    assert time.process_time() - began < 5, "it would take minutes"


def test_blocks_with_a_hypothesis_before_them() -> None:
    found = parse(
        "blocks",
        "Hypothesis: a larger step.\n```\n<<<<<<< SEARCH\nLR = 0.01  # learning rate\n=======\nLR = 0.02\n>>>>>>> REPLACE\n```",
    )
    assert found is not None and found.hypothesis == "a larger step."
    assert "LR = 0.02\n" in edits.apply(TRAIN, found.edits)


@settings(max_examples=40)
@given(st.sampled_from([knob.name for knob in knobs.read(SOURCE)]), st.data())
def test_every_move_that_is_offered_gives_a_sound_train_py(name: str, data: st.DataObject) -> None:
    knob = next(k for k in knobs.read(SOURCE) if k.name == name)
    move = data.draw(st.sampled_from(formats.moves(knob)))
    found = formats.parse("knob", json.dumps({"hypothesis": "", "knob": name, "move": move}), SOURCE)
    assert found.source is not None
    moved = next(k for k in knobs.read(found.source) if k.name == name)
    assert moved.value != knob.value and type(moved.value) is type(knob.value)
    large = isinstance(knob.value, int) and knob.value > 2
    assert not (large and knobs.is_power_of_two(knob.value)) or knobs.is_power_of_two(moved.value)


def test_the_schema_leaves_out_what_is_off_limits() -> None:
    schema = formats.schema("knob", TRAIN, ("LR",))
    assert schema is not None and formats.schema("blocks", TRAIN) is None
    offered = {
        choice["properties"]["knob"]["const"]: choice["properties"]["move"]["enum"] for choice in schema["anyOf"]
    }
    assert set(offered) == {"DECAY", "BATCH"} and all(offered.values())


@pytest.mark.parametrize(
    ("knob", "move"), [("LR", "1e15"), ("LR", "-1"), ("LR", "nan"), ("NOPE", "2"), ("BATCH", "inf")]
)
def test_nonsense_is_refused_with_what_would_do(knob: str, move: str) -> None:
    with pytest.raises(EditError, match=r"by one of|There are"):
        formats.parse("knob", json.dumps({"hypothesis": "", "knob": knob, "move": move}), TRAIN)


LINES = [line for line in TRAIN.splitlines() if line.strip() and TRAIN.count(line) == 1]
SLIPS = st.sampled_from(
    [
        "",
        "\t",
        "\r\n",
        "\r",
        "\u00a0",
        "\u2028",
        "\u200b",
        "\ufeff",
        "\x00",
        "```",
        "```json\n",
        "\n",
        "=======",
        "\ud800",
    ]
)
LOOK_ALIKES = str.maketrans(
    {"0": "\uff10", "=": "\uff1d", "L": "\u216c", " ": "\u00a0", "-": "\u2212", '"': "\u201c", "a": "\u0430"}
)


@st.composite
def answers(draw: st.DrawFn) -> tuple[Tier, str]:
    """A proper answer with what models do to one: tabs, look-alikes, fences, CRLF, an end that is missing, bytes that are no text."""
    tier = draw(st.sampled_from(TIERS))
    search, slip = draw(st.sampled_from(LINES)), draw(SLIPS)
    replace = draw(st.sampled_from(["LR = 0.02", "", "x" * 50, search.replace("    ", "\t"), f"{slip}pass{slip}"]))
    for mangle in draw(st.lists(st.sampled_from(["tabs", "look-alikes", "ends", "blank"]), max_size=2)):
        search = {
            "tabs": search.replace("    ", "\t"), "look-alikes": search.translate(LOOK_ALIKES), "ends": slip + search + slip, "blank": search.strip(),
        }[mangle]  # fmt: skip
    edits_ = [
        {"search": search, "replace": replace},
        {"search": draw(st.sampled_from(LINES)), "replace": draw(st.text(max_size=9))},
    ]
    text = {
        "knob": json.dumps(
            {
                "hypothesis": slip,
                "knob": draw(st.sampled_from(["LR", "BATCH", search])),
                "move": draw(st.sampled_from(["2", slip, "True"])),
            }
        ),
        "edits": json.dumps(
            {"hypothesis": slip, "edits": edits_[: draw(st.integers(0, 2))]}, ensure_ascii=draw(st.booleans())
        ),
        "blocks": f"Why.{slip}\n<<<<<<< SEARCH\n{search}\n=======\n{replace}\n>>>>>>> REPLACE\n",
    }[tier]
    text = draw(st.sampled_from([text, text.replace("\n", "\r\n"), f"```json\n{text}\n```", text + slip, slip + text]))
    text = text[: draw(st.integers(0, len(text)))] if draw(st.booleans()) else text
    spoilt = draw(st.binary(max_size=4))
    return tier, text + spoilt.decode("utf-8", "replace") if draw(st.booleans()) else text


@given(answers())
@settings(max_examples=300)
def test_a_spoilt_answer_is_a_whole_proposal_or_an_edit_error(given_: tuple[Tier, str]) -> None:
    tier, text = given_
    try:
        found = formats.parse(tier, text, TRAIN)
    except EditError as error:
        assert str(error)
        return
    whole = realise(TRAIN, found)  # every edit applies, on the very source, or there is no proposal
    assert isinstance(whole, str) and (found.source is not None or len(found.edits) >= 1)
    assert not any(ord(c) < 32 for c in found.hypothesis)
    try:
        edits.gate(TRAIN, whole)
    except EditError as error:
        assert str(error)


def test_the_second_edit_fails_and_nothing_is_used_of_the_first() -> None:
    both = [{"search": "LR = 0.01 ", "replace": "LR = 0.02 "}, {"search": "LR = 0.\uff101 ", "replace": "LR = 1 "}]
    with pytest.raises(EditError, match=r"edit 2 is not in train\.py"):
        formats.parse("edits", json.dumps({"hypothesis": "h", "edits": both}), TRAIN)


@pytest.mark.parametrize(
    ("limits", "charter", "words"),
    [
        ({"max_params": 60_000_000, "off_limits": ["WIDTH"]}, "Low.", "max_params: 60000000; off_limits: [WIDTH]"),
        ({"max_memory_gb": 7.5}, "Low.", "max_memory_gb: 7.5"),
        ({"max_params": 5, "off_limits": ["WIDTH"]}, "---\nmax_params: 9\noff_limits: WIDTH\n---\nLow.", ""),
        ({"max_params": True, "max_memory_gb": -1, "off_limits": ["rm -rf", 3]}, "Low.", ""),
        ("no more", "Low.", ""), ([], "---\nbroken", ""),
    ],
)  # fmt: skip
def test_limits_that_a_model_found_are_proposed_and_not_checked(limits: object, charter: str, words: str) -> None:
    found = formats.understanding(
        json.dumps({"goals": ["low"], "directions": [], "avoid": [], "limits": limits}), charter
    )
    assert found[0] == "goals: low" and len(found) == 1 + bool(words)
    assert not words or (found[1].startswith(f"proposed limits, not checked: {words}") and "front matter" in found[1])


def test_what_a_small_model_stammers_is_no_understanding() -> None:
    link = "read https://github.com/karpathy/autoresearch/blob/master/program.md#what-you-can-do-and-what-not first"
    answer = {
        "goals": ["Goals:", "low val_bpb", "low val_bpb", "10000000000000 tokens"], "avoid": ["limits", "max_params."],
        "directions": ["max_" + "sparse_" * 20, "尽量降低验证集每字节比特数" * 2, link],
    }  # fmt: skip
    assert formats.understanding(json.dumps(answer)) == (
        "goals: low val_bpb; 10000000000000 tokens", f"directions: {'尽量降低验证集每字节比特数' * 2}; {link}",
    )  # fmt: skip
