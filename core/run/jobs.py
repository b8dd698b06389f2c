"""From a wanted measurement to a Job, and from the harness' Result to the event that is recorded. Pure."""

from __future__ import annotations

from pathlib import Path

from msgspec.structs import replace

from core.charter import Charter
from core.judging import policy
from core.judging.schedule import MAX_MACHINE_RETRIES, Work
from core.machine.profiles import Profile
from core.model import Role
from core.record.events import Measured
from core.record.state import State
from nanochat.contract.job import CrashClass, Job, Outcome, Result

SCORING_MULTIPLE = 4.0  # of the baseline's scoring time is free for every candidate
SCORING_EXTRA_S = 1.0
SET_UP_MULTIPLE, SET_UP_EXTRA_S = 1.5, 15.0  # of the baseline's set-up, compiling included, is free on a GPU
COMPILED = "compiled"  # in the run's folder: the kernels that the baseline's training compiled
RAM_SHARE = 0.8  # of the machine's memory, for all trainers together


def job(state: State, profile: Profile, charter: Charter, work: Work, name: str, out: Path, ram: int) -> Job:
    """The job for a wanted measurement; `out` is its folder in the run's, with its train.py, `ram` the machine's memory in bytes."""
    config, baseline = state.config, state.baseline
    assert config is not None
    folder, charter = out.parent.parent, bound(state, charter, work)
    reference, compiled = folder / "baseline.npy", folder / COMPILED
    setup_s, warmup_s = _free(state, profile)
    return Job(
        id=name,
        source=str(out / "train.py"),
        out=str(out),
        data=str(folder / "data"),
        device=config.device,
        seed=work.seed,
        budget_s=config.budget_s,
        reference_s=state.reference_s,
        wall_factor=profile.wall_factor,
        setup_s=setup_s,
        warmup_s=warmup_s,
        scoring_s=None if baseline is None else SCORING_MULTIPLE * baseline.result.score_s + SCORING_EXTRA_S,
        hang_s=profile.hang_s,
        seq_len=config.seq_len,
        eval_tokens=config.eval_tokens,
        score_batch=profile.score_batch,
        memory_limit=_memory_limit(config.device, config.slots, charter.max_memory_gb, ram),
        max_params=charter.max_params,
        reference=str(reference) if reference.exists() else None,
        preflight=work.role in (Role.BASELINE, Role.CANDIDATE),
        compiled=str(compiled) if compiled.is_dir() else None,
        # Later trainers read it: what agents wrote could pass on more than kernels, such as weights.
        keep_compiled=config.device == "cuda" and baseline is None and config.own_code,
    )


def _free(state: State, profile: Profile) -> tuple[float, float]:
    """Seconds of set-up and of warm-up before the clock starts. On a GPU the profile's are wide, since nobody knows how long
    this machine compiles; the baseline's training shows it. What is free beyond need could be used for training."""
    assert state.config is not None
    known = state.baseline.result.parts.get("setup", 0.0) if state.baseline is not None else 0.0
    if state.config.device == "cpu" or not known:
        return profile.setup_s, profile.warmup_s
    most = max(0.0, SET_UP_MULTIPLE * known + SET_UP_EXTRA_S - profile.setup_s)
    return profile.setup_s, min(profile.warmup_s, most)


def bound(state: State, charter: Charter, work: Work) -> Charter:
    """The limits that hold for a measurement: those of program.md bind what is proposed, and the train.py that a run begins with.
    What was kept under other limits, or is run again, is only a yardstick."""
    binds = work.role in (Role.CANDIDATE, Role.REPLICATE) or (work.role == Role.BASELINE and state.baseline is None)
    return charter if binds else Charter()


def _memory_limit(device: str, slots: int, allowed_gb: float | None, ram: int) -> int:
    """Bytes of the machine's memory that a trainer may use: its share, so that it cannot bring down the machine and the
    loop with it. program.md's limit is one on this memory on a CPU; of a GPU's memory it is checked when the job has ended."""
    share = int(ram * RAM_SHARE / slots)
    return share if allowed_gb is None or device == "cuda" else min(share, int(allowed_gb * 1e9))


def interrupted(job: Job, reason: str, give_up: bool) -> Result:
    """What stands for a result when the harness itself broke: run again, or given up as a crash."""
    if give_up:
        return Result(job=job.id, outcome=Outcome.CRASH, crash=CrashClass.EXCEPTION, reason=reason)
    return Result(job=job.id, outcome=Outcome.INTERRUPTED, reason=reason)


def event(state: State, charter: Charter, work: Work, result: Result) -> Measured:
    """The event that records a result: limits of the charter checked, disturbances of the machine noted."""
    outcome, reason = result.outcome, result.reason
    limit = bound(state, charter, work).max_memory_gb
    if outcome is Outcome.SCORED and limit is not None and result.peak_memory > limit * 1e9:
        outcome = Outcome.INVALID
        reason = f"it used {result.peak_memory / 1e9:.2f} GB of memory, and program.md allows {limit:g} GB"
    result = replace(
        result, outcome=outcome, reason=reason, val_bpb=result.val_bpb if outcome is Outcome.SCORED else None
    )
    disturbed, device = "", state.config.device if state.config else "cpu"
    if outcome in (Outcome.SCORED, Outcome.TIMEOUT):
        earlier = state.facts.get(work.commit)
        disturbed = (
            policy.disturbed(
                result,
                earlier.result if earlier is not None else None,
                same_code=earlier is not None,
                device=device,
                baseline=state.baseline.result if state.baseline is not None else None,
                usual=state.other_gpu_bytes,
            )
            or ""
        )
    elif result.crash is CrashClass.OUT_OF_MEMORY and device != "cpu" and state.baseline is not None:
        disturbed = (
            policy.intruder(result, state.baseline.result.other_gpu_bytes) or ""
        )  # the memory that it lacked was in other hands
    ignored = ""
    if (
        work.role in (Role.BASELINE, Role.INCUMBENT)
        and state.disturbances.get(work.commit, 0) >= MAX_MACHINE_RETRIES - 1
    ):
        disturbed, ignored = "", disturbed  # the machine is like this; better a noisy yardstick than none
    return Measured(
        role=work.role, commit=work.commit, seed=work.seed, number=work.number, result=result, disturbed=disturbed,
        disturbance_ignored=ignored,
    )  # fmt: skip
