"""The agent `script:FILE`: proposals from a file, one JSON object a line. For tests, replays and checks of the harness."""

from __future__ import annotations

from pathlib import Path

import msgspec

from core.agents.base import Context, Exhausted
from core.model import Edit, Notes, Proposal
from core.text import lines_of
from nanochat.contract.value import Data


class Entry(Data, frozen=True, kw_only=True):
    """One line of a script: a hypothesis with either edits or a whole new train.py."""

    hypothesis: str
    edits: tuple[Edit, ...] = ()
    source: str | None = None


class Script:
    """Proposes the lines of a file in order. The position comes from the record, so a resumed run continues at the same line.

    Raises:
        ValueError: A line cannot be read. The message names it.
    """

    repeats = True  # a line is proposed even if the same change was tried before

    def __init__(self, path: Path) -> None:
        self.name = f"script:{path.name}"
        self._entries: list[tuple[int, Entry]] = []
        for number, line in enumerate(lines_of(path.read_text(encoding="utf-8-sig")), 1):
            if not line.strip() or line.lstrip().startswith("#"):
                continue
            try:
                entry = msgspec.json.decode(line, type=Entry)
            except msgspec.DecodeError as error:
                raise ValueError(f"Line {number} of {path} is not a proposal: {error}.") from None
            if (entry.source is None) == (not entry.edits):
                raise ValueError(f"Line {number} of {path} needs either edits or a source, and not both.")
            self._entries.append((number, entry))

    async def propose(self, context: Context) -> Proposal:
        position = context.proposed.get(self.name, 0)
        if position >= len(self._entries):
            raise Exhausted
        number, entry = self._entries[position]
        return Proposal(
            hypothesis=entry.hypothesis,
            edits=entry.edits,
            source=entry.source,
            agent=self.name,
            notes=Notes(line=number),
        )

    async def release(self) -> None:
        pass
