"""One start of the loop, from the command-line options to the summary at its end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import cast, get_args

from msgspec import structs
from rich.console import Console
from rich.panel import Panel

from core.agents import registry
from core.agents.base import Agent
from core.execution import registry as executors
from core.execution.base import ExecutorFailed
from core.judging import schedule
from core.judging.final_check import SEEDS, FinalCheck
from core.loop.loop import Loop
from core.loop.proposals import Proposer
from core.machine import stats
from core.machine.project import Project, UsageError
from core.model import ApprovalMode, Role
from core.record import events as ev
from core.record import run_lock
from core.record.journal import JournalError
from core.record.live import Picture
from core.record.state import State
from core.reporting import log_lines, phrases, status, summary
from core.run import background, notices
from core.run import notify as notifications
from core.run.active import ActiveRun
from core.run.background import say, tell
from core.run.beside import check_alone
from core.run.opening import open_run
from core.run.plan import Options as Options
from core.run.plan import Plan, make_plan, renamed_if_overtaken
from core.run.report_process import write_report
from nanochat.contract import dataset as contract
from nanochat.contract.dataset import Found
from nanochat.contract.text import printable

INTERRUPTED = 128  # exit codes above this are 128 plus the number of the signal that ended the process
COMPUTED = "A rehearsal: scores are computed from a table, and nothing is trained. They say nothing of a model."
ATTEND_S = 60.0  # how long a loop in the background waits for the app that was started with it


@dataclass(frozen=True)
class Model:
    """Options for a language model: how it shares the GPU with training, and its context length in tokens."""

    tenancy: str = "auto"
    context: int | None = None


def run(
    project: Project,
    options: Options,
    model: Model,
    *,
    shown: bool,
    attended: bool,
    report: bool,
    notify: str | None,
    again: Mapping[str, object],
) -> None:
    """Start the loop on a new run or continue one. Returns when the loop has ended.

    Args:
        shown: Start the loop in the background and replace this process by the app.
        attended: Whether an app was started along with this loop.
        report: Whether the final check follows at the end of the run, and the report is written.
        notify: A command for notifications, or a preset, see `core.run.notify`; None for none.
        again: The other command-line options, for the loop in the background.

    Raises:
        UserError: The run cannot be started or continued.
    """
    if model.tenancy not in get_args(registry.Tenancy):
        raise UsageError(f"--tenancy {model.tenancy} is none of {', '.join(get_args(registry.Tenancy))}.")
    if notify is not None:
        notifications.check(notify)
    chosen, named, why = make_plan(project, options), options.agent, ""
    if not options.beside:
        check_alone(project, chosen)
    if named is not None:
        registry.check_settings(named)
    if chosen.new:
        options, why = _filled(project, options, model, shown)
        gate: ApprovalMode = "ask" if options.gate == "ask" else "auto"
        chosen = replace(chosen, config=structs.replace(chosen.config, agent=options.agent, approval=gate))
    tenancy = cast(registry.Tenancy, model.tenancy)
    maker = registry.check(chosen.config.agent, project.root, chosen.config.device, tenancy, model.context)
    executor = executors.check(chosen.config.executor)
    if named is not None and not (shown and run_lock.alive(chosen.folder) is not None):  # else only the app opens
        _check_reachable(named, offer=shown)
    if chosen.data is not None and chosen.data.manifest is None:
        options = replace(options, data=_prepare_for(project, chosen, chosen.data))
        chosen = make_plan(project, options)
    if shown:
        if notify is not None and run_lock.alive(chosen.folder) is not None:
            tell(
                f"The loop of {chosen.folder.name} is running already, so --notify has no effect. It counts at the next start."
            )
        if run_lock.alive(chosen.folder) is None:
            if named is None:
                offer_missing(chosen.config.agent)
            # The loop in the background chooses an agent too, and records why.
            data = chosen.data.folder if chosen.data is not None else None
            chosen = _start_behind(
                project, chosen, {**again, "--agent": named, "--gate": options.gate, "--prepared": data}
            )
        background.open_app(chosen.folder)
    active, lock = open_run(project, chosen, options, print_event)
    notifier = notifications.attached(active, notify) if notify is not None else None
    try:
        with active.recording_end():
            _record_notices(project, active, chosen, why)
            _work(active, maker(), executor, chosen, attended, SEEDS if report else 0)
        reported = report and _write_report(active)
    finally:
        if notifier is not None:
            notifier.send("ended", notifications.ended(active.state), None, active.state)
            notifier.close()
        active.journal.close()
        lock.release()
    _summary(active, again.get("--logs"), reported=reported)


def _filled(project: Project, options: Options, model: Model, shown: bool) -> tuple[Options, str]:
    """Return the options of a new run with the approval mode and the agent filled in, and why that agent was chosen, or ''."""
    why = ""
    if shown and options.gate is None:  # with the app open, proposals wait for approval
        options = replace(options, gate="ask")
    if options.agent is None:
        agent, why = default_agent(project, model.context, shown)
        options = replace(options, agent=agent)
    return options, why


def _check_reachable(agent: str, *, offer: bool) -> None:
    """Raise UsageError if the agent that the user has named cannot be reached. `offer`: offer to pull a model that is missing."""
    if not any(part.startswith(("ollama:", "openai:", "command:")) for part in registry.parts(agent)):
        return
    from core.agents import reach  # imported late, since it imports the clients of model servers

    if offer:
        alone = len(registry.parts(agent)) == 1
        offer_missing(agent, "nothing is started" if alone else "search proposes")
    reach.check(agent)


def _record_notices(project: Project, active: ActiveRun, chosen: Plan, why: str) -> None:
    """Record what the human should know about this start. `why`: why the agent was chosen, or ""."""
    changes = () if chosen.new else (notices.source_changed(project, active), notices.text_changed(active))
    rehearsal = COMPUTED if chosen.new and active.config.computed else ""
    for words in (why, chosen.said, rehearsal, *changes):
        if words:
            active.record(ev.Notice(text=words))


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


def final(project: Project, name: str | None, seeds: int | None, *, longer: bool = False, beside: bool = False) -> None:
    """Make the final check of a run on so many seeds (None for the usual number), print its outcome, and write the report.

    Args:
        project: The source tree and its logs.
        name: The name of the run; None for the usual choice.
        seeds: The number of seeds, those of earlier checks included.
        longer: With a longer budget.
        beside: Whether it may share its device with another run.

    Raises:
        UserError: It cannot be made.
    """
    from core.run.final_report import report as measured

    options = Options(name=project.pick(name).name)
    chosen = make_plan(project, options)
    if not beside:
        check_alone(project, chosen)
    maker = executors.check(chosen.config.executor)
    active, lock = open_run(project, chosen, options, print_event, loop=False)
    executor = maker(_slot(active, "harness-report.log", 0))

    role = Role.LONGER if longer else Role.FINAL

    async def work() -> FinalCheck:
        try:
            return await measured(active, executor, seeds or SEEDS, role)
        finally:
            await executor.close()

    try:
        found = asyncio.run(work())
        say(phrases.longer_result(found, active.state) if longer else phrases.final_result(found))
        _write_report(active)
    except ExecutorFailed as error:
        raise UsageError(str(error)) from error
    finally:
        active.journal.close()
        lock.release()


def propose(
    project: Project, agent: str | None, count: int, seed: int, context: int | None, *, dry_run: bool = False
) -> None:
    """Print proposals of an agent on the present train.py, without training. Raises UserError.

    Args:
        agent: The name of the agent; None for the default.
        count: Number of proposals.
        seed: As the seed of a run.
        context: Context of a language model in tokens; None to fit the task.
        dry_run: Only print what a model would be told.
    """
    from core.loop import trial

    attended = background.can_show_app()
    if agent is None:
        agent, why = default_agent(project, context, attended)
        say(why)
    else:
        registry.check_settings(agent)
    maker = registry.check(agent, project.root, context=context)
    if dry_run:
        say(trial.dry_run(project, maker(), seed))
        return
    if attended:
        offer_missing(agent)
    for words in trial.proposals(project, maker(), count, seed):
        say(words)


def default_agent(project: Project, context: int | None, attended: bool) -> tuple[str, str]:
    """Return the agent to use when none is named, and why. If `attended` and Ollama has no model, offer to pull one."""
    from core.agents import reach
    from core.agents.llm.ollama import pulling

    if attended:
        pulling.offer_first()
    return reach.default(reach.tokens(project, context))


def offer_missing(spec: str, without: str = "search proposes") -> None:
    """Offer to pull the models of an agent that Ollama does not have. `without`: what happens without such a model."""
    from core.agents.llm.ollama import pulling

    pulling.offer_missing(spec, without)


def prepare(project: Project, arguments: Sequence[str]) -> int:
    """Run prepare.py and return its exit code. Signals are passed on to it, so that it can clean up."""
    process = subprocess.Popen([sys.executable, str(project.root / "prepare.py"), *arguments])
    with _handling((signal.SIGINT, signal.SIGTERM, signal.SIGHUP), process.send_signal):
        code = process.wait()
    return code if code >= 0 else 128 - code  # ended by a signal


def print_event(event: ev.AnyEvent, state: State) -> None:
    words = log_lines.line(event, state)
    if words:
        tell(words)


def _prepare_for(project: Project, chosen: Plan, found: Found) -> Path:
    """Prepare the dataset of a new run and return its folder.

    If it cannot be prepared and the user did not choose it, the embedded dataset `python` is prepared instead.
    Raises UsageError and SystemExit.
    """
    config = chosen.config
    source, vocab = config.dataset, str(config.vocab_size)
    if not found.stale:  # else prepare.py says what has changed
        tell(f"The dataset {printable(source)} is not prepared here yet; that comes first.")
    code = prepare(project, ["--dataset", source, "--vocab", vocab, *found.options.words()])
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
    attended: bool,
    final_seeds: int,
) -> None:
    """Run the loop to its end, with signals turned into an orderly stop."""
    config, ends = chosen.config, chosen.ends

    async def work() -> None:
        slots = [maker(_slot(active, f"harness-{index}.log", index)) for index in range(config.slots)]
        attend_s = ATTEND_S if attended else 0.0
        loop = Loop(
            active, Proposer(agent), slots, ends.limits, tell,
            attend_s=attend_s, final_seeds=final_seeds, hours_before=ends.hours_before,
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
                hours_before=ends.hours_before,
                turn=active.project.next_turn(),
                final_seeds=final_seeds,
                machine=stats.described(config.device),
            )
        )
        await loop.run()

    asyncio.run(work())


def _write_report(active: ActiveRun) -> bool:
    """Write report.html and report.png. Returns whether that worked; if not, a notice says why. A signal ends it early."""
    with _handling((signal.SIGTERM, signal.SIGHUP), _interrupt):
        why = write_report(active.project, active.folder)
    if why:
        with contextlib.suppress(JournalError):  # the run has ended well all the same
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


def _slot(active: ActiveRun, log: str, index: int) -> executors.Slot:
    config = active.config
    return executors.Slot(active.folder / "harness", config.device, active.folder / log, index, config.compiles)


def _summary(active: ActiveRun, logs: object, *, reported: bool) -> None:
    """Print the summary of a run.

    Args:
        logs: The option for the folder of its logs, or None.
        reported: Whether the report was written.
    """
    branch = active.repo.refs.branch(active.name).removeprefix("refs/heads/")
    again = ["--logs", str(logs)] if logs else []
    found = status.status(active.state, schedule.noise(active.state), None, Picture())
    lines = summary.at_end(found, _short(active.folder), branch, again, reported=reported)
    if sys.stdout.isatty():
        Console().print(Panel("\n".join(lines[1:]), title=lines[0], title_align="left", expand=False), markup=False)
    else:
        for words in lines:
            tell(words)


def _short(folder: Path) -> str:
    """Return the path relative to the working directory if possible."""
    try:
        return str(folder.relative_to(Path.cwd()))
    except (ValueError, OSError):  # it lies elsewhere, or the working directory was removed
        return str(folder)
