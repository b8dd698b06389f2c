"""The private parts of Textual that the app relies on."""

from __future__ import annotations

import textual

from tui.textual_internals import TEXTUAL_VERSION


def test_they_are_those_of_the_installed_version() -> None:
    assert textual.__version__ == TEXTUAL_VERSION, (
        "Look through tui/textual_internals.py before you change the version."
    )
