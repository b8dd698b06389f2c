"""The benchmarks: their arithmetic, their plans, and that each can be imported."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import math
import os
import random
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import numpy as np
import psutil
import pytest

import core.change.edits
from core.agents.base import Context, PastExperiment
from core.change import knobs
from core.judging import policy
from core.judging.final_check import FinalCheck, Step
from core.machine import profiles, stats
from core.machine.project import lacking
from core.model import Role, RunConfig
from core.record import events as ev
from core.record import journal
from core.record.fold import fold
from core.verdicts import Verdict
from nanochat.contract.job import Outcome, Result, Speed
from tests.benchmark import benchmark
from tests.events import measurement

ROOT = Path(__file__).resolve().parent.parent
KNOBS = """
DEPTH = 8  # a
WIDTH = 512  # a
KV_GROUPS = 1  # a
MLP_RATIO = 4  # a
SEQ_LEN = 2048  # a
WINDOW_PATTERN = "SSSL"  # a
WINDOW = 1024  # a
"""


@pytest.fixture(scope="module")
def flops() -> ModuleType:
    return benchmark("flops")


def test_operations_of_a_token_are_those_that_upstream_prints(flops: ModuleType) -> None:
    """autoresearch prints 239 MFLOP a token for this shape."""
    shape = flops.shape_of(KNOBS, 8192)
    assert shape.matmul_params == 8 * 12 * 512**2 + 8192 * 512
    assert shape.flops_per_token == pytest.approx(239e6, rel=0.001)
    assert 1.665e6 * shape.flops_per_token / flops.peak_flops("NVIDIA H100 80GB HBM3") == pytest.approx(
        0.398, abs=0.006
    )


@pytest.mark.parametrize(("length", "window"), [(2048, 1024), (16, 16), (16, 5), (16, 1), (16, 99)])
def test_causal_attention_counts_each_seen_position_once(flops: ModuleType, length: int, window: int) -> None:
    source = KNOBS.replace("SEQ_LEN = 2048", f"SEQ_LEN = {length}").replace("WINDOW = 1024", f"WINDOW = {window}")
    shape = flops.shape_of(source, 8192)
    seen = [sum(min(position + 1, span) for position in range(length)) / length for span in shape.spans]
    assert shape.causal_flops_per_token == pytest.approx(6 * shape.matmul_params + 12 * 512 * sum(seen))


@pytest.mark.parametrize(
    ("name", "tflops"),
    [
        ("NVIDIA H100 80GB HBM3", 989.4),
        ("NVIDIA H100 PCIe", 756.0),
        ("NVIDIA A100-SXM4-80GB", 312.0),
        ("NVIDIA GeForce RTX 4070 Ti SUPER", 88.2),
        ("NVIDIA RTX 6000 Ada Generation", 364.2),
        ("NVIDIA L40S", 362.0),
        ("NVIDIA GeForce RTX 4090 Laptop GPU", None),
        ("NVIDIA GeForce RTX 2080 Ti", None),
        ("NVIDIA A10G", None),
        ("", None),
    ],
)
def test_the_peak_follows_from_the_name_of_the_card(flops: ModuleType, name: str, tflops: float | None) -> None:
    peak = flops.peak_flops(name)
    assert peak is None if tflops is None else peak == pytest.approx(tflops * 1e12)


def experiment(evaluation_s: float, evaluation_tokens: int, wall_s: float) -> Any:
    parts = {
        "preflight": 2.0,
        "setup": 8.0,
        "training": 18.0,
        "scoring": evaluation_s,
        "cleanup": 1.0,
    }  # the set-up is in training
    result = Result(job="j", outcome=Outcome.SCORED, parts=parts, tokens=1000, charged_s=10.0)
    return benchmark("gpu_experiments").Experiment(result, wall_s, evaluation_tokens, Path("none"))


def test_the_parts_add_up_and_the_share_at_300_s_follows() -> None:
    report = benchmark("gpu_report")
    cold, warm = experiment(2.0, 1000, 24.0), experiment(5.0, 4000, 26.5)
    assert cold.parts["training"] == 10.0 and sum(cold.parts.values()) == pytest.approx(24.0)
    assert cold.fixed_s == pytest.approx(12.0), "preflight, set-up, clean-up and what is between them"
    assert report.evaluation_seconds(cold, warm, 11_000) == pytest.approx(12.0), (
        "1 s however short, and 1 s each 1000 tokens"
    )
    assert report.evaluation_seconds(cold, None, 11_000) == pytest.approx(22.0)
    assert report.share_in_training(12.0, 12.0) == pytest.approx(300 / 324)


@pytest.mark.skipif(not lacking("cuda", len(stats.gpu_memory())), reason="here is a card")
def test_without_a_card_it_says_so_in_one_sentence() -> None:
    done = subprocess.run([sys.executable, "benchmarks/gpu.py"], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("Nothing was measured: ") and done.stderr.count("\n") == 1


# -- truth.py ---------------------------------------------------------------------------------------------------------


def test_a_load_is_the_same_for_the_same_seed_and_has_every_number_of_neighbours() -> None:
    load = benchmark("load")
    first, again = (list(itertools.islice(load.segments("7"), 60)) for _ in range(2))
    assert first == again != list(itertools.islice(load.segments("8"), 60))
    assert {segment.busy for segment in first} == {(), ("compute",), ("memory",), ("compute", "memory")}
    assert all(3 <= segment.seconds <= 15 for segment in first)
    assert 0.7 < load.neighbours("7", 3600) < 1.3


def test_the_neighbours_are_busy_while_the_load_lasts_and_end_with_it() -> None:
    load = benchmark("load")
    seed = next(str(n) for n in itertools.count() if len(next(load.segments(str(n))).busy) == 2)
    with load.Load(seed) as running:
        found = [psutil.Process(process.pid) for process in running._processes]
        while not all(process.cpu_times().user > 0.1 for process in found):
            time.sleep(0.01)
    assert not any(process.is_running() for process in found)


def test_the_statistics_of_truth_agree_with_the_books() -> None:
    figures = benchmark("figures")
    for freedom, share, quantile in ((5, 0.05, 1.145), (5, 0.95, 11.070), (11, 0.1, 5.578), (59, 0.9, 73.28)):
        assert figures.chi_square(freedom, share) == pytest.approx(quantile, rel=0.02)
    low, high = figures.sd_interval(2.0, 11)
    assert (low, high) == pytest.approx((1.596, 2.809), rel=0.01), "2 sqrt(11/17.275), 2 sqrt(11/5.578)"
    slope, error, left = figures.line([0, 1, 2, 3], [0, 2.1, 3.9, 6])
    assert (slope, error, left) == pytest.approx((1.98, 0.0424, 0.0949), abs=0.001)
    assert figures.shift([1.0, 2.0, 3.0], [4.0, 4.0]) == (2.0, pytest.approx(3**-0.5))
    assert math.isnan(figures.sd([1.0])) and figures.number(math.nan) == "-"


def row(trainings: ModuleType, planned: Any, val_bpb: float, steps: int, speed: float) -> Any:
    found = Speed(reference_s=0.02, mean=speed, spread=0.01, busy=1.0, readings=30) if planned.gauge else None
    result = Result(
        job="j", outcome=Outcome.SCORED, val_bpb=val_bpb, steps=steps, charged_s=60.0, cpu_s=60 / speed, wall_s=61 / speed,
        speed=found,
    )  # fmt: skip
    return trainings.Row(
        mode="repeats", name=planned.name, seed=1, budget_s=planned.budget_s, gauge=planned.gauge, load=planned.load,
        processor="p", profile="cpu", began=0.0, result=result,
    )  # fmt: skip


def test_both_sides_of_a_pair_see_the_same_load_and_quiet_pairs_come_between() -> None:
    plan = benchmark("repeats").plan([20.0, 60.0], 12, 4, 1)
    assert len(plan) == 2 * 2 * (12 + 4)
    pairs = list(zip(plan[::2], plan[1::2], strict=True))
    assert all(a.load == b.load and {a.gauge, b.gauge} == {True, False} for a, b in pairs)
    assert {a.gauge for a, _ in pairs} == {True, False}, "neither side always comes first"
    quiet = [i for i, (a, _) in enumerate(pairs[:16]) if not a.load]
    assert len(quiet) == 4 and max(b - a for a, b in itertools.pairwise(quiet)) <= 4


def test_what_the_gauge_takes_out_is_told(tmp_path: Path) -> None:
    """Without it steps follow the machine; with it they do not."""
    repeats, trainings = benchmark("repeats"), benchmark("trainings")
    record = trainings.Record(tmp_path / "rows.jsonl")
    for count, planned in enumerate(repeats.plan([60.0], 6, 3, 1)):
        speed = 1.0 if not planned.load else (0.9, 0.8, 0.7)[count % 3]
        steps = 500 if planned.gauge else round(500 * speed)
        score = 1.4 + (0.0 if planned.gauge else 0.155 * (1 - speed))
        record.add(row(trainings, planned, score + 0.001 * (count % 2), steps, speed))
    with (tmp_path / "rows.jsonl").open("a") as file:
        file.write('{"mode":"rep')  # cut short
    read = trainings.read(tmp_path / "rows.jsonl")
    assert read == record.rows == trainings.Record(tmp_path / "rows.jsonl").rows
    text = "\n".join(repeats.report(read))
    gauged, without = (
        next(line for line in text.splitlines() if line.startswith(name)) for name in ("with the", "without")
    )
    assert gauged.split()[3:6] == ["3", "6", "0.0005"] and " 0.0% " in gauged
    assert without.split()[1:3] == ["3", "6"] and float(without.split()[3]) > 0.01
    assert "to the power of 1.00 +- 0.00" in text


def losses(source: str) -> list[float]:
    """Of 20 steps of training a tiny model."""
    import torch

    from nanochat.run import Run

    found: list[float] = []
    run = Run(
        device=torch.device("cpu"), vocab_size=32, seq_len=8, seed=3, start=lambda: np.arange(1000, dtype=np.uint16) * 7 % 31,
        clock=lambda: 0.0, budget_s=1.0, on_log=lambda scalars: found.append(scalars["loss"]), on_step=lambda *_: None,
        max_steps=20,
    )  # fmt: skip
    tiny = {
        "WIDTH": 8,
        "HEAD_DIM": 4,
        "SEQ_LEN": 8,
        "BATCH_SIZE": 2,
        "TOTAL_BATCH": 16,
        "WINDOW_PATTERN": "SL",
        "WINDOW": 4,
    }
    torch.set_num_threads(1)  # as an experiment has
    torch.manual_seed(3)
    module = sys.modules["tried"] = ModuleType("tried")
    exec(compile(knobs.set_knobs(source, tiny), "train.py", "exec"), module.__dict__)
    module.train(run)
    return found


def test_edits_for_a_night_without_effects_are_new_to_the_gate_and_compute_the_same() -> None:
    edits, source = benchmark("edits"), (ROOT / "nanochat" / "train.py").read_text()
    found = list(edits.every(source))
    by_kind = {one.kind: one for one in found}
    assert set(by_kind) == {"rename", "flip", "constant", "order", "name", "import"}
    assert len({one.source for one in found}) >= 100
    drawn = edits.draw(source, 6, 1)
    assert drawn == edits.draw(source, 6, 1)
    assert (
        len({core.change.edits.fingerprint(one.source) for one in drawn} | {core.change.edits.fingerprint(source)}) == 7
    )
    assert all(core.change.edits.ast_nodes(one.source) >= core.change.edits.ast_nodes(source) for one in drawn), (
        "no simplification"
    )
    expected = losses(source)
    assert len(expected) == 20 and expected[-1] != expected[0]
    for kind in ("rename", "flip"):
        assert losses(by_kind[kind].source) == expected, by_kind[kind].words
    with pytest.raises(ValueError, match="were asked for"):
        edits.draw("def train(run):\n    return run\n", 2, 1)


def test_a_night_is_counted_from_its_journal() -> None:
    """Four edits without effect: one kept by chance, one called worse, one inconclusive, one disturbed."""
    night = benchmark("night")
    config = RunConfig(
        name="night", dataset="python", data="x", fingerprint="f", device="cpu", profile="cpu", budget_s=60, seq_len=256,
        vocab_size=2048, eval_tokens=94208, seed=1, slots=1, base_commit="0", noise_prior=0.008,
    )  # fmt: skip
    first = policy.seed(1, 0)

    def scored(commit: str, role: str, value: float, number: int | None = None, seed: int = first) -> ev.Measured:
        speed = Speed(reference_s=0.02, mean=0.8 + 0.1 * (number or 0), spread=0.01, busy=1.0, readings=9)
        return measurement(
            job=commit, role=role, commit=commit, seed=seed, outcome="scored", number=number, val_bpb=value, speed=speed
        )

    def proposed(number: int, parent: str) -> ev.Proposed:
        name = f"c{number}"
        return ev.Proposed(
            number=number, commit=name, parent=parent, fingerprint=name, hypothesis=f"h{number}", agent="a", charter="",
        )  # fmt: skip

    journal = [
        ev.Created(v=ev.SCHEMA, config=config),
        ev.Started(pid=1, agent="a", approval="auto", slots=1),
        ev.StartCommit(commit="fit", source_hash="s", nodes=10),
        scored("fit", "baseline", 1.40),
        *(proposed(1, "fit"), scored("c1", "candidate", 1.43, 1)),
        ev.Judged(number=1, verdict=Verdict.DISCARD, finding="f"),
        *(proposed(2, "fit"), scored("c2", "candidate", 1.41, 2)),
        scored("fit", "best", 1.42),  # beside it: this is the one that it is compared with
        ev.Judged(number=2, verdict=Verdict.KEEP, commit="k2", finding="f"),
        *(proposed(3, "k2"), scored("c3", "candidate", 1.41, 3)),
        ev.Judged(number=3, verdict=Verdict.DISCARD, within_noise=True, finding="f"),
        proposed(4, "k2"),
        ev.Judged(number=4, verdict=Verdict.DISTURBED, finding="f"),
    ]
    told = night.tally(msgspec.structs.replace(event, t=1.7e9 + 1800 * i) for i, event in enumerate(journal))
    assert told.outcomes == {1: "called worse", 2: "kept", 3: "inconclusive", 4: "disturbed"}
    assert told.words == {1: "h1", 2: "h2", 3: "h3", 4: "h4"}
    assert told.gains == pytest.approx({1: -0.03, 2: 0.01, 3: 0.0})
    assert told.true_noise == pytest.approx(((0.03**2 + 0.01**2) / 3 / 2) ** 0.5)
    assert told.by_seed == {policy.seed(1, 0): [1.40, 1.43, 1.41, 1.42, 1.41]}
    assert (told.trainings, told.hours, told.prior) == (5, 7.0, 0.008)
    assert night.report(told)[1] == "1 kept, 1 called worse, 1 inconclusive, 1 disturbed, 0 other of 4 edits"


def test_trainers_that_should_not_move_the_gauge_are_what_they_say() -> None:
    independence = benchmark("independence")
    for name in ("cpu", "cpu-fp32"):
        profile = profiles.named(name)
        found = independence.trainers(profile)
        values = {kind: {knob.name: knob.value for knob in knobs.read(source)} for kind, source in found.items()}
        layers, width = values[independence.SHIPPED]["DEPTH"], values[independence.SHIPPED]["WIDTH"]

        def params(depth: Any, width: Any = width) -> int:
            return 2 * 2048 * width + depth * (12 * width**2 + 2048 * width)

        assert 10 <= params(values["10 times the parameters"]["DEPTH"]) / params(layers) < 11
        assert values["many tiny steps"]["TOTAL_BATCH"] == 16
        for source in found.values():
            core.change.edits.check(source)


def test_the_shift_of_the_gauge_is_told_round_by_round() -> None:
    """The machine drifts by half; a trainer that shifts the gauge by a percent is still seen."""
    independence = benchmark("independence")
    turns = [
        independence.Turn(name, speed * factor)
        for speed in (1.0, 0.8, 0.5)
        for name, factor in ((independence.SHIPPED, 1.0), ("other", 1.01))
    ]
    line = next(line for line in independence.report(turns) if line.startswith("other"))
    assert line.split() == ["other", "3", "0.7743", "+1.00%", "0.00%"]
    assert independence.report(turns[:1]) == ["No round was measured."]


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system lets no program choose its core")
def test_a_trainer_runs_only_in_its_turn(tiny_data: Path, tmp_path: Path) -> None:
    independence = benchmark("independence")
    program = tmp_path / "train.py"
    program.write_text(
        "def train(run):\n    for x, y in run.batches(1, 16):\n        run.log(loss=1.0)\n    return lambda tokens: tokens\n"
    )
    trainer = independence.Trainer("busy", program, min(os.sched_getaffinity(0)), tiny_data)
    try:
        trainer.await_training()
        process = psutil.Process(trainer.pid)
        before = process.cpu_times().user
        gauge = independence.ControlledGauge()
        readings = list(trainer.readings(gauge, min(os.sched_getaffinity(0)), random.Random(0)))
        trained = process.cpu_times().user - before
        assert len(readings) == independence.READINGS and min(readings) > 0
        assert process.status() == psutil.STATUS_STOPPED and trained > 0.05
    finally:
        trainer.end()
    assert not psutil.pid_exists(trainer.pid)


def test_verdicts_on_known_effects_are_judged_by_what_was_established(tmp_path: Path) -> None:
    effects, night, trainings = benchmark("effects"), benchmark("night"), benchmark("trainings")
    planned = benchmark("repeats").Planned(60.0, True, "")
    truths = [0.02, 0.01, 0.02, -0.02, 0.0005, 0.0005, 0.02, 0.003, -0.003, -0.02]
    by_name = dict(zip(effects.EDITS, truths, strict=True))
    assert len(effects.plan(12)) == 12 * 12 and effects.plan(12)[:12] == effects.plan(1)
    told = []
    for name, seed in effects.plan(4):
        # a seed moves an edit and its baselines alike, and a little noise is left
        score = 1.4 + 0.01 * (seed % 3) - by_name.get(name, 0.0) + 0.001 * (seed % 2) * (name in by_name)
        one = row(trainings, planned, score, 500, 1.0)
        told.append(msgspec.structs.replace(one, mode=effects.MODE, name=name, seed=seed))
    other = msgspec.structs.replace(told[0], profile="cpu-fp32", result=told[1].result)
    path = tmp_path / "effects.jsonl"
    record = trainings.Record(path)
    for one in (*told, other):
        record.add(one)
    found = effects.established(path, "cpu", 60.0)
    assert [found.gain(name) for name in by_name] == pytest.approx([truth - 0.0005 for truth in truths])
    assert found.sigma == pytest.approx((1 / 3 / 1.5) ** 0.5 * 0.001)
    assert [found.sign(name) for name in by_name] == [1, 1, 1, -1, 0, 0, 1, 1, -1, -1]
    assert effects.report_truth(found)[2].startswith(next(iter(by_name)))
    with pytest.raises(trainings.Unmeasured, match="--establish 12 first"):
        effects.established(path, "cpu", 20.0)
    outcomes = [
        "kept",
        "kept",
        "inconclusive",
        "kept",
        "kept",
        "called worse",
        "called worse",
        *["inconclusive"] * 2,
        "called worse",
    ]
    tally = night.Tally(
        outcomes=dict(enumerate(outcomes)), words=dict(enumerate(by_name)), gains={n: 0.0 for n in range(10)}
    )
    text = effects.report(tally, found)
    assert "found 2 of 5 real gains" in text[-3] and "misjudged 2 of 10" in text[-2]


def test_every_benchmark_can_be_imported() -> None:
    folder = ROOT / "benchmarks"
    code = f"""import runpy, sys
