"""One start of the loop, from the command-line options to the summary at its end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NoReturn, cast, get_args

from msgspec import structs
from rich.console import Console
from rich.panel import Panel

from core.agents import registry
from core.agents.base import Agent
from core.agents.default import default_agent, offer_missing
from core.config import files
from core.config.files import Config
from core.execution import registry as executors
from core.judging import schedule
from core.judging.final_check import SEEDS
from core.loop.approval import default_countdown_s
from core.loop.loop import Loop
from core.loop.proposals import Proposer
from core.machine import stats
from core.machine.project import Project, UsageError
from core.model import ApprovalMode, Tenancy
from core.record import events as ev
from core.record import run_lock
from core.record.journal import JournalError
from core.record.live import Picture
from core.record.run_lock import Lock
from core.record.state import State
from core.reporting import log_lines, status, summary
from core.run import background, notices
from core.run import notify as notifications
from core.run.active import ActiveRun
from core.run.background import tell, typeset
from core.run.device_use import check_run_device, claimed_device
from core.run.opening import open_run
from core.run.options import Options as Options
from core.run.options import StartOptions, from_files, start_options
from core.run.plan import Plan, make_plan, renamed_if_overtaken
from core.run.report_process import write_report
from nanochat.contract import dataset as contract
from nanochat.contract.dataset import Found
from nanochat.contract.layout import HARNESS
from nanochat.contract.shell import make
from nanochat.contract.text import printable

INTERRUPTED = 128  # exit codes above this are 128 plus the number of the signal that ended the process
COMPUTED = "A rehearsal: scores are computed from a table, and nothing is trained. They say nothing about a model."
ATTEND_S = 60.0  # how long a loop in the background waits for the app that was started with it


def run(
    project: Project,
    given: Options,
    start: StartOptions,
    config: Config,
    *,
    shown: bool,
    attended: bool,
    again: Mapping[str, object],
) -> None:
    """Start the loop on a new run or continue one. Returns when the loop has ended.

    Args:
        given: The options from the command line that belong to the run.
        start: Those of this start only.
        config: The config files, for what is not given. They have no mistakes.
        shown: Start the loop in the background and replace this process by the app.
        attended: Whether an app was started along with this loop.
        again: The other command-line options, for the loop in the background.

    Raises:
        UserError: The run cannot be started or continued.
    """
    settings = files.without_overridden(config.settings, os.environ)
    chosen = make_plan(project, given, settings)
    used = from_files(given, start, settings, chosen.ends.carried, new=chosen.new)
    effective = start_options(start, settings)
    _check_start(project, chosen, effective)
    named, why = chosen.options.agent, ""
    if chosen.new:
        chosen, why = _with_agent(project, chosen, effective, shown)
    tenancy = cast(Tenancy, effective.tenancy or "auto")
    maker = registry.check(chosen.config.agent, project.root, chosen.config.device, tenancy, effective.context)
    only_app = shown and run_lock.alive(chosen.folder) is not None
    executor = None if only_app else executors.maker(chosen.config)
    if named is not None and not only_app:
        _check_reachable(named, offer=shown)
    if chosen.data is not None and chosen.data.manifest is None:
        chosen = make_plan(project, replace(chosen.options, data=_prepare_for(project, chosen, chosen.data)))
    if shown:
        gate = None if "gate" in used else chosen.options.gate
        _show(project, chosen, given, {**again, "--agent": given.agent, "--gate": gate}, named=named is not None)
    assert executor is not None
    active, lock = _opened(project, chosen, effective)
    notify = effective.notify
    notifier = notifications.attached(active, notify, effective.notify_on) if notify is not None else None
    reports = effective.report is not False
    try:
        with active.recording_end():
            unasked = notices.unasked(chosen.config.approval, start.gate_time_s)
            _record_notices(project, active, chosen, (config.sources_text(used), why, unasked))
            _work(active, maker(), executor, chosen, effective, attended, SEEDS if reports else 0)
        reported = reports and write_run_report(active)
    finally:
        if notifier is not None:
            notifier.send("ended", notifications.ended(active.state), None, active.state)
            notifier.close()
        active.journal.close()
        lock.release()
    _summary(active, again.get("--logs"), reported=reported)


def _opened(project: Project, chosen: Plan, start: StartOptions) -> tuple[ActiveRun, Lock]:
    """Open the run, one start on its device at a time. Raises as `open_run`, and UsageError if another run uses the device."""
    with claimed_device(project, chosen, beside=bool(start.beside)):
        return open_run(project, chosen, chosen.options, print_event)


def _check_start(project: Project, chosen: Plan, start: StartOptions) -> None:
    """Raise UsageError if an option of this start is not valid, or if another run uses the device."""
    if start.tenancy not in (None, *get_args(Tenancy)):
        raise UsageError(f"--tenancy {start.tenancy} is not one of {', '.join(get_args(Tenancy))}.")
    if start.gate_time_s is not None and not 1 <= start.gate_time_s < float("inf"):
        raise UsageError(f"--gate-time {start.gate_time_s:g} is not valid; it must be 1 second or more, such as 60.")
    notifications.check(start.notify, start.notify_on)
    if not start.beside:
        check_run_device(project, chosen)
    if chosen.options.agent is not None:
        registry.check_settings(chosen.options.agent)


def _with_agent(project: Project, chosen: Plan, start: StartOptions, shown: bool) -> tuple[Plan, str]:
    """Return the plan of a new run with the approval mode and the agent filled in, and why that agent was chosen, or ''.

    A language model on the same CPU takes the place of one training.
    """
    options, why = chosen.options, ""
    if shown and options.gate is None:  # with the app open, proposals wait for approval
        options = replace(options, gate="ask")
    if options.agent is None:
        agent, why = default_agent(project, start.context, shown)
        options = replace(options, agent=agent)
    gate: ApprovalMode = "ask" if options.gate == "ask" else "auto"
    slots = chosen.config.slots
    if options.slots is None and chosen.config.device == "cpu" and slots > 1 and _uses_cpu(options.agent or "", start):
        slots -= 1
        options = replace(options, slots=slots)
    config = structs.replace(chosen.config, agent=options.agent, approval=gate, slots=slots)
    return replace(chosen, options=options, config=config), why


def _uses_cpu(agent: str, start: StartOptions) -> bool:
    """Return whether a language model of the agent computes on this CPU, beside the trainings."""
    return start.tenancy != "remote" and any(part.strip().startswith("ollama:") for part in agent.split(","))


def _show(project: Project, chosen: Plan, given: Options, again: Mapping[str, object], *, named: bool) -> NoReturn:
    """Start the loop in the background unless it runs, and replace this process by the app.

    Args:
        given: The options from the command line that belong to the run.
        again: The options for the loop in the background.
        named: Whether the user has named the agent.
    """
    ignored = ""
    if run_lock.alive(chosen.folder) is None:
        if not named:
            offer_missing(chosen.config.agent)
        # The loop in the background reads the config files and chooses an agent too, and records why.
        data = chosen.data.folder if chosen.data is not None else None
        chosen = _start_behind(project, chosen, {**again, "--prepared": data})
    elif ignored := _without_effect(chosen.folder.name, {**again, "--gate": given.gate}):
        tell(ignored)
    background.open_app(chosen.folder, note=ignored)


def _without_effect(run: str, given: Mapping[str, object]) -> str:
    """Return a sentence about the options that act only at a start, for a run whose loop runs already; '' if none was given."""
    values = {name: value for name, value in given.items() if value is not None and name != "--logs"}
    names = [f"--no-{name[2:]}" if value is False else name for name, value in values.items()]
    if not names:
        return ""
    one = len(names) == 1
    listed = " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
    return (
        f"The loop of {run} is running already, so {listed} {'has' if one else 'have'} no effect. "
        f"{make('stop', run)} first, then give {'it' if one else 'them'} again."
    )


def _check_reachable(agent: str, *, offer: bool) -> None:
    """Raise UsageError if the agent that the user has named cannot be reached. `offer`: offer to pull a model that is missing."""
    if not any(part.startswith(("ollama:", "openai:", "command:")) for part in registry.parts(agent)):
        return
    from core.agents import reach  # imported late, since it imports the clients of model servers

    if offer:
        alone = len(registry.parts(agent)) == 1
        offer_missing(agent, "nothing is started" if alone else "search proposes")
    reach.check(agent)


def _record_notices(project: Project, active: ActiveRun, chosen: Plan, first: Sequence[str]) -> None:
    """Record what the human should know about this start. `first`: which settings come from files and so on; '' for none."""
    changes = () if chosen.new else (notices.source_changed(project, active), notices.text_changed(active))
    rehearsal = COMPUTED if chosen.new and active.config.computed else ""
    for text in (*first, chosen.notice, rehearsal, *changes):
        if text:
            active.record(ev.Notice(text=text))


def _start_behind(project: Project, chosen: Plan, again: Mapping[str, object]) -> Plan:
    """Start the loop in the background. If another start took the name meanwhile, use another name."""
    while True:
        try:
            background.background(chosen.folder, background.options({**again, "--name": chosen.folder.name}))
            return chosen
        except UsageError:
            other = renamed_if_overtaken(project, chosen)
            if other is None:
                raise
            chosen = other


def prepare(project: Project, arguments: Sequence[str]) -> int:
    """Run prepare.py and return its exit code. Signals are passed on to it, so that it can clean up."""
    process = subprocess.Popen([sys.executable, str(project.root / "prepare.py"), *arguments])
    with _handling((signal.SIGINT, signal.SIGTERM, signal.SIGHUP), process.send_signal):
        code = process.wait()
    return code if code >= 0 else 128 - code  # ended by a signal


def print_event(event: ev.AnyEvent, state: State) -> None:
    """Print the log line of an event."""
    text = log_lines.line(event, state)
    if text:
        tell(text)


def _prepare_for(project: Project, chosen: Plan, data: Found) -> Path:
    """Prepare the dataset of a new run and return its folder.

    If it cannot be prepared and the user did not choose it, the embedded dataset `python` is prepared instead.
    Raises UsageError and SystemExit.
    """
    config = chosen.config
    source, vocab = config.dataset, str(config.vocab_size)
    if not data.stale:  # else prepare.py says what has changed
        tell(f"The dataset {printable(source)} is not prepared here yet; that comes first.")
    code = prepare(project, ["--dataset", source, "--vocab", vocab, *data.options.words()])
    if code and code < INTERRUPTED and chosen.replaceable and source != "python":
        tell(f"{source} is not available now, so the embedded dataset python is used.")
        source = "python"
        code = prepare(project, ["--dataset", source, "--vocab", vocab])
    if code:
        raise SystemExit(code)  # prepare.py said why
    folder = contract.just_prepared(source, config.vocab_size)
    if folder is None:
        raise UsageError(
            f"What was prepared of {printable(source)} was removed at once. Nothing was started. Try again."
        )
    return folder


def _work(
    active: ActiveRun,
    agent: Agent,
    maker: executors.Maker,
    chosen: Plan,
    start: StartOptions,
    attended: bool,
    final_seeds: int,
) -> None:
    """Run the loop to its end, with signals turned into an orderly stop."""
    config, ends = chosen.config, chosen.ends
    countdown_s = start.gate_time_s or default_countdown_s(config.budget_s)

    async def work() -> None:
        slots = [maker(slot_of(active, f"harness-{index}.log", index)) for index in range(config.slots)]
        attend_s = ATTEND_S if attended else 0.0
        loop = Loop(
            active, Proposer(agent), slots, ends.limits, tell,
            countdown_s=countdown_s, attend_s=attend_s, final_seeds=final_seeds, hours_before=ends.hours_before,
            ablation=start.ablation is not False,
        )  # fmt: skip
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is signal.SIG_IGN:
                continue  # ignored on purpose, by `nohup` or by a shell that starts a background job
            asyncio.get_running_loop().add_signal_handler(
                number, partial(loop.stop, f"stop requested by {number.name}", now=True)
            )
        active.record(
            ev.Started(
                pid=os.getpid(),
                agent=agent.name,
                approval=config.approval,
                slots=config.slots,
                limits=ends.limits,
                carried=ends.carried,
                gate_time_s=countdown_s,
                hours_before=ends.hours_before,
                turn=active.project.next_turn(),
                final_seeds=final_seeds,
                machine=stats.described(config.device),
            )
        )
        await loop.run()

    asyncio.run(work())


def write_run_report(active: ActiveRun) -> bool:
    """Write report.html and report.png. Returns whether that worked; if not, a notice says why. A signal ends it early."""
    with _handling((signal.SIGTERM, signal.SIGHUP), _interrupt):
        why = write_report(active.project, active.folder)
    if why:
        with contextlib.suppress(JournalError):  # the run itself has ended without an error
            active.record(ev.Notice(text=why))
    return not why


@contextlib.contextmanager
def _handling(numbers: Sequence[int], handler: Callable[[int], None]) -> Iterator[None]:
    """Call a handler at these signals, unless they are ignored."""
    taken = [number for number in numbers if signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, lambda number, frame: handler(number)) for number in taken}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)


def _interrupt(number: int) -> None:
    raise KeyboardInterrupt


def slot_of(active: ActiveRun, log: str, index: int) -> executors.Slot:
    """Return what an executor needs to know of the slot with this index, which writes into the file `log`."""
    config, state, folder = active.config, active.state, active.folder
    place, log_file = folder / HARNESS, folder / log
    return executors.Slot(place, config.device, log_file, index, config.compiles, state.id, state.kind)


def _summary(active: ActiveRun, logs: object, *, reported: bool) -> None:
    """Print the summary of a run.

    Args:
        logs: The option for the folder of its logs, or None.
        reported: Whether the report was written.
    """
    branch = active.repo.refs.branch(active.name).removeprefix("refs/heads/")
    again = ["--logs", str(logs)] if logs else []
    run_status = status.status(active.state, schedule.noise(active.state), None, Picture())
    lines = summary.at_end(run_status, _short(active.folder), branch, again, reported=reported)
    if sys.stdout.isatty():
        Console().print(
            Panel(typeset("\n".join(lines[1:])), title=lines[0], title_align="left", expand=False), markup=False
        )
    else:
        for line in lines:
            tell(line)


def _short(folder: Path) -> str:
    """Return the path relative to the working directory if possible."""
    try:
        return str(folder.relative_to(Path.cwd()))
    except (ValueError, OSError):  # it lies elsewhere, or the working directory was removed
        return str(folder)
