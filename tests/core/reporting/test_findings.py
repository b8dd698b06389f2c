"""The sentences about a result: findings, the status, the end of a run; those of older journals in today's words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from core.judging import schedule
from core.judging.final_check import FinalCheck
from core.judging.noise import Noise
from core.model import Role, RunConfig
from core.record import events as ev
from core.record import journal
from core.record.experiment import Experiment
from core.record.fold import fold
from core.record.live import Picture
from core.record.state import State
from core.record.upgrade import upgraded
from core.reporting import log_lines, phrases, status, summary
from core.reporting.findings import finding
from core.verdicts import Verdict
from tests.events import measurement

RECORDED = Path(__file__).parents[2] / "recorded"
CONFIG = RunConfig(
    name="x", dataset="python", data="d", fingerprint="f", device="cpu", profile="cpu", budget_s=60, seq_len=256,
    vocab_size=2048, eval_tokens=1000, seed=1, slots=1, base_commit="b", noise_prior=0.01,
)  # fmt: skip
PROPOSED = ev.Proposed(
    number=1, commit="c", parent="p", fingerprint="f", hypothesis="h", agent="a", charter="", added=2, removed=9
)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (
            {"gain": -0.0753, "needed": 0.0760},
            "Inconclusive: 0.0753 bpb worse on one seed; a loss of 0.0760 would count as worse.",
        ),
        (
            {"gain": 0.0010, "needed": 0.0028},
            "Inconclusive: 0.0010 bpb better on one seed; a gain of 0.0028 would have been measured again.",
        ),
        (
            {"gain": 0.0, "needed": 0.0028},
            "Inconclusive: no change on one seed; a gain of 0.0028 would have been measured again.",
        ),
        (
            {"gain": 0.0247, "needed": 0.03, "pairs": 2},
            "Not confirmed: 0.0247 bpb better over 2 seeds; 0.0300 was needed.",
        ),
        (
            {"gain": -0.001, "needed": 0.03, "pairs": 4},
            "Not confirmed: 0.0010 bpb worse over 4 seeds; 0.0300 better was needed.",
        ),
        ({"gain": -0.0753}, "Inconclusive: 0.0753 bpb worse on one seed."),  # an event of an earlier version
        ({"gain": 0.0247, "pairs": 2}, "Not confirmed: 0.0247 bpb better over 2 seeds."),
        ({"gain": -0.1, "needed": 0.05, "within_noise": False}, "Worse by 0.1000 bpb."),
        (
            {"verdict": "keep", "gain": 0.0711, "needed": 0.064, "pairs": 2, "within_noise": False},
            "Better by 0.0711 bpb over 2 seeds; 0.0640 was needed.",
        ),
        (
            {"verdict": "simplification", "gain": -0.001, "needed": 0.03, "pairs": 2},
            "Inconclusive: 0.0010 bpb worse over 2 seeds; kept because it has less code (9 lines out, 2 in).",
        ),
    ],
)
def test_a_finding_says_what_would_have_been_needed(fields: dict[str, Any], words: str) -> None:
    judged = ev.Judged(**{"number": 1, "verdict": "discard", "finding": "", "pairs": 1, "within_noise": True} | fields)
    assert finding(judged, Experiment(PROPOSED)) == words


@pytest.mark.parametrize("verdict", Verdict)
def test_every_verdict_has_a_finding(verdict: Verdict) -> None:
    judged = ev.Judged(number=1, verdict=verdict, finding="", reason="the reason")
    assert finding(judged, Experiment(PROPOSED))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("It made no difference: 0.0143 bpb worse, within noise.", "Inconclusive: 0.0143 bpb worse on one seed."),
        (
            "It did not repeat: 0.0247 bpb better over 4 seeds, within noise.",
            "Not confirmed: 0.0247 bpb better over 4 seeds.",
        ),
        (
            "Overruled by the human; it was discard. It made no difference: 0.0143 bpb worse, within noise.",
            "Overruled by the human; it was discard. Inconclusive: 0.0143 bpb worse on one seed.",
        ),
        (
            "Within noise over 2 seeds, with 9 lines out and 2 in: the simpler code was kept.",
            "Inconclusive over 2 seeds; kept because it has less code (9 lines out, 2 in).",
        ),
        (
            "no difference beyond noise: 0.0143 worse with a standard error of 0.0206, over 1 seed",
            "inconclusive: 0.0143 worse with a standard error of 0.0206, over 1 seed",
        ),
        ("the gain did not repeat, it is within noise: 0.0010 better", "not confirmed: 0.0010 better"),
        ("no difference beyond noise, with 60 AST nodes fewer: 0.0", "inconclusive, with 60 AST nodes fewer: 0.0"),
        ("Skipped by the human: it made no difference: noise", "Skipped by the human: it made no difference: noise"),
        ("Better by 0.0711 bpb over 2 seeds, beyond the noise of 0.0257: kept.",) * 2,
    ],
)
def test_a_journal_of_an_earlier_version_is_read_in_todays_words(old: str, new: str) -> None:
    line = {"type": "judged", "number": 1, "verdict": "discard", "finding": old, "reason": old}
    read = msgspec.convert(upgraded(line), ev.Judged)
    assert (read.finding, read.reason, read.needed) == (new, new, None)
    assert upgraded(msgspec.to_builtins(read)) == msgspec.to_builtins(read)


def night(*more: ev.AnyEvent) -> State:
    return fold([
        ev.Created(v=ev.SCHEMA, config=CONFIG), ev.StartCommit(commit="fit", source_hash="h", nodes=500),
        measurement(job="b", role=Role.BASELINE, commit="fit", seed=1, outcome="scored", val_bpb=1.6),
        ev.Proposed(number=1, commit="c1", parent="fit", fingerprint="p", hypothesis="Try it.", agent="a", charter="s"),
        measurement(job="c", role=Role.CANDIDATE, commit="c1", seed=1, number=1, outcome="scored", val_bpb=1.61), *more,
    ])  # fmt: skip


def test_status_and_summary_show_the_noise_with_its_interval() -> None:
    words = "Inconclusive: 0.0100 bpb worse on one seed; a loss of 0.0283 would count as worse."
    found = night(ev.Judged(number=1, verdict=Verdict.DISCARD, finding=words, gain=-0.01, pairs=1, within_noise=True))
    facts = status.status(found, Noise(0.0042, 8), None, Picture(), [])
    assert (facts.sigma, round(facts.sigma_low, 4), round(facts.sigma_high, 4)) == (0.0042, 0.0033, 0.006)
    text = summary.text(summary.summary(facts))
    assert (
        "val_bpb of the start 1.6000 (one seed): none of 1 was kept" in text
        and "noise       0.0042 (0.0033 to 0.0060) of one score" in text
    )
    alive = status.status(found, Noise(0.0042, 8), 1, Picture(), [])
    assert "#1     inconclusive 1.6100  Try it." in summary.text(summary.summary(alive)) and "1 inconclusive" in text
    assert "noise 0.0042 (0.0033 to 0.0060)." in "\n".join(summary.at_end(facts, "logs/x", "b"))
    line = log_lines.line(ev.Judged(number=1, verdict=Verdict.DISCARD, finding=words), found)
    assert line is not None and line.endswith(
        "#1 inconclusive 1.6100 (+0.0100): 0.0100 bpb worse on one seed; a loss of 0.0283 would count as worse."
    )


@pytest.mark.parametrize(
    ("best", "words"),
    [
        (1.55, "1.6000 -> 1.5500 (-0.0500 ± 0.0100). The gain holds."),
        (1.59, "1.6000 -> 1.5900 (-0.0100 ± 0.0100). The gain is not certain: 0.0200 was needed."),
        (1.65, "1.6000 -> 1.6500 (+0.0500 ± 0.0100). On this split the best is worse than the start."),
    ],
)
def test_the_final_check_says_whether_its_change_is_enough(best: float, words: str) -> None:
    assert words in phrases.final_result(FinalCheck(start=1.6, best=best, error=0.01, seeds=3))
    assert phrases.final_result(FinalCheck(1.6, best, 0.01, 1)).startswith(
        "Measured afresh on 1 fresh seed and the test"
    )


def test_a_rehearsal_is_called_one_in_its_summary() -> None:
    words = "It was a rehearsal: scores were computed from a table, and nothing was trained."
    found = night()
    assert words not in summary.at_end(status.status(found, Noise(0.0042, 8), None, Picture()), "logs/x", "a branch")
    found.config = msgspec.structs.replace(CONFIG, executor="deterministic:/a/world.json")
    facts = status.status(found, Noise(0.0042, 8), None, Picture())
    assert words in summary.at_end(facts, "logs/x", "a branch")
    assert phrases.REHEARSAL in summary.text(summary.summary(facts))


def test_a_verdict_that_is_changed_twice_tells_only_the_last_change() -> None:
    proposed = ev.Proposed(
        number=1, commit="c", parent="p", fingerprint="f", hypothesis="h", agent="a", charter="", added=1, removed=1
    )
    experiment = Experiment(proposed)
    for verdict, reason in (
        ("discard", ""),
        ("keep", "the verdict was changed by hand from discard to keep"),
        ("discard", "the verdict was changed by hand from keep to discard"),
    ):
        judged = ev.Judged(
            number=1, verdict=Verdict(verdict), finding="", reason=reason, gain=-0.05, by="human" if reason else ""
        )
        experiment.judged = replace(judged, finding=finding(judged, experiment))
    assert experiment.finding == "The verdict was changed by hand from keep to discard. Worse by 0.0500 bpb."


@pytest.mark.parametrize(
    ("stopped", "words"),
    [
        (ev.Stopped(reason="stop requested"), "stopped by you"),
        (ev.Stopped(reason="stop requested by SIGTERM"), "stopped: stop requested by SIGTERM"),
        (ev.Stopped(reason="reached --max-hours 8", finished=True), "finished: reached --max-hours 8"),
    ],
)
def test_status_and_log_say_in_the_same_words_how_a_run_ended(stopped: ev.Stopped, words: str) -> None:
    state = fold([ev.Created(v=1, config=CONFIG), stopped])
    assert status.phase(state, None, Picture()) == words
    assert (log_lines.line(stopped, state) or "").endswith(f"  {words}")


def test_counts_of_verdicts_have_commas_only_between_them() -> None:
    state = fold(journal.read(RECORDED / "human" / "events.jsonl"))
    text = summary.text(summary.summary(status.status(state, schedule.noise(state), None, Picture())))
    assert "tried       13: 9 inconclusive, 2 worse, 1 kept, 1 discarded by you; 1 skipped; 1 interrupted" in text
