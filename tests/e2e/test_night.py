"""The main job from outside: propose, train, score, keep or drop, record, resume."""

from __future__ import annotations

import json
import os
import shutil
import subprocess

import pytest

from core.execution.deterministic import World
from core.judging import final_check
from core.record import events as ev
from core.record import journal
from core.verdicts import Verdict
from tests.product import BETTER, TRAIN, Product, edit

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
    done = product("report", "r", "--seeds", "3")
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
