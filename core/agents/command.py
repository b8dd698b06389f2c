"""Any coding agent's command line: it works in a scratch copy of the source tree, and its change to train.py is the proposal."""

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
from datetime import datetime, timedelta
from pathlib import Path

from core.agents import prompt
from core.agents.base import AgentFailed, Context
from core.agents.chat import Hear, check
from core.edits import EditError
from core.model import Proposal
from core.plain import clean, clean_lines

LIMIT_S = 1200.0
OUTPUT = 200_000  # characters that are kept
TASK = "TASK.md"
TRAIN = Path("nanochat") / "train.py"
COPIED = ("program.md", "README.md", "prepare.py", "pyproject.toml", "nanochat")
_LIMITED = re.compile(r"(usage|rate|session|weekly|5-hour) limit|quota|too many requests", re.I)
_RESETS = re.compile(r"resets?(?: at)? (\d{1,2})(?::(\d{2}))? ?(am|pm)?", re.I)
_AFTER = re.compile(r"(?:try again|retry) (?:in|after) (\d+) ?(second|minute|hour|s\b|m\b|h\b)", re.I)

ORDER = """\
{role}

Change the file nanochat/train.py in this folder, and no other. Do not train, do not commit. One change, one idea. End by saying in one
sentence why it should help. program.md holds what the human wants.

{record}"""


class Command:
    """Runs a command for each proposal."""

    def __init__(self, name: str, command: str, root: Path) -> None:
        self.name = name if len(name) <= 40 else name[:39] + "…"
        self.hear: Hear = lambda text: None
        self._command, self._root = command, root

    async def propose(self, context: Context) -> Proposal:
        began = time.monotonic()
        folder = Path(tempfile.mkdtemp(prefix="autoresearch-scratch-"))
        try:
            before = _lay_out(self._root, folder, context)
            output = await self._run(folder, (folder / TASK).read_text(encoding="utf-8"))
            return self._proposal(folder, before, context, output, time.monotonic() - began)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    async def release(self) -> None:
        pass

    async def _run(self, folder: Path, task: str) -> str:
        try:
            process = await asyncio.create_subprocess_exec(
                *shlex.split(self._command), cwd=folder, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT, start_new_session=True, limit=1 << 20,
            )  # fmt: skip
        except (OSError, ValueError) as error:
            raise AgentFailed(f"The command {clean(self._command, 80)} cannot be started ({error}).") from error
        text = ""
        try:
            async with asyncio.timeout(LIMIT_S):
                assert process.stdin is not None and process.stdout is not None
                with contextlib.suppress(ConnectionError):
                    process.stdin.write(task.encode())
                    await process.stdin.drain()
                    process.stdin.close()
                while piece := await process.stdout.read(4096):
                    text = (text + piece.decode("utf-8", "replace"))[-OUTPUT:]
                    self.hear(clean_lines(text[-2000:]))
                code = await process.wait()
        except TimeoutError:
            raise AgentFailed(f"{self.name} did not end within {LIMIT_S / 60:.0f} minutes; it was ended.") from None
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                await process.wait()
        wait = limited(text, datetime.now())
        if wait is not None and (code or len(text) < 2000):
            raise AgentFailed(f"{self.name} has reached its usage limit: {clean(text[-300:], 200)}", wait_s=wait)
        if code:
            raise AgentFailed(f"{self.name} ended with code {code}: {clean(text[-400:], 300)}")
        return text

    def _proposal(
        self, folder: Path, before: dict[Path, bytes], context: Context, output: str, seconds: float
    ) -> Proposal:
        after = _files(folder)
        others = sorted(
            str(path) for path in {*before, *after} if path != TRAIN and before.get(path) != after.get(path)
        )
        others = [path for path in others if not path.startswith(".")]  # the notes of the tool itself
        if others:
            raise AgentFailed(
                f"{self.name} changed {', '.join(others[:5])}; only nanochat/train.py may be changed. Nothing of it was used."
            )
        try:
            source = after.get(TRAIN, b"").decode("utf-8")
        except UnicodeDecodeError as error:
            raise AgentFailed(f"{self.name} left a train.py that is no text ({error}).") from error
        lines = [line for line in clean_lines(output).splitlines() if line.strip()]
        proposal = Proposal(
            hypothesis=clean(lines[-1] if lines else "", 400) or f"A change by {self.name}.",
            source=source,
            agent=self.name,
            meta={"model": self.name, "seconds": round(seconds, 1)},
        )
        try:
            check(context, proposal)
        except EditError as error:
            raise AgentFailed(f"The change of {self.name} cannot be used: {clean(str(error), 300)}") from error
        return proposal


def _lay_out(root: Path, folder: Path, context: Context) -> dict[Path, bytes]:
    """The scratch copy: the source tree with the best train.py, and the task."""
    for name in COPIED:
        origin = root / name
        if origin.is_dir():
            shutil.copytree(origin, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        elif origin.is_file():
            shutil.copyfile(origin, folder / name)
    (folder / TRAIN).parent.mkdir(exist_ok=True)
    (folder / TRAIN).write_text(context.source, encoding="utf-8")
    (folder / "program.md").write_text(context.charter, encoding="utf-8")
    (folder / TASK).write_text(ORDER.format(role=prompt.ROLE, record=prompt.record(context)), encoding="utf-8")
    return _files(folder)


def _files(folder: Path) -> dict[Path, bytes]:
    found = {}
    for path in folder.rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            found[path.relative_to(folder)] = path.read_bytes()
    return found


def limited(text: str, now: datetime) -> float | None:
    """Seconds until a usage limit is over, by what the tool says; an hour where it names no time. None: there is no limit."""
    tail = text[-2000:]
    if not _LIMITED.search(tail):
        return None
    if match := _AFTER.search(tail):
        return int(match[1]) * {"s": 1.0, "m": 60.0, "h": 3600.0}[match[2][0].lower()]
    if match := _RESETS.search(tail):
        hour = int(match[1]) % 12 + (12 if match[3].lower() == "pm" else 0) if match[3] else int(match[1])
        if hour < 24:
            then = now.replace(hour=hour, minute=int(match[2] or 0), second=0, microsecond=0)
            return ((then if then > now else then + timedelta(days=1)) - now).total_seconds() + 60
    return 3600.0