sys.path[:0] = [{str(ROOT)!r}, {str(folder)!r}]
for path in {[str(path) for path in sorted(folder.glob("*.py"))]!r}: runpy.run_path(path, run_name="imported")"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr


def test_a_night_of_an_arm_is_read_from_its_journal(tmp_path: Path) -> None:
    yields = benchmark("yield")
    path = ROOT / "tests" / "recorded" / "finished" / "events.jsonl"
    events = list(journal.read(path))
    scored = [event for event in events if isinstance(event, ev.Measured) and event.result.outcome is Outcome.SCORED]
    found = yields.read(path, "search", 1, 1000)
    state = fold(events)
    assert found.trainings == yields.trained(path) >= len(scored) and found.kept == len(state.kept) > 0
    assert found.curve[-1] == pytest.approx(sum(state.experiments[number].gain or 0.0 for number in state.kept))
    assert sorted(found.curve) == list(found.curve) and found.curve[0] == 0.0
    checked = FinalCheck(start=1.5, best=1.48, error=0.003, seeds=8)
    text = "\n".join(
        yields.table([dataclasses.replace(found, checked=checked), dataclasses.replace(found, seed=2, checked=checked)])
    )
    assert "0.0200 ± 0.0030" in text and "mean gain afresh 0.0200 ± 0.0000 over 2 seeds" in text
    steps = tuple(
        Step(1.0, 1.0 + change, 0.001, 8, 8, is_simplification=simpler)
        for change, simpler in ((-0.02, False), (-0.001, False), (0.001, True))
    )
    one_by_one = dataclasses.replace(found, checked=checked, steps=steps, lines=("#3 one.",), longer=checked)
    text = "\n".join(yields.table([one_by_one, one_by_one], each=True))
    assert (
        "2 of 4 gains hold, 2 of 2 simplifications are not clearly worse" in text
        and text.count("search 1  #3 one.") == 2
    )
    assert "with three times the budget: 0.0200 ± 0.0030 on 8 seeds" in text
    yields.picture([found], tmp_path / "y.png")
    assert (tmp_path / "y.png").stat().st_size > 5000


