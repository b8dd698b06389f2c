"""Options and arguments that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

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
Logs = Annotated[Path | None, typer.Option("--logs", help="Folder with the logs of all runs.", show_default="logs/")]
Name = Annotated[
    str | None,
    typer.Argument(help="The run. Default: the one that is running, else the one started last.", show_default=False),
]
