"""`apply`: the win on the user's checkout, or a patch; nothing of the user's is ever lost."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import pytest
from msgspec.structs import replace

from core.execution.deterministic import World
from core.judging import final_check
from core.model import Role
from tests.product import BETTER, Product, build, copied, edit

# Scores are computed: what becomes of a win is the subject, not the training.
WORLD = World(effects={"torch.zeros(2, vocab, vocab)": -0.3, "LR = 0.0001": 0.3}, seeds=0.01, noise=0.002)


@pytest.fixture
def computed(product: Product) -> Product:
    product.compute(WORLD)
    return product


@pytest.fixture(scope="module")
def night(prepared: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Product:
    """A product whose run has kept one change; never altered, only copied."""
    made = build(tmp_path_factory.mktemp("night"), prepared)
    made.compute(WORLD)
    done = made.run("--agent", made.script(BETTER))
    assert done.returncode == 0 and made.state().kept == [1], done.stdout
    return made


@pytest.fixture
def won(night: Product, tmp_path: Path) -> Product:
    return copied(night, tmp_path)


def test_on_a_clean_checkout_it_is_a_commit(won: Product) -> None:
    won.git("config", "user.name", "Ada")
    won.git("config", "user.email", "ada@example.org")
    won.env.update(GIT_AUTHOR_NAME="Kim", GIT_DIR="/nowhere")  # as in a hook of another repository
    shown = won("apply", "r", "--dry-run")
    assert shown.returncode == 0 and "+LR = 0.03" in shown.stdout and "by Kim <ada@example.org>" in shown.stdout
    done = won("apply", "r")
    del won.env["GIT_DIR"]
    assert done.returncode == 0, done.stderr
    assert "LR = 0.03" in (won.root / "nanochat" / "train.py").read_text()
    assert won.git("status", "--porcelain") == "" and won.git("log", "-1", "--format=%an %cn") == "Kim Ada"
    subject, _, _, change = won.git("log", "-1", "--format=%B").splitlines()[:4]
    assert subject.startswith("Rehearsal: val_bpb ") and subject.endswith(": 1 change kept by AutoResearch run r")
    assert change.startswith("- ") and " ± " in change and subject in shown.stdout and change in shown.stdout
    assert "nothing to do" in won("apply", "r").stdout
    with (won.root / "nanochat" / "train.py").open("a") as file:
        file.write("\n# mine\n")
    assert "already contains" in won("apply", "r").stdout and not (won.logs / "r" / "best.patch").exists()


def test_on_a_dirty_or_moved_checkout_it_is_a_patch(won: Product) -> None:
    path = won.root / "nanochat" / "train.py"
    mine = path.read_text() + "\n# mine\n"
    path.write_text(mine)
    head = won.git("rev-parse", "HEAD")
    done = won("apply", "r")
    assert done.returncode == 0 and "patch" in done.stdout
    assert path.read_text() == mine and won.git("rev-parse", "HEAD") == head
    assert "+LR = 0.03" in (won.logs / "r" / "best.patch").read_text()


def test_the_final_report_is_on_the_test_split(won: Product) -> None:
    done = won("report", "r", "--seeds", "3")
    assert done.returncode == 0, done.stderr
    found = final_check.outcome(won.state(), 0.002)
    assert found is not None and found.seeds == 3 and found.holds and "The gain holds." in done.stdout
    assert f"{found.start:.4f} -> {found.best:.4f} ({found.change:+.4f} ±" in won("status", "r").stdout
    before = won.state().jobs
    assert won("report", "r", "--seeds", "3").returncode == 0 and won.state().jobs == before, "nothing trained twice"
    assert won.strays() == [] and won.run("--agent", won.script(BETTER)).returncode == 0, "the run can still go on"


def test_the_final_report_measures_each_kept_change_alone(computed: Product) -> None:
    computed.compute(replace(WORLD, effects={"LR = 0.03": -0.2, "LR = 0.02": -0.1}))
    ideas = computed.script(edit("Higher.", ("LR = 0.01", "LR = 0.02")), edit("More.", ("LR = 0.02", "LR = 0.03")))
    for most in ("1", "2"):  # the second idea is a change of the first
        assert computed.run("--agent", ideas, "--max-experiments", most).returncode == 0
    assert computed.state().kept == [1, 2]
    done = computed("report", "r", "--each", "--longer")
    assert done.returncode == 1 and "Give one of them. Nothing was done." in done.stderr
    done = computed("report", "r", "--each")
    assert done.returncode == 0, done.stderr
    text = " ".join(done.stdout.split())
    assert "2 of 2 gains hold." in text and text.count("on 3 fresh seeds, so it holds.") == 2, text
    page = (computed.logs / "r" / "report.html").read_text(encoding="utf-8")
    assert "measured afresh</th>" in page and " (3)</td>" in page
    before = computed.state().jobs
    assert computed("report", "r", "--each").returncode == 0 and computed.state().jobs == before


def test_a_killed_report_is_not_shown_as_running(computed: Product) -> None:
    assert computed.run("--agent", computed.script(BETTER)).returncode == 0
    computed.compute(replace(WORLD, seconds=60.0))
    process = computed.start("report", "r")
    while not computed.state().checking:
        assert process.poll() is None
        time.sleep(0.05)
    assert json.loads(computed("status", "r", "--json").stdout)["checking"] is True
    process.kill()
    process.wait(timeout=60)
    assert json.loads(computed("status", "r", "--json").stdout)["checking"] is False
    assert "`make report ARGS=r` does it" in computed("status", "r").stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_report_says_how_to_continue(computed: Product, number: signal.Signals) -> None:
    assert computed.run("--agent", computed.script(BETTER)).returncode == 0
    computed.compute(replace(WORLD, seconds=0.7))
    process = computed.start("report", "r")
    while len(computed.state().check(Role.FINAL).conditions.get(computed.state().incumbent, ())) < 1:
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(number)
    printed = process.communicate(timeout=60)[0]
    assert process.returncode == 128 + number, printed
    assert "Interrupted. 1 pair of 3" in printed and "`make report ARGS=r` continues." in printed
    assert json.loads(computed("status", "r", "--json").stdout)["checking"] is False and not computed.state().running
    shown = computed("status", "r").stdout
    assert "1 of 3 seeds measured; `make report ARGS=r` measures the others." in shown and "holds" not in shown
    computed.compute(WORLD)
    done = computed("report", "r")
    assert done.returncode == 0 and "on 3 fresh seeds" in done.stdout and computed.strays() == []


def test_with_nothing_kept_there_is_nothing_to_take(computed: Product) -> None:
    computed.run("--agent", computed.script(edit("Worse.", ("LR = 0.01", "LR = 0.0001"))))
    done = computed("apply", "r")
    assert done.returncode == 1 and "nothing to apply" in done.stderr
    done = computed("report", "r")
    assert done.returncode == 1 and "nothing to report" in done.stderr


def test_it_works_without_a_repository(computed: Product) -> None:
    for path in sorted((computed.root / ".git").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    (computed.root / ".git").rmdir()
    done = computed.run("--agent", computed.script(BETTER))
    assert done.returncode == 0, done.stdout + done.stderr
    assert computed.state().kept == [1] and (computed.logs / "repository").is_dir()
    assert "patch" in computed("apply", "r").stdout


def test_a_changed_program_md_is_no_reason_against_a_commit(won: Product) -> None:
    program = won.root / "program.md"
    program.write_text("# Aim\n\nAnother one, steered by night.\n")
    done = won("apply", "r")
    assert done.returncode == 0 and "Done" in done.stdout, done.stdout
    assert won.git("status", "--porcelain", "--untracked-files=no").strip() == "M program.md"
    assert won.git("show", "--name-only", "--format=", "HEAD").split() == ["nanochat/train.py"]


@pytest.mark.parametrize("committed", [False, True])
def test_a_run_on_a_changed_train_py_is_taken_home_onto_that(computed: Product, committed: bool) -> None:
    path = computed.root / "nanochat" / "train.py"
    path.write_text(path.read_text().replace("BATCH = 8 ", "BATCH = 12 "))
    done = computed.run("--agent", computed.script(BETTER))
    assert computed.state().kept == [1], done.stdout
    if committed:
        computed.git("-c", "user.name=u", "-c", "user.email=u@x", "commit", "-qam", "my batch")
    done = computed("apply", "r")
    assert done.returncode == 0, done.stderr
    if not committed:
        assert "changes of its own" in done.stdout
        computed.git("apply", str(computed.logs / "r" / "best.patch"))
    text = path.read_text()
    assert "LR = 0.03" in text and "BATCH = 12 " in text
    assert computed.git("status", "--porcelain") == ("" if committed else "M nanochat/train.py")


NEW = "`make run ARGS='--name NEW"


def test_what_a_start_has_to_say_about_the_run_before_and_a_changed_train_py(won: Product) -> None:
    again = won.run("--agent", won.script(BETTER))
    assert "has changed since" not in again.stdout
    path = won.root / "nanochat" / "train.py"
    path.write_text(path.read_text().replace("BATCH = 8 ", "BATCH = 12 "))
    added = won.corpus / "added.txt"
    added.write_text("more text")
    again = won.run("--agent", won.script(BETTER))
    added.unlink()
    assert "nanochat/train.py has changed since run r began" in again.stdout
    words = f"has changed since it was prepared for run r: 1 file added (added.txt). The run continues with its own copy. {NEW}"
    assert f"{words} --dataset text:{won.corpus}'`" in again.stdout
    options = [word for word in won.options("r") if word not in ("--name", "r")]
    fresh = won(*options, "--agent", won.script(BETTER), "--max-experiments", "1")
    assert fresh.returncode == 0, fresh.stderr
    assert "This is a new run: r is finished" in fresh.stdout and "--name r" in fresh.stdout