@pytest.mark.parametrize("arm", ["Uniform", "JointTPE"])
def test_an_arm_proposes_new_values_and_the_same_ones_for_the_same_record(arm: str) -> None:
    arms = benchmark("arms")
    source = (ROOT / "nanochat" / "train.py").read_text()
    past: tuple[PastExperiment, ...] = ()
    for number in range(1, 14):
        context = Context(
            charter="", source=source, parent=core.change.edits.fingerprint(source), number=number, seed=1, sigma=0.004, past=past,
            tried={one.fingerprint: one.number for one in past},
        )  # fmt: skip
        proposal = asyncio.run(getattr(arms, arm)().propose(context))
        assert proposal == asyncio.run(getattr(arms, arm)().propose(context)) and proposal.source is not None
        core.change.edits.validate_change(source, proposal.source)
        fingerprint = core.change.edits.fingerprint(proposal.source)
        assert fingerprint not in context.tried and proposal.notes.own["drawn"].keys() == arms.important(source).keys()
        past += (
            PastExperiment(
                number=number, parent=context.parent, fingerprint=fingerprint, proposal=proposal, verdict=Verdict.DISCARD,
                val_bpb=1.5 + abs(proposal.notes.own["drawn"]["MATRIX_LR"] - 0.02), gain=-0.1,
            ),
        )  # fmt: skip


