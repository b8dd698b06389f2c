"""Writes the present activity of the loop for `status` and the app, at most twice a second, and when another proposal waits."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

import msgspec
from msgspec.structs import replace

from core.judging.schedule import Work
from core.record.live import NAME, Load, Picture, Slot, Waiting
from core.text import sanitize_line, sanitize_text
from nanochat.contract.messages import Progress

EVERY_S = 0.5
STREAM, PHASE = 1500, 60  # characters that are kept of the agent's text and phase


class Live:
    """Writer of `live.json`."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME
        self._slots: dict[int, Slot] = {}
        self._picture = Picture()
        self._written = 0.0

    def stream(self, text: str) -> None:
        """Show the agent's text so far."""
        self._change(stream=sanitize_text(text[-STREAM:]))

    def doing(self, phase: str) -> None:
        """Show what the agent is doing (asking, unloading, waiting for memory), or "" for nothing. Written at once."""
        if (text := sanitize_line(phase, PHASE)) != self._picture.phase:
            self._written = 0.0
            self._change(phase=text)

    def update(self, index: int, work: Work, progress: Progress, node: str = "", load: Load | None = None) -> None:
        """Show the progress of the job in a slot. `node` and `load`: the machine of a cluster on which it runs."""
        self._slots[index] = Slot(
            slot=index, number=work.number, role=work.role, job=progress.job, phase=progress.phase, step=progress.step, loss=progress.loss,
            progress=progress.progress, charged_s=progress.charged_s, tokens_per_s=progress.tokens_per_s, wall_s=progress.wall_s,
            speed=progress.speed, node=node, load=load,
        )  # fmt: skip
        self._change()

    def forget(self, index: int) -> None:
        """Remove the job in a slot, which has ended."""
        self._slots.pop(index, None)

    def write(self, waiting: Waiting | None, *, proposing: bool, stopping: bool = False) -> None:
        """Write the state of the loop: the waiting proposal, and whether the loop is proposing or stopping.

        Written at once if another proposal waits, or its countdown stops or goes on.
        """
        stream = self._picture.stream if proposing else ""
        if _question(waiting) != _question(self._picture.waiting):
            self._written = 0.0
        self._change(waiting=waiting, proposing=proposing, stopping=stopping, stream=stream)

    def _change(self, **changes: object) -> None:
        self._picture = replace(self._picture, **changes)
        now = time.monotonic()
        if now - self._written < EVERY_S:
            return
        self._written = now
        slots = tuple(self._slots[index] for index in sorted(self._slots))
        content = replace(self._picture, t=round(time.time(), 2), slots=slots)
        draft = self._path.with_suffix(".new")
        with contextlib.suppress(OSError):  # a full disk must not end the run
            draft.write_bytes(msgspec.json.encode(content))
            os.replace(draft, self._path)

    def close(self) -> None:
        """Remove the file when the loop ends."""
        with contextlib.suppress(OSError):
            self._path.unlink()


def _question(waiting: Waiting | None) -> tuple[int, bool] | None:
    """Return what the app must show without delay: which proposal waits, and whether its countdown is stopped."""
    return (waiting.number, waiting.held) if waiting is not None else None
