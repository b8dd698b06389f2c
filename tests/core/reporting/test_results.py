"""results.tsv reads in autoresearch's notebook; notebook.md reads in the morning."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.model import Role, RunConfig
from core.record import events as ev
from core.record import journal
from core.record.fold import fold
from core.reporting import results
from core.reporting.results import COLUMNS, Header, Row
from core.verdicts import Verdict
from tests.derived_files import notebook, publish, tsv
from tests.events import measurement

RECORDED = Path(__file__).parents[2] / "recorded"
BASE = Row(0, "a" * 40, None, "baseline", val_bpb=1.601234567, memory=1_260_000_000, seconds=66.04, params=1234)
KEPT = Row(
    1, "b" * 40, Verdict.KEEP, "Raise the rate", val_bpb=1.58, memory=440_000_000, change=-0.0212, sigma=0.008, agent="search",
    seconds=130.0, finding="Better by 0.0212 bpb over 2 seeds; 0.0200 was needed.", added=1, removed=1, words="keep",
)  # fmt: skip
NOISE = replace(
    KEPT,
    number=2,
    verdict=Verdict.DISCARD,
    change=-0.001,
    within_noise=True,
    pairs=2,
    finding="Not confirmed: 0.0010 bpb better over 2 seeds; 0.0200 was needed.",
    words="not confirmed",
)
CRASH = Row(
    3,
    "c" * 40,
    Verdict.CRASH,
    "Divide by zero",
    crash="exception",
    finding="Crashed: ZeroDivisionError",
    words="crash exception",
)
SKIPPED = Row(
    4, "d" * 40, Verdict.SKIPPED, "An idea that nobody liked", finding="Skipped by the human.", words="skipped"
)
ROWS = [BASE, KEPT, NOISE, CRASH, SKIPPED]
HEADER = Header(
    "nov24", "python", "cpu", 60.0, 7, "0.0081 (0.0062 to 0.0121)", gain="1.6012 -> 1.5800 (-0.0212 ± 0.0080)"
)


def read(text: str) -> list[dict[str, str]]:
    """As pandas or a spreadsheet would."""
    return list(csv.DictReader(io.StringIO(text), delimiter="\t"))


def test_the_table() -> None:
    lines = tsv(ROWS).splitlines()
    assert lines[0] == "\t".join(COLUMNS) and lines[0].startswith(
        "commit\tval_bpb\tmemory_gb\tstatus\tdescription\tclass"
    )
    assert lines[1] == "aaaaaaa\t1.601235\t1.2\tkeep\tbaseline\tbaseline\t\t\t\t66.0\t0\t1234\t\t"
    assert lines[2] == (
        "bbbbbbb\t1.580000\t0.4\tkeep\tRaise the rate\tkeep\t-0.021200\tconclusive\tsearch\t130.0\t1\t\t0.008000\t"
    )
    found = read(tsv(ROWS))
    assert [row["status"] for row in found] == ["keep", "keep", "discard", "crash", "discard"]
    assert [row["class"] for row in found] == ["baseline", "keep", "discard", "crash: exception", "skipped"]
    assert found[2]["noise"] == "not confirmed"
    assert found[3]["val_bpb"] == "0.000000" and found[3]["memory_gb"] == "0.0"
    assert found[4]["val_bpb"] == "nan"


@pytest.mark.parametrize("verdict", list(Verdict))
def test_a_status_is_one_of_three_words_and_what_was_never_run_has_no_score(verdict: Verdict) -> None:
    row = replace(KEPT, verdict=verdict)
    assert row.status in ("keep", "discard", "crash") and row.score == "1.580000"
    assert replace(row, val_bpb=None).score == ("0.000000" if row.status == "crash" else "nan")


@given(st.lists(st.text(max_size=40), max_size=5), st.text(max_size=10))
def test_no_description_breaks_the_table(hypotheses: list[str], agent: str) -> None:
    rows = [replace(KEPT, number=n, hypothesis=text, agent=agent) for n, text in enumerate(hypotheses)]
    found = read(tsv(rows))
    assert [row["number"] for row in found] == [str(n) for n in range(len(rows))]
    assert all(None not in row and None not in row.values() for row in found)
    assert tsv(rows).isascii() or tsv(rows).encode("utf-8")


def test_a_description_keeps_its_words() -> None:
    text = 'tab\there\nand "there",\x1b[31m red\u2028next\u202e ünï 漢字'
    assert (
        read(tsv([replace(KEPT, hypothesis=text)]))[0]["description"] == "tab here and 'there', [31m red next ünï 漢字"
    )


def test_the_notebook() -> None:
    text = notebook(ROWS, HEADER)
    assert text.startswith(
        "# Run nov24\n\npython on cpu, 60 s of training each, seed 7.\nval_bpb 1.6012 -> 1.5800 (-0.0212 ± 0.0080); noise 0.0081"
    )
    assert "; noise 0.0081 (0.0062 to 0.0121). " in text
    assert "1 kept of 3." in text
    assert "- **#1 keep** 1.5800 (-0.0212) · Raise the rate [+1 -1 lines, by search]  \n  Better by 0.0212" in text
    assert "- **#2 not confirmed** 1.5800 (-0.0010) ·" in text
    assert "- **#3 crash exception** · Divide by zero [+0 -0 lines]  \n  Crashed: ZeroDivisionError" in text
    assert "<script" not in notebook([replace(KEPT, hypothesis="<script>")], HEADER)
    assert "best" not in notebook([], replace(HEADER, gain=""))


def test_files_appear_whole(tmp_path: Path) -> None:
    results.replace(tmp_path, tsv(ROWS[:2]), notebook(ROWS[:2], HEADER))
    results.replace(tmp_path, tsv(ROWS), notebook(ROWS, HEADER))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["notebook.md", "results.tsv"]
    assert (tmp_path / "results.tsv").read_text() == tsv(ROWS)
    before = (tmp_path / "results.tsv").read_bytes()
    (tmp_path / ".results.tsv.new").mkdir()  # it cannot be written
    with pytest.raises(OSError):
        results.replace(tmp_path, tsv([]), notebook([], HEADER))
    assert (tmp_path / "results.tsv").read_bytes() == before


def test_they_follow_from_the_journal(tmp_path: Path) -> None:
    config = RunConfig(
        name="x", dataset="python", data="d", fingerprint="f", device="cpu", profile="cpu", budget_s=60, seq_len=256,
        vocab_size=2048, eval_tokens=1000, seed=1, slots=1, base_commit="b", noise_prior=0.008,
    )  # fmt: skip
    state = fold(
        [
            ev.Created(v=ev.SCHEMA, config=config),
            ev.StartCommit(commit="fit", source_hash="h", nodes=500),
            ev.Launched(job="j1", role=Role.BASELINE, commit="fit", seed=7, slot=0),
            measurement(job="j1", role=Role.BASELINE, commit="fit", seed=7, outcome="scored", val_bpb=1.6),
            ev.Proposed(number=1, commit="c1", parent="fit", fingerprint="p", hypothesis="h", agent="a", charter="s"),
            ev.Launched(job="j2", role=Role.CANDIDATE, commit="c1", seed=7, slot=0, number=1),
            measurement(job="j2", role=Role.CANDIDATE, commit="c1", seed=7, number=1, outcome="scored", val_bpb=1.61),
            ev.Judged(
                number=1,
                verdict=Verdict.DISCARD,
                finding="Worse.",
                gain=-0.01,
                pairs=1,
                sigma=0.008,
                within_noise=True,
            ),
        ]
    )
    publish(tmp_path, state, 0.008)
    found = read((tmp_path / "results.tsv").read_text())
    assert [(row["commit"], row["val_bpb"], row["class"]) for row in found] == [
        ("fit", "1.600000", "baseline"),
        ("c1", "1.610000", "discard"),
    ]
    assert found[1]["change"] == "+0.010000" and found[1]["noise"] == "inconclusive"
    assert "0 kept of 1." in (tmp_path / "notebook.md").read_text()


def test_a_verdict_that_compares_no_scores_is_not_called_conclusive() -> None:
    cut_short = replace(KEPT, verdict=Verdict.INTERRUPTED, within_noise=None)
    assert (KEPT.noise, cut_short.noise) == ("conclusive", "")


def test_the_notebook_begins_with_what_mattered_most(tmp_path: Path) -> None:
    state = fold(journal.read(RECORDED / "found" / "events.jsonl"))
    publish(tmp_path, state, 0.0025)
    head, _, findings = (tmp_path / "notebook.md").read_text().partition("## All experiments")
    titles = [line for line in head.splitlines() if line.startswith("## ")]
    assert titles == ["## Kept", "## Near misses", "## Hurt most", "## Not tried"]
    assert "- -0.0204 ± 0.0022 · #30 DEPTH 1 → 2\n" in head and "residuals." in head
    assert "- **#30 kept**" in findings
