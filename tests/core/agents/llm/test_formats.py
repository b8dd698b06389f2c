"""What models answer: any text is a proposal or an EditError, and never a partial edit."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from core.agents.llm import formats
from core.agents.llm.formats import TIERS, Tier
from core.change import edits, knobs
from core.change.edits import EditError
from core.loop.proposals import realise
from tests.core.agents.llm.written import LOWER, RAISE, parse
from tests.product import TRAIN


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
def test_a_draft_in_thoughts_counts_only_as_the_last_word(tier: Tier, form: str) -> None:
    opening = form.partition("{}")[0]
    for text in ANSWERS[tier]:
        rejected = f"{text}\nNo, that diverges.\n"
        assert parse(tier, form.replace("{}", rejected)) is None, "ended, and nothing follows"
        assert formats.after_thoughts(form.replace("{}", rejected)) == ""
        if opening.strip():
            assert parse(tier, opening + rejected) is None and formats.after_thoughts(opening + rejected) == "", (
                "not ended"
            )
            whole, alone = parse(tier, opening + text), parse(tier, text)
            assert whole and alone and realise(TRAIN, whole) == realise(TRAIN, alone), "the answer is not marked as one"
            assert formats.after_thoughts(opening + text)


UNKNOWN = (  # ways to mark thoughts that nobody has told us of
    "Thinking...\n{}\n...done thinking.\n\n", "<plan>{}</plan>\n", "**Thinking:**\n{}\n**Answer:**\n", "<draft>\n{}</draft>\n",
    "<|im_start|>think\n{}<|im_end|>\n<|im_start|>answer\n", "<think>{}<|im_end|>\n<|im_start|>assistant\n", "```thinking\n{}```\n",
    "```thoughts\n{}```\n```python\n", "First idea:\n{}That was rejected last night. Instead:\n", "‹think›{}‹/think›\n", "《思考》{}《/思考》\n",
    "<start_of_thought>{}<end_of_thought>", "<｜begin▁of▁thinking｜>{}<｜end▁of▁thinking｜>\n", "＜think＞{}＜/think＞\n", "<think>{}<\\/think>",
    "<brainstorm>{}</brainstorm>\n<answer>\n", "{}Edit 1 was rejected in experiment 12. Instead:\n", "{}Final answer:\n", "思考：{}\n回答：\n",
    "{}\nHmm, no.\n", "<details><summary>Thinking</summary>{}</details>\n", "&lt;think&gt;{}&lt;/think&gt;\n", "{}<answer>\n", "[PLAN]{}[/PLAN]\n",
    "<r1>{}</r1>\n", "<plan>{}</plan>\n<edit>", "<|start_header_id|>reasoning<|end_header_id|>\n{}<|eot_id|>\n", "<endthink>\n{}</ THINK>\n",
)  # fmt: skip


@pytest.mark.parametrize("form", UNKNOWN)
def test_draft_and_answer_are_never_both_applied(form: str) -> None:
    found = parse("blocks", form.replace("{}", LOWER) + RAISE)
    assert found is not None and realise(TRAIN, found) == TRAIN.replace("LR = 0.01  # learning rate", "LR = 0.02")
    assert "DECAY" not in found.hypothesis
    for tier in ("edits", "knob"):
        answer = ANSWERS[tier][0]
        draft = answer.replace("0.02", "9").replace('"2"', '"4"')
        assert parse(tier, form.replace("{}", f"Perhaps\n{draft}\nNo.") + answer) == parse(tier, answer)


@pytest.mark.parametrize(
    "form",
    [
        "Here is the answer {}. I closed </think> before.", "I closed </think> before. {} Good luck.", "The <think> tag is not used. {} Good luck.",
        "{}\nThe <think> tag is not used", "Using <reason> {}", "I fix it for a <reason>: {} Good luck.", "Note: `</think>` is left out.\n{}",
        "{}\nNote: I kept the `</think>` tag out, and \"<think>\" too.", "{}\nThat's </reasoning>", "<think>hm</think>{}<think>check",
        "<think>hm</think>{}<think>check</think>", "{}</think>", "{}\n\n</think>\n\n", "<think>{}", "<think>\n{}\n</think>", "{}<|end|>",
        "The analysis: <analysis> tags... {}", "<think>I must not write </think> early.</think>{}", "{} (with no <end_of_thought>.)",
    ],
)  # fmt: skip
@pytest.mark.parametrize("tier", TIERS)
def test_a_mark_in_prose_does_not_refuse_a_whole_answer(tier: Tier, form: str) -> None:
    answer = ANSWERS[tier][0].removeprefix("Why.\n")
    found, alone = parse(tier, form.replace("{}", answer)), parse(tier, answer)
    assert found and alone and realise(TRAIN, found) == realise(TRAIN, alone)
    assert answer.strip() in formats.after_thoughts(form.replace("{}", answer))


TEMPLATES: dict[Tier, list[str]] = {
    "knob": ['{"hypothesis": "...", "knob": "NAME", "move": "..."}', '{"hypothesis": "why", "knob": "the constant", "move": 2}'],
    "edits": [
        '{"hypothesis": "...", "edits": [{"search": "...", "replace": "..."}]}', '{"hypothesis": "...", "edits": [...]}',
        '{"hypothesis": "q", "edits": []}', '{"hypothesis": "why", "edits": [{"search": "old lines", "replace": "new lines"}]}',
        '{"hypothesis": "why", "edits": "..."}',
    ],
    "blocks": ["<<<<<<< SEARCH\n...\n=======\n...\n>>>>>>> REPLACE\n", "<<<<<<< SEARCH\nold lines\n=======\nnew lines\n>>>>>>> REPLACE\n"],
}  # fmt: skip


@pytest.mark.parametrize(("tier", "template"), [(tier, text) for tier in TIERS for text in TEMPLATES[tier]])
def test_a_template_behind_the_answer_is_passed_over(tier: Tier, template: str) -> None:
    answer = ANSWERS[tier][0]
    for source in (TRAIN, TRAIN.replace("import torch\n", "import torch\nhints = ...\n", 1)):
        found = parse(tier, f"{answer}\n(The form was this one: \n{template}\n)", source)
        assert found == parse(tier, answer, source) and found is not None


@pytest.mark.parametrize(
    "intro", ["I also considered", "Rejected draft:\n", "I chose this rather than", "An alternative:"]
)
@pytest.mark.parametrize("tier", TIERS)
def test_what_was_only_considered_is_not_the_answer(tier: Tier, intro: str) -> None:
    answer, other = ANSWERS[tier][0], ANSWERS[tier][0].replace("0.02", "9").replace('"2"', '"4"')
    assert parse(tier, f"{answer}\n{intro} {other.removeprefix('Why.')}") == parse(tier, answer)


@pytest.mark.parametrize("form", [*THOUGHTS, *UNKNOWN])
@pytest.mark.parametrize("tier", TIERS)
def test_a_draft_never_wins_over_the_answer_behind_it(tier: Tier, form: str) -> None:
    """Also where that is cut off, or does not apply."""
    answer = ANSWERS[tier][0]
    draft = answer.replace("0.02", "9").replace('"2"', '"4"')
    slip = {"knob": '"move": "none"', "edits": "LR = 0.011 ", "blocks": "LR = 0.011 "}[tier]
    malformed = answer.replace('"2"', "2").replace("[", "").replace("]", "") if tier != "blocks" else answer[:-9]
    slipped = answer.replace('"move": "2"', slip).replace("LR = 0.01 ", slip)
    for broken in (slipped, malformed, answer.rstrip()[:-6]):
        assert parse(tier, form.replace("{}", f"{draft}\n") + broken) is None


ENDLESS = [  # (begin, piece)
    *((RAISE[:15], piece) for piece in ("{", '{"a":', '[{"a":[{},', "=======\n", "<<<<<<< SEARCH\n", "<", "< ", "</think>", "{},")),
    ('{"hypothesis": "', '\\"'), ("", "<<<<<<< SEARCH"), ("", '",'), ("", "<think "), ("", "[ "), (RAISE, "1."), (RAISE, "**"), ("", RAISE),
    ("", '{"hypothesis":"h","edits":[]}'), ("", '{"hypothesis":"h","knob":"LR","move":"x"}'), ("", ", "), (RAISE, "<x "), ("", "```x "),
]  # fmt: skip


@pytest.mark.parametrize(("begin", "piece"), ENDLESS)
def test_an_endless_answer_is_read_at_once(begin: str, piece: str) -> None:
    """In time that grows with its length: ten times the length would take a hundred times as long otherwise."""
    text = begin + piece * (50_000 // len(piece))
    began = time.process_time()
    for tier in TIERS:
        parse(tier, text)
    formats.after_thoughts(text)
    assert time.process_time() - began < 5, "it would take minutes"


def test_the_schema_leaves_out_what_is_off_limits() -> None:
    schema = formats.schema("knob", TRAIN, ("LR",))
    assert schema is not None and formats.schema("blocks", TRAIN) is None
    offered = {
        choice["properties"]["knob"]["const"]: choice["properties"]["move"]["enum"] for choice in schema["anyOf"]
    }
    assert set(offered) == {"DECAY", "BATCH"} and all(offered.values())


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
        edits.validate_change(TRAIN, whole)
    except EditError as error:
        assert str(error)


def test_the_second_edit_fails_and_nothing_is_used_of_the_first() -> None:
    both = [{"search": "LR = 0.01 ", "replace": "LR = 0.02 "}, {"search": "LR = 0.\uff101 ", "replace": "LR = 1 "}]
    with pytest.raises(EditError, match=r"edit 2 is not in train\.py"):
        formats.parse("edits", json.dumps({"hypothesis": "h", "edits": both}), TRAIN)
