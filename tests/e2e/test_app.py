"""The app as a user has it: in a real tmux, on a real loop, with real keys. The journal says what was pressed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import libtmux
import psutil
import pytest

from core.execution.deterministic import World
from core.record import run_lock
from core.record.experiment import Experiment
from core.record.state import State
from core.verdicts import Verdict
from tests.ollama_server import Script, serving
from tests.product import BETTER, Product, edit, harmless, until

# The first one starts without waiting, and the second one is the first that waits.
IDEAS = [harmless(1), edit("Idea 2: decay a little.", ("DECAY = 0.0 ", "DECAY = 0.01 ")), *map(harmless, range(3, 60))]
COMPUTED = World(noise=0.002, seconds=1.0)  # where the app and the loop are the subject, not the training
BUDGET = "1.5"  # too short to have a pace, so that no load of the machine disturbs it
WAIT_S = 180.0


class Desk:
    """A terminal in tmux, and a look at the journal."""

    def __init__(self, product: Product, server: libtmux.Server, session: libtmux.Session) -> None:
        self.product, self.server, self.session = product, server, session
        self.pane = session.active_window.active_pane
        assert self.pane is not None

    def type(self, *keys: str) -> None:
        """Keys by tmux's names, one after the other."""
        for key in keys:
            self.pane.send_keys(key, enter=False, literal=len(key) > 1 and " " in key)

    def shell(self, line: str) -> None:
        self.pane.send_keys(line, enter=True)

    def shown(self) -> str:
        return "\n".join(self.pane.capture_pane())

    def until(self, condition: Callable[[], object], what: str) -> None:
        try:
            until(condition, what, WAIT_S)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.shown()}") from None

    def sees(self, *words: str) -> None:
        self.until(lambda: all(word in self.shown() for word in words), f"on the screen: {words}")

    @property
    def state(self) -> State:
        return self.product.state()

    def experiment(self, number: int, condition: Callable[[Experiment], object], what: str) -> None:
        self.until(lambda: number in self.state.experiments and condition(self.state.experiments[number]), what)

    def twice(self, key: str, words: str, done: Callable[[], object]) -> None:
        """A key that counts when it is pressed again within its few seconds; slowly pressed, it asks once more."""

        def press() -> bool:
            if not done():
                asked = words in self.shown()
                self.type(key)
                deadline = time.monotonic() + 5
                while not (done() or (not asked and words in self.shown())) and time.monotonic() < deadline:
                    time.sleep(0.05)
            return bool(done())

        self.until(press, f"{key} twice: {words}")

    def running(self) -> int:
        """The experiment that runs, as soon as one does."""
        found: list[int] = []

        def look() -> list[int]:
            found.extend(launched.number for launched in self.state.running.values() if launched.number)
            return found

        self.until(look, "an experiment runs")
        return found[0]

    def aborted(self) -> list[int]:
        ended = (e for e in self.state.experiments.values() if e.verdict is Verdict.INTERRUPTED)
        return [e.number for e in ended if e.by == "human"]

    def apps(self) -> list[psutil.Process]:
        logs = str(self.product.logs)
        found = []
        for process in psutil.process_iter(["cmdline"]):
            line = process.info["cmdline"] or []
            if "tui" in line and any(word.startswith(logs) for word in line):
                found.append(process)
        return found


@pytest.fixture
def desk(product: Product) -> Iterator[Desk]:
    server = libtmux.Server(socket_name=f"autoresearch-{os.getpid()}-{time.monotonic_ns()}", config_file=os.devnull)
    names = ("AUTORESEARCH_DATA", "PYTHONPATH", "HOME", "PATH", "XDG_CONFIG_HOME", "XDG_STATE_HOME")
    environment = {name: product.env[name] for name in names}
    environment |= {"TERM": "screen-256color", "EDITOR": f"{sys.executable} {product.root / 'editor.py'}"}
    session = server.new_session(
        "desk", x=120, y=40, window_command="bash --norc", environment=environment, start_directory=str(product.root)
    )
    made = Desk(product, server, session)
    made.sees("bash-")
    made.shell(f"alias ar='{sys.executable} -m core.cli'; clear")
    yield made
    if run_lock.alive(product.logs / "r") is not None:
        product("stop", "r", "--now")
    for process in made.apps():
        process.kill()
    server.kill()


def start(desk: Desk, *more: str) -> None:
    options = [word for word in desk.product.options() if word != "--headless"]
    desk.shell(" ".join(["ar", *options, "--agent", desk.product.script(*IDEAS), "--budget", BUDGET, *more]))
    desk.sees("1 program.md", "waits for you")


