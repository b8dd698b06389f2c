"""What the command `config` prints: the files, and each value with its source."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from core.config import settings
from core.config.files import ENVIRONMENT, Config, ConfigFile

DEFAULTS = {
    "agent": "a model of Ollama and search", "tenancy": "auto", "context": "by train.py and program.md", "gate": "ask in the app",
    "gate-time": "as long as a training, 10 to 60", "budget": "60 on a CPU, 300 on a GPU",
    "slots": "by the machine", "dataset": "by the machine", "device": "by the machine",
    "profile": "by the machine", "max-experiments": "no limit", "max-hours": "no limit", "max-crashes": "20", "notify": "nothing is sent",
    "notify-on": "all moments",
    "earlier": "true", "lessons": "false", "report": "true", "beside": "false", "ablation": "true", "theme": "textual-dark",
}  # fmt: skip


@dataclass(frozen=True)
class Line:
    """A key, its value as text, and where that comes from: the name of a file, of a variable, or `default`."""

    key: str
    value: str
    source: str
    file: ConfigFile | None = None


def lines(config: Config, environment: Mapping[str, str]) -> Iterator[Line]:
    """Yield all keys with the values that the next start uses if no option is given."""
    values = settings.values(config.settings)
    for key in settings.KEYS:
        variable, file = ENVIRONMENT.get(key, ""), config.source(key)
        if environment.get(variable, "").strip():
            yield Line(key, settings.shown(key, environment[variable]), variable)
        elif file is not None:
            yield Line(key, settings.shown(key, values[key]), file.name, file)
        else:
            yield Line(key, DEFAULTS[key], "default")


def file_words(config: Config, file: ConfigFile) -> str:
    """Return what a file sets, as a phrase. A value that the other file overrides is marked."""
    if not file.exists:
        return "does not exist"
    if file.problems:
        return f"cannot be used. {' '.join(file.problems)}"
    lines = []
    for key, value in settings.values(file.settings).items():
        over = config.source(key)
        mark = f" (overridden by {over.label})" if over is not None and over is not file else ""
        lines.append(f"{key} = {settings.shown(key, value)}{mark}")
    return ", ".join(lines) or "sets nothing"


def as_text(config: Config, environment: Mapping[str, str]) -> str:
    """Return the files and a table of all values."""
    rows = list(lines(config, environment))
    widths = [max(len(line.key) for line in rows), max(len(line.value) for line in rows)]
    table = [f"{line.key:<{widths[0]}}  {line.value:<{widths[1]}}  {line.source}".rstrip() for line in rows]
    heads = [f"{file.name}: {_state(file)}" for file in config.files]
    problem = ["", config.problem] if config.problem else []
    return "\n".join([*heads, "", *table, *problem])


def as_json(config: Config, environment: Mapping[str, str]) -> str:
    """Return the same as a JSON object. A default is null, since the machine decides."""
    found = settings.values(config.settings)
    files = [{"path": str(file.path), "exists": file.exists, "problems": file.problems} for file in config.files]
    values = {}
    for line in lines(config, environment):
        known = line.file is not None and line.key != "notify"
        value = found[line.key] if known else None if line.source == "default" else line.value.strip('"')
        values[line.key] = {"value": value, "source": str(line.file.path) if line.file is not None else line.source}
    return json.dumps({"files": files, "values": values}, ensure_ascii=False)


def _state(file: ConfigFile) -> str:
    if not file.exists:
        return "does not exist"
    count = len(settings.values(file.settings))
    return "cannot be used" if file.problems else f"sets {count} value{'' if count == 1 else 's'}"
