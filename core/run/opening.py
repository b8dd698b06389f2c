"""Opening a run for work: a new one, one that goes on from another's best, or one that is continued."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import secrets
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import psutil
from msgspec.structs import replace

from core.change import edits, knobs
from core.execution import compiling
from core.execution.local import SCRATCH
from core.execution.registry import LOCAL, absolute
from core.git.repository import NameTaken, Repository, RepositoryError
from core.machine import profiles, stats
from core.machine.project import Project, UsageError, detect_device, lacking
from core.model import RunConfig
from core.record import events as ev
from core.record import journal
from core.record.journal import Journal, JournalError, Lock, RunBusy
from core.record.state import State, fold
from core.reporting import results
from core.reporting.report import going_on
from core.run import inherit
from core.run.active import ActiveRun, record_end
from core.run.inherit import Asked, Defaults
from core.run.integrity import MADE, IntegrityCheck, freeze, spoken_by
from core.run.program import check_charter
from nanochat.contract import dataset as contract
from nanochat.contract import messages
from nanochat.contract.shell import make, quoted
from nanochat.contract.sources import printable

DEVICES = ("cpu", "cuda", "mps")
LEAST_BUDGET_S = 0.1
NO_SYNC = (
    "The file system of the git repository has no fsync, so git goes on without: after a power cut, commits of the last minutes "
    "may be missing."
)


@dataclass(frozen=True)
class Options:
    """What the command line asks for; None: the default, or what a continued run says."""

    name: str | None = None
    origin: str | None = None  # another run, whose best this one begins at
    agent: str | None = None
    gate: str | None = None
    budget_s: float | None = None
    slots: int | None = None
    dataset: str | None = None
    device: str | None = None
    seed: int | None = None
    profile: str | None = None
    executor: str | None = None
    data: Path | None = None  # what was found or prepared for this very start, so that it is not looked for again


@dataclass(frozen=True)
class Plan:
    """Which run is meant, before anything is written. The `config` of a run that goes on comes from its journal."""

    folder: Path
    config: RunConfig
    profile: profiles.Profile
    new: bool
    unnamed: bool = False  # the name was chosen here, so another one serves as well
    said: str = ""  # what was decided otherwise than asked for, as sentences; '' for nothing
    data: contract.Found | None = None  # of a new run: what is prepared of its dataset
    replaceable: bool = False  # the dataset was not chosen by anybody, so python serves where it cannot be had


def plan(project: Project, options: Options) -> Plan:
    """Decide which run is started or continued, and check every option. Raises UsageError; writes nothing."""
    _check(options)
    folder, continued = _which(project, options)
    if continued is not None:
        _check_same(continued, options, folder.name)
        if continued.profile not in profiles.PROFILES:
            raise UsageError(
                f"Run {folder.name} has the profile {continued.profile!r}, which this version does not know. Nothing was "
                f"changed. Continue it with the version that started it, or start another run with --name NEW."
            )
        if journal.alive(folder) is None and spoken_by(folder) not in (None, messages.VERSION):
            raise UsageError(
                f"Run {folder.name} was begun with another version, and its copy of the harness does not understand this one. "
                f"Nothing was changed. Continue it with the version that began it, or begin a run at its best: "
                f"{make('run', '--name', 'NEW', '--from', folder.name)}"
            )
        if options.origin is not None:
            raise UsageError(
                f"Run {folder.name} exists already, so --from cannot apply to it. Give the new run a --name."
            )
        approval = fold(journal.read(folder / journal.NAME)).approval
        config = replace(
            replace(continued, approval=approval),
            **{key: value for key, value in _changeable(options).items() if value is not None},
        )
        if config.device != "cpu" and (lack := lacking(config.device, len(stats.gpu_memory()))):
            raise UsageError(
                f"Run {folder.name} trains on {config.device}, which cannot be used now: {lack}. Nothing was changed. "
                f"Fix that, or start another run with --name NEW --from {folder.name} --device cpu."
            )
        slots, said = fitting_slots(config.slots, config.device, stats.cards())
        return Plan(folder, replace(config, slots=slots), profiles.named(config.profile), new=False, said=said)
    gpus = stats.gpu_memory()
    defaults = _defaults(project, options, len(gpus))
    device, profile = defaults.device, defaults.profile
    replaceable = options.dataset is None and options.origin is None
    dataset, found = _dataset(options, defaults, replaceable)
    budget = options.budget_s if options.budget_s is not None else profile.budget_s
    wanted = options.slots or profiles.default_slots(device, len(gpus), stats.physical_cores(), stats.memory_total())
    slots, said = fitting_slots(wanted, device, stats.cards())
    config = RunConfig(
        name=folder.name,
        dataset=dataset,
        data=str(found.folder),
        fingerprint=found.manifest.fingerprint if found.manifest else "",
        device=device,
        profile=profile.name,
        budget_s=budget,
        seq_len=profile.seq_len,
        vocab_size=profile.vocab_size,
        eval_tokens=profile.eval_tokens,
        seed=options.seed if options.seed is not None else secrets.randbelow(10**6),
        slots=slots,
        base_commit="",
        noise_prior=profile.noise_prior(budget),
        agent=options.agent or "search",
        approval="ask" if options.gate == "ask" else "auto",
        executor=absolute(options.executor or LOCAL),
    )
    words = " ".join(filter(None, (defaults.said, said)))
    unnamed = options.name is None
    return Plan(folder, config, profile, new=True, unnamed=unnamed, said=words, data=found, replaceable=replaceable)


def _defaults(project: Project, options: Options, gpus: int) -> Defaults:
    """What a new run has where no option says otherwise: this machine's, or another run's. Raises UsageError."""
    said = ""
    if options.origin is not None:
        folder = project.pick(options.origin)
        if origin := _header(folder):
            asked = Asked(options.device, options.profile, options.budget_s, options.dataset)
            return inherit.defaults(asked, origin, folder, machine, lambda device: lacking(device, gpus))
        said = f"The header of run {folder.name} cannot be read, so its dataset, profile and budget are not taken over."
    device, profile = machine(options.device)
    return Defaults(device, profiles.named(options.profile) if options.profile else profile, said=said)


def _header(folder: Path) -> RunConfig | None:
    """What a run was started with, also where a later line of its journal is broken; None where that cannot be read."""
    path = folder / journal.NAME
    try:
        with path.open("rb") as file:
            first = journal.decode(file.readline().removesuffix(b"\n"), 1, path)
        return msgspec.convert(first.config, RunConfig) if isinstance(first, ev.Created) else None
    except (JournalError, OSError, msgspec.ValidationError):
        return None


def _dataset(options: Options, defaults: Defaults, replaceable: bool) -> tuple[str, contract.Found]:
    """The dataset of a new run, and what is prepared of it. Raises UsageError."""
    vocab = defaults.profile.vocab_size
    try:
        if options.data is not None and (ready := contract.read(options.data)).vocab_size == vocab:
            return ready.dataset, contract.Found(options.data, ready, ready.options)
        source = contract.resolve(options.dataset or defaults.profile.dataset)
        contract.check(source)
    except contract.DataError as error:
        other = " --dataset chooses another dataset." if options.origin and not options.dataset else ""
        raise UsageError(f"{error} Nothing was started.{other}") from None
    found = contract.find(source, vocab, None if options.dataset else defaults.options)
    if replaceable and found.manifest is None and source != "python":
        embedded = contract.find("python", vocab)  # what a machine without a network can always have
        if embedded.manifest is not None:
            return "python", embedded
    return source, found


def fitting_slots(wanted: int, device: str, cards: Sequence[str] | None) -> tuple[int, str]:
    """Return how many experiments train at once, at most one a GPU, and a sentence where that is fewer than `wanted`.

    `cards` are the usable GPUs, None where the driver does not say. Two trainings on one card would share its memory and time, and
    a slot without a card could train nothing.
    """
    most = max(1, len(cards or ())) if device == "cuda" else 1
    if device == "cpu" or wanted <= most:
        return wanted, ""
    gpus = "1 GPU" if most == 1 else f"{most} GPUs"
    return (
        most,
        f"{wanted} experiments at once were asked for; there is room for {most}: one a GPU, with {gpus} to be used.",
    )


def machine(device: str | None = None) -> tuple[str, profiles.Profile]:
    """The device of this machine, unless one is named, and the profile that fits it."""
    gpus = stats.gpu_memory()
    device = device or detect_device(len(gpus))
    return device, profiles.choose(device, min(gpus, default=0), stats.memory_total(), stats.multiplies_bf16())


def fit_of(vocab_size: int) -> tuple[int, int]:
    """The length of the windows that data of this vocabulary is scored on, and how many there must be.

    As this machine's profile has it; else as the profile does that asks for least.
    """
    device, profile = machine()
    if profile.vocab_size == vocab_size:
        return profile.seq_len, contract.least_windows(device)
    all_of_them = profiles.PROFILES.values()
    others = [other for other in all_of_them if other.vocab_size == vocab_size] or list(all_of_them)
    fits = [(p.seq_len, contract.least_windows("cpu" if p.dataset == "python" else "cuda")) for p in others]
    return min(fits, key=lambda fit: fit[0] * fit[1])


def _check(options: Options) -> None:
    if options.budget_s is not None and not LEAST_BUDGET_S <= options.budget_s < float("inf"):
        raise UsageError(
            f"--budget {options.budget_s:g} is no training time; give {LEAST_BUDGET_S:g} seconds or more, such as 60."
        )
    if options.slots is not None and options.slots < 1:
        raise UsageError(f"--slots {options.slots} leaves no place to train; give 1 or more.")
    if options.device is not None and options.device not in DEVICES:
        raise UsageError(f"There is no device {options.device!r}; known are {', '.join(DEVICES)}.")
    if options.device not in (None, "cpu") and (lack := lacking(str(options.device), len(stats.gpu_memory()))):
        raise UsageError(f"--device {options.device} cannot be used: {lack}. Nothing was started. --device cpu works.")
    if options.profile is not None and options.profile not in profiles.PROFILES:
        known = ", ".join(profiles.PROFILES)
        raise UsageError(f"There is no profile {options.profile!r}; known are {known}.")
    if options.gate not in (None, "auto", "ask"):
        raise UsageError(f"--gate {options.gate} is neither auto nor ask.")


def _which(project: Project, options: Options) -> tuple[Path, RunConfig | None]:
    if options.name is not None:
        folder = project.run(options.name)
        config = _config(folder)
        if config is None:
            _check_left(folder)
        repo = Repository.find(project.root, project.logs / "repository") if config is None else None
        if repo is not None and (why := repo.taken(options.name, folder)):
            raise UsageError(
                f"A new run cannot be called {options.name}, since that name is taken in git: {why}. Nothing was changed. "
                f"Choose another --name."
            )
        return folder, config
    if options.origin is None:
        last = _latest(project)
        if last is not None and not last[1].finished:
            return last[0], last[1].config
    return project.run(project.new_name(_taken(project))), None


def _check_left(folder: Path) -> None:
    """Raises UsageError where a run has lost its journal and its results are still there: a new run would overwrite them."""
    left = [name for name in (results.TSV, results.NOTEBOOK) if (folder / name).exists()]
    if left:
        raise UsageError(
            f"The journal of run {folder.name} is gone or empty, and {' and '.join(left)} in {folder} are what is left of the run. "
            f"Nothing was changed. `{quoted(['mv', str(folder), f'{folder}-before'])}` keeps them, and then a new run can be called "
            f"{folder.name}."
        )


def _taken(project: Project) -> Callable[[str], str]:
    """What tells why a name is taken in git; '' where it is free. Writes nothing."""
    repo = Repository.find(project.root, project.logs / "repository")
    return repo.taken if repo is not None else lambda name: ""


def _latest(project: Project, but: Path | None = None) -> tuple[Path, State] | None:
    """The run at work, or else the one whose loop was started last, and how it stands."""
    for folder in project.runs():
        if folder == but:
            continue
        try:
            state = fold(journal.read(folder / journal.NAME))
        except (
            Exception
        ):  # one broken run must not keep every other from starting; asked for by name, it says what is wrong
            continue
        if state.config is not None:
            return folder, state
    return None


def _config(folder: Path) -> RunConfig | None:
    path = folder / journal.NAME
    if not path.exists():
        return None
    first = next(iter(journal.read(path)), None)
    return msgspec.convert(first.config, RunConfig) if isinstance(first, ev.Created) else None


def _changeable(options: Options) -> dict[str, object]:
    return {"agent": options.agent, "gate": options.gate, "slots": options.slots}


def _check_same(config: RunConfig, options: Options, name: str) -> None:
    """A continued run keeps what its scores depend on."""
    asked = {
        "budget": (options.budget_s, config.budget_s),
        "dataset": (options.dataset, config.dataset),
        "device": (options.device, config.device),
        "seed": (options.seed, config.seed),
        "profile": (options.profile, config.profile),
        "executor": (options.executor and absolute(options.executor), config.executor),
    }
    for what, (new, old) in asked.items():
        if new is None or new == old or (what == "dataset" and contract.same(str(new), str(old))):
            continue
        raise UsageError(
            f"Run {name} was started with {what} {old}; its scores could not be compared under {new}. Nothing was "
            f"changed. Continue it without --{what}, or add --name NEW --from {name} to start another."
        )


def open_run(
    project: Project,
    chosen: Plan,
    options: Options,
    report: Callable[[ev.AnyEvent, State], None],
    *,
    loop: bool = True,
) -> tuple[ActiveRun, Lock]:
    """Open the run for its one loop: lock, journal, copies, refs; what a crash left behind is ended and recorded.

    `loop`: False for a final report. A new run whose name somebody took meanwhile gets another one, unless the user named it.

    Raises UsageError, RunBusy, NameTaken or JournalError, each with a sentence.
    """
    while True:
        try:
            return _open(project, chosen, options, report, loop)
        except (RunBusy, NameTaken):
            if not chosen.unnamed:
                raise
            chosen = _renamed(project, chosen)


def overtaken(project: Project, chosen: Plan) -> Plan | None:
    """The same plan under another name, where somebody took its name meanwhile and the user did not choose it; else None."""
    if not chosen.unnamed or _config(chosen.folder) is not None or not _taken(project)(chosen.folder.name):
        return None
    return _renamed(project, chosen)


def _renamed(project: Project, chosen: Plan) -> Plan:
    folder = project.run(project.new_name(_taken(project)))
    return dataclasses.replace(chosen, folder=folder, config=replace(chosen.config, name=folder.name))


def _open(
    project: Project, chosen: Plan, options: Options, report: Callable[[ev.AnyEvent, State], None], loop: bool
) -> tuple[ActiveRun, Lock]:
    folder, config = chosen.folder, chosen.config
    source, parent_name = _starting_point(project, options) if chosen.new else ("", None)
    check_data(config, chosen.new, folder)
    finding = compiling.check(project.root, quick=True) if config.device == "cuda" else None
    if finding is not None and not chosen.new and config.compiles and not finding.works:
        raise UsageError(
            f"Run {folder.name} compiles what it trains, which cannot be done now: {finding.words}. Its scores could not be "
            f"compared with slower trainings. Nothing was changed. {finding.todo}."
        )
    check_charter(project.program)  # before anything is written
    began = (folder / journal.NAME).exists()
    if not began and (others := [name for name in MADE if os.path.lexists(folder / name)]):
        raise UsageError(
            f"{folder} holds {' and '.join(others)}, which no run wrote. Nothing was changed. Choose another --name, or move "
            f"what is there."
        )
    lock = record = None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = Lock(folder, loop=loop)
        record = Journal(folder)
        state = fold(record.open(), State(name=folder.name))
    except BaseException as error:
        _give_up(folder, record, lock, new=not began)
        if not isinstance(error, OSError):
            raise
        raise UsageError(
            f"{folder} cannot be written ({error.strerror or error}). Nothing was started. Make logs/ writable or name "
            f"another folder with --logs."
        ) from error
    try:
        if chosen.new and state.config is not None:
            began = True
            raise RunBusy(
                f"Run {folder.name} was started by another command just now; nothing was changed. `make attach` shows it."
            )
        repo = Repository.open(project.root, project.logs / "repository")
        freeze(project.root, Path(config.data), folder, anew=state.config is None)
        if state.start_commit is None:
            if not chosen.new:  # killed before it had written down what it starts from
                source, parent_name = _starting_point(project, options)
            values, said = ({}, "") if parent_name else fitting(chosen.profile, source, repo)
        if state.config is None:
            base = repo.base()
            own = parent_name is None and not repo.run_of(source)
            config = replace(config, base_commit=base, own_code=own, compiles=finding is None or finding.works)
            freed = _claim(repo, folder, record, state, config, project.next_turn())
        else:
            freed = _claim_again(repo, folder, state)
        active = ActiveRun(project, folder, record, state, repo, chosen.profile, IntegrityCheck(folder), report)
        if chosen.new and finding is not None and not finding.works:
            active.record(ev.Notice(text=uncompiled(finding)))
        active.program.watch()
        if state.start_commit is None:
            active.start.fit(source, values, state.config.base_commit if state.config else config.base_commit)
            if said:
                active.record(ev.Notice(text=said))
            if parent_name is None and (said := _before(project, folder)):
                active.record(ev.Notice(text=said))
        _clean_up(active)
        active.sync_refs()
        for words in (freed, "" if repo.synced else NO_SYNC):
            if words:
                active.record(ev.Notice(text=words))
        active.experiments.recheck(begun=True)
    except BaseException as error:
        if loop and not isinstance(error, RunBusy | RepositoryError):  # those say that nothing was changed
            record_end(record, state, error)
        if not began and state.id and not _has_start(folder):
            with contextlib.suppress(RepositoryError):
                repo.unclaim(folder.name, state.id)
        _give_up(folder, record, lock, new=not began)
        raise
    return active, lock


def _claim(repo: Repository, folder: Path, record: Journal, state: State, config: RunConfig, turn: int) -> str:
    """Write the header of a new run, and then its name into git; return what `claim` does. Raises RepositoryError."""
    event = ev.Created(v=ev.SCHEMA, config=config, id=secrets.token_hex(16), turn=turn)
    state.apply(record.append(event))
    try:
        return repo.claim(folder.name, state.id, folder)
    except NameTaken as error:
        raise NameTaken(f"{error} Nothing was started. Choose another --name.") from error


def _claim_again(repo: Repository, folder: Path, state: State) -> str:
    """Claim the name of a run that goes on, where git does not know its owner yet; return what `claim` does. Raises NameTaken."""
    try:
        return repo.claim(folder.name, state.id, folder, state.known)
    except NameTaken as error:
        raise NameTaken(
            f"{error} So run {folder.name} in {folder.parent} cannot go on under it. Nothing was changed. "
            f"{make('run', '--name', 'NEW', '--from', folder.name)} begins a run at its best."
        ) from error


def _give_up(folder: Path, record: Journal | None, lock: Lock | None, *, new: bool) -> None:
    """Close a run that could not be opened. A new one is removed, unless it has written down what it starts from."""
    if record is not None:
        record.close()
    if new and not _has_start(folder):
        if lock is not None:  # else these are of another loop
            for name in (*MADE, journal.NAME, journal.LOCK, "reserve"):
                shutil.rmtree(folder / name, ignore_errors=True)  # those that are folders
                with contextlib.suppress(OSError):
                    (folder / name).unlink()
        with contextlib.suppress(OSError):
            folder.rmdir()  # unless there is something of somebody else's in it
    if lock is not None:
        lock.release()


def _has_start(folder: Path) -> bool:
    try:
        return fold(journal.read(folder / journal.NAME)).start_commit is not None
    except (JournalError, OSError):
        return False


def uncompiled(finding: compiling.Finding) -> str:
    """What a new run says on a machine where torch.compile cannot work."""
    return (
        f"torch.compile is off in this run, since {finding.words}. Trainings work, with about half the steps. "
        f"{finding.todo}; then start a new run, since scores of the two cannot be compared."
    )


def _before(project: Project, folder: Path) -> str:
    """What a new run says of a finished one before it."""
    last = _latest(project, but=folder)
    if last is None or not last[1].finished or not last[1].tried:
        return ""
    name, reason = last[0].name, last[1].stopped.reason if last[1].stopped else ""
    return (
        f"This is a new run: {name} is finished ({reason}). {going_on(name)} goes on with it, "
        f"{make('run', '--from', name)} begins a run at its best."
    )


def changed(project: Project, active: ActiveRun) -> str:
    """What a run that goes on says of a train.py that does something else now than when it began; none that a run kept."""
    found = active.state.start_commit.user_commit if active.state.start_commit else ""
    try:
        now = project.train.read_text(encoding="utf-8-sig")
        if not found or edits.fingerprint(active.repo.read(found)) == edits.fingerprint(now) or active.repo.run_of(now):
            return ""
    except (SyntaxError, edits.EditError):
        pass  # it cannot be the one that was there
    except (OSError, ValueError, RepositoryError):
        return ""
    return (
        f"nanochat/train.py has changed since run {active.name} began; the run goes on from its own best. "
        f"{make('run', '--name', 'NEW')} starts one from your file."
    )


def text_changed(active: ActiveRun) -> str:
    """What to say when the text of a run that goes on has changed since it was prepared; '' when it has not."""
    config = active.state.config
    if config is None or not (changes := contract.changes_since(config.dataset, config.fingerprint)):
        return ""
    words = (
        f"{printable(config.dataset)} has changed since it was prepared for run {active.name}: {changes}. The run goes on with its "
        f"own copy."
    )
    try:
        contract.check(config.dataset)
    except contract.DataError:
        return words
    return f"{words} {make('run', '--name', 'NEW', '--dataset', config.dataset)} starts one from the text as it is."


def fitting(profile: profiles.Profile, source: str, repo: Repository) -> tuple[dict[str, object], str]:
    """The profile's knobs to set in the user's train.py, and what stays as it is, in words."""
    values = {knob.name: knob.value for knob in knobs.read(source)}
    found = profiles.fitting(profile, values)
    if found and (run := repo.run_of(source)):
        return {}, f"train.py is one that run {run} kept, so its sizes stay as they are."
    own = [f"{name} = {values[name]}" for name in profile.knobs if name in values and name not in found]
    if not own:
        return found, ""
    return (
        found,
        f"Your own {', '.join(own)} stays: only values that are as shipped are set for the profile {profile.name}.",
    )


def _starting_point(project: Project, options: Options) -> tuple[str, str | None]:
    """The train.py that a new run starts from: the user's own, or another run's best."""
    if options.origin is not None:
        folder = project.pick(options.origin)
        repo = Repository.open(project.root, project.logs / "repository")
        try:
            best = fold(journal.read(folder / journal.NAME)).best
        except JournalError:  # what git still has of a broken journal's run
            owner = repo.owner(folder.name)
            ours = owner is None or owner.folder == str(folder)
            best = repo.refs(folder.name).get(repo.branch(folder.name), "") if ours else ""
        if not best:
            raise UsageError(f"Run {options.origin} has no best train.py yet. Nothing was started.")
        return repo.read(best), options.origin
    try:
        source = project.train.read_text(encoding="utf-8-sig")
        edits.check(source)
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"nanochat/train.py cannot be read ({error}). Nothing was started.") from error
    except edits.EditError as error:
        raise UsageError(f"nanochat/train.py cannot be used: {error} Nothing was started; mend it first.") from error
    return source, None


def check_data(config: RunConfig, new: bool, folder: Path) -> None:
    """Raises UsageError unless the data is what was prepared, and enough. Reads all of it, about 1 GB a second.

    A run that goes on has its data in its own folder, whatever became of the folder that it was prepared in.
    """
    own = folder / "data"
    data = own if own.is_dir() and not new else Path(config.data)
    try:
        found = contract.read(data)
        if found.fingerprint != config.fingerprint:
            raise contract.Damaged(data, "it is not what the run is scored on (its fingerprint differs)")
        contract.check_size(
            config.dataset, found.splits, config.seq_len, contract.least_windows(config.device) if new else 1
        )
        contract.verify(data, found)
    except contract.Damaged as error:
        again = error.manifest.options if error.manifest else contract.Options()
        todo = f"{contract.preparing(config.dataset, config.vocab_size, again)} makes it anew."
        if not new:
            todo = f"Start another run with --name NEW --from {folder.name}."
        raise UsageError(
            f"The data of run {folder.name} in {data} cannot be used: {error.what}. Nothing was changed. {todo}"
        ) from None
    except contract.DataError as error:
        raise UsageError(f"{error} Nothing was started.") from None


def _clean_up(active: ActiveRun) -> None:
    """End what a crash left running, and record it as interrupted; temporary files that it left are removed."""
    for pids in active.state.processes.values():
        for pid, started in pids:
            with contextlib.suppress(psutil.Error, OSError):
                process = psutil.Process(pid)
                if abs(process.create_time() - started) < 0.05:  # the same process, not a later one of that number
                    process.kill()
    if active.state.started is not None and active.state.stopped is None:
        active.record(
            ev.Notice(text="The loop before this one ended without a word: it was killed, or the machine went down.")
        )
    shutil.rmtree(active.folder / SCRATCH, ignore_errors=True)
    active.experiments.interrupt_running("the loop ended while it ran")
