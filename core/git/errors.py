"""Errors of git. The messages are shown to the user."""

from __future__ import annotations

from core.errors import UserError


class RepositoryError(UserError):
    """A git operation failed."""


class NameTaken(RepositoryError):
    """A run cannot have this name, since it belongs to another run in git."""
