"""The main job from outside: propose, train, score, keep or drop, record, resume."""

from __future__ import annotations

import json
import os
import pty
import shlex
import shutil
import signal
import subprocess
from functools import partial

import msgspec
import pytest
from msgspec.structs import replace

from core.execution.deterministic import World
from core.judging import final_check
from core.model import Role
from core.record import events as ev
from core.record import journal, run_lock
from core.verdicts import Verdict
from tests.product import BETTER, TRAIN, Product, edit, harmless, slowly, until

WORSE = edit("Steps that come to nothing, to see that they lose.", ("1e-5", "10.0"))
BROKEN = edit("Forget a bracket.", ("model = Bigram(run.vocab_size)", "model = Bigram(run.vocab_size"))
CRASHING = edit("Divide by nothing.", ("    return model", "    1 / 0\n    return model"))
WORLD = World(
    effects={
        "torch.zeros(2, vocab, vocab)": -0.3,
        "+ 10.0)": 0.3,
        "LR = 0.001 ": 0.3,
        "6 * torch.randn(vocab, vocab)": 0.3,
    },
    seeds=0.01,
    noise=0.002,
    seconds=0.3,
)


@pytest.fixture
def computed(product: Product) -> Product:
    """For tests whose subject is not the training."""
    product.compute(WORLD)
    return product


def test_a_night_by_script(product: Product) -> None:
    done = product.run("--agent", product.script(BETTER, WORSE, BROKEN, CRASHING), "--max-experiments", "10")
    assert done.returncode == 0, done.stdout + done.stderr
    state = product.state()
    verdicts = [experiment.verdict for experiment in state.experiments.values()]
    assert verdicts[:2] == [Verdict.KEEP, Verdict.DISCARD]
    assert verdicts[2:] == [Verdict.CRASH, Verdict.CRASH]
    assert [state.experiments[n].crash for n in (3, 4)] == ["syntax", "exception"]
    assert "ZeroDivisionError" in state.experiments[4].traceback
    assert state.stopped is not None and state.stopped.finished
    # git: the branch holds the fit commit and exactly the kept change; every attempt has a ref; nothing of the user's moved
    log = product.git("log", "--format=%s", "main..autoresearch/r").splitlines()
    assert len(log) == 2 and log[0].startswith("Three times larger")
    assert "val_bpb" in product.git("log", "-1", "--format=%b", "autoresearch/r")
    refs = product.git("for-each-ref", "--format=%(refname) %(objectname)", "refs/autoresearch/r").splitlines()
    assert len(refs) >= 4 and f"refs/autoresearch/r/kept-00001 {state.incumbent}" in refs
    assert product.git("status", "--porcelain") == ""
    assert product.git("rev-parse", "--abbrev-ref", "HEAD") == "main"
    # derived files
    rows = (product.logs / "r" / "results.tsv").read_text().splitlines()
    assert rows[0].split("\t")[:5] == ["commit", "val_bpb", "memory_gb", "status", "description"]
    assert [row.split("\t")[3] for row in rows[1:]].count("crash") == 2
    assert "ZeroDivisionError" in (product.logs / "r" / "notebook.md").read_text()
    # status of the finished run
    found = json.loads(product("status", "r", "--json").stdout)
    assert found["kept"] == 1 and found["judged"] == 4 and not found["loop"]["alive"]
    assert product.strays() == []
    # going on has nothing to do, and says so
    again = product.run("--agent", product.script(BETTER, WORSE, BROKEN, CRASHING), "--max-experiments", "10")
    assert again.returncode == 0 and "nothing left to propose" in again.stdout
    # the final check, trained for real: other text, so other scores
    done = product("report", "r", "--seeds", "1")
    checked = final_check.outcome(product.state(), state.config.noise_prior if state.config else 0.0)
    assert done.returncode == 0 and checked is not None and checked.holds and "The gain holds." in done.stdout
    assert {round(checked.best, 4), round(checked.start, 4)}.isdisjoint(
        round(score, 4) for scores in product.state().scores.values() for score in scores.values()
    )
    assert product.strays() == []