@pytest.mark.timeout(900)
def test_a_night_at_the_terminal(desk: Desk) -> None:
    start(desk)
    assert desk.state.experiments[1].approved == "auto"
    desk.type("a")
    desk.experiment(2, lambda e: e.approved == "human", "the second is approved")
    desk.sees("#3 waits for you")
    desk.type("S")
    desk.sees("why skip #3?")
    desk.sees("countdown paused")
    desk.type("not [bold]this again", "Enter")
    desk.experiment(
        3, lambda e: e.verdict is Verdict.SKIPPED and "not [bold]this again" in e.reason, "the third is skipped"
    )
    desk.type("t")
    desk.sees("tell the agent")
    desk.sees("#4 waits", "countdown paused")  # it was proposed while the prompt was open
    desk.type("try other heads", "Enter")
    desk.until(lambda: desk.state.hints == ["try other heads"], "the hint")
    desk.sees("#4 waits for you")
    desk.twice("u", "u again", lambda: desk.state.approval == "auto")
    desk.experiment(4, lambda e: e.approved, "the waiting one goes on")
    desk.type("p")
    desk.until(lambda: desk.state.paused, "paused")
    desk.until(lambda: not desk.state.busy, "the one that had begun ends")
    desk.sees("paused by you")
    desk.type("p")
    desk.sees(f"#{desk.running()} training")
    desk.twice("x", "x again to abort #", desk.aborted)
    (aborted,) = desk.aborted()
    desk.type("L")
    view = Path(desk.product.env["XDG_STATE_HOME"]) / "autoresearch" / "app.json"
    desk.until(lambda: view.exists() and "logarithmic" in view.read_text(), "the log scale is remembered")
    # detach, come back, die, come back, twice at once: the loop never notices
    desk.type("q")
    desk.sees("App closed. The loop of r keeps running.")
    before = desk.state.judged
    desk.until(lambda: desk.state.judged > before, "the loop goes on alone")
    desk.shell("ar attach r")
    desk.sees("5 experiments")
    (app,) = desk.apps()
    app.send_signal(signal.SIGKILL)
    desk.until(lambda: not desk.apps(), "the app is dead")
    desk.shell("reset; clear")
    desk.shell("ar attach r")
    desk.sees("5 experiments")
    second = desk.session.new_window(
        window_shell=f"{sys.executable} -m core.cli attach r", start_directory=str(desk.product.root)
    )
    desk.until(lambda: len(desk.apps()) == 2, "two apps at once")
    for i in range(12):
        second.resize(width=60 + 13 * i % 140, height=15 + 7 * i % 45)
    assert second.active_pane is not None and second.active_pane.pane_pid is not None
    os.kill(int(second.active_pane.pane_pid), signal.SIGHUP)
    desk.until(lambda: len(desk.apps()) == 1, "the second one is gone, as when its terminal closes")
    desk.sees("5 experiments")
    before = desk.state.judged
    desk.until(lambda: desk.state.judged > before, "still going on")
    desk.type("Q")
    desk.sees("Stop the loop of r?")
    desk.type("y")
    desk.until(lambda: desk.state.stopped is not None, "stopped")
    desk.sees("stopped by you")
    desk.type("q")
    desk.sees("has no loop")
    state = desk.state
    assert all(e.verdict is not Verdict.DISTURBED for e in state.experiments.values())
    assert [e.number for e in state.experiments.values() if e.verdict is Verdict.INTERRUPTED] == [aborted]
    assert not desk.product.strays()


@pytest.mark.timeout(900)
def test_decisions_with_an_editor(desk: Desk) -> None:
    desk.product.compute(COMPUTED)
    editor = desk.product.root / "editor.py"
    editor.write_text(EDITOR)
    start(desk)
    desk.type("e")
    desk.sees("what does it try now?")
    desk.type("Far more decay.", "Enter")
    desk.experiment(2, lambda e: e.revised and e.hypothesis.endswith("Far more decay."), "revised")
    assert desk.state.experiments[2].agent.endswith(" + human")
    desk.sees("#2 waits for you", "0.55")
    desk.type("a")
    desk.experiment(2, lambda e: e.approved == "human", "approved")
    desk.type("E")
    desk.sees("hypothesis of your experiment")
    desk.type("mine is better", "Enter")
    desk.until(
        lambda: any(e.agent == "human" and e.hypothesis == "mine is better" for e in desk.state.experiments.values()),
        "own",
    )
    own = next(e.number for e in desk.state.experiments.values() if e.agent == "human")
    desk.until(lambda: desk.state.experiments[own].verdict is not None, "the own one is judged")
    (editor.parent / "broken").touch()
    desk.type("m")
    desk.sees("ended with code 3", "1 program.md")  # and the app is there again
    (editor.parent / "broken").unlink()
    desk.type("m")
    desk.until(lambda: "A new line." in (desk.product.root / "program.md").read_text(), "program.md is edited")
    desk.sees("A new line.")
    desk.twice("u", "u again", lambda: desk.state.approval == "auto")
    desk.experiment(2, lambda e: e.verdict is not None, "the second is judged")
    desk.type("G", "k")
    desk.sees("change · #2 ", "new, g shows them")
    scores = len(desk.state.scores[desk.state.experiments[2].commit])
    desk.type("r")
    desk.until(lambda: len(desk.state.scores[desk.state.experiments[2].commit]) > scores, "run again")
    desk.type("o")
    desk.sees("Your verdict?")
    desk.type("r")
    desk.experiment(2, lambda e: e.verdict is Verdict.INVALID and e.by == "human", "overruled")
    desk.sees("by you")
    desk.type("y")
    desk.sees("Copied the diff of #2")
    assert "0.55" in "\n".join(desk.server.cmd("show-buffer").stdout)
    desk.type("Q")
    desk.sees("Stop the loop of r?")
    desk.type("x")
    desk.until(lambda: desk.state.stopped is not None, "stopped")
    assert not list((desk.product.logs / "r").glob("revised-*.py")) and not list(
        (desk.product.logs / "r").glob("own-*.py")
    )


