"""How many colours the terminal has."""

from __future__ import annotations

from typing import Any

from textual.app import App

MANY = ("256", "truecolor")  # Rich's names of the systems in which shades of a colour differ


def are_few(app: App[Any]) -> bool:
    """Return whether the terminal has at most 16 colours, so that the shades of a theme fall together."""
    return app.console.color_system not in MANY


def tell_curves_apart(app: App[Any]) -> bool:
    """Return whether the colours of two curves differ."""
    return not (app.no_color or are_few(app))
