"""What several commands have: options, arguments, and how flags look in the help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

AgentName = Annotated[
    str | None,
    typer.Option(
        help="Who proposes: search, ollama:MODEL, openai:MODEL, command:CMD, claude, codex, opencode, aider, script:FILE, python:FILE, "
        "or several with commas between; those whose changes are kept are asked more often.",
        show_default="a model of Ollama where one fits, else search",
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
    typer.Argument(help="The run. Default: the one that is running, else the one started last.", show_default=False),
]


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
            raise

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return the command of this name, or None if it does not exist."""
        command = super().get_command(ctx, cmd_name)
        if command is not None:
            _without_flag_types(command.get_params(ctx))
        return command


def _without_flag_types(params: list[Any]) -> list[Any]:
    for param in params:
        if getattr(param, "is_flag", False):
            param.metavar = ""
    return params
