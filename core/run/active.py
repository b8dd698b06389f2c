"""The run on disk: journal, state, git, folders. Every fact goes through `record`; refs and files follow the journal."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import traceback
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec
import psutil

from core.agents.base import Said
from core.agents.search import steering
from core.change import edits, knobs, touched
from core.charter import Charter, CharterError
from core.charter import read as read_charter
from core.errors import explained
from core.git.refs import attempt_ref, kept_ref, wanted_refs
from core.git.repository import Repository, RepositoryError
from core.judging import schedule
from core.judging.schedule import Work
from core.machine import profiles, stats
from core.machine.profiles import Profile
from core.machine.project import Project, UsageError
from core.model import Proposal, Role, RunConfig
from core.record import events as ev
from core.record.journal import Journal, JournalError
from core.record.state import Experiment, State, experiment_id
from core.reporting import findings
from core.reporting.publish import publish
from core.run import jobs
from core.run.integrity import Seal
from core.verdicts import Verdict
from nanochat.contract.job import CrashClass, Job, Outcome, Result
from nanochat.contract.messages import Started

HALVINGS = 5
UNMEASURED = (
    "The machine's speed is not measured ({why}), so the budget is in plain CPU seconds. The run goes on: a score is "
    "compared with one of the best from about the same time."
)
REPEATS_OF_INTERRUPTED = (
    12  # a proposal that was interrupted so often is not queued once more: it may be what kills the loop
)


@dataclass
class Laboratory:
    """One run, opened for work by its one loop."""

    project: Project
    folder: Path
    journal: Journal
    state: State
    repo: Repository
    profile: Profile
    seal: Seal
    report: Callable[[ev.AnyEvent, State], None]
    charter: Charter = field(default_factory=Charter)
    charter_text: str = ""
    _charter_stamp: tuple[int, int, int, int] | None = None
    _fingerprints: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.source = lru_cache(maxsize=64)(self._source)

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def config(self) -> RunConfig:
        """The run's header."""
        assert self.state.config is not None
        return self.state.config

    @property
    def sigma(self) -> float:
        return schedule.noise(self.state).sigma

    def record(self, event: ev.Event) -> None:
        """Journal first; then the state, then whoever listens. Raises JournalError when nothing can be written."""
        stamped = self.journal.append(event)
        self.state.apply(stamped)
        self.report(stamped, self.state)

    @contextlib.contextmanager
    def recording_end(self) -> Iterator[None]:
        """Record why the loop ends where something else than the loop ends it."""
        try:
            yield
        except BaseException as error:
            record_end(self.journal, self.state, error)
            raise

    def _source(self, commit: str) -> str:
        return self.repo.read(commit)

    def fingerprint(self, commit: str) -> str:
        """Fingerprint of the train.py of a commit."""
        if commit not in self._fingerprints:
            self._fingerprints[commit] = edits.fingerprint(self._source(commit))
        return self._fingerprints[commit]

    def tried(self, parent: str) -> dict[str, int]:
        """What is not to be tried again on the train.py of a commit: the fingerprint of each change, and its experiment."""
        here = self.fingerprint(parent)
        return schedule.tried(
            self.state, {e.parent for e in self.state.experiments.values() if self.fingerprint(e.parent) == here}
        )

    def attempt_folder(self, number: int | None) -> Path:
        """Where the files of an experiment lie; the baseline and re-measurements of the best lie under 00000."""
        return self.folder / experiment_id(number or 0)

    def _job_folder(self, work: Work) -> Path:
        return self.attempt_folder(work.number if work.role.own_folder else None)

    # -- program.md -----------------------------------------------------------------------------------------------

    def watch_charter(self) -> None:
        """Take over a changed program.md; keep the last good one, and say so, when it cannot be used."""
        try:
            status = self.project.program.stat()
            stamp = (status.st_ino, status.st_mtime_ns, status.st_ctime_ns, status.st_size)
        except OSError:
            stamp = (0, 0, 0, -1)
        if stamp == self._charter_stamp:
            return
        known, present = self.state.charter, self._present()
        self._charter_stamp = stamp
        try:
            charter, text = check_charter(self.project.program, touched.names(present))
        except UsageError as error:
            if known is None or not self.charter_text:
                raise
            problem = f"{error} The last good version is used."
            self.record(msgspec.structs.replace(known, problem=problem, meta={}))
            return
        charter = msgspec.structs.replace(charter, notes=(*charter.notes, *steering.unfit(charter, present)))
        sha = hashlib.sha256(text.encode()).hexdigest()[:12]
        self.charter, self.charter_text = charter, text
        event = ev.Charter(
            sha=sha,
            understood=charter.understood(),
            limits={
                "max_params": charter.max_params,
                "max_memory_gb": charter.max_memory_gb,
                "off_limits": list(charter.off_limits),
            },
            proposed=tuple((proposal.line, proposal.sentence) for proposal in charter.proposed),
            warnings=charter.warnings,
        )
        if known is None or _told(known) != _told(event):  # another version may have read it otherwise
            self.record(event)

    def answer(self) -> str:
        """Say what `search` makes of what the human said last: a hint, or a reason for skipping."""
        *before, last = self.state.said
        try:
            source, best = self._present(), self.state.best
            tried = self.tried(best) if best else {}
            earlier = [
                Said(number=one.number, text=one.text, skipped=one.skipped) for one in before if not one.taken_back
            ]
            leave = steering.combined(self.charter, earlier, source, touched.names(source)).leave
            reason = last.skipped is not None
            return steering.answer(last.text, source, self.charter.off_limits, tried, reason=reason, leave=leave)
        except RepositoryError as error:
            return f"search could not look at it: {error}"

    def _present(self) -> str:
        """The train.py that a proposal would change now."""
        if self.state.best:
            return self._source(self.state.best)
        try:
            return self.project.train.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError):
            return ""

    def restated(self, words: tuple[str, ...], meta: dict[str, Any]) -> None:
        """What the agent made of program.md, beside what the checks did, and what that cost. It is shown; only the checks bind."""
        known = self.state.charter
        if known is not None and (words or meta):
            unsaid = f"{meta.get('model', 'the agent')} could not restate it and is asked again later"
            understood = self.charter.understood(words) if words else (*self.charter.understood(), unsaid)
            self.record(msgspec.structs.replace(known, understood=understood, meta=meta))

    # -- commits --------------------------------------------------------------------------------------------------

    def merge(self, base: str, ours: str, theirs: str) -> str | None:
        """Three-way merge of three texts of train.py; None when both changed the same lines."""
        return self.repo.merge(base, ours, theirs, self.folder)

    def fit(self, source: str, knob_values: dict[str, Any], parent: str) -> None:
        """Commit the train.py that the run starts from, with the profile's knobs set."""
        source = knobs.set_knobs(source, knob_values) if knob_values else source
        words = ", ".join(f"{name} = {value}" for name, value in knob_values.items()) or "as it is"
        commit = self.repo.commit(
            parent, source, f"Start of run {self.name}\n\nKnobs for {self.profile.name}: {words}."
        )
        self.record(
            ev.Fit(
                commit=commit,
                source_hash=hashlib.sha256(source.encode()).hexdigest(),
                nodes=edits.ast_nodes(source),
                knobs=knob_values,
                parent=parent,
                found=self.state.fit.found if self.state.fit else self._found(parent),
            )
        )
        self._point(
            self.repo.attempt_ref(self.name, "fit" if len(self.state.fits) == 1 else f"fit-{len(self.state.fits)}"),
            commit,
        )
        if self.state.fit is not None and self.state.fit.found:
            self._point(self.repo.attempt_ref(self.name, "found"), self.state.fit.found)
        self.point_best()

    def _found(self, base: str) -> str:
        """A commit with the user's train.py as it is now; `base` where that has the same. `apply` compares with it later."""
        try:
            text = self.project.train.read_text(encoding="utf-8-sig")
            if self.repo.holds(base, text):
                return base
            return self.repo.commit(base, text, f"train.py as run {self.name} found it")
        except (OSError, UnicodeDecodeError, RepositoryError):
            return base

    def fit_smaller(self) -> None:
        """Halve the batch after a baseline that ran out of memory. Raises UsageError when that cannot help."""
        failure, fit = self.state.baseline_failure, self.state.fit
        assert failure is not None and fit is not None
        source = self._source(fit.commit)
        smaller = profiles.halve_batch({knob.name: knob.value for knob in knobs.read(source)})
        if failure.crash is not CrashClass.OUT_OF_MEMORY or not smaller or len(self.state.fits) > HALVINGS:
            tail = f"\n{failure.traceback}" if failure.traceback else ""
            raise UsageError(
                f"The baseline, your own train.py, could not be measured: {failure.reason}{tail}\n"
                f"Nothing was lost; the run is kept in {self.folder}. Mend nanochat/train.py"
                f"{' or the limit in program.md' if failure.outcome == Outcome.INVALID else ''} and start a new run."
            )
        self.fit(source, fit.knobs | smaller, fit.parent)

    def propose(self, proposal: Proposal, parent: str, source: str, candidate: str, *, seconds: float) -> None:
        """Make the commit of a proposal, record it, and keep its files."""
        number = self.state.next_number
        commit = self.repo.commit(
            parent, candidate, message(proposal.hypothesis, f"experiment {number} of {self.name}")
        )
        added, removed = edits.added_removed(source, candidate)
        folder = self.attempt_folder(number)
        folder.mkdir(exist_ok=True)
        (folder / "train.py").write_text(candidate, encoding="utf-8")
        (folder / "change.diff").write_text(edits.unified(source, candidate), encoding="utf-8")
        (folder / "proposal.json").write_bytes(msgspec.json.format(msgspec.json.encode(proposal), indent=1))
        self.record(
            ev.Proposed(
                number=number,
                commit=commit,
                parent=parent,
                fingerprint=edits.any_fingerprint(candidate),
                hypothesis=proposal.hypothesis,
                agent=proposal.agent,
                charter=self.state.charter.sha if self.state.charter else "",
                topic=proposal.topic,
                meta=proposal.meta,
                added=added,
                removed=removed,
                nodes=edits.any_nodes(candidate),
                seconds=round(seconds, 3),
            )
        )
        self._point_attempt(number)

    def rebase(self, experiment: Experiment) -> None:
        """Re-apply an experiment's change to the present best, or record that it no longer applies."""
        best, number = self.state.best, experiment.number
        old, new = self._source(experiment.parent), self._source(best)
        merged = self.merge(old, new, self._source(experiment.commit))
        try:
            if merged is None:
                raise edits.EditError("the best changed the same lines")
            edits.gate(new, merged, off_limits=self.charter.off_limits)
            if (same := self.tried(best).get(edits.fingerprint(merged), number)) != number:
                raise edits.EditError(f"on the new best it is the very change of experiment {same}")
        except edits.EditError as error:
            reason = f"its parent was overtaken and the change no longer applies: {error}"
            self.judge(ev.Judged(number=number, verdict=Verdict.CONFLICT, reason=reason, finding=""))
            return
        commit = self.repo.commit(
            best, merged, message(experiment.hypothesis, f"experiment {number} of {self.name}, on the new best")
        )
        self.attempt_folder(number).mkdir(exist_ok=True)
        (self.attempt_folder(number) / "train.py").write_text(merged, encoding="utf-8")
        (self.attempt_folder(number) / "change.diff").write_text(edits.unified(new, merged), encoding="utf-8")
        self.record(
            ev.Rebased(
                number=number,
                commit=commit,
                parent=best,
                fingerprint=edits.fingerprint(merged),
                nodes=edits.ast_nodes(merged),
            )
        )
        self._point_attempt(number)

    def recheck(self, *, begun: bool = False) -> None:
        """Hold waiting proposals against a program.md that changed since they were made, before they cost any training; all of
        them where a loop has just `begun`, since the one before may have ended between a proposal and its refusal."""
        self.watch_charter()
        waiting = [experiment for experiment in self.state.open.values() if not experiment.launched]
        for experiment in waiting if begun else list(schedule.unchecked(self.state)):
            try:
                edits.gate(
                    self._source(experiment.parent), self._source(experiment.commit), off_limits=self.charter.off_limits
                )
            except edits.EditError as error:
                same = self.state.charter is not None and experiment.charter == self.state.charter.sha
                reason = f"{'it was about to be refused' if same else 'program.md changed while it waited'}: {error}"
                self.judge(ev.Judged(number=experiment.number, verdict=Verdict.INVALID, reason=reason, finding=""))

    def revise(self, experiment: Experiment, source: str, hypothesis: str = "") -> None:
        """Another change for a proposal that has not run, from the human."""
        number, old = experiment.number, self._source(experiment.parent)
        body = f"experiment {number} of {self.name}, revised by the human"
        commit = self.repo.commit(experiment.parent, source, message(hypothesis or experiment.hypothesis, body))
        (self.attempt_folder(number) / "train.py").write_text(source, encoding="utf-8")
        (self.attempt_folder(number) / "change.diff").write_text(edits.unified(old, source), encoding="utf-8")
        added, removed = edits.added_removed(old, source)
        self.record(
            ev.Revised(
                number=number,
                commit=commit,
                fingerprint=edits.fingerprint(source),
                hypothesis=hypothesis,
                added=added,
                removed=removed,
                nodes=edits.ast_nodes(source),
            )
        )
        self._point_attempt(number)

    # -- jobs -----------------------------------------------------------------------------------------------------

    def launch(self, work: Work, slot: int) -> Job:
        """Record that a job starts and lay out its files."""
        name = f"j{self.state.jobs + 1:06d}"
        out = self._job_folder(work) / name
        shutil.rmtree(out, ignore_errors=True)  # of a loop that was killed before it recorded this job
        out.mkdir(parents=True)
        (out / "train.py").write_text(self._source(work.commit), encoding="utf-8")
        self.record(
            ev.Launched(job=name, role=work.role, commit=work.commit, seed=work.seed, slot=slot, number=work.number)
        )
        return jobs.job(self.state, self.profile, self.charter, work, name, out, stats.memory_total())

    def note_processes(self, started: Started) -> None:
        """Remember the processes of a job, so that a later start can end what a crash left behind."""
        pids = []
        for pid in started.pids:
            with contextlib.suppress(psutil.Error):
                pids.append((pid, psutil.Process(pid).create_time()))
        if pids and started.job in self.state.running:
            self.record(ev.Processes(job=started.job, pids=tuple(pids)))

    def measured(self, work: Work, result: Result) -> None:
        """Record what became of a job."""
        event = jobs.event(self.state, self.charter, work, result)
        first = work.role == Role.BASELINE and event.outcome == Outcome.SCORED and not event.disturbed
        told = self.state.unmeasured
        self.record(event)
        if event.unmeasured and not told:
            self.record(ev.Notice(text=UNMEASURED.format(why=event.unmeasured)))
        self._tidy(work, event, keep_nats=first)
        if event.role in (Role.BASELINE, Role.INCUMBENT, Role.RERUN):
            self.publish()  # what is in there already has another mean now
        if work.number is not None and work.number in self.state.aborted:  # however the job ended
            self.aborted(work.number)

    def aborted(self, number: int) -> None:
        """An experiment, or a repetition of one, that the human wants no more of."""
        if number in self.state.open:
            reason = "aborted by the human"
            self.judge(ev.Judged(number=number, verdict=Verdict.INTERRUPTED, reason=reason, finding="", by="human"))
        elif number in self.state.reruns:
            self.record(ev.Rerun(number=number, wanted=False))

    def _tidy(self, work: Work, event: ev.Measured, *, keep_nats: bool) -> None:
        """Bounded logs: the per-token scores and compiled kernels of the baseline are kept, and of no other job."""
        out = self._job_folder(work) / event.job
        with contextlib.suppress(OSError):
            if keep_nats:
                shutil.move(out / "nats.npy", self.folder / "baseline.npy")
                if (out / jobs.COMPILED).is_dir():
                    shutil.rmtree(self.folder / jobs.COMPILED, ignore_errors=True)
                    shutil.move(out / jobs.COMPILED, self.folder / jobs.COMPILED)
            shutil.rmtree(out / jobs.COMPILED, ignore_errors=True)
            (out / "nats.npy").unlink(missing_ok=True)
            (out / "train.py").unlink(missing_ok=True)  # the commit holds it
            (out / "result.json").write_text(json.dumps({"reason": event.reason, "parts": event.parts}))

    def interrupt_running(self, reason: str) -> None:
        """Record every running job as interrupted, and queue what was interrupted once more, but for what the human aborted."""
        numbers = []
        for launched in list(self.state.running.values()):
            self.record(
                ev.Measured(
                    job=launched.job,
                    role=launched.role,
                    commit=launched.commit,
                    seed=launched.seed,
                    number=launched.number,
                    outcome=Outcome.INTERRUPTED,
                    reason=reason,
                )
            )
            if launched.number is not None and launched.number not in numbers:
                numbers.append(launched.number)
        for number in numbers:
            experiment = self.state.experiments[number]
            if number in self.state.aborted:
                self.aborted(number)
            if experiment.verdict is not None:
                continue
            self.judge(ev.Judged(number=number, verdict=Verdict.INTERRUPTED, reason=reason, finding=""))
        repeated = {experiment.again for experiment in self.state.experiments.values()}
        for experiment in list(self.state.experiments.values()):  # also one that a kill kept from being queued
            cut = experiment.verdict is Verdict.INTERRUPTED and experiment.by != "human"
            if cut and experiment.number not in repeated and self._repeats(experiment) < REPEATS_OF_INTERRUPTED:
                self._queue_again(experiment)

    def _repeats(self, experiment: Experiment) -> int:
        count = 0
        while experiment.again is not None:
            count, experiment = count + 1, self.state.experiments[experiment.again]
        return count

    def _queue_again(self, experiment: Experiment) -> None:
        number = self.state.next_number
        folder = self.attempt_folder(number)
        folder.mkdir(exist_ok=True)
        for name in ("train.py", "change.diff", "proposal.json"):
            with contextlib.suppress(OSError):
                shutil.copyfile(self.attempt_folder(experiment.number) / name, folder / name)
        self.record(
            ev.Proposed(
                number=number,
                commit=experiment.commit,
                parent=experiment.parent,
                fingerprint=experiment.fingerprint,
                hypothesis=experiment.hypothesis,
                agent=experiment.agent,
                charter=experiment.charter,
                topic=experiment.topic,
                meta=experiment.meta,
                added=experiment.added,
                removed=experiment.removed,
                nodes=experiment.nodes,
                again=experiment.number,
            )
        )
        self._point_attempt(number)

    # -- verdicts -------------------------------------------------------------------------------------------------

    def judge(self, judged: ev.Judged) -> None:
        """Record a verdict with its finding; a kept change becomes a commit on the run's branch."""
        experiment = self.state.experiments[judged.number]
        old = self.state.mean(experiment.parent)
        finding = findings.finding(judged, experiment, old)
        fields: dict[str, Any] = {"finding": finding}
        if Verdict(judged.verdict).kept:
            assert old is not None and experiment.val_bpb is not None
            gain = old - experiment.val_bpb if judged.gain is None else judged.gain
            scores = (
                f"val_bpb {old:.6f} -> {experiment.val_bpb:.6f}; paired gain {gain:+.6f} "
                f"over {judged.pairs} seeds (noise {judged.sigma:.6f}).\n"
                f"Verdict: {judged.verdict}{', ' + judged.reason if judged.by else ''}. "
                f"Experiment {judged.number} of run {self.name}, proposed by {experiment.agent}."
            )
            source = self._source(experiment.commit)
            fields["commit"] = self.repo.commit(self.state.best, source, message(experiment.hypothesis, scores))
        self.record(msgspec.structs.replace(judged, **fields))
        if "commit" in fields:
            self._point(kept_ref(self.repo, self.name, judged.number), fields["commit"])
            self.point_best()
        self.publish()

    def sync_refs(self) -> None:
        """Make all refs match the journal: after a crash between the two, and only then, they differ."""
        wanted = wanted_refs(self.repo, self.state, self.name)
        for words in self.repo.reconcile(self.name, wanted, self.state.known):
            self.record(ev.Notice(text=words))

    def point_best(self) -> None:
        """The run's branch, and the copy of the best train.py in its folder, to the present best."""
        self._point(self.repo.branch(self.name), self.state.best)
        with contextlib.suppress(OSError):
            (self.folder / "train.py").write_text(self._source(self.state.best), encoding="utf-8")

    def _point_attempt(self, number: int) -> None:
        attempts = self.state.experiments[number].attempts
        self._point(attempt_ref(self.repo, self.name, number, len(attempts) - 1), attempts[-1])

    def _point(self, ref: str, commit: str) -> None:
        """Refs follow the journal, which has the fact by now: what fails here is mended by `sync_refs` at the next start."""
        try:
            if why := self.repo.set_ref(ref, commit, self.state.known):
                where = f"{commit[:7]} is kept under refs/autoresearch"
                self.record(ev.Notice(text=f"{ref} {why}. It was left where it is; {where}."))
        except RepositoryError as error:
            self.record(ev.Notice(text=f"{ref} could not be set ({error}) The journal has it; the next start sets it."))

    def publish(self) -> None:
        """Rewrite results.tsv and notebook.md; a full disk is no reason to stop, the journal has it all."""
        with contextlib.suppress(OSError):
            publish(self.folder, self.state, self.sigma)