def test_a_git_that_fails_for_a_while_only_delays(computed: Product) -> None:
    """The commit of a kept change cannot be written at first: it is said, tried again, and nothing is lost."""
    failed = computed.root.parent / "failed"
    wrapper = computed.root.parent / "bin" / "git"
    wrapper.parent.mkdir()
    wrapper.write_text(f"""#!/bin/sh
case " $* " in *" commit-tree "*)
    text=$(cat)
    case "$text" in *val_bpb*) if [ ! -e {failed} ]; then
        touch {failed}
        echo "fatal: unable to write the object" >&2
        exit 128
    fi ;; esac
    printf '%s\\n' "$text" | {shutil.which("git")} "$@"
    exit ;;
esac
exec {shutil.which("git")} "$@"
""")
    wrapper.chmod(0o755)
    computed.env["PATH"] = f"{wrapper.parent}{os.pathsep}{computed.env['PATH']}"
    done = computed.run("--agent", computed.script(BETTER))
    assert done.returncode == 0 and failed.exists(), done.stdout
    assert "unable to write the object" in done.stdout and "It is tried again in" in done.stdout
    assert computed.state().experiments[1].verdict is Verdict.KEEP
    assert computed.git("log", "-1", "--format=%s", "autoresearch/r").startswith("Three times larger")
    assert computed.git("fsck", "--no-dangling") == ""


def endless(count: int) -> list[dict[str, object]]:
    """Harmless ideas, each a different learning rate."""
    return [
        {"hypothesis": f"Learning rate {i}.", "source": TRAIN.replace("LR = 0.01", f"LR = {0.02 + i / 1000:.3f}")}
        for i in range(count)
    ]


def test_killed_while_it_trains_no_process_outlives_it_and_nothing_is_lost(product: Product) -> None:
    """In the baseline, and in an experiment. Every other moment: tests/core/loop/test_killed.py."""
    agent = product.script(slowly(harmless(1)), *map(harmless, range(2, 40)))
    path = product.logs / "r" / "events.jsonl"
    recorded = b""
    for role in (Role.BASELINE, Role.CANDIDATE):
        loop = product.start(*product.options(), "--agent", agent)
        until(partial(trains, product, role), f"a trainer of the {role} is there")
        loop.kill()
        loop.communicate()
        assert path.read_bytes().startswith(recorded), "a recorded event vanished"
        recorded = path.read_bytes()
    until(lambda: not product.strays(), "no process outlives its loop", within=60)
    target = product.state().judged + 2
    done = product.run("--agent", agent, "--max-experiments", str(target))
    assert done.returncode == 0, done.stdout + done.stderr
    assert path.read_bytes().startswith(recorded)
    state = product.state()
    assert state.judged >= target
    interrupted = [e for e in state.experiments.values() if e.verdict is Verdict.INTERRUPTED]
    repeated = {e.retry_of for e in state.experiments.values()}
    assert interrupted and all(e.number in repeated for e in interrupted)
    assert product.git("fsck", "--no-dangling") == ""
    refs = dict(
        line.split()[::-1] for line in product.git("for-each-ref", "--format=%(objectname) %(refname)").splitlines()
    )
    for experiment in state.experiments.values():
        assert refs[f"refs/autoresearch/r/{experiment.id}"] == experiment.attempts[0]


def trains(product: Product, role: Role) -> bool:
    """Whether a process trains for this role now."""
    if not (product.logs / "r" / journal.NAME).exists():
        return False
    state = product.state()
    return any(launched.role is role and state.processes.get(job) for job, launched in state.running.items())


def test_killed_before_it_had_written_down_its_start(computed: Product) -> None:
    assert computed.run("--agent", computed.script(*endless(1))).returncode == 0
    path = computed.logs / "r" / "events.jsonl"
    path.write_bytes(path.read_bytes().splitlines(keepends=True)[0])
    done = computed.run("--agent", computed.script(*endless(1)))
    assert done.returncode == 0, done.stderr
    state = computed.state()
    assert state.judged == 1 and computed.git("show", f"{state.start_commits[0]}:nanochat/train.py") == TRAIN.strip()


def test_killed_between_two_lines(computed: Product) -> None:
    """What was about to be refused is refused, and what was interrupted is queued once more."""
    (computed.root / "program.md").write_text("---\noff_limits: BATCH\n---\n# Aim\n\nLow.\n")
    agent = computed.script(edit("Touch it.", ("BATCH = 8", "BATCH = 9")), *endless(1))
    assert computed.run("--agent", agent).returncode == 0
    path = computed.logs / "r" / "events.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    before = computed.state()
    assert before.experiments[1].verdict is Verdict.INVALID and before.experiments[2].verdict is not None
    first = next(i for i, line in enumerate(lines) if b'"type":"proposed"' in line)
    path.write_bytes(b"".join(lines[: first + 1]))
    assert computed.run("--agent", agent).returncode == 0
    refused = computed.state().experiments[1]
    assert refused.verdict is Verdict.INVALID and not refused.launched and "rejected after a restart" in refused.reason
    second = next(i for i, line in enumerate(lines) if b'"type":"proposed"' in line and i > first)
    cut = ev.Judged(number=2, verdict=Verdict.INTERRUPTED, finding="f")
    path.write_bytes(b"".join(lines[: second + 1]) + msgspec.json.encode(cut) + b"\n")
    assert computed.run("--agent", agent).returncode == 0
    again = [e for e in computed.state().experiments.values() if e.retry_of == 2]
    assert len(again) == 1 and again[0].launched and again[0].verdict not in (None, Verdict.INTERRUPTED)


