"""The command line. Each command imports the modules that it needs itself, so that commands such as `attach` start quickly."""

from __future__ import annotations

import itertools
import os
import platform
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer

from core import entry
from core.cli_options import AgentName, AsJson, Commands, ContextTokens, Logs, Name, RayAddress
from core.export import commands as models
from core.machine.project import UsageError, find
from core.run import background
from core.run.background import say
from core.run.compare_command import compare
from core.run.json_output import say_json, words_on_stderr
from core.run_command import run
from core.serve.command import serve
from core.track.commands import track

app = typer.Typer(
    cls=Commands,
    help="An AI agent improves a small language model unattended: it edits nanochat/train.py, trains, evaluates, and keeps or reverts the change.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

app.command()(run)


@app.command()
def status(
    name: Name = None,
    as_json: AsJson = False,
    line: Annotated[
        bool, typer.Option("--line", help="Print one short line, such as for the status line of tmux.")
    ] = False,
    logs: Logs = None,
) -> None:
    """Show the result of a run, whether it is confirmed, its current phase, and what to do next."""
    from core.run import reading

    reading.print_status(find(logs), name, as_json=as_json, line=line)


@app.command()
def runs(
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a JSON array with the `status --json` of each run.")
    ] = False,
    delete: Annotated[
        str | None,
        typer.Option(
            help="Delete a run: its folder, its branch and its other refs.", metavar="RUN", show_default=False
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Delete without asking.")] = False,
    logs: Logs = None,
) -> None:
    """List all runs: the running ones first, then the others, newest first."""
    from core.run import listing

    project = find(logs)
    if delete is not None:
        from core.run import deletion

        deletion.ask_and_delete(project, delete, asks=not yes)
    elif as_json:
        listing.print_json(project)
    else:
        listing.print_table(project)


app.command()(compare)


@app.command()
def notebook(name: Name = None, as_json: AsJson = False, logs: Logs = None) -> None:
    """Print the notebook of a run, as Markdown."""
    folder = find(logs).pick(name)
    if as_json:
        from core.run import facts_commands

        say_json(facts_commands.notebook(folder))
        return
    path = folder / "notebook.md"
    if not path.exists():
        raise UsageError(f"Run {folder.name} has no findings yet. `make status` shows what it is doing.")
    say(path.read_text(encoding="utf-8"))


@app.command()
def stop(
    name: Name = None,
    now: Annotated[
        bool, typer.Option("--now", help="Abort the running experiment; it is recorded as interrupted.")
    ] = False,
    logs: Logs = None,
) -> None:
    """Finish the current experiment and stop."""
    from core.run import stopping

    stopping.stop(find(logs), name, now=now)


@app.command()
def hints(name: Name = None, as_json: AsJson = False, logs: Logs = None) -> None:
    """List the hints of a run and the reasons for skipping proposals."""
    from core.run import hinting

    hinting.list_hints(find(logs), name, as_json=as_json)


@app.command()
def hint(
    text: Annotated[str | None, typer.Argument(help="What to tell the agent, in quotes.", show_default=False)] = None,
    more: Annotated[list[str] | None, typer.Argument(hidden=True)] = None,
    take_back: Annotated[
        int | None, typer.Option(help="Take back the hint of this number; `hints` lists them.", metavar="N")
    ] = None,
    name: Annotated[str | None, typer.Option("--run", help="The run; the latest when not given.")] = None,
    logs: Logs = None,
) -> None:
    """Give the agent a hint, or take one back. The agent reads it before its next proposal."""
    from core.run import hinting

    hinting.hint(find(logs), name, text, take_back, more or ())


@app.command()
def attach(
    name: Name = None,
    read_only: Annotated[bool, typer.Option("--read-only", help="Refuse the keys that change the run.")] = False,
    logs: Logs = None,
) -> None:
    """Watch a run in the app, or without a terminal as one line per event. The loop is not affected."""
    folder = find(logs).pick(name)
    if background.can_show_app():
        background.open_app(folder, read_only=read_only)
    background.follow(folder)


app.command()(serve)


@app.command()
def apply(
    name: Name = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be done and the diff; change nothing.")
    ] = False,
    as_json: AsJson = False,
    logs: Logs = None,
) -> None:
    """Commit the best train.py of a run to your checkout, or write it as a patch."""
    project = find(logs)
    folder = project.pick(name)
    if as_json:
        from core.run import facts_commands

        say_json(facts_commands.application(project, folder, dry_run=dry_run))
    else:
        from core.git.apply import apply_best

        say(apply_best(project, folder, dry_run=dry_run))


@app.command("report")
def final_report(
    name: Name = None,
    seeds: Annotated[
        int | None,
        typer.Option(min=1, help="Number of fresh seeds, including earlier ones.", metavar="N", show_default="3"),
    ] = None,
    longer: Annotated[
        bool,
        typer.Option("--longer", help="Use three times the budget, to see whether the gain holds in longer trainings."),
    ] = False,
    each: Annotated[
        bool, typer.Option("--each", help="Measure every kept change as well, each against the best before it.")
    ] = False,
    html: Annotated[
        bool, typer.Option("--html", help="Train nothing; write report.html and report.png of what was found so far.")
    ] = False,
    beside: Annotated[bool, typer.Option("--beside", help="Train beside another run on the same device.")] = False,
    as_json: AsJson = False,
    logs: Logs = None,
) -> None:
    """Train the start and the best of a run afresh, and score both on the test split that no experiment has seen.

    A run does this by itself when it ends, with its own budget, and then writes report.html and report.png.
    """
    project = find(logs)
    folder = project.pick(name)
    with words_on_stderr(on=as_json):
        if html:
            from core.run import report_file

            report_file.command(project, folder.name, trains=longer or each or seeds is not None)
        else:
            from core import report_command

            report_command.final(project, folder.name, seeds, longer=longer, each=each, beside=beside)
    if as_json:
        from core.run import facts_commands

        say_json(facts_commands.reported(folder))


app.command()(models.export)
app.command()(models.sample)
app.command()(track)


@app.command()
def agents(as_json: AsJson = False) -> None:
    """List the agents that can be reached here: models, context lengths, capabilities, command lines."""
    from core.agents import listing

    listed = listing.survey(find())
    if as_json:
        say_json(listed)
    else:
        say("\n".join(listing.lines(listed)))


@app.command()
def propose(
    agent: AgentName = None,
    count: Annotated[int, typer.Option("-n", "--count", min=1, help="Number of proposals.")] = 1,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the prompt, without asking the model.")] = False,
    seed: Annotated[int, typer.Option(help="Seed, as for a run.")] = 0,
    context: ContextTokens = None,
    as_json: AsJson = False,
) -> None:
    """Ask an agent for proposals on the current train.py without training. Shows whether each applies and what it cost."""
    from core.config import files
    from core.loop import trial

    project = find()
    settings = files.read(project.root)
    settings.check()
    with settings.explaining():
        came = trial.propose(project, settings, agent, count, seed, context, dry_run=dry_run, as_json=as_json)
    if not came:
        raise typer.Exit(1)


@app.command()
def doctor(
    executor: Annotated[
        Literal["local", "ray"], typer.Option(help="With `ray`, also check the nodes of a Ray cluster.")
    ] = "local",
    ray_address: RayAddress = None,
    as_json: AsJson = False,
    logs: Logs = None,
) -> None:
    """Check this machine and the nodes of a cluster. Prints one line for each check, with what to do."""
    from core import doctor as checks
    from core import doctor_cluster

    if ray_address and executor != "ray":
        raise UsageError(
            "--ray-address has no meaning for the executor local. Nothing was checked. Add --executor ray."
        )
    health_checks = checks.examine(find(logs))
    if executor == "ray":
        health_checks += doctor_cluster.examine(ray_address or "")
    health = checks.Health(ok=all(check.status != "problem" for check in health_checks), checks=tuple(health_checks))
    if as_json:
        say_json(health)
    else:
        say("\n".join(check.line for check in health_checks))
    if not health.ok:
        raise typer.Exit(1)


@app.command()
def config(as_json: AsJson = False, logs: Logs = None) -> None:
    """Show what the config files set for the next start, and where each value comes from."""
    from core.config import files, shown

    settings = files.read(find(logs).root)
    say(shown.as_json(settings, os.environ) if as_json else shown.as_text(settings, os.environ))
    raise typer.Exit(1 if settings.problem else 0)


@app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []},
)
def prepare(context: typer.Context) -> None:
    """Prepare data and tokenizer. The same as `python prepare.py` (see its --help)."""
    from core import session

    if code := session.prepare(find(), context.args):
        raise typer.Exit(code)


@app.command()
def install(
    folder: Annotated[
        Path | None, typer.Option(help="Folder for the command.", show_default="~/.local/bin", metavar="FOLDER")
    ] = None,
) -> None:
    """Write the command `autoresearch` into a folder on your PATH, so that it works from any folder."""
    from core.launcher import install as write

    say(write(find().root, folder))


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line. A failure prints a sentence on stderr and exits with 1 (2 for a wrong option); see `entry.program`."""
    if platform.system() == "Windows":
        sys.exit(
            "AutoResearch runs on Linux and macOS. On Windows, install WSL2 and run it there. Nothing was started."
        )
    command_line = list(arguments) if arguments is not None else None
    with entry.program(lambda: _crash_folder(command_line if command_line is not None else sys.argv[1:])):
        app(args=command_line, prog_name="autoresearch")


def _crash_folder(command_line: Sequence[str]) -> Path | None:
    """Return the folder of the logs, where the traceback of a bug goes, or None if it does not exist yet."""
    logs = next((after for word, after in itertools.pairwise(command_line) if word == "--logs"), None)
    folder = find(Path(logs) if logs else None).logs
    return folder if folder.is_dir() else None


if __name__ == "__main__":
    main()
