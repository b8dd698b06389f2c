"""The command `track`."""

from __future__ import annotations

from typing import Annotated

import typer

from core.cli_options import AsJson, Logs, Name
from core.machine.project import find
from core.run.background import say
from core.run.json_output import say_json, words_on_stderr
from core.track import registry
from core.track.base import Destination
from nanochat.contract.registry import names


def track(
    to: Annotated[
        str, typer.Option(help=f"The tracker: {names(registry.ENTRIES)}.", metavar="TRACKER", show_default=False)
    ],
    name: Name = None,
    project: Annotated[
        str | None,
        typer.Option(help="The project of W&B or trackio.", metavar="PROJECT", show_default=registry.PROJECT),
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow", help="Go on while the loop of the run works, and export each new verdict.")
    ] = False,
    as_json: AsJson = False,
    logs: Logs = None,
) -> None:
    """Export a run to an experiment tracker: its start and each experiment with its loss curve, verdict and score.

    A second export adds only what is new. The run is not changed, and nothing is sent without this command.
    """
    from core.track import sending

    folder = find(logs).pick(name)
    with words_on_stderr(on=as_json):
        sent = sending.send(folder, to, registry.make(to, Destination(folder, project)), say, follow=follow)
    if as_json:
        say_json(sent)
