"""The plan of a start: what a new run is begun with, and what one that goes on keeps."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from core.machine import stats
from core.machine.profiles import named
from core.machine.project import Project, UsageError
from core.record import events as ev
from core.record.journal import Journal
from core.run import plan
from core.run.options import Options
from core.run.plan import make_plan
from nanochat.contract import dataset as contract
from nanochat.contract import messages
from nanochat.data.prepare import prepare
from tests.core.run.runs import DONE, START, TOLD, write_run
from tests.fake_cuda import Cards, Nvml, make, shadow


def test_a_new_run_uses_what_its_text_is_now(tmp_path: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project, options = Project(tmp_path, tmp_path / "logs"), Options(dataset="text:corpus.txt", profile="tiny")
    monkeypatch.chdir(tmp_path)
    chosen = make_plan(project, options)
    assert chosen.config.dataset == f"text:{corpus}" and chosen.data is not None and chosen.data.manifest is None
    prepared = prepare(f"text:{corpus}", 320)
    chosen = make_plan(project, options)
    assert chosen.config.data == str(prepared) and chosen.config.fingerprint in prepared.name
    corpus.write_text(corpus.read_text().replace("word", "Word"))
    chosen = make_plan(project, options)
    assert chosen.data is not None and chosen.data.manifest is None and "1 file changed" in chosen.data.stale
    corpus.unlink()
    with pytest.raises(UsageError, match=r"no file or folder .*corpus.txt. Nothing was started."):
        make_plan(project, options)


def test_a_run_that_goes_on_is_found_by_the_name_that_was_typed(
    tmp_path: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its journal may have a relative path, as the version before wrote it; the text may be gone."""
    project = Project(tmp_path, tmp_path / "logs")
    write_run(project, "night", START, TOLD, dataset="text:corpus.txt")
    monkeypatch.chdir(tmp_path)
    corpus.unlink()
    for name in ("text:corpus.txt", f"text:{corpus}", None):
        assert not make_plan(project, Options(name="night", dataset=name)).new
    for name in ("text:other.txt", "text:", "nonsense", "python"):
        with pytest.raises(UsageError, match=r"was started with dataset text:corpus.txt"):
            make_plan(project, Options(name="night", dataset=name))


SAME = {"budget_s": 60.0, "dataset": "python", "device": "cpu", "seed": 1, "profile": "cpu"}


OTHER = {"budget_s": 61.0, "dataset": "tinystories", "device": "mps", "seed": 0, "profile": "tiny"}


@pytest.mark.parametrize("option", SAME)
def test_a_run_that_goes_on_keeps_what_its_scores_depend_on(
    tmp_path: Path, option: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = Project(tmp_path, tmp_path / "logs")
    journal = write_run(project, "night", START, TOLD) / "events.jsonl"
    before = journal.read_bytes()
    monkeypatch.setattr(
        plan, "lacking", lambda device, count: ""
    )  # whether the machine has the device is not asked here
    for name in ("night", None):
        assert not make_plan(project, Options(name=name, **{option: SAME[option]})).new
        with pytest.raises(
            UsageError, match=rf"Nothing was changed\. Continue it without --{option.removesuffix('_s')}, or"
        ):
            make_plan(project, Options(name=name, **{option: OTHER[option]}))
    assert journal.read_bytes() == before


def test_a_profile_that_is_not_known_any_more_is_refused_in_words(tmp_path: Path) -> None:
    project = Project(tmp_path, tmp_path / "logs")
    journal = write_run(project, "night", START, TOLD) / "events.jsonl"
    journal.write_text(journal.read_text().replace('"profile":"cpu"', '"profile":"gone"'))
    with pytest.raises(UsageError, match="'gone', which this version does not know"):
        make_plan(project, Options())


@pytest.fixture
def cards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cards]:
    """Two fake cards, as the driver's library and a GPU build of torch show them to this process."""
    made = make(tmp_path / "cards", cards=2)
    monkeypatch.setitem(sys.modules, "pynvml", Nvml(made))
    monkeypatch.syspath_prepend(str(shadow(tmp_path / "shadow", made)))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    stats._nvml.cache_clear()
    yield made
    stats._nvml.cache_clear()


