"""The command `run`, with all options of a start."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from core.cli_options import AgentName, ContextTokens, Logs, RayAddress
from core.machine.profiles import PROFILES
from core.machine.project import find
from core.run import background
from core.run.limits import LimitOptions
from nanochat.contract import sources
from nanochat.contract.registry import names


def run(
    name: Annotated[str | None, typer.Option(help="Name of the run; an existing one is continued.")] = None,
    origin: Annotated[
        str | None, typer.Option("--from", help="Start from the best train.py of another run.", metavar="RUN")
    ] = None,
    headless: Annotated[
        bool, typer.Option("--headless", help="Run in the foreground and print one line for each event.")
    ] = False,
    agent: AgentName = None,
    tenancy: Annotated[
        str | None,
        typer.Option(
            help="Where a local model runs: unload (it leaves the GPU before training), coresident, cpu or remote.",
            show_default="auto",
        ),
    ] = None,
    context: ContextTokens = None,
    gate: Annotated[
        str | None,
        typer.Option(help="Whether proposals wait for you.", metavar="auto|ask", show_default="ask in the app"),
    ] = None,
    gate_time: Annotated[
        float | None,
        typer.Option(
            help="Seconds that a proposal waits for you.",
            metavar="SECONDS",
            show_default="as long as a training, 10 to 60",
        ),
    ] = None,
    budget: Annotated[
        float | None,
        typer.Option(
            help="Training seconds per experiment; set-up, scoring and repeats come on top. On a CPU, seconds of work of one core, which "
            "take longer on a busy machine.",
            show_default="60 on a CPU, 300 on a GPU",
        ),
    ] = None,
    slots: Annotated[
        int | None, typer.Option(help="Number of experiments to train in parallel.", show_default="by the machine")
    ] = None,
    dataset: Annotated[
        str | None, typer.Option(help=f"{names(sources.ENTRIES)}.", show_default="by the machine")
    ] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda or mps.", show_default="by the machine")] = None,
    max_experiments: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Stop after N experiments; skipped and interrupted ones do not count. A resumed run keeps its limits.",
            metavar="N",
        ),
    ] = None,
    max_hours: Annotated[
        float | None, typer.Option(min=0.0, help="Stop after N hours; the final check follows.", metavar="N")
    ] = None,
    max_crashes: Annotated[
        int | None,
        typer.Option(min=1, help="Stop after N failed experiments in a row.", metavar="N", show_default="20"),
    ] = None,
    profile: Annotated[
        str | None,
        typer.Option(
            help=f"Sizes of model and batch: {', '.join(PROFILES)}; tiny is for trying it out.",
            show_default="by the machine",
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the run.", show_default="drawn")] = None,
    executor: Annotated[
        str | None,
        typer.Option(
            help="Where trainings run: local, ray (the nodes of a Ray cluster), or deterministic:FILE (computed, for rehearsals).",
            show_default="local",
        ),
    ] = None,
    ray_address: RayAddress = None,
    earlier: Annotated[
        bool | None,
        typer.Option(
            "--earlier/--no-earlier",
            help="Start `search` with the measurements of earlier runs on the same data.",
            show_default="yes",
        ),
    ] = None,
    lessons: Annotated[
        bool | None,
        typer.Option(
            "--lessons/--no-lessons",
            help="Start the language model of a new run with the lessons of the --from run, or of the latest run on the same data.",
            show_default="no",
        ),
    ] = None,
    beside: Annotated[
        bool | None,
        typer.Option("--beside/--no-beside", help="Start even if another run uses the device.", show_default="no"),
    ] = None,
    ablation: Annotated[
        bool | None,
        typer.Option(
            "--ablation/--no-ablation",
            help="When the agent has nothing left (only script and agents of your own can run out), take each kept change out of the best "
            "once more and drop what no longer pays.",
            show_default="yes",
        ),
    ] = None,
    logs: Logs = None,
    report: Annotated[
        bool | None,
        typer.Option(
            "--report/--no-report",
            help="At the end, measure the start and the best afresh (new seeds, and text that no experiment has seen), and write report.html.",
            show_default="yes",
        ),
    ] = None,
    notify: Annotated[
        str | None,
        typer.Option(
            help="What to do at a new best, when a proposal waits, when the loop pauses itself or is stalled, and at the end: a shell "
            "command (the facts come as JSON on its standard input), ntfy:TOPIC, slack:URL, discord:URL, desktop or terminal.",
            metavar="COMMAND",
            envvar="AUTORESEARCH_NOTIFY",
            show_envvar=True,
        ),
    ] = None,
    notify_on: Annotated[
        str | None,
        typer.Option(
            help="The moments for --notify, with commas: best, waiting, paused, stalled, ended.",
            metavar="MOMENTS",
            show_default="all",
        ),
    ] = None,
    no_config: Annotated[bool, typer.Option("--no-config", help="Do not read the config files.")] = False,
    attended: Annotated[bool, typer.Option("--attended", hidden=True)] = False,
    prepared: Annotated[Path | None, typer.Option("--prepared", hidden=True)] = None,
) -> None:
    """Start the loop, or continue a run. In a terminal it opens the app; the loop itself runs in the background.

    What is not given comes from the config files; `config` lists it.
    \f
    Long, because each option is a parameter. The help ends before this paragraph.
    """
    shown = not headless and not attended and background.can_show_app()
    if shown:
        background.tell("Starting. The app opens in a few seconds.")  # what is imported now can take longer than that
    from core import session
    from core.config import files
    from core.run.options import Options, StartOptions

    project = find(logs)
    config = files.Config() if no_config else files.read(project.root)
    config.check()
    options = Options(
        name, origin, agent, gate, budget, slots, dataset, device, seed, profile, executor, ray_address, prepared,
        LimitOptions(max_experiments, max_hours, max_crashes), earlier, lessons,
    )  # fmt: skip
    again = {
        "--from": origin, "--budget": budget, "--slots": slots, "--dataset": dataset, "--device": device,
        "--max-experiments": max_experiments, "--tenancy": tenancy, "--context": context, "--max-hours": max_hours,
        "--max-crashes": max_crashes, "--profile": profile, "--seed": seed, "--executor": executor, "--ray-address": ray_address,
        "--logs": logs,
        "--report": report, "--beside": beside, "--gate-time": gate_time, "--no-config": no_config or None,
        "--earlier": earlier, "--lessons": lessons, "--ablation": ablation, "--notify-on": notify_on,
        "--notify": notify if notify != os.environ.get("AUTORESEARCH_NOTIFY") else None,  # which the loop inherits
    }  # fmt: skip
    with config.explaining():
        session.run(
            project, options, StartOptions(tenancy, context, gate_time, notify, notify_on, report, beside, ablation), config,
            shown=shown, attended=attended, again=again,
        )  # fmt: skip
