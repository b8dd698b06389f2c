"""A loop for the app to talk to: a real lock, a real socket, a recorded run that goes on; it writes down what it is told."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import msgspec

from core.record import journal, live, run_lock
from core.record.fold import fold
from core.run import commands


class Living:
    """A run on which somebody works. Facts go into the journal, the picture of this second into live.json."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.heard: list[commands.Command] = []
        self.attended = 0  # how often it was told that the human is there
        self.gone: list[str] = []
        self.refuses = ""  # why, where it does not do as told
        self.offers: dict[str, commands.Offer] = {}  # with the reply to a command of this name
        self._lock = run_lock.Lock(folder)
        self._server = commands.Server(folder, self._hear, self.gone.append)
        self._state = fold(journal.read(folder / journal.NAME))
        self._picture: dict[str, Any] = {"waiting": None, "proposing": False, "stream": "", "slots": []}

    async def start(self) -> None:
        await self._server.start()
        self.record("started", pid=os.getpid(), agent="search", gate="ask", slots=2)

    async def close(self) -> None:
        await self._server.close()
        self._lock.release()

    async def _hear(self, command: commands.Command) -> commands.Reply:
        self.attended += isinstance(command, commands.Attend)
        if not isinstance(command, commands.Attach | commands.Attend):
            self.heard.append(command)
        if self.refuses and not isinstance(command, commands.Attach | commands.Attend | commands.Hold):
            return commands.Reply(ok=False, words=self.refuses, offer=self._offer(command))
        return commands.Reply(ok=True, words=f"heard {self._name(command)}", offer=self._offer(command))

    @property
    def attached_ever(self) -> bool:
        """Whether an app has attached itself so far."""
        return self._server.ever

    def _name(self, command: commands.Command) -> str:
        return str(msgspec.to_builtins(command)["cmd"])

    def _offer(self, command: commands.Command) -> commands.Offer | None:
        return self.offers.get(self._name(command))

    def told(self, kind: type[commands.Data]) -> list[Any]:
        return [command for command in self.heard if isinstance(command, kind)]

    def record(self, kind: str, **fields: Any) -> None:
        with (self.folder / journal.NAME).open("a") as file:
            file.write(json.dumps({"type": kind, "t": time.time(), **fields}) + "\n")

    def propose(self, number: int, hypothesis: str, source: str = "LR = 1\n") -> None:
        """A proposal with its files; it waits for an answer."""
        folder = self.folder / f"{number:05d}"
        folder.mkdir()
        (folder / "train.py").write_text(source)
        (folder / "change.diff").write_text("--- a/x\n+++ b/x\n@@ -1 +1 @@\n-LR = 2\n+LR = 1\n")
        charter = self._state.charter.sha if self._state.charter else ""
        self.record("proposed", number=number, commit=f"{number:040d}", parent=self._state.incumbent, fingerprint=str(number),
                    hypothesis=hypothesis, agent="search", charter=charter)  # fmt: skip

    def train(self, number: int, role: str = "candidate", slot: int = 0, progress: float = 0.5) -> None:
        """A job in a slot, half-way."""
        job = f"j{900 + number:06d}"
        self.record("approved", number=number, by="auto")
        self.record("launched", job=job, role=role, commit=f"{number:040d}", seed=1, slot=slot, number=number)
        out = self.folder / f"{number:05d}" / job
        out.mkdir()
        (out / "output.txt").write_text("a word from train.py\n")
        (out / "metrics.jsonl").write_text("".join(
            json.dumps({"step": i, "progress": progress * i / 40, "loss": 5 - i / 20}) + "\n" for i in range(1, 41)
        ))  # fmt: skip
        found = {"slot": slot, "number": number, "role": role, "job": job, "phase": "training", "step": 40, "loss": 3.0,
                 "progress": progress, "charged_s": 0.5, "wall_s": 0.5, "tokens_per_s": 17000.0}  # fmt: skip
        self.show(slots=[*self._picture["slots"], found])

    def wait(self, number: int, left_s: float = 41.0, held: bool = False) -> None:
        self.show(waiting={"number": number, "left_s": left_s, "held": held})

    def show(self, **picture: Any) -> None:
        self._picture |= picture
        draft = self.folder / "live.draft"
        draft.write_text(json.dumps({"t": time.time(), **self._picture}))
        os.replace(draft, self.folder / live.NAME)
