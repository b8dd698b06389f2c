"""Makes a Job from a wanted measurement, and an event from its Result. Writes nothing."""

from __future__ import annotations

from pathlib import Path

from msgspec.structs import replace

from core.charter import Charter
from core.judging import pairing, policy
from core.judging.final_check import LONGER
from core.judging.schedule import MAX_MACHINE_RETRIES, Work
from core.machine.limits import RAM_SHARE
from core.machine.profiles import Profile
from core.model import Role, RunConfig
from core.record.events import Measured
from core.record.state import State
from nanochat.contract.job import CrashClass, Job, Outcome, Result
from nanochat.contract.layout import COMPILED, DATA

# A candidate may use this multiple of the baseline's scoring time, plus the seconds below, without being charged.
SCORING_MULTIPLE = 4.0
SCORING_EXTRA_S = 1.0
# On a GPU, the same for set-up, which includes compiling.
SET_UP_MULTIPLE, SET_UP_EXTRA_S = 1.5, 15.0


def job(state: State, profile: Profile, charter: Charter, work: Work, name: str, out: Path, ram: int) -> Job:
    """Return the job for a wanted measurement.

    Args:
        state: The state of the run.
        profile: The profile of the run.
        charter: The limits of program.md.
        work: What to measure.
        name: The name of the job.
        out: The folder of the job, two levels below the run's folder. It contains train.py.
        ram: The machine's memory in bytes.
    """
    config, baseline = state.config, state.baseline
    assert config is not None
    folder, charter, final = out.parent.parent, bound(state, charter, work), work.role.is_check
    reference, compiled = folder / "baseline.npy", folder / COMPILED
    setup_s, warmup_s = _free(state, profile)
    return Job(
        id=name,
        source=str(out / "train.py"),
        out=str(out),
        data=str(folder / DATA),
        device=config.device,
        seed=work.seed,
        budget_s=config.budget_s * (LONGER if work.role is Role.LONGER else 1.0),
        reference_s=state.reference_s,
        wall_factor=profile.wall_factor,
        setup_s=setup_s,
        warmup_s=warmup_s,
        scoring_s=None if baseline is None else SCORING_MULTIPLE * baseline.result.score_s + SCORING_EXTRA_S,
        hang_s=profile.hang_s,
        seq_len=config.seq_len,
        eval_tokens=config.eval_tokens,
        split="test" if final else "val",
        score_batch=profile.score_batch,
        memory_limit=_memory_limit(config, charter.max_memory_gb, ram),
        max_params=charter.max_params,
        reference=str(reference) if reference.exists() and not final else None,  # it is of the split `val`
        preflight=work.role in (Role.BASELINE, Role.CANDIDATE),
        compiled=str(compiled) if compiled.is_dir() else None,
        # Later trainers read the kernels. Code of agents could pass on other things there, such as weights.
        keep_compiled=config.device == "cuda" and baseline is None and config.own_code,
    )


def _free(state: State, profile: Profile) -> tuple[float, float]:
    """Return the seconds of set-up and warm-up that are not charged.

    On a GPU the profile's limits are wide, since compile times differ between machines. Once the baseline has shown how long
    compiling takes, the limits are narrowed, so that the rest cannot be used for training.
    """
    assert state.config is not None
    known = state.baseline.result.parts.get("setup", 0.0) if state.baseline is not None else 0.0
    if state.config.device == "cpu" or not known:
        return profile.setup_s, profile.warmup_s
    most = max(0.0, SET_UP_MULTIPLE * known + SET_UP_EXTRA_S - profile.setup_s)
    return profile.setup_s, min(profile.warmup_s, most)


def bound(state: State, charter: Charter, work: Work) -> Charter:
    """Return the limits that apply to a measurement.

    Those of program.md apply to candidates and to the first baseline. The incumbent and reruns have no limits: they may have
    been kept under other limits, and only serve as a reference.
    """
    binds = work.role.of_candidate or (work.role == Role.BASELINE and state.baseline is None)
    return charter if binds else Charter()


def _memory_limit(config: RunConfig, allowed_gb: float | None, ram: int) -> int | None:
    """Return how many bytes of the machine's memory a trainer may use.

    It is the slot's share, so that a trainer cannot exhaust the machine. On a CPU the limit of program.md applies too. On a GPU
    that limit is about the GPU's memory, and is checked when the job has ended. On other machines each takes its own share.
    """
    allowed = None if allowed_gb is None or config.device == "cuda" else int(allowed_gb * 1e9)
    if config.ray_address:
        return allowed
    share = int(ram * RAM_SHARE / config.slots)
    return share if allowed is None else min(share, allowed)


def interrupted(job: Job, reason: str, give_up: bool) -> Result:
    """Return the result of a job whose harness failed: interrupted, or a crash to give up on it."""
    if give_up:
        return Result(job=job.id, outcome=Outcome.CRASH, crash=CrashClass.EXCEPTION, reason=reason)
    return Result(job=job.id, outcome=Outcome.INTERRUPTED, reason=reason)


def event(state: State, charter: Charter, work: Work, result: Result, node: str = "", kind: str = "") -> Measured:
    """Return the event that records a result of a node of some kind, with the memory limit applied and disturbances of the machine noted."""
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
        if earlier is not None and pairing.group(state, earlier.node) != pairing.group(state, node):
            earlier = None  # a node may be slower than others
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
        )  # other processes held the memory that it lacked
    ignored = ""
    if (
        work.role in (Role.BASELINE, Role.INCUMBENT)
        and state.disturbances.get(work.commit, 0) >= MAX_MACHINE_RETRIES - 1
    ):
        disturbed, ignored = "", disturbed  # it is disturbed every time; a noisy reference is better than none
    return Measured(
        role=work.role, commit=work.commit, seed=work.seed, number=work.number, result=result, disturbed=disturbed,
        disturbance_ignored=ignored, node=node, kind=kind,
    )  # fmt: skip
