"""What a change is about, and which ideas are used up."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.agents.base import Context, PastExperiment
from core.agents.llm import exhausted_ideas, formats, prompt
from core.agents.llm.checks import check
from core.change import edits, touched
from core.change.edits import EditError
from core.model import Proposal
from core.verdicts import Verdict
from tests.product import ROOT, TRAIN

SHIPPED = (ROOT / "nanochat" / "train.py").read_text()
RELU = "hidden = F.relu(hidden).square()"


@pytest.mark.parametrize(
    ("pairs", "idea"),
    [
        ([("WIDTH = 128", "WIDTH = 64")], ("WIDTH",)),
        ([("WIDTH = 128", "WIDTH = 64"), ("DEPTH = 2", "DEPTH = 3")], ("DEPTH", "WIDTH")),
        ([(RELU, "hidden = F.gelu(hidden)")], ("MLP.forward",)),
        ([(RELU, "hidden = gate(hidden)"), ("class MLP", "def gate(x):\n    return x\n\n\nclass MLP")], ("MLP.forward",)),
        ([("import importlib.util\n", "import importlib.util\nimport math\n"), ("        return 1.0\n", "        return math.pi\n")], ("schedule",)),
        ([("class MLP(nn.Module)", "class MLP(nn.Module, object)")], ("MLP",)),
        ([("import importlib.util\n", "import importlib.util\nimport math\n")], ("imports",)),
        ([("Two matrices", "Three matrices")], ()),
        ([("import importlib.util\n", "import (importlib.util\n")], ()),
    ],
)  # fmt: skip
def test_an_idea_is_what_the_change_touches(pairs: list[tuple[str, str]], idea: tuple[str, ...]) -> None:
    new = SHIPPED
    for old, replacement in pairs:
        assert old in new
        new = new.replace(old, replacement)
    assert touched.touched(SHIPPED, new) == idea


@given(st.text(), st.text())
def test_any_two_texts_have_an_idea_or_none(old: str, new: str) -> None:
    assert isinstance(touched.touched(old, new), tuple) and touched.touched(old, old) == ()


def past(
    number: int, idea: tuple[str, ...], verdict: Verdict = Verdict.DISCARD, parent: str = "", **more: object
) -> PastExperiment:
    return PastExperiment(
        number=number, parent=parent or edits.fingerprint(TRAIN), fingerprint=f"f{number}", idea=idea, verdict=verdict,
        proposal=Proposal(hypothesis=f"idea {number}"), **more,
    )  # fmt: skip


def context(*tried: PastExperiment, source: str = TRAIN) -> Context:
    return Context(
        charter="Low.", source=source, parent=edits.fingerprint(source), number=len(tried) + 1, seed=1, sigma=0.01, past=tried,
    )  # fmt: skip


def three(idea: tuple[str, ...], start: int = 1, **more: object) -> list[PastExperiment]:
    return [past(start + i, idea, **more) for i in range(3)]  # type: ignore[arg-type]


def test_three_losses_on_this_train_py_and_an_idea_is_used_up() -> None:
    assert not exhausted_ideas.exhausted(context(*three(("LR",))[:2]))
    assert not exhausted_ideas.exhausted(context(*three(("LR",), parent="another")))
    found = context(*three(("LR",)))
    assert [group.idea for group in exhausted_ideas.exhausted(found)] == [("LR",)]
    with pytest.raises(EditError, match=r"LR did not help 3 times on this train.py \(#1, #2, #3\)"):
        check(found, Proposal(hypothesis="h", source=TRAIN.replace("LR = 0.01", "LR = 0.5")))
    check(
        found, Proposal(hypothesis="h", source=TRAIN.replace("LR = 0.01", "LR = 0.5").replace("BATCH = 8", "BATCH = 4"))
    )


def test_an_exhausted_idea_is_listed_with_its_reasons_and_not_offered() -> None:
    tried = context(
        past(1, ("LR",), gain=-0.1, outcome="inconclusive"), past(2, ("LR",), gain=0.001, outcome="not confirmed"),
        past(3, ("LR",), Verdict.CRASH, crash="out-of-memory"), *three(("Bigram.forward",), 4, gain=-0.2),
    )  # fmt: skip
    words = prompt.messages(tried, "edits", 20_000)[1]["content"]
    assert "LR: 3 losing tries (1 x inconclusive, 1 x not confirmed, 1 x crash out-of-memory; #1, #2, #3)" in words
    assert "#2 0.0010 better, not confirmed: " in words and "- #1 inconclusive: " in words
    assert "Bigram.forward: 3 losing tries (3 x worse; #4, #5, #6)" in words, "for edits as well"
    schema = formats.schema("knob", TRAIN, exhausted_ideas.knobs_left_out(tried))
    assert schema is not None and "LR" not in [c["properties"]["knob"]["const"] for c in schema["anyOf"]]
    assert "- LR = " not in prompt.messages(tried, "knob", 20_000)[1]["content"]


@pytest.mark.parametrize(
    "verdict", [Verdict.DISTURBED, Verdict.INTERRUPTED, Verdict.SKIPPED, Verdict.CONFLICT, Verdict.KEEP]
)
def test_nobody_is_blamed_for_what_the_machine_or_a_human_ended(verdict: Verdict) -> None:
    tried = context(*three(("LR",), verdict=verdict))
    assert not exhausted_ideas.exhausted(tried) and not exhausted_ideas.groups(tried.past)
    words = prompt.messages(tried, "edits", 20_000)[1]["content"]
    assert "What did not help" not in words and "Used up" not in words


def test_once_every_constant_is_used_up_each_has_another_round() -> None:
    every = [p for i, name in enumerate(("LR", "DECAY", "BATCH")) for p in three((name,), 1 + 3 * i)]
    assert exhausted_ideas.exhausted(context(*every[:-1])) and not exhausted_ideas.exhausted(context(*every))
    more = [*every, *three(("LR",), 20)]
    assert [group.idea for group in exhausted_ideas.exhausted(context(*more))] == [("LR",)]
    schema = formats.schema("knob", TRAIN, ("LR", "DECAY", "BATCH"))
    assert schema is not None and schema["anyOf"], "a schema without a choice is none"
