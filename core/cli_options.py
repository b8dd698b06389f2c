"""What several commands have: options, arguments, and how flags look in the help."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

AgentName = Annotated[
    str | None,
    typer.Option(
        help="Who proposes: search, ollama:MODEL, openai:MODEL, command:CMD, claude, codex, opencode, aider, script:FILE, python:FILE, "
        "or several with commas between; those whose changes are kept are asked more often.",
        show_default="a model of Ollama and search if one fits, else search",
    ),
]
ContextTokens = Annotated[
    int | None,
    typer.Option(
        help="Context of the language model in tokens. The variable AUTORESEARCH_CONTEXT sets it too.",
        show_default="by train.py and program.md, with room to grow",
    ),
]
RayAddress = Annotated[
    str | None,
    typer.Option(
        help="The Ray cluster of --executor ray: auto (the one that this machine belongs to), HOST:6379 or ray://HOST:10001.",
        metavar="ADDRESS",
        show_default="one is started on this machine",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object; docs/json.md lists its fields.")]
Logs = Annotated[Path | None, typer.Option("--logs", help="Folder with the logs of all runs.", show_default="logs/")]
Name = Annotated[
    str | None,
    typer.Argument(
        help="The run; --run NAME means the same. Default: the one that is running, else the one started last.",
        show_default=False,
    ),
]
RUN = "--run"  # names a run, in every command that takes one


_BOUND = re.compile(r"(?P<way>greater|less) than (?:or equal to )?(?P<bound>[\d.]+)")
UNREADABLE = "unable to parse string as a"  # in typer's message about a value that is not a number


class Commands(TyperGroup):
    """The group of all commands.

    Its help names no type beside a flag, because a flag takes no value. Its errors name what was given in place of a number.
    """

    # Any, because the types belong to a private copy of click in typer.
    def get_params(self, ctx: Any) -> list[Any]:
        """Return the options of the group."""
        return _without_flag_types(super().get_params(ctx))

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:
            told: list[dict[str, object]] = getattr(error.__cause__, "errors", list)()
            if UNREADABLE in error.message and told:
                given, whole = str(told[0].get("input"))[:40], " whole" if "integer" in error.message else ""
                error.message = f"{given!r} is not a{whole} number. Give it without a unit, such as 5."
            elif (limit := _BOUND.search(error.message)) is not None and told:
                least = "at least" if limit["way"] == "greater" else "at most"
                error.message = (
                    f"{str(told[0].get('input'))[:40]} is out of range; it must be {least} {limit['bound']}."
                )
            raise

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return the name of the command, the command and its arguments. A command whose argument is a run also takes it with --run."""
        name, command, words = super().resolve_command(ctx, args)
        params = command.params if command is not None else []
        takes_run = any(param.name == "name" and param.param_type_name == "argument" for param in params)
        return name, command, _run_as_argument(words) if takes_run else words

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return the command of this name, or None if it does not exist."""
        command = super().get_command(ctx, cmd_name)
        if command is not None:
            _without_flag_types(command.get_params(ctx))
        return command


def _run_as_argument(words: list[str]) -> list[str]:
    """Return the words of a command with the name after --run, if there is one, as an argument."""
    end = words.index("--") if "--" in words else len(words)
    for index, word in enumerate(words[:end]):
        if word == RUN and index + 1 < end:
            return [*words[:index], *words[index + 1 :]]
        if word.startswith(f"{RUN}="):
            return [*words[:index], word.removeprefix(f"{RUN}="), *words[index + 1 :]]
    return words


def _without_flag_types(params: list[Any]) -> list[Any]:
    for param in params:
        if getattr(param, "is_flag", False):
            param.metavar = ""
    return params
