"""How many colours the terminal has."""

from __future__ import annotations

from typing import Any, Literal

from textual.app import App

MANY = ("256", "truecolor")  # Rich's names of the systems in which shades of a colour differ


def are_few(app: App[Any]) -> bool:
    """Return whether the terminal has at most 16 colours, so that the shades of a theme fall together."""
    return app.console.color_system not in MANY


def depth(app: App[Any]) -> Literal["few", "256", "many"]:
    """Return how many colours the app may use. Those of an ansi theme are chosen by the terminal and have no shades."""
    if app.native_ansi_color or are_few(app):
        return "few"
    return "256" if app.console.color_system == "256" else "many"


def tell_curves_apart(app: App[Any]) -> bool:
    """Return whether the colours of two curves differ."""
    return not (app.no_color or are_few(app))