def test_a_hang_up_does_not_end_what_was_started_to_outlive_the_terminal(product: Product) -> None:
    """`nohup ... &` in a terminal that closes: SIGHUP and SIGINT were ignored at the start, by nohup and by the shell."""
    product.compute(replace(WORLD, seconds=600.0))
    options = [*product.options(), "--agent", product.script(*endless(5))]
    shell, terminal = pty.fork()
    if not shell:
        os.chdir(product.root)
        line = f"nohup {shlex.join(product.command(*options))} & wait"
        os.execvpe("bash", ["bash", "-c", line], product.env)
    until(lambda: product.logs.joinpath("r/events.jsonl").exists() and product.state().running, "it trains")
    pid = run_lock.alive(product.logs / "r")
    assert pid is not None
    os.close(terminal)
    os.waitpid(shell, 0)
    for number in (signal.SIGHUP, signal.SIGINT):
        os.kill(pid, number)
    asked = product("stop", "r", "--now")
    assert "stopping now" in asked.stdout, asked.stdout + asked.stderr
    state = product.state()
    assert state.stopped is not None and state.stopped.reason == "stop requested"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_ends_it_in_good_order(product: Product, number: signal.Signals) -> None:
    product.compute(replace(WORLD, seconds=600.0))
    loop = product.start(*product.options(), "--agent", product.script(*endless(5)))
    assert loop.stdout is not None
    for line in loop.stdout:
        if "baseline: training" in line:
            break
    loop.send_signal(number)
    output, _ = loop.communicate(timeout=100)
    assert loop.returncode == 0, output
    assert f"stop requested by {number.name}" in output
    state = product.state()
    assert state.stopped is not None and not state.running


def disturb(product: Product, run: str) -> None:
    """What cleaners, editors and file managers do meanwhile."""
    shutil.rmtree(product.env["TMPDIR"])
    folder = product.logs / run
    for place in (folder / "harness", folder / "harness" / "nanochat", folder / "data"):
        for name in (".DS_Store", "4913", ".scorer.py.swp", "json.py", "scorer.so"):
            (place / name).write_text("foreign")
    shutil.rmtree(folder / "loop")
    shutil.rmtree(folder / "scratch", ignore_errors=True)  # in which somebody works


@pytest.mark.parametrize("now", [False, True], ids=["stop", "stop --now"])
def test_stop_finishes_the_experiment_and_stop_now_does_not(product: Product, now: bool) -> None:
    """Whatever else happens to files beside the run's own. Only the training that is finished is a real one."""
    product.env["TMPDIR"] = str(product.root.parent / ("t" * 84))
    if now:
        product.compute(replace(WORLD, seconds=600.0))
    os.makedirs(product.env["TMPDIR"])
    loop = product.start(*product.options(), "--agent", product.script(*map(harmless, range(1, 50))))
    assert loop.stdout is not None
    for line in loop.stdout:
        if ("baseline: training" if now else "#1 training") in line:
            break
    disturb(product, "r")
    asked = product("stop", "r", *(["--now"] if now else []))
    assert asked.returncode == 0, asked.stderr
    output, _ = loop.communicate(timeout=200)
    assert loop.returncode == 0, output
    state = product.state()
    assert not state.running and state.stopped is not None
    if now:
        assert state.judged == 0 and state.baseline is None
    else:
        assert state.experiments[1].verdict not in (None, Verdict.INTERRUPTED)
    assert product.strays() == []


def test_a_second_loop_is_refused_and_a_run_whose_copies_were_altered_ends(product: Product) -> None:
    product.compute(replace(WORLD, seconds=3.0))
    loop = product.start(*product.options(), "--agent", product.script(*endless(5)))
    assert loop.stdout is not None
    for line in loop.stdout:
        if "baseline: training" in line:
            break
    second = product.run("--agent", "search")
    assert second.returncode == 1 and "already has a loop" in second.stderr
    assert f"process {loop.pid}" in second.stderr
    altered = product.logs / "r" / "harness" / "nanochat" / "harness" / "scorer.py"  # and every end has its reason
    altered.write_text(altered.read_text() + "# altered\n")
    output, _ = loop.communicate(timeout=100)
    assert loop.returncode == 1 and "was altered" in output
    assert f"own copy {altered} was altered" in product("status", "r").stdout
    third = product.run("--agent", "search")
    assert third.returncode == 1 and "was altered" in third.stderr and "--from r" in third.stderr


