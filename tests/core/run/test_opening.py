"""What a new run starts from: the profile's sizes, but for what the user has made of train.py."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from core import cli
from core.change.knobs import set_knobs
from core.git.repository import Repository
from core.judging.schedule import noise
from core.machine import stats
from core.machine.profiles import named
from core.machine.project import Project, UsageError
from core.model import RunConfig
from core.record import events as ev
from core.record import journal
from core.record.journal import Journal, Lock
from core.record.state import State, fold
from core.reporting import report, results
from core.run import opening
from core.run.opening import Options, check_data, fit_of, fitting, fitting_slots, plan
from nanochat.contract import dataset as contract
from nanochat.contract import messages
from nanochat.data.prepare import prepare
from tests.fake_cuda import Cards, Nvml, make, shadow

SHIPPED = (Path(__file__).resolve().parents[3] / "nanochat" / "train.py").read_text(encoding="utf-8")


@pytest.fixture
def repo(tmp_path: Path) -> Repository:
    (tmp_path / "nanochat").mkdir()
    (tmp_path / "nanochat" / "train.py").write_text(SHIPPED)
    return Repository.open(tmp_path, tmp_path / "private")


def test_the_shipped_train_py_is_fitted_to_the_machine(repo: Repository) -> None:
    profile = named("gpu-24")
    assert fitting(profile, SHIPPED, repo) == (profile.knobs, "")
    assert fitting(profile, SHIPPED + "\n# a remark\n", repo) == (profile.knobs, "")


def test_a_size_that_the_user_chose_stays_and_that_is_said(repo: Repository) -> None:
    profile = named("gpu-24")
    knobs, words = fitting(profile, set_knobs(SHIPPED, {"DEPTH": 12}), repo)
    assert "DEPTH" not in knobs and knobs["WIDTH"] == 512 and "Your own DEPTH = 12 stays" in words
    _, words = fitting(profile, set_knobs(SHIPPED, {"DEPTH": 12, "WIDTH": 256}), repo)
    assert "Your own DEPTH = 12, WIDTH = 256 stays" in words


def test_what_a_run_kept_and_was_taken_home_is_not_fitted_again(repo: Repository) -> None:
    profile = named("cpu-fp32")
    best = set_knobs(SHIPPED, {"DEPTH": 2, "WARM_DOWN": 0.3})  # what it moved back to the shipped value counts as well
    start = repo.commit(repo.base(), set_knobs(SHIPPED, {"DEPTH": 1}), "start")
    kept = repo.commit(start, best, "kept")
    repo.set_ref(repo.attempt_ref("night", "fit"), start)
    for tip in (kept, repo.commit(kept, set_knobs(best, {"WARM_DOWN": 0.4}), "kept later")):
        repo.set_ref(repo.branch("night"), tip, [kept])
        assert fitting(profile, best, repo) == (
            {},
            "train.py is one that run night kept, so its sizes stay as they are.",
        )
    assert fitting(named("cpu"), best, repo) == ({}, ""), "nothing to set, nothing to say"


def run(project: Project, name: str, *events: ev.AnyEvent, **header: object) -> Path:
    config = RunConfig(
        name=name, dataset="python", data="/nowhere", fingerprint="", device="cpu", profile="cpu", budget_s=60, seq_len=256,
        vocab_size=2048, eval_tokens=1024, seed=1, slots=1, base_commit="0" * 40, noise_prior=0.01, agent="search", approval="auto",
    )  # fmt: skip
    config = msgspec.structs.replace(config, **header)
    folder = project.logs / name
    folder.mkdir(parents=True, exist_ok=True)
    time.sleep(0.02)  # a start later than the one before, by the milliseconds of the journal and by the file system's
    writer = Journal(folder)
    if not writer.open():
        writer.append(ev.Created(v=ev.SCHEMA, config=config))
    for event in events:
        writer.append(event)
    writer.close()
    return folder


START = ev.Started(pid=1, agent="search", approval="auto", slots=1)
TOLD, DONE = ev.Stopped(reason="told to stop"), ev.Stopped(reason="reached a limit", finished=True)


def test_which_run_goes_on(tmp_path: Path) -> None:
    project = Project(tmp_path, tmp_path / "logs")
    run(project, "old", START, DONE)
    run(project, "night", START, TOLD)
    assert plan(project, Options()).folder.name == "night"
    run(project, "old", ev.Notice(text="as `report` may write it"))
    assert plan(project, Options()).folder.name == "night", "the one whose loop was started last"
    alive = Lock(run(project, "quiet", START))
    run(project, "short", START, DONE)
    assert plan(project, Options()).folder.name == "quiet", "one at work is come back to"
    alive.release()
    run(project, "quiet", TOLD)
    assert plan(project, Options()).new, "the last one is finished"
    run(project, "short", START)
    assert plan(project, Options()).folder.name == "short"


@pytest.fixture
def corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AUTORESEARCH_DATA", str(tmp_path / "data"))
    path = tmp_path / "corpus.txt"
    path.write_text("".join(f"word {i} and {i * i}\n" for i in range(9000)))
    return path


def test_a_new_run_uses_what_its_text_is_now(tmp_path: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project, options = Project(tmp_path, tmp_path / "logs"), Options(dataset="text:corpus.txt", profile="tiny")
    monkeypatch.chdir(tmp_path)
    chosen = plan(project, options)
    assert chosen.config.dataset == f"text:{corpus}" and chosen.data is not None and chosen.data.manifest is None
    prepared = prepare(f"text:{corpus}", 320)
    chosen = plan(project, options)
    assert chosen.config.data == str(prepared) and chosen.config.fingerprint in prepared.name
    corpus.write_text(corpus.read_text().replace("word", "Word"))
    chosen = plan(project, options)
    assert chosen.data is not None and chosen.data.manifest is None and "1 file changed" in chosen.data.stale
    corpus.unlink()
    with pytest.raises(UsageError, match=r"no file or folder .*corpus.txt. Nothing was started."):
        plan(project, options)


def test_a_run_that_goes_on_is_found_by_the_name_that_was_typed(
    tmp_path: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its journal may have a relative path, as the version before wrote it; the text may be gone."""
    project = Project(tmp_path, tmp_path / "logs")
    run(project, "night", START, TOLD, dataset="text:corpus.txt")
    monkeypatch.chdir(tmp_path)
    corpus.unlink()
    for name in ("text:corpus.txt", f"text:{corpus}", None):
        assert not plan(project, Options(name="night", dataset=name)).new
    for name in ("text:other.txt", "text:", "nonsense", "python"):
        with pytest.raises(UsageError, match=r"was started with dataset text:corpus.txt"):
            plan(project, Options(name="night", dataset=name))


