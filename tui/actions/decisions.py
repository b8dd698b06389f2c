"""What the human decides: each action becomes a command to the loop, acknowledged in words."""

from __future__ import annotations

import asyncio
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from textual.app import App

from core.change import edits, touched
from core.record import hints
from core.record.state import Experiment, experiment_id
from core.run import commands
from core.verdicts import Verdict
from tui import keys
from tui.screens.menu import Menu
from tui.system import clipboard, editor
from tui.view import diffs, words
from tui.widgets.prompt import Prompt

if TYPE_CHECKING:
    from core.charter import Proposed
    from tui.bridge import Bridge

TWICE_S = 3.0  # within this, the second x counts


class Human(App[str]):
    """The decisions, as actions of the app."""

    bridge: Bridge
    _asked_first: tuple[float, str] = (0.0, "")

    @property
    def followed(self) -> Experiment | None:
        raise NotImplementedError

    def diff_path(self, experiment: Experiment) -> Path:
        raise NotImplementedError

    @property
    def seen(self) -> int | None:
        raise NotImplementedError

    def show_waiting(self) -> None:
        raise NotImplementedError

    @property
    def detailed(self) -> int | None:
        """The experiment whose details are on the screen, be it under a menu or a page of text."""
        found: list[int] = [
            number for screen in self.screen_stack if (number := getattr(screen, "number", None)) is not None
        ]
        return found[-1] if found else None

    @property
    def target(self) -> Experiment | None:
        """What a key about "this experiment" means: the one whose details are on the screen, else the followed one."""
        number = self.detailed
        return self.followed if number is None else self.bridge.state.experiments.get(number)

    async def obey(self, command: commands.Command, quiet: bool = False, more: str = "", otherwise: str = "") -> bool:
        """Send, and say what the loop answered; then `more` when it did as told, `otherwise` when it did not."""
        reply = await self.bridge.send(command)
        if not quiet or not reply.ok:
            also = more if reply.ok else otherwise
            said = f"{reply.words.rstrip('.')}. {also}" if also else reply.words
            self.tell(said, wrong=not reply.ok, seconds=10.0 if otherwise and not reply.ok else 5.0)
        return reply.ok

    def _hold(self, number: int, on: bool) -> commands.Hold:
        return commands.Hold(number=number, on=on, who=self.bridge.who)

    def clock(self, number: int | None, *, held: bool) -> None:
        """Let the countdown of what waits stand still, or go on. Nobody loses a decision by reading or writing."""
        if number is not None:
            self.run_worker(self.bridge.send(self._hold(number, held)), exit_on_error=False)

    async def _stop_clock(self) -> int | None:
        """The same before an editor takes the terminal: it stands still by then. Which proposal waits."""
        if (number := self._asked()) is not None:
            await self.bridge.send(self._hold(number, True))
        return number

    def _ask(self, question: str, done: Callable[[str | None], object], text: str = "") -> None:
        """A line to type, on the screen that is on top."""

        def answered(text: str | None) -> None:
            self.screen.query("ExperimentsPane, Body").first().focus()
            done(text)

        self.screen.query_one(Prompt).ask(question, answered, text)

    def _twice(self, what: str, words: str) -> bool:
        """Whether this is the second time within a moment; the first time it is said what the second would do."""
        asked, last = self._asked_first
        if last == what and time.monotonic() - asked < TWICE_S:
            self._asked_first = (0.0, "")
            return True
        self._asked_first = (time.monotonic(), what)
        self.tell(words, seconds=TWICE_S)
        return False

    def tell(self, words: str, wrong: bool = False, seconds: float = 5.0) -> None:
        """A note at the lower right."""
        width = max(
            30, self.size.width * 2 // 3
        )  # wrapped here: Textual cuts a line off a toast that just does not fit
        words = "\n".join(textwrap.wrap(words, width, break_on_hyphens=False))
        self.notify(words, severity="warning" if wrong else "information", timeout=seconds, markup=False)

    def on_notify(self) -> None:
        """One note at a time: it takes the place of the one before, however quickly it comes."""
        self.clear_notifications()

    def later(self, command: commands.Command, more: str = "") -> None:
        """The same, while the keys go on: a loop may take its time to answer."""
        self.run_worker(self.obey(command, more=more), exit_on_error=False)

    def _asked(self) -> int | None:
        waiting = self.bridge.live.waiting if self.bridge.pid else None
        return waiting.number if waiting else None

    # -- the proposal ---------------------------------------------------------------------------------------------

    def action_approve(self) -> None:
        if (number := self._asked()) is not None and self._sees(number, "a"):
            self.later(commands.Approve(number=number))

    def _sees(self, number: int, key: str) -> bool:
        """Nobody decides on what is not on the screen: it is shown first."""
        if self.detailed is not None:
            if self.detailed != number:
                self.tell(keys.ANOTHER_WAITS)
            return self.detailed == number
        if self.followed is not None and self.followed.number == number == self.seen:
            return True
        self.show_waiting()
        self.tell(f"This is #{number}, which waits for you. {key} again {'approves' if key == 'a' else 'skips'} it.")
        return False

    def action_skip(self) -> None:
        if (number := self._asked()) is not None and self._sees(number, "s"):
            self.later(commands.Skip(number=number))

    def action_skip_why(self) -> None:
        if (number := self._asked()) is None:
            return

        def done(reason: str | None) -> None:
            if reason is None:
                self.clock(number, held=False)
            else:
                self.later(commands.Skip(number=number, reason=reason.strip()))

        self.clock(number, held=True)
        self._ask(f"why skip #{number}?", done)  # at once: what is typed now is the reason, and no keys

    async def action_revise(self) -> None:
        number = self._asked()
        if number is None or not await self.obey(self._hold(number, True), quiet=True):
            return
        draft = self.bridge.folder / f"revised-{number}.py"
        source = self._edit(
            self.bridge.folder / experiment_id(number) / "train.py", draft, "e", self._first_change(number)
        )
        if source is None:
            self.clock(number, held=False)
            return

        def done(text: str | None) -> None:
            if text is None:
                self.tell(f"Nothing is revised. {_kept(draft, 'e')}", seconds=10)
                self.clock(number, held=False)
                return
            command = commands.Revise(number=number, source=source, hypothesis=text.strip())
            self.run_worker(self._hand_in(command, draft, "e", number), exit_on_error=False)

        experiment = self.bridge.state.experiments.get(number)
        self._ask("what does it try now?", done, words.sanitize_line(experiment.hypothesis, 1000) if experiment else "")

    async def action_own(self) -> None:
        waits = await self._stop_clock()
        draft, parent = self._own_draft()
        source = self._edit(self.bridge.folder / "train.py", draft, "E")
        if source is None:
            self.clock(waits, held=False)
            return
        try:
            edits.check(source)
        except edits.EditError as error:
            self.tell(f"{error} {_kept(draft, 'E')}", wrong=True, seconds=10)
            self.clock(waits, held=False)
            return

        def done(hypothesis: str | None) -> None:
            if hypothesis is None:
                self.tell(f"Not started. {_kept(draft, 'E')}", seconds=10)
                self.clock(waits, held=False)
            else:
                command = commands.Own(parent=parent, source=source, hypothesis=hypothesis.strip())
                self.run_worker(self._hand_in(command, draft, "E", waits), exit_on_error=False)

        self._ask("what should it show?", done)

    def _own_draft(self) -> tuple[Path, str]:
        """The text that was begun before, in whatever app, or a new one; and the commit it was begun on, which its name tells."""
        folder, best = self.bridge.folder, self.bridge.state.best
        for commit in reversed(self.bridge.state.commits):
            if (draft := folder / f"own-{commit[:12]}.py").exists():
                return draft, commit
        return folder / f"own-{best[:12]}.py", best

    async def _hand_in(self, command: commands.Command, draft: Path, key: str, waits: int | None) -> None:
        """A text that the loop took is in its commit; one that it refused is kept."""
        try:
            if await self.obey(command, otherwise=_kept(draft, key)):
                _put_away(draft)
        finally:
            self.clock(waits, held=False)

    def _first_change(self, number: int) -> int:
        """The line of train.py where the change of an experiment begins."""
        experiment = self.bridge.state.experiments.get(number)
        try:
            text = self.diff_path(experiment).read_text(encoding="utf-8", errors="replace") if experiment else ""
        except OSError:
            text = ""
        return diffs.first_line(text)

    def _edit(self, origin: Path, draft: Path, key: str, line: int = 1) -> str | None:
        """What the user makes of a copy of `origin`, begun now or before, in the editor at a line. None where that comes to nothing:
        a draft that says something of its own is kept then, for `key` to open it again."""
        try:
            before = origin.read_text(encoding="utf-8-sig")
            if not draft.exists():
                draft.write_text(before, encoding="utf-8")
            problem = self._in_editor(draft, line)
            after = draft.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            self.tell(f"{draft} cannot be edited ({error}).", wrong=True, seconds=10)
            return None
        if after.strip() and after != before:
            if not problem:
                return after
            self.tell(f"{problem} {_kept(draft, key)}", wrong=True, seconds=10)
            return None
        draft.unlink(missing_ok=True)
        self.tell(problem or ("Nothing was changed." if after.strip() else "The text was empty and is dropped."))
        return None

    def _in_editor(self, path: Path, line: int = 1) -> str:
        """Edit a file while the app stands aside. What went wrong, in a sentence, '' when nothing did."""
        problem = ""
        with self.suspend():  # which gives the terminal back at a normal end only
            try:
                editor.edit(path, line)
            except editor.NoEditor as error:
                problem = str(error)
        return problem

    # -- the loop -------------------------------------------------------------------------------------------------

    def action_pause(self) -> None:
        self.later(commands.Resume() if self.bridge.state.paused else commands.Pause())

    def action_unattended(self) -> None:
        number = self._asked()
        asks = self.bridge.state.gate == "ask"
        waits = f"#{number} was waiting and is approved." if asks and number is not None else ""
        what = "lets proposals go on without asking" if asks else "makes proposals wait for you"
        if self._twice("unattended", f"u again {what}."):
            self.later(commands.SetGate(mode="auto" if asks else "ask"), more=waits)

    def action_abort(self) -> None:
        running = [launched.number for launched in self.bridge.state.running.values() if launched.number is not None]
        chosen = self.followed
        number = chosen.number if chosen is not None and chosen.number in running else running[-1] if running else None
        if number is None:
            return
        if self._twice(f"abort {number}", f"x again aborts #{number}."):
            self.later(commands.Abort(number=number))

    def action_tell(self) -> None:
        waits = self._asked()

        def done(text: str | None) -> None:
            if text and text.strip():
                self.later(commands.Tell(text=text.strip()))
            self.clock(waits, held=False)

        self.clock(waits, held=True)
        self._ask("tell the agent", done)

    def action_hints(self) -> None:
        """List what was told, the newest first; the chosen one can be taken back."""
        said = [one for one in reversed(self.bridge.state.said) if not one.taken_back]
        if not said:
            self.tell(
                "All hints were taken back." if self.bridge.state.said else "Nothing was told to the agent so far."
            )
            return
        choices = [(str(one.number) if one.number < 10 else "", str(one.number), hints.words(one)) for one in said]

        def chosen(number: str | None) -> None:
            if number is not None:
                self._ask_back(int(number))

        self.push_screen(Menu("What you told the agent. Take one back?", choices), chosen)

    def _ask_back(self, number: int) -> None:
        text = hints.words(self.bridge.state.said[number - 1])
        choices = (("y", "yes", "yes, take it back: no agent sees it from now on"), ("n", "no", "no, leave it"))

        def done(choice: str | None) -> None:
            if choice == "yes":
                self.later(commands.TakeBack(number=number))

        self.push_screen(Menu(text, choices), done)

    def action_adopt(self) -> None:
        """Show the limits that program.md seems to ask for, each with its sentence; the chosen one goes into the front matter."""
        from core.charter import CharterError, read  # YAML is slow to import

        program, known = self.bridge.program, self._names()
        try:
            proposals = read(program.read_text(encoding="utf-8-sig"), known).proposed
        except (OSError, UnicodeDecodeError, CharterError) as error:
            self.tell(
                f"{error if isinstance(error, CharterError) else f'{program} cannot be read ({error}).'}", wrong=True
            )
            return
        if not proposals:
            self.tell("program.md proposes no limit that its front matter does not have.")
            return
        choices = [
            (
                str(index + 1) if index < 9 else "",
                str(index),
                f"{proposal.line}\n   from “{words.sanitize_line(proposal.sentence, 200)}”",
            )
            for index, proposal in enumerate(proposals)
        ]
        waits = self._asked()

        def done(choice: str | None) -> None:
            if choice is not None:
                self._adopt(proposals[int(choice)], known)
            self.clock(waits, held=False)

        self.clock(waits, held=True)
        self.push_screen(Menu("Enforce a limit? It goes into the front matter of program.md.", choices), done)

    def _adopt(self, proposal: Proposed, known: frozenset[str]) -> None:
        from core.charter.adopt import NotAdopted, adopt

        try:
            said = adopt(self.bridge.program, proposal, known)
        except NotAdopted as error:
            self.tell(str(error), wrong=True, seconds=10)
        else:
            self.tell(f"{said}. It binds what starts from now on." if self.bridge.pid else f"{said}.", seconds=8)

    def _names(self) -> frozenset[str]:
        """The names of the best train.py."""
        try:
            return touched.names((self.bridge.folder / "train.py").read_text(encoding="utf-8-sig"))
        except (OSError, UnicodeDecodeError):
            return frozenset()

    async def action_program(self) -> None:
        program, waits = self.bridge.program, await self._stop_clock()
        try:
            before = program.read_bytes() if program.exists() else b""
            problem = self._in_editor(program)
            if problem:
                self.tell(f"{problem} {program} is as it left it.", wrong=True, seconds=10)
            elif program.exists() and program.read_bytes() == before:
                self.tell("Nothing was changed.", seconds=3)
        except OSError as error:
            self.tell(f"{program} cannot be read ({error.strerror}).", wrong=True)
        finally:
            self.clock(waits, held=False)

    def action_stop(self) -> None:
        choices = (
            ("y", "after", "yes, after this experiment"),
            ("x", "now", "yes, at once: the running experiment is recorded as interrupted"),
            ("n", "no", "no, go on"),
        )

        def done(choice: str | None) -> None:
            if choice in ("after", "now"):
                self.later(commands.Stop(now=choice == "now"))

        self.push_screen(Menu(f"Stop the loop of {self.bridge.folder.name}?", choices), done)

    # -- the selected experiment ----------------------------------------------------------------------------------

    def action_rerun(self) -> None:
        if (found := self.target) is not None:
            self.later(commands.Rerun(number=found.number))

    def action_overrule(self) -> None:
        found = self.target
        if found is None or found.verdict is None:
            return
        number = found.number
        choices = (("y", "keep", "yes, keep it"), ("d", "discard", "discard it"), ("r", "invalid", "it broke a rule"))

        def done(choice: str | None) -> None:
            if choice is not None:
                self.later(commands.Overrule(number=number, verdict=Verdict(choice)))

        self.push_screen(Menu(f"#{number}: {words.verdict(found)}. Your verdict?", choices), done)

    async def action_copy(self) -> None:
        found = self.target
        if found is None:
            return
        path = self.diff_path(found)
        try:
            text = path.read_text(encoding="utf-8", errors="replace")
        except OSError as error:
            self.tell(f"{path} cannot be read ({error.strerror}).", wrong=True)
            return
        if not await asyncio.to_thread(clipboard.by_tmux, text):
            self.copy_to_clipboard(text)
        self.tell(f"Copied the diff of #{found.number}; it is in {path}.", seconds=6)


def _put_away(draft: Path) -> None:
    draft.unlink(missing_ok=True)


def _kept(draft: Path, key: str) -> str:
    return f"Your text is kept in {draft}; {key} opens it again. Emptied, it is dropped."
