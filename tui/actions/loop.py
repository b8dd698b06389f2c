"""Actions on the loop: pause, abort, stop, approval mode, and hints to the agent."""

from __future__ import annotations

from core.record import hints
from core.record.state import State
from core.run import commands
from tui.actions.base import RunApp
from tui.screens.menu import Menu


class LoopActions(RunApp):
    """The keys p, u, x, t, T and Q."""

    def action_pause(self) -> None:
        self.send_later(commands.Resume() if self.bridge.state.paused else commands.Pause())

    def action_unattended(self) -> None:
        number = self.waiting_number
        asks = self.bridge.state.approval == "ask"
        no_longer = f"#{number} no longer waits for you." if asks and number is not None else ""
        effect = "to approve proposals without asking" if asks else "to be asked about each proposal"
        if self.is_second_press("unattended", f"Press u again {effect}."):
            self.send_later(commands.SetApproval(mode="auto" if asks else "ask"), on_success=no_longer)

    def action_abort(self) -> None:
        """Abort the followed experiment if it is running, else the newest running one."""
        running = [launched.number for launched in self.bridge.state.running.values() if launched.number is not None]
        followed = self.followed
        if followed is not None and followed.number in running:
            number = followed.number
        elif running:
            number = running[-1]
        else:
            return
        if self.is_second_press(f"abort {number}", f"Press x again to abort #{number}."):
            self.send_later(commands.Abort(number=number))

    def action_tell(self) -> None:
        def done(text: str | None) -> None:
            if text and text.strip():
                self.send_text(commands.Tell(text=text.strip()), text.strip(), "t")

        self.ask_for_line("tell the agent", done, self.unsent.get("t", ""))

    def action_hints(self) -> None:
        """List the hints, newest first. The user can take one back."""
        valid = [hint for hint in reversed(self.bridge.state.all_hints) if not hint.taken_back]
        if not valid:
            self.show_note(
                "All hints were taken back." if self.bridge.state.all_hints else "Nothing was told to the agent so far."
            )
            return
        choices = [
            (str(hint.number) if hint.number < 10 else "", str(hint.number), hints.words(hint)) for hint in valid
        ]

        def done(number: str | None) -> None:
            if number is not None:
                self._ask_to_take_back(int(number))

        self.push_screen(Menu("What you told the agent. Take one back?", choices), done)

    def _ask_to_take_back(self, number: int) -> None:
        text = hints.words(self.bridge.state.all_hints[number - 1])
        choices = (("y", "yes", "yes, take it back: no agent sees it from now on"), ("n", "no", "no, leave it"))

        def done(choice: str | None) -> None:
            if choice == "yes":
                self.send_later(commands.TakeBack(number=number))

        self.push_screen(Menu(text, choices), done)

    def action_stop(self) -> None:
        choices = (
            ("y", "after", gentle_stop(self.bridge.state, self.bridge.live.stopping)),
            ("x", "now", "yes, at once: the running experiment is recorded as interrupted"),
            ("n", "no", "no, keep it running"),
        )

        def done(choice: str | None) -> None:
            if choice in ("after", "now"):
                self.send_later(commands.Stop(now=choice == "now"))

        self.push_screen(Menu(f"Stop the loop of {self.bridge.folder.name}?", choices), done)


def gentle_stop(state: State, stopping: bool) -> str:
    """Return what a stop that waits for the running experiment does. `stopping`: whether the loop ends anyway."""
    if state.checking:
        return "yes, after this training, without the rest of the final check"
    checks = state.started is not None and state.started.final_seeds > 0
    if stopping:
        return f"yes, after this experiment{', without the final check' if checks else ''}"
    return f"yes, after this experiment{' and the final check of the best' if checks and state.kept else ''}"
