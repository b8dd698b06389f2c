"""Edits and the gate: all or nothing, and messages that a model can act on."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.change import edits
from core.change.edits import EditError
from core.model import Edit

SOURCE = '''"""Doc."""
LR = 0.1  # rate

def train(run):
    seed = run.seed  # not a call
    return LR
'''
SHIPPED = (Path(__file__).resolve().parents[3] / "nanochat" / "train.py").read_text()


def test_edits_apply_in_order_and_all_or_nothing() -> None:
    first, second = Edit(search="LR = 0.1", replace="LR = 0.2"), Edit(search="LR = 0.2", replace="LR = 0.3")
    assert "LR = 0.3" in edits.apply(SOURCE, [first, second])
    with pytest.raises(EditError, match="Edits 1 to 1 were fine"):
        edits.apply(SOURCE, [first, Edit(search="LR = 9", replace="")])


def test_a_missing_text_is_answered_with_the_nearest_lines() -> None:
    with pytest.raises(EditError) as caught:
        edits.apply(SOURCE, [Edit(search="LR = 0.15  # rate", replace="x")])
    assert "LR = 0.1  # rate" in str(caught.value) and "is not in train.py" in str(caught.value)


def test_a_text_that_occurs_twice_is_refused() -> None:
    with pytest.raises(EditError, match="occurs 2 times"):
        edits.apply(SOURCE, [Edit(search="LR", replace="x")])


@given(st.text(), st.lists(st.tuples(st.text(max_size=20), st.text(max_size=20)), max_size=4))
def test_arbitrary_edits_never_crash(source: str, pairs: list[tuple[str, str]]) -> None:
    found, wanted = None, [Edit(search=a, replace=b) for a, b in pairs]
    try:
        found = edits.apply(source, wanted)
    except EditError as error:
        assert str(error)
    assert edits.try_apply(source, wanted) == found


@given(st.text())
def test_arbitrary_sources_never_crash_the_gate(source: str) -> None:
    with pytest.raises(EditError):
        edits.validate_change(SOURCE, source)


@pytest.mark.parametrize(
    ("new", "words", "crash"),
    [
        (SOURCE + "def f(:\n", "syntax error", "syntax"),
        (SOURCE.replace("train(run)", "train()"), "train(run)", "contract"),
        (SOURCE.replace("def train", "def trian"), "train(run)", "contract"),
        (SOURCE.replace("return LR", "torch.manual_seed(1); return LR"), "seed", "contract"),
        (SOURCE.replace("return LR", "random.seed(1); return LR"), "seed", "contract"),
        (SOURCE.replace("return LR", "np.random.default_rng(3); return LR"), "seed", "contract"),
        (SOURCE.replace("return LR", "torch.Generator().manual_seed(3); return LR"), "seed", "contract"),
        (SOURCE.replace("# rate", "# another comment"), "only comments", ""),
        (SOURCE.replace("Doc.", "Other docs."), "only comments", ""),
        (SOURCE, "only comments", ""),
    ],
)
def test_the_gate_refuses(new: str, words: str, crash: str) -> None:
    with pytest.raises(EditError) as caught:
        edits.validate_change(SOURCE, new)
    assert words in str(caught.value) and (caught.value.crash or "") == crash


@pytest.mark.parametrize(
    "value",
    [
        "-" * 800 + "1", "1+" * 2000 + "1", "(" * 250 + ")" * 250, "0x" + "f" * 6000, "'" + "\\ud800" + "'", "'\ud800'",
        "x" + ".x" * 3000, "lambda: " * 500 + "1",
    ],
    ids=["minuses", "sum", "brackets", "long number", "escape", "surrogate", "dots", "lambdas"],
)  # fmt: skip
def test_code_too_deep_or_too_long_to_walk_is_refused(value: str) -> None:
    """Parsing, dumping and fingerprinting have limits of their own; none of them may escape as anything but an EditError."""
    new = SOURCE.replace("LR = 0.1", f"LR = {value}")
    try:
        edits.validate_change(SOURCE, new)
        edits.fingerprint(new)
    except EditError as error:
        assert str(error)
    else:
        assert "ud800" in value, "an escape is fine"
    for read in (edits.fingerprint, edits.ast_nodes):
        with contextlib.suppress(EditError, SyntaxError):
            read(new)


def test_the_gate_lets_a_real_change_pass() -> None:
    edits.validate_change(SOURCE, SOURCE.replace("0.1", "0.2"))
    edits.check(SHIPPED)


def test_off_limits_names_stay_as_they_are() -> None:
    changed = SOURCE.replace("0.1", "0.2")
    with pytest.raises(EditError, match="LR is off limits"):
        edits.validate_change(SOURCE, changed, off_limits=["LR"])
    edits.validate_change(SOURCE, changed, off_limits=["train", "Nothing"])
    with pytest.raises(EditError, match=r"GPT\.forward"):
        edits.validate_change(
            SHIPPED, SHIPPED.replace("x = norm(x)\n        logits", "logits"), off_limits=["GPT.forward"]
        )


def test_the_fingerprint_sees_code_only() -> None:
    assert edits.fingerprint("x = 1  # a\n") == edits.fingerprint('"""doc"""\nx   =   1\n')
    assert edits.fingerprint("x = 1") != edits.fingerprint("x = 2")
    assert edits.ast_nodes("x = 1") < edits.ast_nodes("x = 1 + 2")


def test_added_and_removed_lines_are_counted() -> None:
    assert edits.added_removed("a\nb\n", "a\nc\nd\n") == (2, 1)
    assert edits.unified("a\n", "b\n").startswith("--- a/nanochat/train.py")


@pytest.mark.parametrize(
    "line",
    [
        "torch.manual_seed(1)", "f = torch.manual_seed", "from torch import manual_seed as ms", "getattr(torch, 'manual_seed')(7)",
        "import numpy as np; np.random.seed(3)", "from random import seed", "torch.random.fork_rng()", "np.random.default_rng(5)",
        "np.random.Generator(np.random.PCG64(7))",
    ],
)  # fmt: skip
def test_a_seed_may_not_be_set_by_any_name(line: str) -> None:
    with pytest.raises(EditError, match="sets a seed"):
        edits.check(f"import torch\n{line}\n\ndef train(run):\n    return run.seed\n")
    edits.check("import torch\n\ndef train(run):\n    print(run.seed, 'a seed')\n    return torch.rand(2)\n")


@pytest.mark.parametrize(
    "line",
    [
        "WIDTH = 999", "if True: WIDTH = 999", "for WIDTH in (1, 2): pass", "globals()['WIDTH'] = 999",
        "def widen():\n    global WIDTH\n    WIDTH = 999", "import os as WIDTH", "with open('x') as WIDTH: pass",
        "EXTRA = (WIDTH := 999)", "EXTRA: int = (WIDTH := 999)", "def norm(x, n=(WIDTH := 999)): pass", "globals().update(WIDTH=999)",
        "match 999:\n    case WIDTH: pass", "exec('WIDTH' + ' = 999')", "(WIDTH, EXTRA) = 1, 2", "def norm(WIDTH): return WIDTH",
        "class Model:\n    def build(self):\n        WIDTH = 999", "[*WIDTH] = [1]", "try: pass\nexcept OSError as WIDTH: pass",
    ],
)  # fmt: skip
def test_what_is_off_limits_has_no_back_door(line: str) -> None:
    old = "WIDTH = 128\n\ndef train(run):\n    x = WIDTH\n    return x\n"
    with pytest.raises(EditError, match="off limits"):
        edits.validate_change(old, old + "\n" + line + "\n", off_limits=["WIDTH"])
    edits.validate_change(old, old.replace("x = WIDTH", "x = 2 * WIDTH"), off_limits=["WIDTH"])
    edits.validate_change(old, old + "\nOTHER = [2 * WIDTH]\nPLACES = (OTHER[0], 'a width')\n", off_limits=["WIDTH"])


def test_what_is_off_limits_stays_in_use() -> None:
    old = "WIDTH = 128\n\ndef train(run):\n    x = WIDTH\n    return x + WIDTH\n"
    with pytest.raises(EditError, match=r"WIDTH is off limits .* must stay in use"):
        edits.validate_change(old, old.replace("= WIDTH", "= 3").replace("+ WIDTH", "+ 3"), off_limits=["WIDTH"])
    edits.validate_change(old, old.replace("x + WIDTH", "2 * x"), off_limits=["WIDTH"])
    unused = old.replace("= WIDTH", "= 3").replace("+ WIDTH", "+ 3")
    edits.validate_change(unused, unused.replace("return", "return 2 *"), off_limits=["WIDTH"])


def test_a_method_that_is_off_limits_is_not_replaced_from_outside() -> None:
    for line in ("setattr(GPT, 'forward', norm)", "GPT.forward = norm", "GPT = norm"):
        with pytest.raises(EditError, match=r"GPT\.forward is off limits"):
            edits.validate_change(SHIPPED, f"{SHIPPED}\n{line}\n", off_limits=["GPT.forward"])


lines = st.lists(st.sampled_from(["x = 1", "y = 2", "", "    z", "-- a/x", "@@ -1 +1 @@", "tab\there"]), max_size=12)


@given(lines, lines, st.booleans(), st.booleans())
def test_a_diff_leads_back_to_the_source_before_it(old: list[str], new: list[str], ends: bool, begins: bool) -> None:
    one, two = "\n".join(old) + "\n" * ends, "\n".join(new) + "\n" * begins
    assert edits.undone(two, edits.unified(one, two)) == one


def test_a_diff_of_another_source_leads_nowhere() -> None:
    diff = edits.unified("a\nb\nc\n", "a\nB\nc\n")
    assert edits.undone("a\nB\nc\n", diff) == "a\nb\nc\n"
    assert edits.undone("a\nX\nc\n", diff) is None and edits.undone("", diff) is None
    assert edits.undone("a\n", "") == "a\n"
