"""A whole night in this process: the real loop, git and journal, with trainings that are computed."""

from __future__ import annotations

import asyncio
import os
import re
import traceback
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from core.agents.base import Agent, Context, Exhausted
from core.execution.base import Executor
from core.execution.deterministic import DeterministicExecutor, Ending
from core.git.repository import Repository
from core.loop.loop import Loop
from core.loop.proposals import Proposer
from core.machine.profiles import named
from core.machine.project import Project
from core.model import Limits, Proposal
from core.record import events as ev
from core.record import journal
from core.record.fold import fold
from core.record.journal import Journal
from core.record.state import State
from core.run.active import ActiveRun, killed_end
from core.run.integrity import LIST, IntegrityCheck
from core.run.opening import clean_up
from tests.core.run.test_active import CONFIG

Idea = str | Proposal | BaseException  # such as "K3 = 1", or what is proposed, or what goes wrong
Answer = Callable[[str, int], float | Ending]
Meanwhile = Callable[[Loop], Coroutine[None, None, None]]
Report = Callable[[ev.AnyEvent, State], None]

# Constants on neighbouring lines, as in the shipped train.py.
KNOBS = "".join(f"K{i} = 0  # constant {i}\n" for i in range(1, 13))
SOURCE = f"""\
{KNOBS}

def train(run):
    for x, y in run.batches(8, run.seq_len):
        run.log(loss=1.0)
    return None
"""


def changed(source: str, idea: str) -> str:
    """The source with a constant set, such as "K3 = 1"."""
    name = idea.split(" ")[0]
    return re.sub(rf"^{name} = \S+", idea, source, flags=re.MULTILINE)


def in_a_process(work: Callable[[], object]) -> int:
    """Do this work in a process of its own, which may kill itself. Returns its exit code.

    The process is forked: importing everything again would take longer than a night.
    """
    pid = os.fork()
    if not pid:
        code = 1
        try:
            work()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


class Listed:
    """An agent that goes through a list."""

    name = "listed"

    def __init__(self, ideas: Iterable[Idea]) -> None:
        self.ideas = list(ideas)
        self.told: list[Context] = []
        self.released = 0

    async def propose(self, context: Context) -> Proposal:
        self.told.append(context)
        if not self.ideas:
            raise Exhausted("The list is at its end.")
        idea = self.ideas.pop(0)
        if isinstance(idea, BaseException):
            raise idea
        if isinstance(idea, Proposal):
            return idea
        return Proposal(hypothesis=f"Set {idea}.", source=changed(context.source, idea))

    async def release(self) -> None:
        self.released += 1


@dataclass
class Night:
    """A run in a folder of its own, which can be started again and again."""

    root: Path
    slots: int = 1
    seconds: float = 0.0
    final_seeds: int = 0
    ablation: bool = False
    source: str = SOURCE
    report: Report = lambda event, state: None  # called with each event that is recorded, and the state after it
    said: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.project = Project(self.root, self.root / "logs")
        self.folder = self.root / "logs" / "night"

    def active(self) -> ActiveRun:
        """Open the run, a new one at first, or one whose first start was killed."""
        if not self.folder.exists():
            (self.root / "nanochat").mkdir(parents=True)
            (self.root / "nanochat" / "train.py").write_text(self.source)
            (self.root / "program.md").write_text("# Aim\n\nLowest val_bpb.\n")
            self.folder.mkdir(parents=True)
            (self.folder / LIST).write_text("{}")
        repo = Repository.open(self.root, self.root / "private")
        record = Journal(self.folder)
        state = fold(record.open(), State(name="night"))
        active = ActiveRun(
            self.project,
            self.folder,
            record,
            state,
            repo,
            named("tiny"),
            IntegrityCheck(self.folder),
            lambda event, state: self.report(event, state),
        )
        if state.config is None:
            active.record(ev.Created(v=ev.SCHEMA, config=CONFIG))
        active.program.watch()
        if state.start_commit is None:
            active.start.make(self.source, {}, repo.base())
        return active

    def clean_up(self) -> State:
        """Do what each start of the loop does before it begins to work, and return the state after it."""
        active = self.active()
        if (killed := killed_end(active.state)) is not None:
            active.record(killed)
        clean_up(active)
        active.sync_refs()
        active.write_best()
        active.experiments.recheck(begun=True)
        active.journal.close()
        return active.state

    def run(
        self,
        ideas: Iterable[Idea],
        answer: Answer,
        *,
        limits: Limits | None = None,
        meanwhile: Meanwhile | None = None,
        executors: Sequence[Executor] | None = None,
        agent: str = Listed.name,
    ) -> State:
        """One start of the loop, to its end. `meanwhile` runs beside it. `agent`: the name of the agent."""
        listed = Listed(ideas)
        listed.name = agent
        return asyncio.run(self._run(listed, answer, limits or Limits(), meanwhile, executors))

    def run_agent(self, agent: Agent, answer: Answer, limits: Limits) -> State:
        """One start of the loop with any agent."""
        return asyncio.run(self._run(agent, answer, limits, None, None))

    async def _run(
        self,
        agent: Agent,
        answer: Answer,
        limits: Limits,
        meanwhile: Meanwhile | None,
        executors: Sequence[Executor] | None,
    ) -> State:
        active = self.active()
        try:
            slots = executors or [DeterministicExecutor(answer, self.seconds) for _ in range(self.slots)]
            loop = Loop(
                active,
                Proposer(agent),
                slots,
                limits,
                self.said.append,
                final_seeds=self.final_seeds,
                ablation=self.ablation,
            )
            active.record(
                ev.Started(
                    pid=1,
                    agent=agent.name,
                    approval="auto",
                    slots=self.slots,
                    final_seeds=self.final_seeds,
                    machine=("a CPU",),
                )
            )
            beside = asyncio.create_task(meanwhile(loop)) if meanwhile else None
            with active.recording_end():
                await asyncio.wait_for(loop.run(), 60)
            if beside is not None:
                await beside
            return active.state
        finally:
            active.journal.close()

    def source_of(self, commit: str) -> str:
        """The train.py of a commit."""
        return Repository.open(self.root, self.root / "private").source(commit)

    def events(self) -> list[ev.AnyEvent]:
        return list(journal.read(self.folder / journal.NAME))
