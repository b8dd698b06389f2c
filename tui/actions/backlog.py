"""The action on the backlog: edit the list of ideas."""

from __future__ import annotations

from core.record import backlog
from tui.actions.editing import EditingActions


class BacklogActions(EditingActions):
    """The key b."""

    async def action_backlog(self) -> None:
        await self.edit_in_place(self.bridge.folder / backlog.NAME)
