"""Asks the agent for the next proposal while the slots train."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import datetime, timedelta

from core.agents.base import AgentFailed, Exhausted
from core.agents.hooks import Prepares, attach_callbacks, is_exclusive, members
from core.git.errors import RepositoryError
from core.loop.ablations import Ablations
from core.loop.backoff import BACKOFF_S, STALLED_S, Stall, growing_wait
from core.loop.ending import Ending
from core.loop.proposals import Proposer
from core.loop.reflecting import Reflecting
from core.record import events as ev
from core.record.journal import JournalError
from core.run.active import ActiveRun
from core.run.live import Live

LOAD = 3  # proposals each time a model that shares the GPU is loaded
REFUSED = 3  # rejected proposals in a row after which the agent is asked less often


class Asking:
    """Asks the agent when a proposal is wanted. After each failure the wait doubles.

    Args:
        active: The run.
        proposer: Asks the agent and records its proposal.
        ablations: Proposes when the agent has nothing left.
        ending: Whether and why the loop ends.
        live: Shows the agent's text and phase.
        wake: Wakes the loop.
        say: Prints a sentence for the user.
    """

    def __init__(
        self,
        active: ActiveRun,
        proposer: Proposer,
        ablations: Ablations,
        ending: Ending,
        live: Live,
        wake: Callable[[], None],
        say: Callable[[str], None],
    ) -> None:
        self._active, self._proposer, self._ending, self._wake, self._say = active, proposer, ending, wake, say
        self._ablations = ablations
        self.task: asyncio.Task[None] | None = None
        self._agent_exhausted = False
        self.exclusive = is_exclusive(proposer.agent)  # nothing trains while the agent proposes
        self._wait = growing_wait()
        self._stall = Stall(STALLED_S)
        self._refused = 0
        self._reflecting = Reflecting(active, proposer, ending.fail)
        attach_callbacks(proposer.agent, live.stream, live.doing, self._note)

    @property
    def agent_name(self) -> str:
        return self._proposer.agent.name

    @property
    def exhausted(self) -> bool:
        """Whether the agent has nothing left, and no kept change is to be taken out of the best."""
        return self._agent_exhausted and not self._ablations.left

    def step(self, *, busy: bool) -> None:
        """Start to ask the agent if a proposal is wanted. `busy`: whether a training runs."""
        if self.task or time.monotonic() < self._wait.until:
            return
        if not self._wants_proposal():
            if busy and not self.exclusive:
                self._reflecting.start()
        elif not (self.exclusive and busy) or self._agent_exhausted:  # else the GPU is in use
            self.task = asyncio.create_task(self._ask_agent())

    def _wants_proposal(self) -> bool:
        """Return whether a proposal is wanted: none waits for a slot, and the run goes on."""
        state, limit = self._active.state, self._ending.limits.max_experiments
        if self._ending.reason or self.exhausted or state.paused:
            return False
        ahead = sum(1 for experiment in state.open.values() if not experiment.launched)
        return ahead < 1 and (limit is None or state.counted + len(state.open) < limit)

    async def close(self) -> None:
        """End what is asked for besides a proposal, and release the agent."""
        await self._reflecting.close()
        await self.release()

    async def _ask_agent(self) -> None:
        try:
            await self._reflecting.stop()
            before = self._active.state.next_number
            await self._ask()
            self._wait.succeeded()
            self._stall.succeeded()
            self._count_refusals(before)
        except Exhausted:
            self._agent_exhausted = True
        except AgentFailed as error:
            self._back_off(str(error), error.wait_s)
        except JournalError as error:
            self._ending.fail(error)
        except RepositoryError as error:
            self._back_off(str(error))
        except OSError as error:
            self._back_off(f"The files of a proposal cannot be written ({error}).")
        except (Exception, SystemExit) as error:  # a bug in an agent must not end the run
            self._back_off(f"The agent {self.agent_name} failed: {type(error).__name__}: {error}")
        finally:
            self.task = None
            self._wake()

    def _count_refusals(self, first: int) -> None:
        """Count rejected proposals in a row, new ones from number `first` on, and wait if there are more than REFUSED."""
        for number in range(first, self._active.state.next_number):
            refused = self._active.state.experiments[number].verdict is not None
            self._refused = self._refused + 1 if refused else 0
        if self._refused > REFUSED:
            self._wait.put_off(time.monotonic() + min(2.0 ** (self._refused - REFUSED), BACKOFF_S[1]))

    async def _ask(self) -> None:
        """Ask for one proposal. An agent that shares the GPU is asked for several, and then released.

        When the agent has nothing left, an ablation is proposed.
        """
        if self._agent_exhausted:
            self._ablations.propose()
            return
        self._prepare_agents()
        if not self.exclusive:
            await self._proposer.propose(self._active)
            return
        try:
            for _ in range(self._proposals_per_load()):
                await self._proposer.propose(self._active)
            await self._reflecting.ask_now()
        finally:
            await self.release()

    def _prepare_agents(self) -> None:
        """Give the agents the texts of the next prompt in advance."""
        for agent in members(self._proposer.agent):
            if isinstance(agent, Prepares):
                agent.expect(self._active.source(self._active.state.incumbent), self._active.program.text)

    async def release(self) -> None:
        """Release the agent. A failure is recorded as a notice, and the run goes on."""
        try:
            await self._proposer.agent.release()
        except Exception as error:
            self._note(f"{error or type(error).__name__} The model may still be on the GPU; the run continues.")

    def _note(self, text: str) -> None:
        """Record a notice. If the journal cannot be written, the loop ends."""
        try:
            self._active.record(ev.Notice(text=text))
        except JournalError as error:
            self._ending.fail(error)

    def _proposals_per_load(self) -> int:
        """Return how many proposals to ask for while the model is loaded, within the run's limit."""
        limit, state = self._ending.limits.max_experiments, self._active.state
        left = LOAD if limit is None else limit - state.counted - len(state.open)
        return max(1, min(LOAD, left))

    def _back_off(self, reason: str, wait_s: float = 0.0) -> None:
        now = time.monotonic()
        waits_s = self._wait.failed(now, least_s=wait_s)
        self._active.record(ev.Refused(number=self._active.state.next_number, agent=self.agent_name, reason=reason))
        text = f"{reason} The agent is asked again {_time_text(waits_s)}; running experiments are not affected."
        self._say(text)
        if self._stall.failed(now, waits_s):
            self._active.record(ev.Notice(text=f"No agent has proposed anything for a long time. {text}", stalled=True))


def _time_text(seconds: float) -> str:
    """Return "in N s", or a time of day for longer waits."""
    if seconds < 100:
        return f"in {seconds:.0f} s"
    then = datetime.now() + timedelta(seconds=seconds)
    return f"at {then:%H:%M}" if seconds < 12 * 3600 else f"at {then:%H:%M on %a %d %b}"
