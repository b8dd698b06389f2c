"""The files of a run's report: from a real night, by the command, and at the end of a run."""

from __future__ import annotations

import shutil
import struct
import time
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from core.execution.deterministic import World
from core.machine import stats
from core.machine.project import UsageError
from core.model import Limits
from core.reporting.results import HTML, PNG
from core.run import report_file, report_process
from core.run.report_file import ReportFailed
from tests.core.loop.night import Night
from tests.core.loop.test_nights import BAD, GOOD, WORLD


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Night:
    """A night that has kept a change and measured it afresh."""
    night = Night(tmp_path_factory.mktemp("night"), final_seeds=3)
    world = World(effects={**WORLD.effects, "K4 = 1": -0.1}, seeds=0.01, noise=0.002)
    night.run([GOOD, BAD, "K4 = 1", "K5 = 1"], world, limits=Limits(max_experiments=4))
    shutil.move(night.root / "private", night.root / "logs" / "repository")
    (night.root / "nanochat" / "run.py").touch()
    metrics = night.folder / "00000" / "j000001" / "metrics.jsonl"  # of the baseline
    metrics.write_text("".join(f'{{"step": {i}, "progress": {i / 40}, "loss": {3 - i / 40}}}\n' for i in range(41)))
    return night


@pytest.fixture
def night(ended: Night, tmp_path: Path) -> Night:
    root = tmp_path / "night"
    shutil.copytree(ended.root, root)
    return Night(root)


def test_the_facts_come_from_the_journal_git_and_the_folder(night: Night) -> None:
    found = report_file.collect(night.project, night.folder)
    assert found.result == "confirmed" and [row.number for row in found.kept] == [1, 3] and found.check is not None
    assert "+K1 = 1" in found.material.diff and "+K4 = 1" in found.material.diff and "K2 = 1" not in found.material.diff
    assert {number: "+K1 = 1" in diff for number, diff in found.material.diffs.items()} == {1: True, 3: False}
    assert (
        found.material.branch == "autoresearch/night"
        and found.material.machine == ("a CPU",)
        and found.material.logs == ()
    )
    assert len(found.material.start_curve) == 41 and found.material.best_curve == ()
    assert found.material.program.startswith("# Aim") and not found.material.program_changed
    night.project.program.write_text("# Aim\n\nAnother one.\n")
    assert report_file.collect(night.project, night.folder).material.program_changed


def test_both_files_are_written_and_written_again(night: Night) -> None:
    for _ in range(2):
        html, png = report_file.write(night.project, night.folder)
        assert ET.fromstring(html.read_text(encoding="utf-8")).tag == "html"
        assert struct.unpack(">II", png.read_bytes()[16:24]) == (1200, 675)
    assert [path.name for path in night.folder.glob(".report*")] == [], "no drafts are left"


def test_a_file_that_cannot_be_written_does_not_keep_the_other_one_back(night: Night) -> None:
    (night.folder / HTML).mkdir()
    with pytest.raises(ReportFailed, match=r"report\.html could not be written"):
        report_file.write(night.project, night.folder)
    assert (night.folder / PNG).is_file() and [path.name for path in night.folder.glob(".report*")] == []


def test_an_empty_journal_has_no_report(night: Night) -> None:
    (night.folder / "events.jsonl").write_text("")
    with pytest.raises(UsageError, match="still empty"):
        report_file.write(night.project, night.folder)


def test_another_process_writes_the_report(night: Night) -> None:
    assert report_process.write_report(night.project, night.folder) == ""
    assert (night.folder / HTML).is_file() and (night.folder / PNG).is_file()


def test_a_report_that_fails_is_a_sentence_with_the_command(night: Night) -> None:
    (night.folder / PNG).mkdir()
    words = report_process.write_report(night.project, night.folder)
    assert "report.png could not be written" in words and "core.cli report --html night --logs" in words
    assert "\n" not in words and (night.folder / HTML).is_file()


def test_without_matplotlib_the_page_is_written_all_the_same(night: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    shadow = night.root / "shadow" / "matplotlib"
    shadow.mkdir(parents=True)
    (shadow / "__init__.py").write_text("raise ModuleNotFoundError('No module named matplotlib', name='matplotlib')")
    monkeypatch.setenv("PYTHONPATH", str(shadow.parent))
    words = report_process.write_report(night.project, night.folder)
    assert "report.png could not be written: A package cannot be used (No module named matplotlib)" in words
    assert (night.folder / HTML).is_file() and not (night.folder / PNG).exists()


def test_a_report_that_takes_too_long_is_given_up(night: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report_process, "WAIT_S", 0.05)
    began = time.monotonic()
    assert "it took longer than 0.05 s" in report_process.write_report(night.project, night.folder)
    assert time.monotonic() - began < 10


def test_the_machine_in_words(tmp_path: Path) -> None:
    info = tmp_path / "cpuinfo"
    info.write_text("processor\t: 0\nmodel name\t: A  CPU @ 2 GHz\n")
    assert stats.processor(info) == "A CPU @ 2 GHz" and stats.processor(tmp_path / "missing")
    assert any("core" in words for words in stats.described("cpu"))
