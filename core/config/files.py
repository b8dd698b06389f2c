"""The config files: where they are, and what they say together. The file of the project takes precedence over that of the user."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from core.config import settings
from core.config.settings import NOTHING, Settings
from core.machine.project import UsageError
from nanochat.contract.text import printable

PROJECT_FILE = "autoresearch.toml"
FOLDER = "autoresearch"  # in the user's folders for configuration and state
NAMED = ("agent", "dataset", "device", "notify", "notify-on")  # keys whose values are checked late, by what they name
ENVIRONMENT = {"context": "AUTORESEARCH_CONTEXT", "notify": "AUTORESEARCH_NOTIFY"}  # these variables override the files


@dataclass(frozen=True)
class ConfigFile:
    """One of the two files.

    Attributes:
        path: Where it is, or would be.
        exists: Whether it is there.
        settings: What it sets.
        problems: Everything that is wrong with it, as sentences.
    """

    path: Path
    exists: bool = False
    settings: Settings = NOTHING
    problems: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Its path, with ~ for the home directory."""
        home = os.path.expanduser("~")
        path = printable(str(self.path))
        return f"~{path[len(home) :]}" if home != "/" and path.startswith(f"{home}/") else path

    @property
    def label(self) -> str:
        """A short name: that of the project's file stands for its path."""
        return PROJECT_FILE if self.path.name == PROJECT_FILE else self.name


@dataclass(frozen=True)
class Config:
    """What the config files say together.

    Attributes:
        files: The files, the one that takes precedence last.
    """

    files: tuple[ConfigFile, ...] = ()

    @property
    def settings(self) -> Settings:
        """The values of all files."""
        merged = NOTHING
        for file in self.files:
            merged = settings.overlaid(merged, file.settings)
        return merged

    def source(self, key: str) -> ConfigFile | None:
        """Return the file that the value of a key comes from, or None if no file sets it."""
        return next((file for file in reversed(self.files) if key in settings.values(file.settings)), None)

    @property
    def problem(self) -> str:
        """Everything that is wrong with the files, as lines of text, or ''."""
        return "\n".join(
            "\n  ".join((f"The config file {file.name} cannot be used.", *file.problems))
            for file in self.files
            if file.problems
        )

    def check(self) -> None:
        """Raise UsageError if a file is wrong."""
        if self.problem:
            raise UsageError(f"{self.problem}\nNothing was started. Correct this, or add --no-config to `run`.")

    def sources_text(self, keys: Collection[str]) -> str:
        """Return a sentence about the files that these keys come from, or '' if no file sets them."""
        parts = []
        for file in reversed(self.files):
            names = [key for key in keys if self.source(key) is file]
            if names:
                parts.append(f"{', '.join(names)} from {file.label}")
        return f"Settings: {'; '.join(parts)}." if parts else ""

    @contextmanager
    def explaining(self) -> Iterator[None]:
        """Add to a UsageError of the body which file the value comes from that its message is about."""
        try:
            yield
        except UsageError as error:
            words = str(error)
            values = settings.values(self.settings)
            named = [
                key
                for key in NAMED
                if key in values and re.search(rf"(?<!\w){re.escape(str(values[key]))}(?!\w)", words)
            ]
            sources = self.sources_text(named)
            if not sources or sources in words:
                raise
            raise UsageError(f"{words}\n{sources}") from error


def read(root: Path) -> Config:
    """Read the config files of a project in the folder `root`. Never fails: `Config.problem` says what is wrong."""
    paths = (user_file(), root / PROJECT_FILE)
    return Config(tuple(_read(path) for path in paths if path is not None))


def user_file() -> Path | None:
    """Return the path of the user's config file, or None if the user has no home directory."""
    return _in_home("XDG_CONFIG_HOME", ".config", "config.toml")


def state_file() -> Path | None:
    """Return the path of the file in which the app remembers its view, or None if the user has no home directory."""
    return _in_home("XDG_STATE_HOME", ".local/state", "app.json")


def without_overridden(given: Settings, environment: Mapping[str, str]) -> Settings:
    """Return the settings without those that an environment variable overrides."""
    return settings.without(given, [key for key, name in ENVIRONMENT.items() if environment.get(name, "").strip()])


def _in_home(variable: str, default: str, name: str) -> Path | None:
    named = os.environ.get(variable, "")
    base = named if os.path.isabs(named) else os.path.join(os.path.expanduser("~"), default)
    return Path(base) / FOLDER / name if os.path.isabs(base) else None


def _read(path: Path) -> ConfigFile:
    if not os.path.lexists(path):  # also if its folder cannot be searched
        return ConfigFile(path)
    if os.path.exists(path) and not path.is_file():
        return ConfigFile(path, exists=True, problems=("It is not a file.",))
    try:
        text = path.read_bytes().decode("utf-8-sig").replace("\r\n", "\n")
    except OSError as error:
        return ConfigFile(path, exists=True, problems=(f"It cannot be read ({error.strerror}).",))
    except UnicodeDecodeError:
        return ConfigFile(path, exists=True, problems=("It is not a text in UTF-8.",))
    parsed = settings.parse(text)
    return ConfigFile(path, True, parsed.settings, parsed.problems)
