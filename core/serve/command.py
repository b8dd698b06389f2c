"""The command `serve`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from core.cli_options import Logs, Name
from core.machine.project import Project, UsageError, find
from core.run import background

PACKAGES = ("textual_serve", "aiohttp", "aiohttp_jinja2", "jinja2")  # the direct imports of this package
PORT = 8020


def serve(
    name: Name = None,
    host: Annotated[str, typer.Option(help="Address to listen on.", metavar="ADDRESS")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 picks a free one.")] = PORT,
    control: Annotated[
        bool, typer.Option("--control", help="Allow the keys that change the run. Without it they are refused.")
    ] = False,
    anyone: Annotated[
        bool, typer.Option("--anyone", help="Allow a --host that other machines can reach. There is no TLS.")
    ] = False,
    logs: Logs = None,
) -> None:
    """Show the app in a browser, at an address with a secret token. Read-only unless --control is given."""
    from core.serve import address

    project = find(logs)
    run = project.pick(name).name
    warning = address.check_host(host, anyone=anyone)
    try:
        from core.serve import server
    except ImportError as error:
        if (error.name or "").partition(".")[0] not in PACKAGES:
            raise
        raise UsageError(
            "`serve` needs the package textual-serve, which is not installed, so nothing was started: `make serve` installs it, as "
            f"does `{sys.executable} -m pip install -r requirements-serve.txt`."
        ) from error
    socket = address.listen(host, port)
    if warning:
        print(warning, file=sys.stderr, flush=True)
    what = f"Run {run}, {'with control' if control else 'read-only'}, until Ctrl+C"
    server.run(
        socket,
        lambda: app_command(project, name, control=control),
        lambda token: background.say(f"{what}: {address.url(socket, host)}?token={token}"),
    )


def app_command(project: Project, name: str | None, *, control: bool) -> list[str]:
    """Return the command that starts the app for a browser.

    Args:
        project: The source tree and its logs.
        name: The run; None for the one that is running now, else the one started last.
        control: Whether the app may change the run.

    Raises:
        UsageError: There is no such run.
    """
    flags = ["--browser"] if control else ["--browser", "--read-only"]
    return background.module("tui", str(project.pick(name)), *flags)
