"""A second run on a device that a live run uses: refused, unless the user insists."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from core.machine.profiles import named
from core.machine.project import Project, UsageError
from core.model import RunConfig
from core.record.run_lock import Lock
from core.run.choose_run import try_read_header
from core.run.device_use import check_run_device, claimed_device
from core.run.plan import Plan
from tests.core.run.runs import START, TOLD, write_run
from tests.e2e.conftest import prepared, product  # noqa: F401
from tests.product import Product


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """Logs in which the run `live` has a running loop, and the run `stopped` has none."""
    made = Project(tmp_path, tmp_path / "logs")
    write_run(made, "stopped", START, TOLD)
    lock = Lock(write_run(made, "live", START))
    yield made
    lock.release()


def plan(project: Project, name: str, **fields: object) -> Plan:
    config: RunConfig | None = try_read_header(project.logs / "live")
    assert config is not None
    folder = project.logs / name
    return Plan(folder, replace(config, name=name, **fields), named("cpu"), new=not folder.exists())


@pytest.mark.parametrize("name", ["new", "stopped"])
def test_a_second_run_on_the_same_device_is_refused_with_the_commands(project: Project, name: str) -> None:
    with pytest.raises(UsageError) as refused:
        check_run_device(project, plan(project, name))
    for words in ("Run live is training on cpu now", "`make attach ARGS=live`", "`make stop ARGS=live`", "--beside"):
        assert words in str(refused.value)


def test_other_devices_rehearsals_and_the_live_run_itself_are_not_refused(project: Project) -> None:
    check_run_device(project, plan(project, "new", device="cuda"))
    check_run_device(project, plan(project, "new", executor="deterministic:/world.json"))
    check_run_device(project, plan(project, "live"))


def test_a_final_report_uses_the_device_too(tmp_path: Path) -> None:
    project = Project(tmp_path, tmp_path / "logs")
    lock = Lock(write_run(project, "live", START), loop=False)
    write_run(project, "done", START, TOLD)
    with pytest.raises(
        UsageError,
        match=r"^A final report or an export of run live is being made on cpu now\..*--beside starts it anyway\.$",
    ):
        check_run_device(project, plan(project, "new"))
    lock.release()
    check_run_device(project, plan(project, "new"))


def test_a_live_rehearsal_uses_no_device(tmp_path: Path) -> None:
    project = Project(tmp_path, tmp_path / "logs")
    lock = Lock(write_run(project, "live", START, executor="deterministic:/world.json"))
    check_run_device(project, plan(project, "new", executor="local"))
    lock.release()


def test_it_is_refused_before_anything_is_written_and_beside_insists(product: Product) -> None:  # noqa: F811
    project = Project(product.root, product.logs)
    lock = Lock(write_run(project, "live", START))
    done = product.run("--agent", "nonsense", name="two")
    assert done.returncode == 1 and "Run live is training on cpu now." in done.stderr
    assert not (product.logs / "two").exists()
    insists = product.run("--agent", "nonsense", "--beside", name="two")
    assert "There is no agent" in insists.stderr, "it is refused for another reason, after this check"
    lock.release()


def test_of_two_starts_at_the_same_time_the_second_one_sees_the_first(tmp_path: Path) -> None:
    project = Project(tmp_path, tmp_path / "logs")
    write_run(project, "live", START, TOLD)  # for `plan`
    first, second = (plan(project, name) for name in ("first", "second"))
    check_run_device(project, second)  # as the second start does before the first one has a header
    inside, refused = threading.Event(), list[str]()

    def start_second() -> None:
        inside.wait()
        try:
            with claimed_device(project, second, beside=False):
                pass
        except UsageError as error:
            refused.append(str(error))

    thread = threading.Thread(target=start_second)
    thread.start()
    with claimed_device(project, first, beside=False):
        inside.set()
        lock = Lock(write_run(project, "first", START))
    thread.join(timeout=60)
    assert not thread.is_alive() and len(refused) == 1 and "Run first is training on cpu now" in refused[0]
    with claimed_device(project, second, beside=True):
        pass
    lock.release()