def test_data_is_checked_before_a_run_begins(tmp_path: Path, corpus: Path) -> None:
    project, options = Project(tmp_path, tmp_path / "logs"), Options(dataset=f"text:{corpus}", profile="tiny")
    prepared = prepare(f"text:{corpus}", 320)
    config, folder = plan(project, options).config, tmp_path / "logs" / "r"
    check_data(config, True, folder)
    with pytest.raises(UsageError, match=r"too little text: its (val|test) split .* Nothing was started."):
        check_data(msgspec.structs.replace(config, seq_len=2000), True, folder)
    content = (prepared / "train.bin").read_bytes()
    (prepared / "train.bin").write_bytes(bytes([content[0] ^ 1]) + content[1:])
    with pytest.raises(UsageError, match=r"train.bin has changed. .*make prepare ARGS='--dataset text:.* --vocab 320'"):
        check_data(config, True, folder)
    assert not project.logs.exists()


def test_what_data_must_be_long_enough_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "machine", lambda: ("cuda", named("gpu-80")))
    assert fit_of(8192) == (2048, 128), "as this machine scores"
    assert (fit_of(320), fit_of(2048), fit_of(4096)) == ((32, 16), (256, 16), (512, 128))
    assert fit_of(1000) == (32, 16), "no profile has it"


SAME = {"budget_s": 60.0, "dataset": "python", "device": "cpu", "seed": 1, "profile": "cpu"}
OTHER = {"budget_s": 61.0, "dataset": "tinystories", "device": "mps", "seed": 0, "profile": "tiny"}