def test_two_slots_and_a_stale_winner(computed: Product) -> None:
    """Two real gains train side by side. The second to win finds the best moved on: it is re-applied, run again, kept."""
    bad_start = TRAIN.replace("LR = 0.01", "LR = 0.001").replace(
        "torch.zeros(vocab, vocab)", "6 * torch.randn(vocab, vocab)"
    )
    (computed.root / "nanochat" / "train.py").write_text(bad_start)
    step = edit("A larger step.", ("LR = 0.001", "LR = 0.01"))
    start = edit("Start from nothing.", ("6 * torch.randn(vocab, vocab)", "torch.zeros(vocab, vocab)"))
    done = computed.run("--agent", computed.script(step, start, BROKEN), "--slots", "2")
    assert done.returncode == 0, done.stdout + done.stderr
    state = computed.state()
    assert sorted(state.kept) == [1, 2], done.stdout
    first, second = (state.experiments[number] for number in state.kept)
    assert second.parent == first.commit and len(second.attempts) == 2 and "re-applied to the new best" in done.stdout
    log = computed.git("log", "--format=%H", "main..autoresearch/r").split()
    assert log == [second.commit, first.commit, state.commits[0]], "the branch holds the start and the two, in order"
    best = computed.git("show", "autoresearch/r:nanochat/train.py")
    assert "LR = 0.01" in best and "torch.zeros(vocab, vocab)" in best
    assert len({launched.slot for launched in launches(computed)}) == 2


def launches(product: Product) -> list[ev.Launched]:
    return [event for event in journal.read(product.logs / "r" / journal.NAME) if isinstance(event, ev.Launched)]


def test_the_journal_alone_reproduces_the_status(computed: Product) -> None:
    computed.run("--agent", computed.script(BETTER, WORSE))
    before = json.loads(computed("status", "r", "--json").stdout)
    for path in (computed.logs / "r").iterdir():
        if path.name not in ("events.jsonl", "lock") and path.is_file():
            path.unlink()
    assert json.loads(computed("status", "r", "--json").stdout) == before


def test_from_begins_at_another_runs_best(computed: Product) -> None:
    computed.run("--agent", computed.script(BETTER))
    done = computed.run("--agent", computed.script(WORSE), "--from", "r", name="next")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "LR = 0.03" in computed.git("show", f"{computed.state('next').start_commits[0]}:nanochat/train.py")


def test_another_budget_on_a_continued_run_is_refused(computed: Product) -> None:
    computed.run("--agent", computed.script(BETTER), "--budget", "0.5")
    journal_before = (computed.logs / "r" / "events.jsonl").read_bytes()
    done = computed.run("--agent", computed.script(BETTER), "--budget", "0.7")
    assert done.returncode == 1 and "budget 0.5" in done.stderr and "--from r" in done.stderr
    assert (computed.logs / "r" / "events.jsonl").read_bytes() == journal_before


def test_the_limits_of_program_md_are_enforced(computed: Product) -> None:
    program, batch = computed.root / "program.md", edit("Twice the batch.", ("BATCH = 8", "BATCH = 16"))
    program.write_text("---\nmax_memory_gb: 0.01\noff_limits: [BATCH]\n---\n# Aim\nLow val_bpb.\n")
    done = computed.run("--agent", computed.script(BETTER, batch))
    assert done.returncode == 1 and "baseline" in done.stderr, "the user's own train.py breaks the limit: say so"
    assert "program.md allows 0.01 GB" in done.stderr and "the limit in program.md" in done.stderr
    program.write_text("---\noff_limits: [BATCH]\n---\n# Aim\nLow val_bpb.\n")
    done = computed.run("--agent", computed.script(batch), name="two")
    assert done.returncode == 0, done.stderr
    only = computed.state("two").experiments[1]
    assert only.verdict is Verdict.INVALID and "BATCH" in only.reason


def test_output_is_plain_in_a_pipe(computed: Product) -> None:
    done = subprocess.run(
        computed.command(*computed.options(), "--agent", computed.script(BETTER)),
        cwd=computed.root,
        env=computed.env | {"TERM": "dumb"},
        capture_output=True,
        timeout=250,
    )
    assert b"\x1b" not in done.stdout and done.returncode == 0