def test_a_run_that_goes_on_uses_the_cards_that_are_left(
    tmp_path: Path, cards: Cards, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its slots follow the cards that are left, and without any it waits for them to come back."""
    project = Project(tmp_path, tmp_path / "logs")
    new = make_plan(project, Options(name="a"))
    assert (new.config.device, new.config.slots, new.notice) == ("cuda", 2, "")
    assert make_plan(project, Options(name="a", slots=5)).config.slots == 2
    (project.logs / "a").mkdir(parents=True)
    record = Journal(project.logs / "a")
    record.open()
    record.append(ev.Created(v=ev.SCHEMA, config=new.config))
    record.close()
    assert make_plan(project, Options(name="a")).notice == ""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    left = make_plan(project, Options(name="a"))
    assert left.config.slots == 1 and "2 parallel trainings" in left.notice and not left.new
    asked = make_plan(project, Options(name="a", slots=3))
    assert asked.config.slots == 1 and "3 parallel trainings" in asked.notice
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(UsageError, match=r"Run a trains on cuda, which cannot be used now: .* Nothing was changed"):
        make_plan(project, Options(name="a"))


def test_a_run_from_another_keeps_what_scores_mean(tmp_path: Path, corpus: Path) -> None:
    project = Project(tmp_path, tmp_path / "logs")
    source = f"text:{corpus}"
    folder = prepare(source, 320)
    write_run(project, "night", START, DONE, dataset=source, profile="tiny", budget_s=2.5, seq_len=16, vocab_size=320)
    chosen = make_plan(project, Options(origin="night"))
    config = chosen.config
    assert (config.dataset, config.profile, config.budget_s, config.seq_len, config.vocab_size, config.eval_tokens) == (
        source, "tiny", 2.5, 16, 320, 1024,
    )  # fmt: skip
    assert config.data == str(folder) and not chosen.replaceable
    assert chosen.notice == f"Taken over from run night: dataset {source}, profile tiny, budget 2.5 s."
    asked = make_plan(project, Options(origin="night", dataset="python", budget_s=1.0)).config
    assert (asked.dataset, asked.budget_s, asked.profile) == ("python", 1.0, "tiny")
    other = make_plan(project, Options(origin="night", profile="cpu"))
    assert (other.config.dataset, other.config.profile, other.config.seq_len) == (source, "cpu", 256)
    corpus.unlink()
    with pytest.raises(UsageError, match=r"no file or folder .* Nothing was started. --dataset chooses another"):
        make_plan(project, Options(origin="night"))


def test_what_is_like_the_default_is_taken_over_without_a_notice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "default_profile", lambda device=None: (device or "cpu", named("cpu")))
    project = Project(tmp_path, tmp_path / "logs")
    journal = write_run(project, "night", START, DONE) / "events.jsonl"
    chosen = make_plan(project, Options(origin="night"))
    assert (chosen.config.dataset, chosen.config.profile, chosen.notice) == ("python", "cpu", "")
    text = journal.read_text()
    journal.write_text(text.replace('"profile":"cpu"', '"profile":"gone"'))
    assert "has a profile that this version does not know, so" in make_plan(project, Options(origin="night")).notice
    journal.write_text(
        text.replace('"device":"cpu"', '"device":"cuda"').replace('"profile":"cpu"', '"profile":"gpu-24"')
    )
    monkeypatch.setattr(plan, "lacking", lambda device, count: "there is no GPU")
    chosen = make_plan(project, Options(origin="night"))
    assert (chosen.config.device, chosen.config.profile) == ("cpu", "cpu")
    assert "trains on cuda, which cannot be used now (there is no GPU), so this run trains on cpu" in chosen.notice
    assert "this run has the profile cpu of cpu and a budget of 60 s; its scores cannot be compared" in chosen.notice
    journal.write_text(text + "{broken\n")
    assert make_plan(project, Options(origin="night")).config.profile == "cpu", "the header is enough"
    journal.write_text("{broken\n" + text)
    assert "header of run night cannot be read" in make_plan(project, Options(origin="night")).notice


def test_a_run_from_another_reads_its_text_in_the_same_encoding(tmp_path: Path, corpus: Path) -> None:
    project, source = Project(tmp_path, tmp_path / "logs"), f"text:{corpus}"
    corpus.write_bytes(corpus.read_text().replace("and", "für").encode("latin-1"))
    first = contract.read(prepare(source, 320, contract.Options(encoding="iso8859-1")))
    data = next(path for path, _ in contract.prepared(source))
    write_run(
        project, "night", START, DONE, dataset=source, profile="tiny", vocab_size=320, data=str(data),
        fingerprint=first.fingerprint,
    )  # fmt: skip
    prepare(source, 320, contract.Options(errors="replace"))
    assert make_plan(project, Options(origin="night")).config.fingerprint == first.fingerprint
    assert make_plan(project, Options(origin="night", dataset=source)).config.fingerprint != first.fingerprint


def test_a_start_uses_what_was_prepared_for_it(tmp_path: Path, corpus: Path) -> None:
    """Although the text has grown since."""
    project, folder = Project(tmp_path, tmp_path / "logs"), prepare(f"text:{corpus}", 320)
    corpus.write_text(corpus.read_text() + "more\n")
    options = Options(dataset=f"text:{corpus}", profile="tiny")
    assert make_plan(project, options).config.fingerprint == ""
    assert make_plan(project, replace(options, data=folder)).config.data == str(folder)


def test_a_run_whose_harness_speaks_another_version_is_not_continued(tmp_path: Path) -> None:
    project = Project(tmp_path, tmp_path / "logs")
    folder = write_run(project, "r", START)
    assert not make_plan(project, Options(name="r")).new, "it has no harness yet"
    contract_ = folder / "harness" / "nanochat" / "contract"
    contract_.mkdir(parents=True)
    for text in (None, "", "VERSION = 1\n", "VERSION = 999\n"):
        if text is not None:
            (contract_ / "messages.py").write_text(text)
        with pytest.raises(UsageError, match="begun with another version") as refused:
            make_plan(project, Options(name="r"))
        assert "--name NEW --from r" in str(refused.value)
    for version in messages.UNDERSTOOD:
        (contract_ / "messages.py").write_text(f"VERSION = {version}\n")
        assert not make_plan(project, Options(name="r")).new


def test_a_run_on_a_cluster_keeps_it_and_another_start_may_name_another_address(tmp_path: Path) -> None:
    project = Project(tmp_path, tmp_path / "logs")
    new = make_plan(project, Options(name="n", executor="ray", ray_address="ray://a:1", device="cpu", slots=64)).config
    assert (new.executor, new.ray_address, new.slots) == ("ray", "ray://a:1", 64)
    write_run(project, "night", START, TOLD, executor="ray", ray_address="auto", slots=3)
    same = make_plan(project, Options(name="night")).config
    assert (same.executor, same.ray_address, same.slots) == ("ray", "auto", 3)
    assert make_plan(project, Options(name="night", ray_address="b:6379")).config.ray_address == "b:6379"
    with pytest.raises(UsageError, match=r"started with executor ray; .* executor local could not be compared"):
        make_plan(project, Options(name="night", executor="local"))


def test_a_cluster_is_named_for_a_run_on_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = Project(tmp_path, tmp_path / "logs")
    with pytest.raises(UsageError, match="--ray-address has no meaning for the executor local"):
        make_plan(project, Options(name="n", ray_address="auto", device="cpu"))
    monkeypatch.setattr(plan, "lacking", lambda device, count: "")
    with pytest.raises(UsageError, match="not on mps"):
        make_plan(project, Options(name="n", executor="ray", device="mps"))
    monkeypatch.setattr(plan, "default_profile", lambda device: ("mps", named("cpu")))  # as on Apple silicon
    with pytest.raises(UsageError, match="not on mps"):
        make_plan(project, Options(name="n", executor="ray"))
    write_run(project, "night", START, TOLD, executor="ray", device="mps")
    with pytest.raises(UsageError, match="not on mps"):
        make_plan(project, Options(name="night"))
