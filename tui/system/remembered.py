"""What the app remembers of its view between sessions: theme, log scale, filter and order of the table."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path
from typing import TypedDict, Unpack

import msgspec


class View(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A view. '' stands for the default.

    Attributes:
        theme: The theme that was chosen in the app.
        theme_instead_of: The theme of the config files when it was chosen. Another one there takes precedence later.
        logarithmic: Whether the loss has a log scale.
        filter: The name of the table's filter.
        sort: The name of its order.
    """

    theme: str = ""
    theme_instead_of: str = ""
    logarithmic: bool = False
    filter: str = ""
    sort: str = ""


class Changes(TypedDict, total=False):
    """Fields of a view that change."""

    theme: str
    theme_instead_of: str
    logarithmic: bool
    filter: str
    sort: str


class ViewMemory:
    """Reads and writes a view. The app works without the file, and with an invalid one.

    Args:
        path: The file; None to remember nothing.
        configured_theme: The theme of the config files, or ''.

    Attributes:
        view: The present view.
        problem: What is wrong with the file, as a sentence, or ''.
    """

    def __init__(self, path: Path | None = None, configured_theme: str = "") -> None:
        self._path, self._configured_theme = path, configured_theme
        self.view, self.problem = View(), ""
        try:
            self.view = self._read()
        except (OSError, msgspec.MsgspecError) as error:
            self.problem = f"{path} cannot be read ({_why(error)}), so the app starts with its usual view."

    @property
    def theme(self) -> str:
        """The theme to show: the one that was chosen last, in the app or in a config file. '' for the default."""
        chosen = self.view.theme if self.view.theme_instead_of == self._configured_theme else ""
        return chosen or self._configured_theme

    def choose_theme(self, name: str) -> str:
        """Remember a theme that was chosen in the app. Returns what `save` returns."""
        return self.save(theme=name, theme_instead_of=self._configured_theme) if name != self.theme else ""

    def save(self, **changes: Unpack[Changes]) -> str:
        """Remember changes of the view. Returns a sentence if that fails for the first time, else ''.

        Other apps write the file too, so it is read again, and only what has changed here is replaced.
        """
        view = msgspec.structs.replace(self.view, **changes)
        if view == self.view or self._path is None:
            return ""
        self.view = view
        with contextlib.suppress(OSError, msgspec.MsgspecError):  # a broken file is replaced
            view = msgspec.structs.replace(self._read(), **changes)
        try:
            _write(Path(os.path.realpath(self._path)), msgspec.json.encode(view))
        except OSError as error:
            first, self.problem = not self.problem, f"The view cannot be remembered: {self._path}, {_why(error)}."
            return self.problem if first else ""
        return ""

    def _read(self) -> View:
        """Return what the file says. Raises OSError and MsgspecError."""
        if self._path is None or not os.path.lexists(self._path):
            return View()
        if os.path.exists(self._path) and not self._path.is_file():
            raise OSError(None, "It is not a file")
        return msgspec.json.decode(self._path.read_bytes(), type=View)


def _write(path: Path, data: bytes) -> None:
    """Write a file at once, so that no app ever reads half of it. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    number, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(number, "wb") as file:
            file.write(data)
        os.replace(name, path)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise


def _why(error: Exception) -> str:
    words = (error.strerror if isinstance(error, OSError) else None) or str(error)
    return " ".join(words.split())[:200].rstrip(".")
