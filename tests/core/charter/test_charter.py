"""program.md: its front matter binds, its prose proposes, and whatever looks like a limit is one of the two or mentioned."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from core.change.touched import names
from core.charter import Charter, CharterError, Proposed, read
from core.charter.front_matter import KEYS
from core.model import CharterLimits

ROOT = Path(__file__).resolve().parents[3]
KNOWN = names((ROOT / "nanochat" / "train.py").read_text())
NONE = CharterLimits()


@pytest.mark.parametrize(
    "text",
    [
        "Models of up to 50k parameters have been tried before; go larger.",
        "Never change LR and BATCH at the same time.",
        "It is wrong to leave WIDTH unchanged.",
        "Avoid more than 60M parameters.",
        "At most 8 GB of memory.",
        "Do not touch WIDTH.",
        "# Leave alone\n\n- DEPTH",
        "Low.\n\n---\nmax_params: 5\n---\n",
        "```\n---\nmax_params: 5\n---\n```\n",
        "<!--\n---\nmax_params: 5\n---\n-->\nLow.",
        "max_params: 5",
    ],
)
def test_nothing_but_front_matter_binds(text: str) -> None:
    assert read(text, KNOWN).limits == NONE


@pytest.mark.parametrize(
    "text",
    [
        "---\n{}\n---\nLow.\n",
        "\n\n---\n{}\n---\nLow.\n",
        "\ufeff---\n{}\n---\nLow.\n",
        "---\r\n{}\r\n---\r\nLow.\r\n",
        "---  \t\n{}\n---   \nLow.\n",
        "---\n{}\n...\nLow.\n",
        "<!-- a note -->\n---\n{}\n---\nLow.\n",
        "\ufeff \n<!-- a\n---\nnote -->  \n\n<!-- and another -->\n---\n{}\n---\nLow.\n",
        "---\n# a comment\n{} # five\n\n---",
        " ---\n{}\n ---\nLow.\n",
        "---\r{}\r---\rLow.\r",
        "---\n# 日本\n{}\n---\nA form\x0cfeed.",
    ],
)
def test_what_stands_first_is_front_matter(text: str) -> None:
    found = read(text.replace("{}", "max_params: 5"))
    assert found.max_params == 5 and "max_params 5 (enforced)" in found.understood() and not found.proposed


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("# Aim\n\n---\nmax_params: 5\n---\nLow.", "looks like front matter but stands at line 3: not used"),
        ("Low.\n---\nnote: 5\n...\n", "looks like front matter but stands at line 2: not used"),
        ("<!-- a --> b\n---\noff_limits: [A]\n---\nLow.", "stands at line 2: not used"),
        ("<!-- never closed\n---\nmax_params: 5\n---\n", ""),
        ("```yaml\nmax_params: 5\n```\n", "“max_params: 5” in line 2 stands outside"),
        ("+++\nmax_params = 5\n+++\nLow.", "“max_params = 5” in line 2 stands outside"),
        ("----\nmax_params: 5\n----\nLow.", "“max_params: 5” in line 2 stands outside"),
        ("    ---\n    max_params: 5\n    ---\nLow.", "stands outside"),
        ('{"max_params": 5}', "in line 1 stands outside"),
        ("**max_params**: 5", "in line 1 stands outside"),
        ("| key | value |\n| --- | --- |\n| max_params | 5 |", "in line 3 stands outside"),
        ("--- # limits\nmax_params: 5\n---\n", "in line 2 stands outside"),
        ("- **note**\n- off-limits: WIDTH\n", "“- off-limits: WIDTH” in line 2"),
        ("---\nmax_params: 5\n---\nLow.\n\nMax memory GB: 3\n", "“Max memory GB: 3” in line 6"),
        ("Low.\n\n---\n\nMore.\n\n---\n\nMost.", ""),
        ("Low.\n\n---\nMore.\n---\nMost.", ""),
        ("Low.\n***\nThe aim: everything\n***", ""),
    ],
)
def test_what_looks_like_front_matter_elsewhere_is_mentioned(text: str, words: str) -> None:
    found = read(text).warnings
    assert (len(found) == 1 and words in found[0]) if words else not found


@pytest.mark.parametrize(
    ("value", "count"),
    [
        ("60000000", 60_000_000), ("60M", 60_000_000), ("60 m", 60_000_000), ("60_000_000", 60_000_000),
        ("60,000,000", 60_000_000), ("1.500.000", 1_500_000), ("1.5 million", 1_500_000), ("1,5M", 1_500_000),
        ("60 000 000", 60_000_000), ("'60M'", 60_000_000), ("6e7", 60_000_000), ("900k parameters", 900_000),
        ("60.1M", 60_100_000), ("1,500", 1500), ("010", 10),
    ],
)  # fmt: skip
def test_numbers_of_parameters_are_read_as_people_write_them(value: str, count: int) -> None:
    assert read(f"---\nmax_params: {value}\n---\nLow.").max_params == count


@pytest.mark.parametrize(
    ("value", "size"),
    [("8", 8.0), ("8GB", 8.0), ("8.5 GB", 8.5), ("8,5", 8.5), ("500 MB", 0.5), ("1GiB", 1.073741824), ("0x", None), ("8 GB of memory", 8.0)],
)  # fmt: skip
def test_memory_is_read_as_people_write_it(value: str, size: float | None) -> None:
    text = f"---\nmax_memory_gb: {value}\n---\nLow."
    if size is None:
        with pytest.raises(CharterError, match="max_memory_gb must be a number above 0, such as 8 or 8GB, not '0x'"):
            read(text)
    else:
        assert read(text).max_memory_gb == pytest.approx(size, rel=1e-12)


@pytest.mark.parametrize(
    ("value", "off_limits"),
    [
        ("WIDTH", ("WIDTH",)),
        ("WIDTH, DEPTH", ("WIDTH", "DEPTH")),
        ("[WIDTH, GPT.forward()]", ("WIDTH", "GPT.forward")),
        ("\n- WIDTH\n- DEPTH # too", ("WIDTH", "DEPTH")),
        ("['WIDTH', WIDTH]", ("WIDTH",)),
        ("[]", ()),
        ("", ()),
        ("~", ()),
    ],
)
def test_one_name_or_several(value: str, off_limits: tuple[str, ...]) -> None:
    assert read(f"---\noff_limits: {value}\n---\nLow.", KNOWN).off_limits == off_limits


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "empty"),
        ("\ufeff  \n\n", "empty"),
        ("---\nmax_params: 3\n", "opens with --- in line 1 and never closes"),
        ("\n<!-- a -->\n---\nmax_params: 3\n", "opens with --- in line 3"),
        ("---\n# Aim\nLow.\n---\nMore.", r"must be lines like .* write \*\*\*"),
        ("---\nmax_params: [1\n---\n", r"not valid YAML \(line 3\)"),
        ("---\n- a\n---\n", "lines like"),
        ("---\nmax_params: -5\n---\nx", "max_params must be a whole number above 0"),
        ("---\nmax_params: 0\n---\nx", "not '0'"),
        ("---\nmax_params: 1.5\n---\nx", "whole number"),
        ("---\nmax_params: true\n---\nx", "not 'true'"),
        (f"---\nmax_params: {'9' * 400}\n---\nx", "whole number"),
        ("---\nmax_params: 1:30\n---\nx", "whole number"),
        ("---\nmax_memory_gb: .inf\n---\nx", "max_memory_gb"),
        ("---\nmax_memory_gb: 1,500\n---\nx", "max_memory_gb"),
        ("---\noff_limits: {WIDTH: no}\n---\nx", "off_limits must be names of train.py, .* not a mapping"),
        ("---\noff_limits: [the width*]\n---\nx", r"such as \[WIDTH, GPT.forward\], not 'width\*'"),
        ("---\noff_limits: [DEPTH, MLP-RATIO]\n---\nx", "not 'MLP-RATIO'"),
        ("---\noff_limits: [DEPTH, [WIDTH]]\n---\nx", "not a list"),
        ("---\noff_limits: 'DEPTH, 3'\n---\nx", "not '3'"),
        ("---\nmax_params: 5\nmax_params: 50\n---\nx", "max_params is given twice"),
        ("---\na: &a [*a]\nmax_params: *a\n---\nx", "not a list|not valid YAML"),
        (f"---\nmax_params: {'[' * 5000}\n---\nx", "not valid YAML"),
        ("---\nmax_params: \x00\n---\nx", "not valid YAML"),
    ],
)
def test_what_cannot_be_used_is_a_sentence(text: str, words: str) -> None:
    with pytest.raises(CharterError, match=words):
        read(text)


def test_all_mistakes_are_reported_together() -> None:
    with pytest.raises(CharterError) as error:
        read("---\nmax_params: many\nmax_parms: 3\nmax_memory_gb: -1\noff_limits: [3, WIDTH, a-b]\ntitle: x\n---\nLow.")
    expected = ("'many'", "max_parms (did you mean max_params?)", "'-1'", "not '3' or 'a-b'", "unknown key title")
    assert all(words in str(error.value) for words in expected)


UNIT = st.sampled_from([("", 1), ("k", 10**3), ("M", 10**6), (" million", 10**6), ("b", 10**9), (" billion", 10**9)])


@given(st.integers(1, 9999), UNIT, st.sampled_from(["{}", "'{}'", "{} ", "{} parameters"]))
def test_every_number_with_every_unit_is_read(count: int, unit: tuple[str, int], form: str) -> None:
    text = form.format(f"{count}{unit[0]}")
    assert read(f"---\nmax_params: {text}\n---\nLow.").max_params == count * unit[1]


@given(st.integers(1, 99), st.integers(0, 99), st.integers(2, 9))
def test_every_exponent_is_read(whole: int, part: int, exponent: int) -> None:
    found = read(f"---\nmax_params: {whole}.{part:02d}e{exponent}\n---\nLow.").max_params
    assert found == (100 * whole + part) * 10 ** (exponent - 2)


@given(st.integers(1, 9999), st.sampled_from(["", "GB", " GB", "gb", "G", " gigabytes"]))
def test_every_size_is_read(size: int, unit: str) -> None:
    assert read(f"---\nmax_memory_gb: {size}{unit}\n---\nLow.").max_memory_gb == size


NAMES = st.lists(st.from_regex(r"[A-Z][A-Z_]{0,8}(\.[a-z]{1,5})?", fullmatch=True), min_size=1, max_size=5, unique=True)


@given(NAMES, st.sampled_from(["[{}]", "{}", "'{}'"]), st.sampled_from([", ", " ,", ","]))
def test_a_list_and_bare_names_mean_the_same(names: list[str], form: str, comma: str) -> None:
    text = form.format(comma.join(names))
    assume(not (len(names) == 1 and form != "[{}]" and names[0].lower() in ("null", "none")))  # no limit
    assert read(f"---\noff_limits: {text}\n---\nLow.").off_limits == tuple(names)


KEYS_OF = st.from_regex(r"[a-z_]{3,16}", fullmatch=True).filter(lambda name: name not in KEYS)


@given(KEYS_OF, st.sampled_from(KEYS), st.integers(0, 12), st.booleans())
def test_no_unknown_key_is_overlooked_and_a_typo_has_its_suggestion(
    other: str, key: str, at: int, doubled: bool
) -> None:
    at %= len(key)
    typo = key[:at] + (key[at] * 2 if doubled else "") + key[at + 1 :]  # a letter twice, or missing
    with pytest.raises(CharterError) as error:
        read(f"---\nmax_params: 5\n{other}: 5\n{typo}: 5\n---\nLow.")
    assert f"unknown key {other}" in str(error.value)
    assert other == typo or f"unknown key {typo} (did you mean {key}?)" in str(error.value)


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("max_parms: 60000000", "unknown key max_parms (did you mean max_params?)"),
        ("max-params: 3", "unknown key max-params (did you mean max_params?)"),
        ("Off CharterLimits: [A]", "unknown key Off CharterLimits (did you mean off_limits?)"),
        ("max_seconds: 60", "unknown key max_seconds (the training time is set by --budget)"),
        ("title: Night", "unknown key title (known are max_params, max_memory_gb, off_limits)"),
        ("limits:\n  max_params: 5", "max_params is nested under limits; write it at the left margin"),
        ("my:\n- own:\n    off-limits: A", "off-limits is nested under my; write it at the left margin"),
        ("a: &a {b: *a, c: [*a]}", "unknown key a (known are"),
        ("? [a]\n: b", "unknown key [...] (known are"),
        ("deadline: 2026-02-30", "unknown key deadline (known are"),
    ],
)  # fmt: skip
def test_unknown_keys_are_errors(key: str, words: str) -> None:
    with pytest.raises(CharterError) as error:
        read(f"---\n{key}\n---\nx")
    assert words in str(error.value)


def test_names_off_limits_that_are_not_there_are_warned_of() -> None:
    text = "---\noff_limits: [NOSUCHKNOB, DEPTH]\n---\nLow val_bpb."
    assert read(text, KNOWN).warnings == ("off_limits NOSUCHKNOB, which train.py does not define",)
    near = read("---\noff_limits: width\n---\nLow.", KNOWN).warnings
    assert near == ("off_limits width, which train.py does not define (did you mean WIDTH?)",)
    assert not read(text).warnings, "without train.py nobody knows"
    assert "off_limits DEPTH (enforced)" in read(text, KNOWN).understood(), "what is not there is not enforced"
    with pytest.raises(CharterError) as error:
        read("---\noff_limits: [NOPE, DEPTH]\nmax_memory_gb: lots\n---\nLow.", KNOWN)
    assert "off_limits NOPE, which train.py" in str(error.value) and "max_memory_gb must be" in str(error.value)


@given(st.text() | st.text("-#\n :[]{}&*!<>'\"maxpr_5\r\ufeff|"))
def test_arbitrary_text_never_crashes(text: str) -> None:
    for whole in (text, f"---\n{text}\n---\n", f"<!--{text}-->\n---\nmax_params: 5\n---"):
        try:
            assert isinstance(read(whole, KNOWN), Charter)
        except CharterError as error:
            assert str(error)


# -- what prose proposes ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("Avoid more than 60M parameters.", ["max_params: 60000000"]),
        ("Stay under 1.5 billion parameters, below 20GB VRAM.", ["max_params: 1500000000", "max_memory_gb: 20"]),
        ("Never use more than 3 GB.", ["max_memory_gb: 3"]),
        ("At most 1.000.000 parameters.", ["max_params: 1000000"]),
        ("Never use a model with more\nthan 5M parameters.", ["max_params: 5000000"]),
        ("Do not touch WIDTH.", ["off_limits: [WIDTH]"]),
        ("Leave WIDTH and DEPTH as they are; tune MATRIX_LR.", ["off_limits: [WIDTH, DEPTH]"]),
        ("Do not change WIDTH, DEPTH\nor HEAD_DIM but tune MATRIX_LR.", ["off_limits: [WIDTH, DEPTH, HEAD_DIM]"]),
        ("Never change `schedule` or `GPT.forward()`.", ["off_limits: [schedule, GPT.forward]"]),
        ("SEQ_LEN must not be changed.", ["off_limits: [SEQ_LEN]"]),
        ("- max_params: 60M\n- off_limits: WIDTH, DEPTH\n", ["max_params: 60000000", "off_limits: [WIDTH, DEPTH]"]),
        ("---\nmax_params: 5\noff_limits: WIDTH\n---\nAt most 60M parameters. Leave WIDTH and DEPTH alone.", ["off_limits: [WIDTH, DEPTH]"]),
        # nothing to propose
        ("Parameters are cheap. Memory too.", []),
        ("At most 3 GB of disk.", []),
        ("Why not more than 2M parameters?", []),
        ("Do not go below 1M parameters.", []),
        ("Try models with more than 2 million parameters.", []),
        ("At most 1.0.0 parameters.", []),
        ("At most 0 parameters.", []),
        ("Don't change the schedule.", []),
        ("Do not touch NOPE_THERE.", []),
        ("```\nDo not touch WIDTH.\n```\n> Do not touch WIDTH.\n\n<!-- Do not touch WIDTH. -->\n", []),
        ("<!-- max_params: 60M -->\nLow.", []),
    ],
)  # fmt: skip
def test_prose_proposes_lines_for_the_front_matter(text: str, lines: list[str]) -> None:
    assert [proposal.line for proposal in read(text, KNOWN).proposed] == lines


def test_a_proposal_names_its_sentence() -> None:
    sentence = "Models of up to 50k parameters have been tried before;"
    assert read(f"Low. {sentence} go larger.").proposed == (Proposed(line="max_params: 50000", sentence=sentence),)


@given(st.sampled_from(["at most", "under", "more than", "not above"]), st.text("0123456789.,_' kKmMB", max_size=30))
def test_no_figure_crashes(bound: str, figure: str) -> None:
    for proposal in read(f"Stay {bound} {figure} parameters and {bound} {figure} GB of memory.").proposed:
        assert read(f"---\n{proposal.line}\n---\n").limits != NONE


def test_a_long_pasted_block_is_read_quickly() -> None:
    block = "leave the what as it keep the is alone from at most 3 " * 2000
    began = time.process_time()
    read(f"# Aim\n\n{block}\n\n{'<!-- ' * 500}", KNOWN)
    assert time.process_time() - began < 5.0


# -- the rest ---------------------------------------------------------------------------------------------------------


def test_the_shipped_charter_states_no_limit_and_gives_directions() -> None:
    found = read((ROOT / "program.md").read_text(), KNOWN)
    assert found.limits == NONE and not found.proposed and not found.warnings
    assert any(words.startswith("directions: try schedule, optimizer") for words in found.understood())


@pytest.mark.parametrize(
    ("text", "said"),
    [("Lowest loss within the training budget.", False), ("Five experiments of 5 minutes each.", True)],
)
def test_times_in_prose_are_reported_as_not_enforced(text: str, said: bool) -> None:
    assert any("--budget" in words for words in read(text).understood()) is said


def test_sentences_that_search_does_not_use_are_quoted_the_last_first_and_counted() -> None:
    words = "not used by search, which uses a section only if it understands all of it: "
    text = "# Aim\nLow val_bpb.\n\n# Hints\n- Be brave,\n  like a lion.\n\n# Rules\n- Avoid the optimizer.\n\nIdeas:\n\nLow."
    found = read(text, KNOWN)
    assert found.unused == ("Be brave, like a lion.", "Avoid the optimizer.", "Ideas:", "Low.")
    assert found.understood()[-1] == "4 sentences are only for language models (docs/guide.md), the last one “Low.”"
    few = read("# Aim\nLow val_bpb.\n\n# Rules\n- Be brave.\n- Be quick.", KNOWN)
    assert few.understood()[-1] == f"{words}“Be quick.” “Be brave.”"
    assert found.understood(("goals: courage",))[-1] == "goals: courage"
    (words,) = read(" ".join(f"Be brave {n}{' and so on' * 20}." for n in range(9))).understood()
    assert words.count("“") == 1 and words.startswith("9 sentences ") and len(words) < 130


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("off_limits:\n- DEPTH\n- `WIDTH`", "off_limits: [DEPTH, WIDTH]"),
        ("Off limits:\n\n1. DEPTH\n\n2. WIDTH # wide", "off_limits: [DEPTH, WIDTH]"),
        ("> off_limits:\n> * GPT.forward()", "off_limits: [GPT.forward]"),
        ("```\noff_limits:\n  - DEPTH\n```", "off_limits: [DEPTH]"),
        ("off_limits:\nDEPTH", "off_limits: [DEPTH]"),
        ("- Off-Limits:\n  - DEPTH", "off_limits: [DEPTH]"),
        ("off_limits = DEPTH", "off_limits: [DEPTH]"),
        ("max_params=60M", "max_params: 60000000"),
        ("max params: 60M", "max_params: 60000000"),
        ("> max_params: 60M", "max_params: 60000000"),
        ("**max_params**: 60M,", "max_params: 60000000"),
        ("| max_memory_gb | 8 |", "max_memory_gb: 8"),
        ("off_limit:\n- DEPTH", ""),
        ("off_limits: # mine\n- DEPTH", ""),
        ("max_params: as many as fit", ""),
        ("max_params: 5\noff_limits: {DEPTH: 1}", "max_params: 5"),
    ],
)
def test_front_matter_in_the_wrong_place_is_mentioned_and_proposed_where_it_can_be_read(text: str, line: str) -> None:
    found = read(f"# Aim\n\n{text}\n", KNOWN)
    assert found.warnings and all("stands outside of the front matter" in words for words in found.warnings)
    assert [proposal.line for proposal in found.proposed] == ([line] if line else [])
    assert found.limits == NONE


@pytest.mark.parametrize("text", ["# Do not touch\n\n- DEPTH", "Leave alone:\n\n- DEPTH", "# Off limits\n\n`DEPTH`."])
def test_names_below_a_heading_that_puts_them_off_limits_are_proposed(text: str) -> None:
    assert [proposal.line for proposal in read(text, KNOWN).proposed] == ["off_limits: [DEPTH]"]


@pytest.mark.parametrize(
    "text", ["CharterLimits:\n- simplicity counts", "# CharterLimits\n\n- DEPTH is fine", "The aim: all"]
)
def test_other_lists_do_not_look_like_front_matter(text: str) -> None:
    found = read(text, KNOWN)
    assert not found.warnings and not found.proposed