@pytest.mark.parametrize("option", SAME)
def test_a_run_that_goes_on_keeps_what_its_scores_depend_on(
    tmp_path: Path, option: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = Project(tmp_path, tmp_path / "logs")
    journal = run(project, "night", START, TOLD) / "events.jsonl"
    before = journal.read_bytes()
    monkeypatch.setattr(
        opening, "lacking", lambda device, count: ""
    )  # whether the machine has the device is not asked here
    for name in ("night", None):
        assert not plan(project, Options(name=name, **{option: SAME[option]})).new
        with pytest.raises(
            UsageError, match=rf"Nothing was changed\. Continue it without --{option.removesuffix('_s')}, or"
        ):
            plan(project, Options(name=name, **{option: OTHER[option]}))
    assert journal.read_bytes() == before


def test_a_profile_that_is_known_no_more_is_a_sentence(tmp_path: Path) -> None:
    project = Project(tmp_path, tmp_path / "logs")
    journal = run(project, "night", START, TOLD) / "events.jsonl"
    journal.write_text(journal.read_text().replace('"profile":"cpu"', '"profile":"gone"'))
    with pytest.raises(UsageError, match="'gone', which this version does not know"):
        plan(project, Options())


@pytest.mark.parametrize(
    ("wanted", "device", "cards", "slots"),
    [(2, "cuda", ["0"], 1), (2, "cuda", ["0", "1"], 2), (3, "cuda", None, 1), (2, "mps", None, 1), (4, "cpu", None, 4)],
)
def test_one_experiment_a_gpu(wanted: int, device: str, cards: list[str] | None, slots: int) -> None:
    found, words = fitting_slots(wanted, device, cards)
    assert found == slots and bool(words) == (slots < wanted)


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


def test_a_run_that_goes_on_with_fewer_cards(tmp_path: Path, cards: Cards, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its slots follow the cards that are left, and without any it waits for them to come back."""
    project = Project(tmp_path, tmp_path / "logs")
    new = plan(project, Options(name="a"))
    assert (new.config.device, new.config.slots, new.said) == ("cuda", 2, "")
    assert plan(project, Options(name="a", slots=5)).config.slots == 2
    (project.logs / "a").mkdir(parents=True)
    record = Journal(project.logs / "a")
    record.open()
    record.append(ev.Created(v=ev.SCHEMA, config=new.config))
    record.close()
    assert plan(project, Options(name="a")).said == ""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    left = plan(project, Options(name="a"))
    assert left.config.slots == 1 and "2 experiments at once" in left.said and not left.new
    asked = plan(project, Options(name="a", slots=3))
    assert asked.config.slots == 1 and "3 experiments at once" in asked.said
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(UsageError, match=r"Run a trains on cuda, which cannot be used now: .* Nothing was changed"):
        plan(project, Options(name="a"))


def test_a_run_from_another_keeps_what_scores_mean(tmp_path: Path, corpus: Path) -> None:
    project = Project(tmp_path, tmp_path / "logs")
    source = f"text:{corpus}"
    folder = prepare(source, 320)
    run(project, "night", START, DONE, dataset=source, profile="tiny", budget_s=2.5, seq_len=16, vocab_size=320)
    chosen = plan(project, Options(origin="night"))
    config = chosen.config
    assert (config.dataset, config.profile, config.budget_s, config.seq_len, config.vocab_size, config.eval_tokens) == (
        source, "tiny", 2.5, 16, 320, 1024,
    )  # fmt: skip
    assert config.data == str(folder) and not chosen.replaceable
    assert chosen.said == f"Taken over from run night: dataset {source}, profile tiny, budget 2.5 s."
    asked = plan(project, Options(origin="night", dataset="python", budget_s=1.0)).config
    assert (asked.dataset, asked.budget_s, asked.profile) == ("python", 1.0, "tiny")
    other = plan(project, Options(origin="night", profile="cpu"))
    assert (other.config.dataset, other.config.profile, other.config.seq_len) == (source, "cpu", 256)
    corpus.unlink()
    with pytest.raises(UsageError, match=r"no file or folder .* Nothing was started. --dataset chooses another"):
        plan(project, Options(origin="night"))


def test_what_is_like_the_default_is_taken_over_without_a_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "machine", lambda device=None: (device or "cpu", named("cpu")))
    project = Project(tmp_path, tmp_path / "logs")
    journal = run(project, "night", START, DONE) / "events.jsonl"
    chosen = plan(project, Options(origin="night"))
    assert (chosen.config.dataset, chosen.config.profile, chosen.said) == ("python", "cpu", "")
    text = journal.read_text()
    journal.write_text(text.replace('"profile":"cpu"', '"profile":"gone"'))
    assert "has a profile that this version does not know, so" in plan(project, Options(origin="night")).said
    journal.write_text(
        text.replace('"device":"cpu"', '"device":"cuda"').replace('"profile":"cpu"', '"profile":"gpu-24"')
    )
    monkeypatch.setattr(opening, "lacking", lambda device, count: "there is no GPU")
    chosen = plan(project, Options(origin="night"))
    assert (chosen.config.device, chosen.config.profile) == ("cpu", "cpu")
    assert "trains on cuda, which cannot be used now (there is no GPU), so this run trains on cpu" in chosen.said
    assert "this run has the profile cpu of cpu and a budget of 60 s; its scores cannot be compared" in chosen.said
    journal.write_text(text + "{broken\n")
    assert plan(project, Options(origin="night")).config.profile == "cpu", "the header is enough"
    journal.write_text("{broken\n" + text)
    assert "header of run night cannot be read" in plan(project, Options(origin="night")).said


def test_a_run_from_another_reads_its_text_in_the_same_encoding(tmp_path: Path, corpus: Path) -> None:
    project, source = Project(tmp_path, tmp_path / "logs"), f"text:{corpus}"
    corpus.write_bytes(corpus.read_text().replace("and", "für").encode("latin-1"))
    first = contract.read(prepare(source, 320, contract.Options(encoding="iso8859-1")))
    data = next(path for path, _ in contract.prepared(source))
    run(
        project, "night", START, DONE, dataset=source, profile="tiny", vocab_size=320, data=str(data),
        fingerprint=first.fingerprint,
    )  # fmt: skip
    prepare(source, 320, contract.Options(errors="replace"))
    assert plan(project, Options(origin="night")).config.fingerprint == first.fingerprint
    assert plan(project, Options(origin="night", dataset=source)).config.fingerprint != first.fingerprint


def test_a_start_uses_what_was_prepared_for_it(tmp_path: Path, corpus: Path) -> None:
    """Although the text has grown since."""
    project, folder = Project(tmp_path, tmp_path / "logs"), prepare(f"text:{corpus}", 320)
    corpus.write_text(corpus.read_text() + "more\n")
    options = Options(dataset=f"text:{corpus}", profile="tiny")
    assert plan(project, options).config.fingerprint == ""
    assert plan(project, replace(options, data=folder)).config.data == str(folder)


def test_a_folder_of_the_user_is_not_taken_for_a_run(tmp_path: Path, corpus: Path) -> None:
    """Its own texts lie in `data`, where a run would put its copies."""
    project = Project(tmp_path, tmp_path / "logs")
    prepare(f"text:{corpus}", 320)
    own = project.logs / "mine" / "data" / "poem.txt"
    own.parent.mkdir(parents=True)
    own.write_text("mine")
    chosen = plan(project, Options(name="mine", dataset=f"text:{corpus}", profile="tiny"))
    (tmp_path / "nanochat").mkdir()
    (tmp_path / "nanochat" / "train.py").write_text(SHIPPED)
    (tmp_path / "program.md").write_text("Low.")
    with pytest.raises(UsageError, match=r"logs/mine holds data, which no run wrote. Nothing was changed."):
        opening.open_run(project, chosen, Options(), lambda event, state: None)
    assert own.read_text() == "mine" and [path.name for path in (project.logs / "mine").iterdir()] == ["data"]


def test_a_run_whose_folder_was_removed_begins_anew_under_its_name(
    tmp_path: Path, corpus: Path, repo: Repository
) -> None:
    project, asked = Project(tmp_path, tmp_path / "logs"), Options(name="nightly", dataset="python")
    mine = Repository.open(project.root, project.logs / "repository")
    folder = project.logs / "nightly"
    mine.claim("nightly", "the run of last night", folder)
    assert opening._which(project, asked) == (folder, None)
    folder.mkdir(parents=True)
    (folder / journal.NAME).touch()  # emptied
    assert opening._which(project, asked) == (folder, None)
    (folder / results.TSV).write_text("what is left")
    with pytest.raises(UsageError, match=r"gone or empty, and results.tsv in .*`mv ") as refused:
        opening._which(project, asked)
    assert "nightly-before` keeps them" in str(refused.value)
    elsewhere = Project(tmp_path, tmp_path / "other logs")
    private = Repository.open(project.root, elsewhere.logs / "repository")
    private.claim("nightly", "a run of other logs", folder.with_name("moved"))
    with pytest.raises(UsageError, match=r"where no journal is now\. If that run is gone for good"):
        opening._which(elsewhere, asked)


@pytest.mark.parametrize("how", ["renamed", "copied"])
def test_a_run_is_called_by_its_folder(tmp_path: Path, how: str) -> None:
    project = Project(tmp_path, tmp_path / "logs")
    before = run(project, "before", START)
    folder = project.run("after")
    shutil.copytree(before, folder) if how == "copied" else before.rename(folder)
    found = cli._facts(folder)
    assert report.run_line(found).startswith("after ") and "(begun as before)" in report.run_line(found)
    assert report.status(found).startswith("after (begun as before): loop dead; `make run ARGS='--name after'`")
    state = fold(journal.read(folder / journal.NAME), State(name="after"))
    assert "Run after:" in report.summary(state, noise(state), "logs/after", "a branch")[0]
    assert (report.line(START, state) or "").split("  ")[1].startswith("run after (begun as before) ·")
    if how == "copied":
        assert "begun as" not in report.status(cli._facts(before))


def test_a_run_whose_harness_speaks_another_version_is_not_continued(tmp_path: Path) -> None:
    project = Project(tmp_path, tmp_path / "logs")
    folder = run(project, "r", START)
    assert not plan(project, Options(name="r")).new, "it has no harness yet"
    contract_ = folder / "harness" / "nanochat" / "contract"
    contract_.mkdir(parents=True)
    for text in (None, "", "VERSION = 1\n", "VERSION = 999\n"):
        if text is not None:
            (contract_ / "messages.py").write_text(text)
        with pytest.raises(UsageError, match="begun with another version") as refused:
            plan(project, Options(name="r"))
        assert "--name NEW --from r" in str(refused.value)
    (contract_ / "messages.py").write_text(f"VERSION = {messages.VERSION}\n")
    assert not plan(project, Options(name="r")).new