def record_end(record: Journal, state: State, error: BaseException) -> None:
    """Write down that the loop ends by this error, unless it has said why it ends. What cannot be written is left."""
    if state.config is not None and state.stopped is None:
        with contextlib.suppress(JournalError):
            state.apply(record.append(ev.Stopped(reason=_why(error))))


def _why(error: BaseException) -> str:
    """What ended a loop, in one line."""
    if (said := explained(error)) is not None:
        return " ".join(said.split())
    if isinstance(error, KeyboardInterrupt):
        return "interrupted by Ctrl-C"
    frames = traceback.extract_tb(error.__traceback__)
    where = f" in {Path(frames[-1].filename).name}, line {frames[-1].lineno}" if frames else ""
    words = " ".join(str(error).split())
    return f"an error in AutoResearch itself: {type(error).__name__}{f': {words}' if words else ''}{where}"


def _told(event: ev.Charter) -> tuple[object, ...]:
    """What a human was told of a program.md, but for a model's own words."""
    return event.sha, event.problem, event.limits, event.proposed, event.warnings


def check_charter(path: Path, known: Collection[str] = ()) -> tuple[Charter, str]:
    """program.md, read and understood with the names of train.py. Raises UsageError with a sentence when it cannot be used."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        return read_charter(text, known), text
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"program.md cannot be read ({error}). Write down in {path} what to research.") from None
    except CharterError as error:
        raise UsageError(str(error)) from None


def message(hypothesis: str, body: str) -> str:
    """A commit message: the hypothesis as the subject (cut at 72 characters, whole in the body), then the facts."""
    line = " ".join(hypothesis.split()) or "A change without a hypothesis"
    if len(line) <= 72:
        return f"{line}\n\n{body}"
    return f"{line[:69]}...\n\n{line}\n\n{body}"
