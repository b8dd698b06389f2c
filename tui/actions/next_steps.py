"""Actions of the summary: what to do with the result of a run. Each one runs a command of the command line."""

from __future__ import annotations

from pathlib import Path

from core.reporting import phrases
from core.reporting.results import HTML
from core.run.background import module
from nanochat.contract.shell import make
from tui.actions.base import RunApp
from tui.system import foreground
from tui.view import report_age
from tui.view.next_steps import Step, next_steps, refusal


class NextStepActions(RunApp):
    """The keys a, h, e and c of the summary.

    Attributes:
        afterwards: A command to run in place of the app when it has closed; empty for none.
    """

    afterwards: tuple[str, ...] = ()

    @property
    def _may_act(self) -> bool:
        return not (self.bridge.read_only or self.is_web or self.bridge.gone)

    def next_steps(self) -> tuple[Step, ...]:
        """Return the keys of the summary that are valid now."""
        state, config = self.bridge.state, self.bridge.state.config
        return next_steps(
            alive=self.bridge.pid is not None,
            kept=bool(state.kept),
            computed=config is not None and config.computed,
            may_act=self._may_act,
            browser=self.is_web,
        )

    def action_apply_best(self) -> None:
        """Commit the best train.py to the user's checkout, at the second press."""
        name = self.bridge.folder.name
        hint = (
            f"a again commits the best train.py to your branch. {make('apply', '--dry-run', name)} only shows the diff."
        )
        if self._offers("apply_best") and self.is_second_press("apply", hint):
            self._run_command("apply", name)

    def action_export_best(self) -> None:
        """Train the best once more and keep the model, at the second press."""
        if self._offers("export_best") and self.is_second_press(
            "export", "e again trains the best once more and keeps the model."
        ):
            self._run_command("export", "--run", self.bridge.folder.name)

    def action_open_report(self) -> None:
        """Open report.html, and say where and of when it is. It is written first if it is missing, or if the run has ended since."""
        path, state, name = self.bridge.folder / HTML, self.bridge.state, self.bridge.folder.name
        if self.bridge.gone:
            self.show_note(self.bridge.gone)
            return
        alive, may_act = self.bridge.pid is not None, self._may_act
        written_t = _written_t(path)
        if report_age.is_coming(written_t, state, alive=alive):
            self.show_note("The loop writes the report now. Press h again in a few seconds.")
            return
        is_due = written_t is None or (not alive and report_age.is_old(written_t, state))
        if is_due and may_act:
            self._run_command("report", name, "--html")
            written_t = _written_t(path)
        again = make("report", "--html", name)
        if written_t is None:
            self.show_note(f"There is no report yet. {again} writes it.")
            return
        age = report_age.age(written_t, state, alive=alive)
        opened = may_act and foreground.open_file(path)
        words = [
            f"The report is {path}.",
            age,
            f"{again} writes it again." if age else "",
            "Your browser opens it." if opened else "",
        ]
        self.show_note(" ".join(filter(None, words)), seconds=10.0)

    def action_continue_run(self) -> None:
        """Close the app and resume the run, at the second press. The command opens the app again."""
        name = self.bridge.folder.name
        hint = f"c again resumes the run{'; it goes on until you stop it' if self.bridge.state.finished else ''}."
        if self._offers("continue_run") and self.is_second_press("continue", hint):
            self.afterwards = self._command("run", "--name", name)
            self.exit(f"{phrases.resume_command(name)} resumes the run.")

    def _offers(self, action: str) -> bool:
        """Return whether an action is valid now; if not, say why. A click may come after the loop has started again."""
        if any(step.action == f"app.{action}" for step in self.next_steps()):
            return True
        alive, kept = self.bridge.pid is not None, bool(self.bridge.state.kept)
        self.show_note(self.bridge.gone or refusal(action, alive=alive, kept=kept, may_act=self._may_act))
        return False

    def _command(self, *words: str) -> tuple[str, ...]:
        return tuple(module("core.cli", *words, "--logs", str(self.bridge.folder.parent)))

    def _run_command(self, *words: str) -> None:
        """Run a command in the terminal while the app is suspended, and let the user read its output."""
        problem = ""
        with self.suspend():  # does not restore the app after an exception, so none may leave it
            try:
                foreground.run_and_wait(
                    self._command(*words), self.bridge.program.parent, make(words[0], *words[1:]).strip("`")
                )
            except OSError as error:
                problem = f"The command could not be started ({error.strerror})."
        if problem:
            self.show_note(problem, wrong=True)


def _written_t(path: Path) -> float | None:
    """Return when a file was written, in seconds since the epoch; None if it cannot be read."""
    try:
        return path.stat().st_mtime
    except OSError:
        return None
