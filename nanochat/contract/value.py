"""The base of all value objects."""

from __future__ import annotations

import msgspec


class Data(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A frozen value that converts to and from JSON. Types are checked when it is decoded."""
