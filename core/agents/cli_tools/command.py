"""Runs a coding agent's command line in a scratch copy of the repository. Its change to train.py is the proposal."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shlex
import shutil
import signal
import tempfile
import time
from datetime import datetime
from pathlib import Path

from msgspec.structs import replace

from core.agents.base import AgentFailed, Context
from core.agents.cli_tools.limits import limited
from core.agents.cli_tools.scratch import TRAIN, Seen, changed, lay_out, look
from core.agents.hooks import TextCallback, ignore
from core.agents.llm import backlog, prompt
from core.agents.llm.material import Plan
from core.agents.llm.operators import Task, choose
from core.machine import temporary
from core.model import Cost, Notes, Proposal
from core.target import TARGET
from core.text import sanitize_line, sanitize_text

LIMIT_S = 1200.0
OUTPUT = 200_000  # bytes of output that are kept
TRIES = 2  # tries of one proposal if other files were changed

ORDER = """\
{role}

Change the file {train} in this folder, and no other. Do not train, do not commit. One change, one idea. End by saying in one
sentence why it should help. program.md holds what the human wants.

{record}"""
AGAIN = "\n\n# Your last try was refused\n\n{reason}\nMake another change, which is new and keeps the rules."
_COST = re.compile(r"\$ ?\d|\b(?:tokens?|cost|session|model|duration|elapsed)\b[^.]*\d", re.I)


class _Refused(Exception):
    """The tool's change cannot be used. The message is written for the tool."""


class _Output:
    """Reads a tool's output as it arrives.

    It uses its own pipe: one of asyncio stays open until all processes that inherited it have ended.
    """

    def __init__(self, on_text: TextCallback) -> None:
        self._mine, self.end = os.pipe()
        os.set_blocking(self._mine, False)
        self._on_text, self._text = on_text, b""
        asyncio.get_running_loop().add_reader(self._mine, self._come)

    def _come(self) -> None:
        if self._read():
            self._on_text(sanitize_text(self._text[-2000:].decode("utf-8", "replace")))

    def _read(self) -> bool:
        try:
            piece = os.read(self._mine, 1 << 16)
        except BlockingIOError:
            return False
        self._text = (self._text + piece)[-OUTPUT:]
        return bool(piece)

    def all(self) -> str:
        """Return the output so far."""
        self._read()
        return self._text.decode("utf-8", "replace")

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._mine)
        os.close(self._mine)
        os.close(self.end)


class Command:
    """Runs a command for each proposal.

    Args:
        name: The name of the agent.
        command: The command line. It gets the task on stdin.
        root: The source tree.
        limit_s: Seconds after which the command is killed.
    """

    def __init__(self, name: str, command: str, root: Path, limit_s: float = LIMIT_S) -> None:
        self.name = name if len(name) <= 40 else name[:39] + "…"
        self.on_text: TextCallback = ignore
        self.on_phase: TextCallback = ignore
        self._command, self._root, self._limit_s = command, root, limit_s

    async def propose(self, context: Context) -> Proposal:
        """Run the command and return its change. Raises AgentFailed if it fails, is at its usage limit, or changes other files."""
        reasons, task = list(context.rejections), Task(choose(context, "blocks"))
        self.on_phase(f"asking {self.name}")
        try:
            for left in range(TRIES - 1, -1, -1):
                try:
                    proposal = await self._once(context, task.plan, reasons)
                    return replace(proposal, notes=task.noted(proposal.notes))
                except _Refused as error:
                    if not left:
                        words = f"{self.name} {error} Nothing of it was used."
                        raise AgentFailed(words, cost=task.noted(Cost(model=self.name))) from error
                    reasons.append(f"You {error}")
        finally:
            self.on_phase("")
        raise AssertionError("the last try returns or raises")

    async def release(self) -> None:
        pass

    async def _once(self, context: Context, plan: Plan, reasons: list[str]) -> Proposal:
        began = time.monotonic()
        folder = temporary.folder("autoresearch-scratch-")  # outside of any repository, where tools would work instead
        task = ORDER.format(train=TARGET.path, role=prompt.ROLE, record=prompt.record(context, plan=plan))
        if reasons:
            task += AGAIN.format(reason=sanitize_line(reasons[-1], 1200))
        try:
            before = await lay_out(self._root, folder, context.source, context.charter, task)
            code, output = await self._run(folder, task)
            self._check_ended(code, output, unchanged=look(folder).get(TRAIN) == before[TRAIN])
            return self._proposal(context, folder, before, output, time.monotonic() - began)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    async def _run(self, folder: Path, task: str) -> tuple[int, str]:
        """Run the command and return its exit code and the end of its output. Processes that it leaves behind are killed."""
        with tempfile.TemporaryFile(dir=folder) as order, contextlib.closing(_Output(self.on_text)) as output:
            order.write(task.encode())
            order.seek(0)
            try:
                process = await asyncio.create_subprocess_exec(
                    *shlex.split(self._command), cwd=folder, stdin=order, stdout=output.end, stderr=output.end,
                    start_new_session=True,
                )  # fmt: skip
            except (OSError, ValueError, IndexError, TypeError) as error:
                raise AgentFailed(
                    f"The command {sanitize_line(self._command, 80)} cannot be started ({error})."
                ) from error
            try:
                async with asyncio.timeout(self._limit_s):
                    return await process.wait(), output.all()
            except TimeoutError:
                raise AgentFailed(
                    f"{self.name} did not end within {self._limit_s / 60:.0f} minutes; it was ended."
                ) from None
            finally:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(process.pid, signal.SIGKILL)  # including processes that it left behind
                await process.wait()

    def _check_ended(self, code: int, output: str, *, unchanged: bool) -> None:
        """Raise AgentFailed if the tool failed or is at its usage limit. A tool that changed train.py is not checked for limits."""
        if not code and not unchanged:
            return
        now = datetime.now().astimezone()
        if (until := limited(output, now, failed=bool(code))) is not None:
            words = f"{self.name} has reached its usage limit until {clock(until, now)}: {sanitize_line(output[-300:], 200)}"
            raise AgentFailed(words, wait_s=(until - now).total_seconds())
        if code:
            last = sanitize_line(output[-400:], 300)
            raise AgentFailed(f"{self.name} ended with code {code}{f': {last}' if last else ' and printed nothing.'}")

    def _proposal(self, context: Context, folder: Path, before: Seen, output: str, seconds: float) -> Proposal:
        if others := changed(before, look(folder)):
            raise _Refused(f"changed {', '.join(others[:5])}; only {TARGET.path} may be changed.")
        try:
            source = (folder / TRAIN).read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise _Refused(f"left a train.py that cannot be read ({error}).") from error
        follows, later = backlog.of_tool(sanitize_text(output, OUTPUT), context, source)
        return Proposal(
            hypothesis=sentence(later) or f"A change by {self.name}.",
            source=source,
            agent=self.name,
            notes=Notes(model=self.name, seconds=round(seconds, 1), follows=follows),
        )


def clock(then: datetime, now: datetime) -> str:
    """Return the time of day, with the date if it is another day."""
    return f"{then:%H:%M}" if then.date() == now.date() else f"{then:%a %d %b %H:%M}"


def sentence(output: str) -> str:
    """Return the last line of the output that looks like a sentence and is not about costs, or "" without one."""
    lines = [sanitize_line(line, 400).strip("-*>#• ") for line in sanitize_text(output[-OUTPUT:], OUTPUT).splitlines()]
    lines = [line for line in lines if len(line.split()) >= 4 and not _COST.search(line)]
    ended = [line for line in lines if line[-1] in ".!?"]
    return (ended or lines or [""])[-1]