EDITOR = """
import sys
from pathlib import Path
path = Path(sys.argv[1])
if (Path(__file__).parent / "broken").exists():
    sys.exit(3)
text = path.read_text()
if path.suffix == ".md":
    path.write_text(text + "\\nA new line.\\n")
elif path.name.startswith("own"):
    path.write_text(text.replace("LR = 0.01 ", "LR = 0.02 "))
else:
    path.write_text(text.replace("DECAY = 0.01 ", "DECAY = 0.55 "))
"""


def test_where_ollama_has_no_model_one_is_offered_before_the_app_opens(desk: Desk) -> None:
    def answer(body: dict[str, Any], count: int) -> dict[str, Any]:
        edits = [{"search": "DECAY = 0.0 ", "replace": f"DECAY = 0.{count + 1} "}]
        return {"hypothesis": f"idea {count}", "edits": edits}

    desk.product.compute(COMPUTED)
    script = Script(answer, models=())
    with serving(script) as url:
        desk.shell(f"export OLLAMA_HOST={url}; clear")
        desk.shell(
            " ".join(["ar", *(word for word in desk.product.options() if word != "--headless"), "--budget", BUDGET])
        )
        desk.sees("Ollama runs here but has no model. Pull", "now?")
        assert not (desk.product.logs / "r").exists()
        desk.type("y", "Enter")
        desk.sees("1 program.md", "waits for you")
        (model,) = script.models
        assert desk.state.experiments[1].agent == f"ollama:{model}" and desk.state.approval == "ask"
        desk.type("a")
        desk.experiment(2, lambda e: e.approved == "human", "the second is approved")


@pytest.mark.timeout(900)
def test_the_result_is_applied_exported_reported_and_compared_by_key(desk: Desk) -> None:
    done = desk.product.run("--agent", desk.product.script(BETTER, harmless(2)), "--budget", BUDGET)
    assert done.returncode == 0 and desk.state.kept == [1], done.stdout
    desk.product.git("config", "user.name", "Ada")
    desk.product.git("config", "user.email", "ada@example.org")
    desk.shell("ar attach r")
    desk.sees("8 summary", "a apply  h report  e export")
    for key, words, command in (("a", "a again", "apply"), ("e", "e again", "export")):
        desk.twice(key, words, lambda command=command: f"$ make {command}" in desk.shown())
        desk.sees("enter goes back to the app")
        desk.type("Enter")
        desk.sees("8 summary", "a apply")
    assert desk.product.git("log", "-1", "--format=%an") == "Ada"
    assert "LR = 0.03" in (desk.product.root / "nanochat" / "train.py").read_text()
    assert list((desk.product.logs / "r").rglob("model.safetensors"))
    desk.type("h")
    desk.sees("enter goes back to the app")
    desk.type("Enter")
    desk.sees("The report is ")
    assert (desk.product.logs / "r" / "report.html").exists()
    desk.type("Escape")
    desk.sees("5 experiments")
    desk.type("c")
    desk.sees("comparing with #2")
    desk.type("j")
    desk.sees("change · #1 ")
    desk.type("c")
    desk.sees("comparison of #2 and #1")
    desk.type("Escape")
    desk.sees("5 experiments")
    desk.type("8")
    desk.sees("8 summary", "a apply")
    desk.type("q")
    desk.sees("has no loop")


def test_without_a_terminal_it_is_headless_by_itself(product: Product) -> None:
    product.compute(COMPUTED)
    options = [word for word in product.options() if word != "--headless"]
    done = product(*options, "--agent", product.script(*IDEAS[:1]))
    assert done.returncode == 0 and "#1 proposed by" in done.stdout and "\x1b" not in done.stdout
    assert product.state().approval == "auto"


def test_a_dumb_terminal_is_headless_by_itself(desk: Desk) -> None:
    desk.product.compute(COMPUTED)
    options = [word for word in desk.product.options() if word != "--headless"]
    desk.shell("TERM=dumb " + " ".join(["ar", *options, "--agent", desk.product.script(*IDEAS[:1])]))
    desk.sees("Run r: 1 experiment,")
    assert not desk.apps()


def test_a_loop_that_cannot_start_says_why_and_no_app_opens(desk: Desk) -> None:
    (desk.product.root / "nanochat" / "train.py").write_text("def train(run:\n")
    options = [word for word in desk.product.options() if word != "--headless"]
    desk.shell(" ".join(["ar", *options]))
    desk.sees("nanochat/train.py cannot be used")
    assert not desk.apps()


def test_importing_the_app_drags_in_neither_torch_nor_git() -> None:
    code = "import sys, tui.app; print(sorted({'torch', 'git', 'numpy'} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).resolve().parents[2]
    )
    assert done.stdout.strip() == "[]", done.stderr
