"""What the human decides: each action becomes a command to the loop, acknowledged in words."""

from __future__ import annotations

import asyncio
import shutil
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from textual.app import App

from core import commands, edits
from core.model import Verdict
from core.state import Experiment, experiment_id
from tui import clipboard, diffs, editor, keys, view, words
from tui.menu import Menu
from tui.prompt import Prompt

if TYPE_CHECKING:
    from tui.bridge import Bridge

TWICE_S = 3.0  # within this, the second x counts


class Human(App[str]):
    """The decisions, as actions of the app."""

    bridge: Bridge
    _asked_first: tuple[float, str] = (0.0, "")
    _begun: tuple[Path, str] | None = None  # an own experiment that does not parse yet, and the commit it was begun on

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
        """The experiment whose details are on the screen."""
        number: int | None = getattr(self.screen, "number", None)
        return number

    @property
    def target(self) -> Experiment | None:
        """What a key about "this experiment" means: the one whose details are on the screen, else the followed one."""
        number = self.detailed
        return self.followed if number is None else self.bridge.state.experiments.get(number)

    async def obey(self, command: commands.Command, quiet: bool = False, more: str = "") -> bool:
        """Send, and say what the loop answered, and `more` when it did as told."""
        reply = await self.bridge.send(command)
        release = isinstance(command, commands.Hold) and not command.on  # what was answered meanwhile needs none
        if not quiet or not (reply.ok or release):
            self.tell(f"{reply.words}{'. ' + more if more and reply.ok else ''}", wrong=not reply.ok)
        return reply.ok

    def _hold(self, number: int, on: bool) -> commands.Hold:
        return commands.Hold(number=number, on=on, who=self.bridge.who)

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

    def later(self, command: commands.Command, quiet: bool = False) -> None:
        """The same from where nothing can wait."""
        self.run_worker(self.obey(command, quiet), exit_on_error=False)

    def _asked(self) -> int | None:
        waiting = view.waiting(self.bridge.live)
        return waiting.number if waiting else None

    # -- the proposal ---------------------------------------------------------------------------------------------

    async def action_approve(self) -> None:
        if (number := self._asked()) is not None and self._sees(number, "a"):
            await self.obey(commands.Approve(number=number))

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

    async def action_skip(self) -> None:
        if (number := self._asked()) is not None and self._sees(number, "s"):
            await self.obey(commands.Skip(number=number))

    async def action_skip_why(self) -> None:
        if (number := self._asked()) is None:
            return

        def done(reason: str | None) -> None:
            if reason is None:
                self.later(self._hold(number, False), quiet=True)
            else:
                self.later(commands.Skip(number=number, reason=reason.strip()))

        self._ask(f"why skip #{number}?", done)  # at once: what is typed now is the reason, and no keys
        await self.obey(self._hold(number, True), quiet=True)

    async def action_revise(self) -> None:
        if (number := self._asked()) is None:
            return
        await self.obey(self._hold(number, True), quiet=True)
        origin = self.bridge.folder / experiment_id(number) / "train.py"
        draft = self.bridge.folder / f"revised-{number}.py"
        source = self._edit(origin, draft, self._first_change(number))
        if source is None:
            draft.unlink(missing_ok=True)
            await self.obey(self._hold(number, False), quiet=True)
            return

        def done(text: str | None) -> None:
            if text is None:
                self.tell(f"Nothing is revised. Your text is kept in {draft}.", seconds=10)
                self.later(self._hold(number, False), quiet=True)
                return
            command = commands.Revise(number=number, source=source, hypothesis=text.strip())
            self.run_worker(self._send_revised(command, draft), exit_on_error=False)

        experiment = self.bridge.state.experiments.get(number)
        self._ask("what does it try now?", done, words.clean(experiment.hypothesis, 1000) if experiment else "")

    async def _send_revised(self, command: commands.Revise, draft: Path) -> None:
        try:
            self._put_away(draft, await self.obey(command))
        finally:
            await self.obey(self._hold(command.number, False), quiet=True)

    async def action_own(self) -> None:
        begun = self._begun if self._begun is not None and self._begun[0].exists() else None
        fresh = self.bridge.folder / f"own-{time.strftime('%H%M%S')}.py"
        draft, parent = begun or (fresh, self.bridge.state.best)
        source = self._edit(draft if begun else self.bridge.folder / "train.py", draft)
        if source is None:
            if begun:
                self.tell(f"Your text is kept in {draft}; E opens it again. Emptied, it is dropped.", seconds=10)
            else:
                draft.unlink(missing_ok=True)
            return
        self._begun = None
        if not source.strip():
            draft.unlink(missing_ok=True)
            self.tell("The text was empty and is dropped; E begins anew with the best.")
            return
        try:
            edits.check(source)
        except edits.EditError as error:
            self._begun = draft, parent
            self.tell(
                f"{error} Your text is kept in {draft}; E opens it again. Emptied, it is dropped.",
                wrong=True,
                seconds=10,
            )
            return

        def done(hypothesis: str | None) -> None:
            if hypothesis is None:
                self.tell(f"Not started. Your text is kept in {draft}.", seconds=10)
            else:
                command = commands.Own(parent=parent, source=source, hypothesis=hypothesis.strip())
                self.run_worker(self._send_own(command, draft), exit_on_error=False)

        self._ask("what should it show?", done)

    async def _send_own(self, command: commands.Own, draft: Path) -> None:
        self._put_away(draft, await self.obey(command))

    def _put_away(self, draft: Path, used: bool) -> None:
        """A text that the loop took is in its commit; one that it refused is kept."""
        if used:
            draft.unlink(missing_ok=True)
        else:
            self.tell(f"Your text is kept in {draft}.", seconds=10)

    def _first_change(self, number: int) -> int:
        """The line of train.py where the change of an experiment begins."""
        experiment = self.bridge.state.experiments.get(number)
        try:
            text = self.diff_path(experiment).read_text(encoding="utf-8", errors="replace") if experiment else ""
        except OSError:
            text = ""
        return diffs.first_line(text)

    def _edit(self, origin: Path, draft: Path, line: int = 1) -> str | None:
        """A copy of `origin` in the user's editor, opened at a line. None when nothing was changed."""
        try:
            if draft != origin:
                shutil.copyfile(origin, draft)
            before = draft.read_text(encoding="utf-8")
            with self.suspend():
                editor.edit(draft, line)
            after = draft.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            self.tell(f"{origin} cannot be edited ({error}).", wrong=True)
            return None
        except editor.NoEditor as error:
            self.tell(str(error), wrong=True, seconds=10)
            return None
        if after == before:
            self.tell("Nothing was changed.", seconds=3)
            return None
        return after

    # -- the loop -------------------------------------------------------------------------------------------------

    async def action_pause(self) -> None:
        await self.obey(commands.Resume() if self.bridge.state.paused else commands.Pause())

    async def action_unattended(self) -> None:
        number = self._asked()
        asks = self.bridge.state.gate == "ask"
        waits = f"#{number} was waiting and is approved." if asks and number is not None else ""
        what = "lets proposals go on without asking" if asks else "makes proposals wait for you"
        if self._twice("unattended", f"u again {what}."):
            await self.obey(commands.SetGate(mode="auto" if asks else "ask"), more=waits)

    async def action_abort(self) -> None:
        running = [launched.number for launched in self.bridge.state.running.values() if launched.number is not None]
        chosen = self.followed
        number = chosen.number if chosen is not None and chosen.number in running else running[-1] if running else None
        if number is None:
            return
        if self._twice(f"abort {number}", f"x again aborts #{number}."):
            await self.obey(commands.Abort(number=number))

    def action_tell(self) -> None:
        def done(text: str | None) -> None:
            if text and text.strip():
                self.later(commands.Tell(text=text.strip()))

        self._ask("tell the agent", done)

    def action_program(self) -> None:
        program = self.bridge.program
        try:
            before = program.read_bytes() if program.exists() else b""
            with self.suspend():
                editor.edit(program)
            if program.exists() and program.read_bytes() == before:
                self.tell("Nothing was changed.", seconds=3)
        except OSError as error:
            self.tell(f"{program} cannot be read ({error.strerror}).", wrong=True)
        except editor.NoEditor as error:
            self.tell(str(error), wrong=True, seconds=10)

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

    async def action_rerun(self) -> None:
        if (found := self.target) is not None:
            await self.obey(commands.Rerun(number=found.number))

    def action_overrule(self) -> None:
        found = self.target
        if found is None or found.verdict is None:
            return
        number = found.number
        choices = (("k", "keep", "keep it"), ("d", "discard", "discard it"), ("i", "invalid", "it broke a rule"))

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