# -- scale.py -----------------------------------------------------------------------------------------------------------


def trained(job: str, slot: int, begun: float, ended: float, role: str = "candidate") -> list[ev.Event]:
    launched = ev.Launched(job=job, role=Role(role), commit=job, seed=1, slot=slot, t=begun)
    measured = measurement(job=job, role=role, commit=job, seed=1, outcome="scored", val_bpb=1.4)
    return [launched, msgspec.structs.replace(measured, t=ended)]


def test_a_rate_is_that_of_the_time_in_which_all_slots_have_work() -> None:
    """Two slots, 10 s a training. The second one has its first job 5 s later, and none at the end."""
    scale = benchmark("scale")
    first = [trained(f"a{i}", 0, 10.0 * i, 10.0 * i + 10) for i in range(1, 5)]
    second = [trained(f"b{i}", 1, 10.0 * i + 5, 10.0 * i + 15) for i in range(1, 3)]
    again = trained("again", 0, 50.0, 60.0, "confirm")
    events = sorted(
        (event for jobs in (trained("base", 0, 0.0, 9.0, "baseline"), *first, *second, again) for event in jobs),
        key=lambda event: event.t,
    )
    found = scale.summed(events, 2)
    assert found.trainings == 7 and found.filled_s == 5.0 and found.span_s == 50.0 and found.busy == 0.7
    assert found.rate == pytest.approx((2.5 + 2) / 25), "from 15 to 40 s, the last new experiment"
    assert found.gaps == (0.0,) * 5
    told = scale.line("ray", dataclasses.replace(found, loop_s=1.4, journal_bytes=14_000), 0.1).split()
    assert told == ["ray", "2", "7", "5.0", "648", "90%", "70%", "0.00", "0.20", "2.0"]
    parts = dataclasses.replace(found, parts={"asking": 7.0, "git": 0.7, "journal": 0.07})
    assert scale.parts_line("ray", parts).split() == ["ray", "2", "1000.0", "100.0", "10.0", "110.0", "32727"]


