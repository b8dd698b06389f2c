"""program.md: limits that are checked, topics that are weighed, sentences about both."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.charter import TOPICS, Charter, CharterError, read, with_said
from core.ideas import names


def test_limits_come_from_the_front_matter() -> None:
    found = read("---\nmax_params: 60000000\nmax_memory_gb: 20\noff_limits: [LR, GPT.forward]\n---\n# Aim\nLow.\n")
    assert (found.max_params, found.max_memory_gb, found.off_limits) == (60_000_000, 20.0, ("LR", "GPT.forward"))
    assert any("max_params" in words for words in found.understood)


def test_prose_gives_and_takes_weight() -> None:
    found = read(
        "# Aim\nLow val_bpb.\n\nFocus on the schedule.\nAvoid changes of the optimizer.\nThe activation may change.\n"
    )
    assert found.weights["schedule"] > found.weights["activation"] > found.weights["heads"] == 1.0
    assert found.weights["optimizer"] == 0.0
    assert "directions: activation, schedule" in found.understood and "avoid: optimizer" in found.understood


def test_a_section_called_avoid_counts_for_its_lines() -> None:
    found = read("# Worth trying\n- attention\n\n# Avoid\n- dropout and weight decay\n")
    assert found.weights["attention"] > 1 and found.weights["regularisation"] == 0.0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "empty"),
        ("  \n\n", "empty"),
        ("---\nmax_params: 3\n", "never closes"),
        ("---\nmax_params: [1\n---\n", "front matter"),
        ("---\n- a\n---\n", "lines like"),
        ("---\nmax_params: many\n---\nx", "max_params"),
        ("---\nmax_params: -5\n---\nx", "max_params"),
        ("---\nmax_memory_gb: .inf\n---\nx", "max_memory_gb"),
        ("---\noff_limits: LR\n---\nx", "off_limits"),
    ],
)
def test_what_cannot_be_used_is_a_sentence(text: str, words: str) -> None:
    with pytest.raises(CharterError, match=words):
        read(text)


def test_a_date_that_does_not_exist_is_a_sentence_too() -> None:
    with pytest.raises(CharterError, match="front matter"):
        read("---\ndeadline: 2026-02-30\n---\n")


def test_a_pasted_block_is_read_in_no_time_and_its_code_says_nothing() -> None:
    block = "leave the what as it keep the is alone from " * 2000
    began = time.process_time()
    read(f"# Aim\n\n{block}\n\n```python\nDo not touch WIDTH.\n```\n", ("WIDTH",))
    assert time.process_time() - began < 5.0
    assert not read("```\nDo not touch WIDTH.\n```\n", ("WIDTH",)).off_limits
    for text in ("Do not touch WIDTH.\n", "```DEPTH``` is what I care about.\n\nDo not touch WIDTH.\n"):
        assert read(text, ("WIDTH",)).off_limits == ("WIDTH",)
    many = [f"NAME_{number:03d}" for number in range(200)]
    assert read(f"Do not touch {', '.join(many)}.\n", many).off_limits == tuple(many)


def test_unknown_keys_are_reported_not_refused() -> None:
    assert "max_speed" in read("---\nmax_speed: 3\n---\nx").ignored[0]


@given(st.text())
def test_arbitrary_text_never_crashes(text: str) -> None:
    try:
        found = read(text)
    except CharterError as error:
        assert str(error)
    else:
        assert isinstance(found, Charter) and set(found.weights) == set(TOPICS)


def test_the_shipped_charter_is_understood() -> None:
    found = read((Path(__file__).resolve().parents[2] / "program.md").read_text())
    assert found.understood and not found.ignored and found.weights["schedule"] > 1


@pytest.mark.parametrize(
    ("text", "params", "memory"),
    [
        ("Avoid more than 60M parameters.", 60_000_000, None),
        ("Use at most 1,500,000 params and no more than 8 GB of memory.", 1_500_000, 8.0),
        ("Stay under 1.5 billion parameters, below 20GB VRAM.", 1_500_000_000, 20.0),
        ("Parameters are cheap. Memory too.", None, None),
        ("Never use more than 3 GB.", None, 3.0),
        ("At most 3 GB of disk.", None, None),
        ("The dataset is at most 2 GB.", None, None),
        ("Checkpoints may use up to 5 GB.", None, None),
        ("Never write to disk more than 3 GB.", None, None),
        ("The swap is at most 16 GB.", None, None),
        ("---\nmax_params: 5\n---\nAt most 60M parameters.", 5, None),
        ("At most 0 parameters.", None, None),
        ("It must not exceed 60M parameters.", 60_000_000, None),
        ("Never use a model with more\nthan 5M parameters.", 5_000_000, None),
        ("At most 1.000.000 parameters.", 1_000_000, None),
        ("Up to 1,5 million parameters.", 1_500_000, None),
        ("At most 1_000_000 parameters.", 1_000_000, None),
        # a floor, a direction, a question, or a figure that is none: no limit
        ("Try models with more than 2 million parameters.", None, None),
        ("A model over 2M parameters may win.", None, None),
        ("Do not be afraid of more than 2M parameters.", None, None),
        ("Do not go below 1M parameters.", None, None),
        ("Models under 2M parameters were good before, stay above 10M parameters.", None, None),
        ("Explore above 10M parameters.", None, None),
        ("More than 8 GB of memory is fine.", None, None),
        ("Why not more than 2M parameters?", None, None),
        ("No fewer than 2M parameters.", None, None),
        ("At most 1.0.0 parameters.", None, None),
        (f"At most {'9' * 400} parameters.", None, None),
    ],
)
def test_limits_in_a_sentence_are_checked_too(text: str, params: int | None, memory: float | None) -> None:
    found = read(text)
    assert (found.max_params, found.max_memory_gb) == (params, memory)


def test_a_figure_that_cannot_be_read_is_said() -> None:
    (words,) = read("At most 1.0.0 parameters.").ignored
    assert "1.0.0 parameters" in words and "cannot be read" in words


@given(st.sampled_from(["at most", "under", "more than", "not above"]), st.text("0123456789.,_' kKmMB", max_size=30))
def test_no_figure_crashes(bound: str, figure: str) -> None:
    found = read(f"Stay {bound} {figure} parameters and {bound} {figure} GB of memory.")
    assert found.max_params is None or found.max_params >= 0


KNOWN = names((Path(__file__).resolve().parents[2] / "nanochat" / "train.py").read_text())


@pytest.mark.parametrize(
    ("text", "off_limits"),
    [
        ("Do not touch WIDTH.", ("WIDTH",)),
        ("leave WIDTH alone", ("WIDTH",)),
        ("Leave WIDTH and DEPTH as they are; tune MATRIX_LR.", ("WIDTH", "DEPTH")),
        ("Do not change WIDTH, DEPTH\nor HEAD_DIM but tune MATRIX_LR.", ("WIDTH", "DEPTH", "HEAD_DIM")),
        ("Never change `schedule` or `GPT.forward()`.", ("schedule", "GPT.forward")),
        ("SEQ_LEN must not be changed.", ("SEQ_LEN",)),
        ("BATCH_SIZE and TOTAL_BATCH are off limits.", ("BATCH_SIZE", "TOTAL_BATCH")),
        ("Keep HEAD_DIM fixed, but move MATRIX_LR.", ("HEAD_DIM",)),
        ("---\noff_limits: [SMEAR]\n---\nDo not touch WIDTH.", ("SMEAR", "WIDTH")),
        # a condition, a plain word, a name that train.py has not, the contrary
        ("Do not touch WIDTH unless you must.", ()),
        ("Do not change the schedule too much.", ()),
        ("Don't change the schedule.", ()),
        ("Do not touch NOPE_THERE.", ()),
        ("Change WIDTH.", ()),
    ],
)
def test_names_that_prose_puts_off_limits(text: str, off_limits: tuple[str, ...]) -> None:
    assert read(text, KNOWN).off_limits == off_limits
    assert not off_limits or any(
        "off_limits" in words and off_limits[0] in words for words in read(text, KNOWN).understood
    )


def test_the_budget_is_said_to_stand_elsewhere() -> None:
    assert any("--budget" in words for words in read("---\nmax_seconds: 60\n---\nLow.").understood)


@pytest.mark.parametrize(
    ("text", "said"),
    [("Lowest loss within the training budget.", False), ("Five experiments of 5 minutes each.", True), ("---\nmax_seconds: 60\n---\nx", True)],
)  # fmt: skip
def test_times_in_figures_are_said_to_be_no_limits(text: str, said: bool) -> None:
    assert any("--budget" in words for words in read(text).understood) is said


def test_prose_that_no_rule_knows_is_named() -> None:
    text = "# Aim\nLow val_bpb.\n\n- Be brave,\n  like a lion.\n- The schedule matters.\nDo not touch WIDTH. At most 5M parameters."
    found = read(text, KNOWN)
    assert found.unread == ("Be brave, like a lion.",)
    assert "ignored" in found.said()[-1] and "“Be brave, like a lion.”" in found.said()[-1]
    assert found.said(("goals: courage",))[-1] == "goals: courage" and not any("lion" in w for w in found.said(("x",)))


@pytest.mark.parametrize(
    ("text", "unread"),
    [
        ("1. Be brave.\n2. Be kind.", ("Be brave.", "Be kind.")),
        ("Never go over 5M weights; only good ideas.", ()),
        ("Keep it under 8 GB of memory; do not mind the heat.", ()),
        ("Aim\n===\n\nBe bold, e.g. try odd things. And rest.", ("Be bold, e.g. try odd things.", "And rest.")),
        ("```\nbe brave\n```\nIdeas:\n\n<!-- be brave -->\n\n| be | brave |\n| --- | --- |\n| a b | c d |\n", ()),
        ("---\noff_limits: ['']\n---\nBe brave.", ("Be brave.",)),
        ("Be brave. Rest at night. Ideas:", ("Be brave.", "Rest at night.")),
    ],
)
def test_only_sentences_are_called_unread(text: str, unread: tuple[str, ...]) -> None:
    assert read(text, KNOWN).unread == unread


def test_of_much_unread_prose_the_last_is_quoted_and_the_rest_counted() -> None:
    (words,) = read(" ".join(f"Be brave {n}{' and so on' * 20}." for n in range(9))).said()
    assert words.count("“") == 2 and words.endswith("and 7 more") and len(words) < 200


def test_of_the_shipped_charter_little_is_unread() -> None:
    text = (Path(__file__).resolve().parents[2] / "program.md").read_text()
    assert 0 < len(read(text, KNOWN).unread) <= 5


@pytest.mark.parametrize(
    ("text", "focus", "leave", "off_limits"),
    [
        ("Please try something with SEQ_LEN, not DEPTH.", {"SEQ_LEN": ""}, (), ()),
        ("no DEPTH please, try WIDTH", {"WIDTH": ""}, ("DEPTH",), ()),
        ("Try WIDTH, DEPTH and SEQ_LEN.", {"WIDTH": "", "DEPTH": "", "SEQ_LEN": ""}, (), ()),
        ("Try WIDTH, then DEPTH.", {"WIDTH": "", "DEPTH": ""}, (), ()),
        ("Explore WIDTH but leave DEPTH alone.", {"WIDTH": ""}, (), ("DEPTH",)),
        ("Look at MATRIX_LR rather than EMBED_LR.", {"MATRIX_LR": ""}, (), ()),
        ("Please try a lower MATRIX_LR.", {"MATRIX_LR": "down"}, (), ()),
        ("Try raising `EMBED_LR` to a higher value.", {"EMBED_LR": "up"}, (), ()),
        ("Do not try WIDTH. Avoid DEPTH changes.", {}, ("WIDTH", "DEPTH"), ()),
        ("# Leave alone\n\n- DEPTH\n- WIDTH", {}, ("DEPTH", "WIDTH"), ()),
        ("# Worth trying\n\n- DEPTH", {"DEPTH": ""}, (), ()),
        ("Try DEPTH. Do not touch DEPTH.", {}, (), ("DEPTH",)),
        # neither a wish nor a ban
        ("# Worth trying\n\n- The activation of the MLP.", {}, (), ()),
        ("No WINDOW_PATTERN has been tried yet.", {}, (), ()),
        ("There is no DEPTH limit.", {}, (), ()),
        ("SOFTCAP is 0, i.e. no SOFTCAP; consider 15.", {}, (), ()),
        ("Runs with no WARM_UP diverge, so raise WARM_UP.", {}, (), ()),
        ("Try anything except WIDTH.", {}, (), ()),
        ("Try anything other than WIDTH.", {}, (), ()),
        ("I did try WIDTH, and it failed.", {}, (), ()),
    ],
)
def test_what_to_try_and_what_not_are_told_apart(
    text: str, focus: dict[str, str], leave: tuple[str, ...], off_limits: tuple[str, ...]
) -> None:
    found = read(text, KNOWN)
    assert (found.focus, found.leave, found.off_limits) == (focus, leave, off_limits)


def test_a_limit_or_a_name_in_a_sentence_leaves_its_topic() -> None:
    assert read("Focus on attention, with at most 60M parameters.", KNOWN).weights["attention"] > 1
    assert read("Use at most 8 GB of memory and avoid the optimizer.", KNOWN).weights["optimizer"] == 0
    assert read("Try normalisation variants in `norm`.", KNOWN).weights["normalisation"] > 1


def test_a_name_or_a_limit_says_nothing_of_its_topic() -> None:
    found = read("Do not touch DEPTH. Avoid more than 900k parameters.", KNOWN)
    assert found.weights["size"] == 1.0 and found.off_limits == ("DEPTH",) and found.max_params == 900_000


def test_names_off_limits_that_are_not_there_are_said() -> None:
    found = read("---\noff_limits: [NOSUCHKNOB, DEPTH]\n---\nLow val_bpb.", KNOWN)
    assert [words for words in found.ignored if "NOSUCHKNOB" in words] and not any("DEPTH" in w for w in found.ignored)
    assert not read("---\noff_limits: [NOSUCHKNOB]\n---\nLow val_bpb.").ignored, "without train.py nobody knows"


def test_what_is_said_later_counts_more_and_has_no_front_matter() -> None:
    written = "---\noff_limits: [LR]\n---\n# Aim\nTry attention and schedules.\n"
    found = with_said(written, "--- focus on schedules", ("LR",))
    assert found.off_limits == ("LR",) and found.weights["schedule"] > found.weights["attention"] > 1
    assert with_said(written, " ", ("LR",)) == read(written, ("LR",))
    assert with_said(written, "---\nAt most 5 parameters", ("LR",)).max_params is None
