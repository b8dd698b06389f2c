"""The commands of the command palette in the order of the table of keys."""

from __future__ import annotations

from textual.command import DiscoveryHit, Hits
from textual.system_commands import SystemCommandsProvider


class CommandsInOrder(SystemCommandsProvider):
    """Lists the commands of the app in its own order. Textual's provider sorts them by their titles, which begin with a key."""

    async def discover(self) -> Hits:
        """Yield all commands, for a palette without a query."""
        for command in self.app.get_system_commands(self.screen):
            if command.discover:
                yield DiscoveryHit(command.title, command.callback, help=command.help)