def test_a_run_of_the_baseline_alone_has_no_rate() -> None:
    scale = benchmark("scale")
    with pytest.raises(SystemExit, match="nothing after its baseline"):
        scale.summed(trained("base", 0, 0.0, 9.0, "baseline"), 1)
    assert math.isnan(scale.summed(trained("only", 0, 0.0, 9.0), 1).rate)


def test_the_time_of_a_part_is_without_that_of_the_parts_inside_it() -> None:
    timed = benchmark("timed_loop")
    clock = timed.Clock()

    class Work:
        def outer(self) -> float:
            began = time.perf_counter()
            while time.perf_counter() - began < 0.02:
                pass
            return self.inner() + self.inner()

        def inner(self) -> float:
            began = time.perf_counter()
            while time.perf_counter() - began < 0.05:
                pass
            return 1.0

    clock.wrap(Work, "outer", "judging")
    clock.wrap(Work, "inner", "git")
    began = time.perf_counter()
    assert Work().outer() == 2.0
    took = time.perf_counter() - began
    assert clock.seconds["git"] >= 0.1 and clock.seconds["judging"] >= 0.02
    assert clock.seconds["git"] + clock.seconds["judging"] <= took + 1e-6
    assert set(clock.seconds) == set(timed.PARTS) and clock.seconds["journal"] == 0


def test_the_parts_of_the_loop_are_those_of_this_version() -> None:
    timed = benchmark("timed_loop")
    for functions in timed.PARTS.values():
        for owner, name in functions:
            assert callable(getattr(owner, name)) and not asyncio.iscoroutinefunction(getattr(owner, name))
