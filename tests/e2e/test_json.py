"""`--json`: what each command prints is what docs/json.md says."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

from core.execution.deterministic import World
from tests.json_shapes import BY_HAND, COMMANDS, PARTS, Idle, documented, fields, has_shape, reached
from tests.product import Product, build, copied, edit, harmless


@pytest.mark.parametrize(("section", "kind"), [*COMMANDS.items(), *PARTS.items()])
def test_each_field_is_documented(section: str, kind: type) -> None:
    assert documented()[section] == list(fields(kind))


def test_nothing_is_documented_that_is_not_there_and_no_part_is_left_out() -> None:
    assert documented().keys() == COMMANDS.keys() | PARTS.keys() | BY_HAND.keys()
    found = {inner for kind in COMMANDS.values() for inner in reached(kind)}
    assert found - {Idle} == {*COMMANDS.values(), *PARTS.values()}, "Idle is the empty object"


@pytest.fixture(scope="module")
def night(prepared: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Product:
    """A run with one kept change, whose scores were computed, and its report; never altered, only copied."""
    made = build(tmp_path_factory.mktemp("night"), prepared)
    made.compute(World(effects={"LR = 0.03": -0.1}, noise=0.002))
    agent = made.script(edit("A larger step.", ("LR = 0.01", "LR = 0.03")), harmless(1))
    done = made.run("--agent", agent, "--report", "--no-config")
    assert done.returncode == 0, done.stdout + done.stderr
    return made


@pytest.fixture
def finished(night: Product, tmp_path: Path) -> Product:
    return copied(night, tmp_path)


def test_each_command_prints_one_object_and_nothing_else(finished: Product) -> None:
    def shown(command: str, *arguments: str, code: int = 0) -> object:
        done = finished(*arguments, "--json")
        assert done.returncode == code, done.stdout + done.stderr
        return has_shape(done.stdout, command)

    status = shown("status", "status")
    (one,) = json.loads(finished("runs", "--json").stdout)
    assert one == status and one["kept"] == 1 and one["gain"]["change"] < 0 and one["report"] == "logs/r/report.html"
    notebook = shown("notebook", "notebook")
    assert isinstance(notebook, dict) and [row["number"] for row in notebook["experiments"]] == [0, 1, 2]
    shown("compare", "compare", "start", "best")
    shown("hints", "hints")
    applied = shown("apply", "apply", "--dry-run")
    assert isinstance(applied, dict) and applied["dry_run"] and not applied["applied"]
    assert "+LR = 0.03" in applied["diff"] and applied["message"].startswith("Rehearsal: val_bpb ")
    assert finished.git("status", "--porcelain") == "", "nothing was changed"
    report = shown("report", "report", "--html")
    assert isinstance(report, dict) and report["final_check"]["holds"] and report["picture"] == "logs/r/report.png"
    again = shown("report", "report", "--seeds", "4")
    assert isinstance(again, dict) and again["final_check"]["seeds"] == 4
    assert [kept["afresh"]["seeds"] for kept in again["kept_changes"]] == [4], "the only change is the whole one"
    agents = shown("agents", "agents")
    assert isinstance(agents, dict) and agents["agents"][0]["agent"] == "search"
    proposed = shown("propose", "propose", "--agent", "search", "-n", "2")
    assert isinstance(proposed, dict) and [one["number"] for one in proposed["proposals"]] == [1, 2]
    assert all(one["applies"] and one["diff"].startswith("--- a/") for one in proposed["proposals"])
    prompt = shown("propose", "propose", "--agent", "search", "--dry-run")
    assert isinstance(prompt, dict) and prompt["prompt"] and not prompt["proposals"]
    if importlib.util.find_spec("tensorboard") is not None:
        sent = shown("track", "track", "--to", "tensorboard")
        assert isinstance(sent, dict) and sent["exported"] + sent["before"] == 3
    config = json.loads(finished("config", "--json").stdout)
    assert config.keys() == BY_HAND["config"] and {key for one in config["files"] for key in one} == BY_HAND["file"]
    assert {key for one in config["values"].values() for key in one} == BY_HAND["value"]


def test_two_runs_are_compared_and_a_machine_is_checked(finished: Product) -> None:
    done = finished.run("--from", "r", "--agent", finished.script(harmless(2)), name="s")
    assert done.returncode == 0, done.stdout + done.stderr
    has_shape(finished("compare", "--runs", "r", "s", "--json").stdout, "compare --runs")
    checked = finished("doctor", "--json")
    found = has_shape(checked.stdout, "doctor")
    assert found["ok"] == (checked.returncode == 0)
