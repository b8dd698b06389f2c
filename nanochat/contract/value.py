"""The base of all value objects."""

from __future__ import annotations

import msgspec


class Data(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A frozen value, JSON in and out. What comes from outside is checked where it is decoded."""
