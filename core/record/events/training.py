"""Events of a training, which is one job: of an experiment, of the baseline, or of the incumbent."""

from __future__ import annotations

from core.model import Role
from core.record.events.base import Event
from nanochat.contract.job import Outcome, Result


class Launched(Event, frozen=True, kw_only=True):
    """A job was started in a slot. For `role` see `core.model.Role`.

    `nodes`: the machines of a cluster, one of which should run it, so that its score forms a pair. () if any may.
    """

    job: str
    role: Role
    commit: str
    seed: int
    slot: int
    number: int | None = None
    nodes: tuple[str, ...] = ()


class Processes(Event, frozen=True, kw_only=True):
    """The processes of a job. After a crash the next start kills them.

    Attributes:
        job: The id of the job.
        pids: Each as (pid, start), see `core.record.process_start`.
        boot: The boot in which they were started; "" in older journals, where `start` has another unit.
    """

    job: str
    pids: tuple[tuple[int, float], ...]
    boot: str = ""


class Measured(Event, frozen=True, kw_only=True):
    """A job ended.

    Attributes:
        role: What the training was for.
        commit: What was trained.
        seed: The seed.
        result: The result, with the limits of program.md applied. Its score is on the test split if the role is FINAL.
        number: The experiment; None for the baseline and for the incumbent measured on its own.
        disturbed: Why the score does not count, and the job runs again; "" if it counts.
        disturbance_ignored: A disturbance that was ignored, since it came every time; "" for none.
        node: The machine of the cluster on which it ran; "" for the machine of the loop.
        kind: The processor or card of `node`. Later starts of the run use no other.
    """

    role: Role
    commit: str
    seed: int
    result: Result
    number: int | None = None
    disturbed: str = ""
    disturbance_ignored: str = ""
    node: str = ""
    kind: str = ""

    @property
    def job(self) -> str:
        return self.result.job

    @property
    def scored(self) -> bool:
        """Whether it has a val_bpb that counts."""
        return self.result.outcome is Outcome.SCORED and self.result.val_bpb is not None and not self.disturbed


class Grouped(Event, frozen=True, kw_only=True):
    """A node of a cluster was compared with others by their scores of the same train.py. Pairs stay in one group of nodes.

    Attributes:
        node: The node.
        group: The first node of its group from now on: that of another group that it has joined, or itself.
        other: The first node of the group that it was compared with; "" if it was not.
        difference: The mean of its scores minus theirs, in bpb; positive is worse.
        trainings: The number of differences in the mean, each of one train.py and one seed.
    """

    node: str
    group: str
    other: str = ""
    difference: float = 0.0
    trainings: int = 0
