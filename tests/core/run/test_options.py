"""What comes from the command line, the journal and the config files, by precedence."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.config.settings import Settings
from core.machine.project import Project, UsageError
from core.model import Limits
from core.record import events as ev
from core.run.background import options
from core.run.limits import LimitOptions
from core.run.options import Options, StartOptions, from_files, new_run, start_options
from core.run.plan import make_plan
from tests.core.run.runs import DONE, TOLD, write_run
from tests.e2e.conftest import prepared, product  # noqa: F401
from tests.product import Product, harmless

FILES = Settings(
    agent="script:x",
    gate="ask",
    budget=7,
    slots=2,
    dataset="python",
    device="cpu",
    profile="tiny",
    max_hours=8,
    report=False,
)


def test_an_option_wins_and_a_file_fills_the_rest() -> None:
    found = new_run(Options(agent="search", limits=LimitOptions(max_hours=1.0)), FILES)
    assert (found.agent, found.gate, found.budget_s, found.slots, found.limits.max_hours) == (
        "search",
        "ask",
        7.0,
        2,
        1.0,
    )
    assert start_options(StartOptions(report=True), FILES).report and not start_options(StartOptions(), FILES).report


def test_a_run_from_another_one_takes_over_what_makes_scores_comparable() -> None:
    found = new_run(Options(origin="night"), FILES)
    assert (found.budget_s, found.dataset, found.device, found.profile) == (None,) * 4 and found.agent == "script:x"


def test_a_continued_run_keeps_its_journal_and_takes_limits_that_it_lacks(tmp_path: Path) -> None:
    project = Project(tmp_path, tmp_path / "logs")
    write_run(
        project,
        "night",
        ev.Started(pid=1, agent="search", approval="auto", slots=1, t=0.0, limits=Limits(max_experiments=9)),
        TOLD,
    )
    files = Settings(agent="script:x", budget=99, slots=7, gate="ask", max_experiments=3, max_hours=8)
    chosen, before = make_plan(project, Options(), files), make_plan(project, Options())
    assert chosen.config == before.config and chosen.ends.limits == Limits(max_experiments=9, max_hours=8)
    assert from_files(Options(), StartOptions(), files, chosen.ends.carried, new=chosen.new) == ["max-hours"]
    given = Options(limits=LimitOptions(max_hours=1.0))
    assert make_plan(project, given, files).ends.limits.max_hours == 1.0
    assert from_files(given, StartOptions(beside=False), FILES, (), new=False) == ["report"]


def test_a_finished_run_takes_the_limits_of_the_files(tmp_path: Path) -> None:
    project = Project(tmp_path, tmp_path / "logs")
    write_run(
        project,
        "night",
        ev.Started(pid=1, agent="search", approval="auto", slots=1, t=0.0, limits=Limits(max_hours=2)),
        DONE,
    )
    ends = make_plan(project, Options(name="night"), Settings(max_hours=8)).ends
    assert ends.limits == Limits(max_hours=8) and ends.carried == () and ends.hours_before == 0


def test_a_value_that_this_machine_lacks_is_refused_for_new_runs(tmp_path: Path) -> None:
    project = Project(tmp_path, tmp_path / "logs")
    with pytest.raises(UsageError, match="There is no dataset 'shakespeare'"):
        make_plan(project, Options(), Settings(dataset="shakespeare"))


def test_the_words_for_the_loop_in_the_background() -> None:
    found = options({"--beside": True, "--report": False, "--slots": 2, "--agent": None})
    assert found == ["--beside", "--no-report", "--slots", "2"]


def test_a_start_with_files(product: Product) -> None:  # noqa: F811
    """The files count for a start, the journal says so, and with a mistake nothing is started."""
    from core.execution.deterministic import World

    product.compute(World(noise=0.002))
    script = product.script(harmless(1), harmless(2), harmless(3))
    user, project = Path(product.env["HOME"]) / ".config/autoresearch/config.toml", product.root / "autoresearch.toml"
    user.parent.mkdir(parents=True)
    user.write_text(
        f"agent = '{script}'\nmax-experiments = 3\nnotify = 'echo $AUTORESEARCH_MOMENT'\nnotify-on = 'ended'\n"
    )
    project.write_text("max-experiments = 1\nbugdet = 60\n")
    start = [word for word in product.options() if word != "--no-report"]
    done = product(*start)
    assert done.returncode == 1 and "line 2: There is no key bugdet. Did you mean budget?" in done.stderr
    assert not product.logs.exists()
    project.write_text("max-experiments = 1\nreport = false\n")
    done = product(*start)
    assert done.returncode == 0 and "reached --max-experiments 1" in done.stdout, done.stdout + done.stderr
    said = "Settings: max-experiments, report from autoresearch.toml; agent, notify, notify-on from ~/.config/autoresearch/config.toml."
    assert said in done.stdout and product.state().started.final_seeds == 0  # type: ignore[union-attr]
    assert (product.logs / "r" / "notify.log").read_text().split() == ["ended"]
