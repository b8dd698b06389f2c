"""The action on the backlog: edit the list of ideas."""

from __future__ import annotations

import contextlib

from core.record import backlog
from core.run.backlog import listed
from tui.actions.editing import EditingActions


class BacklogActions(EditingActions):
    """The key b."""

    async def action_backlog(self) -> None:
        """Edit the backlog. A run that has none, as one of an earlier version, gets one with its heading."""
        path = self.bridge.folder / backlog.NAME
        with contextlib.suppress(OSError), path.open("x", encoding="utf-8") as file:  # the editor says what is wrong
            file.write(backlog.HEAD)
        if await self.edit_in_place(path):
            untried = len(listed(self.bridge.folder))
            found = f"{untried} untried idea{'s' if untried != 1 else ''}" if untried else "no untried idea"
            how = "" if untried else " An idea is a line that begins with a dash."
            self.show_note(f"The backlog has {found}.{how}")
