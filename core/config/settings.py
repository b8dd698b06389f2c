"""The settings that a config file can have: their types, and what a text in TOML says. Pure."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Annotated, get_args

import msgspec
from msgspec import Meta

from core.machine.profiles import DEVICES, PROFILES
from core.model import ApprovalMode, Tenancy
from core.text import sanitize_line

THEMES = (  # of Textual
    "textual-dark", "textual-light", "nord", "gruvbox", "catppuccin-mocha", "dracula", "tokyo-night", "monokai", "flexoki",
    "catppuccin-latte", "catppuccin-frappe", "catppuccin-macchiato", "solarized-light", "solarized-dark", "rose-pine", "rose-pine-moon",
    "rose-pine-dawn", "atom-one-dark", "atom-one-light", "ansi-dark", "ansi-light",
)  # fmt: skip
CHOICES: dict[str, tuple[str, ...]] = {
    "tenancy": get_args(Tenancy), "gate": get_args(ApprovalMode), "device": DEVICES, "profile": tuple(PROFILES), "theme": THEMES,
}  # fmt: skip
Text = Annotated[str, Meta(pattern=r"\S", max_length=4000, description="a text")]
Count = Annotated[int, Meta(ge=1, le=10**9, description="a whole number above 0")]
Value = str | int | float | bool  # of any key
Flag = Annotated[bool, Meta(description="true or false")]
CHARTER = ("max_params", "max_memory_gb", "off_limits")  # keys of the front matter of program.md
PER_RUN = ("name", "from", "seed", "executor", "ray-address")  # options of a single run
PER_COMMAND = ("headless", "logs", "no-config", "json", "attended", "prepared")
LEAST_BUDGET_S, LONGEST_S = 0.1, 1e8


class Settings(msgspec.Struct, frozen=True, kw_only=True, rename="kebab", omit_defaults=True):
    """The values in a config file. None for those that it does not set. Each key has the name of the option that overrides it."""

    agent: Text | None = None
    tenancy: Tenancy | None = None
    context: Annotated[int, Meta(ge=1024, le=10**8, description="a number of tokens, 1024 or more")] | None = None
    gate: ApprovalMode | None = None
    gate_time: Annotated[float, Meta(ge=1, le=LONGEST_S, description="a number of seconds, 1 or more")] | None = None
    budget: (
        Annotated[float, Meta(ge=LEAST_BUDGET_S, le=LONGEST_S, description="a number of seconds, 0.1 or more")] | None
    ) = None
    slots: Count | None = None
    dataset: Text | None = None
    device: Text | None = None
    profile: Text | None = None
    max_experiments: Count | None = None
    max_hours: Annotated[float, Meta(gt=0, le=10**6, description="a number of hours above 0")] | None = None
    max_crashes: Count | None = None
    notify: Text | None = None
    notify_on: Text | None = None
    earlier: Flag | None = None
    lessons: Flag | None = None
    report: Flag | None = None
    beside: Flag | None = None
    ablation: Flag | None = None
    theme: Text | None = None


FIELDS = {field.encode_name: field for field in msgspec.structs.fields(Settings)}
KEYS = tuple(FIELDS)
NOTHING = Settings()  # of no file


@dataclass(frozen=True)
class Parsed:
    """What a config file says. `problems`: everything that is wrong with it, as sentences; the settings are then incomplete."""

    settings: Settings = NOTHING
    problems: tuple[str, ...] = ()


def parse(text: str) -> Parsed:
    """Read the text of a config file."""
    import tomllib  # imported late, since most programs find no file

    try:
        table = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        return Parsed(problems=(f"It is not valid TOML: {sanitize_line(str(error), 200)}.",))
    values: dict[str, object] = {}
    problems: list[tuple[int, str]] = []
    for key, value in table.items():
        why = _problem(key, value)
        if not why:
            values[key] = value
            continue
        line = _line_of(text, key)
        problems.append((line, f"line {line}: {why}" if line else why))
    return Parsed(msgspec.convert(values, Settings), tuple(words for _, words in sorted(problems)))


def overlaid(lower: Settings, upper: Settings) -> Settings:
    """Return the settings of two files. Those of `upper` take precedence."""
    return msgspec.convert(values(lower) | values(upper), Settings)


def without(settings: Settings, keys: Collection[str]) -> Settings:
    """Return the settings without these keys."""
    return msgspec.convert({key: value for key, value in values(settings).items() if key not in keys}, Settings)


def values(settings: Settings) -> dict[str, Value]:
    """Return the values that are set, by their keys."""
    return {key: value for key in KEYS if (value := getattr(settings, FIELDS[key].name)) is not None}


def shown(key: str, value: object) -> str:
    """Return a value as it stands in the file. Of `notify`, which can hold a secret address, only its kind is shown."""
    if key == "notify":
        kind, colon, _ = str(value).partition(":")
        return (
            f'"{kind}:..."'
            if colon and kind.isalpha()
            else f'"{value}"'
            if value in ("desktop", "terminal")
            else "a command"
        )
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{sanitize_line(value, 80)}"' if isinstance(value, str) else f"{value:.12g}"


def _problem(key: str, value: object) -> str:
    """Return what is wrong with a key and its value, as a sentence, or ''."""
    name = sanitize_line(key, 40)
    if key in FIELDS:
        return (
            ""
            if _fits(key, value)
            else f"{name} must be {_expected(key)}, not {_given(value)}.{_near_choice(key, value)}"
        )
    if isinstance(value, dict) and (inner := next((one for one in value if one in FIELDS), "")):
        return f"{inner} stands below [{name}]. Write it at the top, without [{name}]."
    plain = re.sub(r"[\s_]+", "-", key.strip().lower())
    if key in CHARTER or plain.replace("-", "_") in CHARTER:
        return f"{name} belongs in the front matter of program.md."
    if plain in PER_RUN or plain in PER_COMMAND:
        return f"{name} cannot be set in a config file, only as the option --{plain}."
    near = difflib.get_close_matches(plain[:40], KEYS, n=1, cutoff=0.6)
    return f"There is no key {name}. " + (f"Did you mean {near[0]}?" if near else f"Known are {', '.join(KEYS)}.")


def _fits(key: str, value: object) -> bool:
    try:
        msgspec.convert(value, FIELDS[key].type)
    except msgspec.ValidationError:
        return False
    return key not in CHOICES or value in CHOICES[key]


def _expected(key: str) -> str:
    """Return what a value must be, as a phrase: the choices, or the description in its type."""
    if key in CHOICES:
        return f"one of {', '.join(CHOICES[key])}"
    notes = (note for one in get_args(FIELDS[key].type) for note in one.__metadata__)
    return next(str(note.description) for note in notes if note.description)


def _near_choice(key: str, value: object) -> str:
    near = difflib.get_close_matches(str(value)[:40].lower(), CHOICES.get(key, ()), n=1, cutoff=0.6)
    return f" Did you mean {near[0]}?" if near else ""


def _given(value: object) -> str:
    if isinstance(value, dict | list):
        return "a table" if isinstance(value, dict) else "a list"
    return shown("", value) if isinstance(value, bool | int | float | str) else sanitize_line(str(value), 40)


def _line_of(text: str, key: str) -> int:
    """Return the number of the line in which a key is set, from 1, or 0 if it cannot be told."""
    pattern = re.compile(rf"""\s*(?:\[+\s*)?(["']?){re.escape(key)}\1\s*(?:[.=\]]|$)""")
    return next((number for number, line in enumerate(text.split("\n"), 1) if pattern.match(line)), 0)
