"""What can go wrong with git. Each message is a sentence for a human."""

from __future__ import annotations

from core.errors import UserError


class RepositoryError(UserError):
    """Git could not do what was needed."""


class NameTaken(RepositoryError):
    """A run cannot have this name: in git it is somebody else's."""
