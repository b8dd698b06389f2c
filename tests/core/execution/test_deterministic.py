"""Computed trainings: the same answer each time, and what a table may say."""

from __future__ import annotations

import asyncio
import json
import statistics
from pathlib import Path

import pytest

from core.errors import UserError
from core.execution import registry
from core.execution.base import DataUnusable
from core.execution.deterministic import DeterministicExecutor, Ending, World, read
from nanochat.contract.job import CrashClass, Job, Outcome
from nanochat.contract.messages import Progress, Started


def job(folder: Path, source: str = "LR = 1\n", seed: int = 3) -> Job:
    (folder / "train.py").write_text(source)
    return Job(id="j", source=str(folder / "train.py"), out=str(folder), data="/nowhere", seed=seed, budget_s=2.0)


def test_a_score_is_the_sum_of_the_effects_of_what_train_py_holds() -> None:
    world = World(val_bpb=1.5, effects={"a = 1": -0.1, "b = 1": 0.02})
    assert [world(text, 1) for text in ("", "a = 1", "b = 1", "a = 1\nb = 1")] == pytest.approx([1.5, 1.4, 1.52, 1.42])


def test_noise_has_the_size_that_was_asked_for_and_pairs_cancel_what_seeds_share() -> None:
    world = World(seeds=0.05, noise=0.01)
    found = [(world("a", seed), world("b", seed)) for seed in range(2000)]
    assert all(isinstance(value, float) for pair in found for value in pair)
    assert statistics.stdev(a for a, _ in found) == pytest.approx((0.05**2 + 0.01**2) ** 0.5, rel=0.1)  # type: ignore[type-var]
    assert statistics.stdev(a - b for a, b in found) == pytest.approx(0.01 * 2**0.5, rel=0.1)  # type: ignore[operator]
    assert world("a", 7) == World(seeds=0.05, noise=0.01)("a", 7)


async def test_a_job_is_answered_as_by_a_harness(tmp_path: Path) -> None:
    told: list[Started | Progress] = []
    result = await DeterministicExecutor(World()).run(job(tmp_path), told.append)
    assert result.outcome is Outcome.SCORED and result.val_bpb == 1.5 and result.charged_s == 2.0
    assert [type(one) for one in told] == [Started, Progress]


async def test_the_end_of_a_job_and_missing_files_are_reported(tmp_path: Path) -> None:
    boom = Ending(outcome=Outcome.CRASH, crash=CrashClass.HANG, reason="it did nothing")
    executor = DeterministicExecutor(World(endings={"LR": boom}))
    result = await executor.run(job(tmp_path), lambda told: None)
    assert (result.outcome, result.crash, result.reason) == (Outcome.CRASH, CrashClass.HANG, "it did nothing")
    missing = job(tmp_path)
    (tmp_path / "train.py").unlink()
    with pytest.raises(DataUnusable, match="cannot be read"):
        await executor.run(missing, lambda told: None)


@pytest.mark.parametrize("end", ["abort", "close"])
async def test_a_job_that_is_ended_early_says_interrupted_and_the_next_one_runs(tmp_path: Path, end: str) -> None:
    executor = DeterministicExecutor(World(), seconds=60.0)
    running = asyncio.create_task(executor.run(job(tmp_path), lambda told: None))
    await asyncio.sleep(0)
    await getattr(executor, end)()
    assert (await running).outcome is Outcome.INTERRUPTED
    quick = DeterministicExecutor(World())
    assert (await quick.run(job(tmp_path), lambda told: None)).outcome is Outcome.SCORED


def test_a_table_is_read_from_a_file_and_nonsense_is_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "world.json"
    path.write_text(json.dumps({"val_bpb": 1.2, "effects": {"x": -1}, "endings": {"y": {"outcome": "timeout"}}}))
    world = read(path)
    assert world("x", 1) == pytest.approx(0.2) and isinstance(world("y", 1), Ending)
    for text in (
        "",
        "[]",
        '{"endings": {"y": {"outcome": "scored"}}}',
        '{"endings": {"y": {"outcome": "interrupted"}}}',
        '{"effects": 3}',
        '{"unknown": 1}',
    ):
        path.write_text(text)
        with pytest.raises(UserError, match="is not a table of scores"):
            read(path)
    path.unlink()
    with pytest.raises(UserError, match="is not a table of scores"):
        read(path)


@pytest.mark.parametrize("spec", ["", "slurm", "local:x", "deterministic", "deterministic:", "ray:x"])
def test_an_executor_that_does_not_exist_is_refused_with_those_that_do(spec: str) -> None:
    with pytest.raises(UserError, match=r"Nothing was started(?s:.*)local .*(?s:.*)deterministic:FILE "):
        registry.check(spec)


def test_a_table_keeps_its_place_whatever_folder_a_later_start_is_made_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert registry.absolute("deterministic:w.json") == f"deterministic:{tmp_path / 'w.json'}"
    assert registry.absolute("local") == "local"
