"""Every way a train.py may misbehave, with the real harness on tiny shapes. None may win, none may stop the harness."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from core.execution.local import harness_environment
from nanochat.contract.job import CrashClass, Outcome
from nanochat.contract.messages import Abort, Progress, Ready
from nanochat.sandbox.probe import probe
from tests.conftest import Harness
from tests.product import TRAIN

FOUND = probe()
LOCKED = FOUND.landlock_abi >= 1
needs_landlock = pytest.mark.skipif(
    not LOCKED, reason="this kernel has no Landlock, so the trainer runs unprotected here"
)

needs_seccomp = pytest.mark.skipif(not FOUND.seccomp, reason="this machine's system calls cannot be filtered")

MODEL = "    model = Bigram(run.vocab_size).to(run.device)\n"
RETURN = "    return model\n"
FORWARD = "        return self.table[x]\n"


def with_(old: str, new: str, source: str = TRAIN) -> str:
    assert source.count(old) == 1
    return source.replace(old, new)


STEADY = with_(  # the same steps on any machine, however busy: the same score to the last digit
    "for x, y in run.batches(BATCH, run.seq_len):", "for _, (x, y) in zip(range(25), run.batches(BATCH, run.seq_len)):"
)


@pytest.fixture(scope="module")
def harness(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Harness]:
    """The harness of a user whose environment holds a secret."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("OPENAI_API_KEY", "secret")
        made = Harness(tiny_data, tmp_path_factory.mktemp("jobs"))
    yield made
    made.close()


@pytest.fixture(scope="module")
def honest(harness: Harness) -> float:
    """The score of the honest model: the yardstick that no cheat may pass. Its preflight is part of it."""
    result = harness.run(STEADY, budget_s=5.0)  # of which it needs a hundredth
    assert result.outcome is Outcome.SCORED and result.val_bpb is not None
    return result.val_bpb


@pytest.fixture(autouse=True)
def still_sound(harness: Harness, honest: float):  # type: ignore[no-untyped-def]
    """After each misbehaviour the next honest job scores as ever, and no process is left."""
    jobs = harness.count
    yield
    if harness.count > jobs:
        check_soundness(harness, honest)


def check_soundness(harness: Harness, honest: float) -> None:
    result = harness.run(STEADY, budget_s=5.0, preflight=False)
    assert result.outcome is Outcome.SCORED and result.val_bpb == pytest.approx(honest, abs=1e-6)
    _, alive = psutil.wait_procs(harness.descendants(), timeout=60)
    assert not alive


def test_an_honest_model_scores_and_its_curve_is_kept(harness: Harness, honest: float) -> None:
    result = harness.run(TRAIN)
    assert 1.0 < honest < 8.0 and result.steps > 3 and result.params == 320 * 320
    out = harness.folder / result.job
    assert '"loss"' in (out / "metrics.jsonl").read_text() and (out / "nats.npy").exists()
    assert {"preflight", "setup", "training", "scoring", "cleanup"} <= set(result.parts)


# -- crashes, each with its class and a reason ------------------------------------------------------------------------

CRASHES = {
    "syntax": (TRAIN + "\ndef broken(:\n", CrashClass.SYNTAX),
    "import": ("import no_such_package\n" + TRAIN, CrashClass.IMPORT),
    "no train": (TRAIN.replace("def train(run)", "def trian(run)"), CrashClass.CONTRACT),
    "exception": (with_(RETURN, "    raise KeyError('lost')\n"), CrashClass.EXCEPTION),
    "nothing returned": (with_(RETURN, "    return None\n"), CrashClass.CONTRACT),
    "nonsense returned": (with_(RETURN, "    return 'a very good model'\n"), CrashClass.CONTRACT),
    "wrong shape": (with_(FORWARD, "        out = self.table[x]\n        return out if torch.is_grad_enabled() else out[:, :-1]\n"),
                    CrashClass.OUTPUT_SHAPE),
    "no tensor": (with_(FORWARD, "        return [1, 2, 3]\n").replace("model(x).flatten(0, 1)", "model.table[x].flatten(0, 1)"),
                  CrashClass.OUTPUT_SHAPE),
    "not a number": (with_(RETURN, "    model.table.data.fill_(float('nan'))\n    return model\n", STEADY), CrashClass.NON_FINITE),
    "loss not finite": (with_("run.log(loss=loss.item())", "run.log(loss=float('nan')); import time; time.sleep(0.06)"),
                        CrashClass.NON_FINITE),
    "leaves at once": (with_(MODEL, "    import os; os._exit(0)\n"), CrashClass.EXCEPTION),
    "closes its files": (with_(MODEL, "    import os; os.closerange(3, 64)\n" + MODEL), CrashClass.EXCEPTION),
    "no memory for words": (with_(MODEL, "    import os; os._exit(12)\n"), CrashClass.OUT_OF_MEMORY),
    "a library that gives up": (
        with_(MODEL, "    import os; os.write(2, b\"terminate called: 'std::bad_alloc'\\n\"); os._exit(128 + 6)\n"), CrashClass.OUT_OF_MEMORY,
    ),
    "an error of the system": (with_(MODEL, "    raise OSError(12, 'Cannot allocate memory')\n"), CrashClass.OUT_OF_MEMORY),
    "memory": (with_(MODEL, "    hog = torch.empty(2 * 10**9)\n" + MODEL), CrashClass.OUT_OF_MEMORY),
}  # fmt: skip


@pytest.mark.parametrize("name", CRASHES)
def test_crashes_have_a_class_and_a_reason(harness: Harness, name: str) -> None:
    source, kind = CRASHES[name]
    result = harness.run(source, memory_limit=3_000_000_000, budget_s=3.0)
    assert result.outcome is Outcome.CRASH and result.val_bpb is None
    assert result.crash is kind, result.reason
    assert result.reason and "\x1b" not in result.reason and len(result.reason) <= 300


def test_a_trainer_that_is_killed_says_by_what(harness: Harness) -> None:
    job = harness.submit(
        with_("        run.log", "        import time; time.sleep(0.05)\n        run.log"), budget_s=60.0
    )
    until(harness, "training")
    (scorer,) = psutil.Process(harness.process.pid).children()
    (trainer,) = [process for process in scorer.children(recursive=True) if not process.children()]
    assert Path(f"/proc/{trainer.pid}/oom_score_adj").read_text() == "1000\n", "the kernel takes it before the loop"
    trainer.kill()
    result = harness.result(job)
    assert (result.outcome, result.crash, result.signal) == (Outcome.CRASH, CrashClass.EXCEPTION, signal.SIGKILL)
    assert "SIGKILL" in result.reason


def test_a_scorer_that_is_killed_says_by_what(harness: Harness) -> None:
    job = harness.submit(TRAIN, budget_s=60.0)
    until(harness, "training")
    (scorer,) = psutil.Process(harness.process.pid).children()
    scorer.kill()
    result = harness.result(job)
    assert (result.outcome, result.signal) == (Outcome.INTERRUPTED, signal.SIGKILL)


def test_a_traceback_shows_the_lines_of_train_py_only_and_no_escapes(harness: Harness) -> None:
    result = harness.run(with_(RETURN, "    raise ValueError('\\x1b[31mred\\x07 and ' + 'long ' * 1000)\n"))
    assert "train.py:" in result.traceback and "nanochat/" not in result.traceback
    assert "\x1b" not in result.traceback + result.reason and len(result.traceback) <= 1500


def test_a_hang_is_seen(harness: Harness) -> None:
    result = harness.run(with_("        run.log", "        import time; time.sleep(1000)\n        run.log"), hang_s=1.0)
    assert result.outcome is Outcome.CRASH and result.crash is CrashClass.HANG


def test_a_hang_while_answering_is_seen(harness: Harness) -> None:
    sleepy = with_(
        FORWARD,
        "        if not torch.is_grad_enabled() and x.shape[1] == 32:\n            import time; time.sleep(1000)\n"
        + FORWARD,
    )
    result = harness.run(sleepy, hang_s=1.0, preflight=False)
    assert result.outcome is Outcome.CRASH and result.crash is CrashClass.HANG


def test_a_scorer_that_stood_still_takes_no_training_for_a_hang(harness: Harness) -> None:
    slow = with_("        run.log", "        import time; time.sleep(0.15)\n        run.log", STEADY)
    job = harness.submit(slow, budget_s=5.0, hang_s=2.0)
    until(harness, "training")
    (scorer,) = psutil.Process(harness.process.pid).children()
    scorer.suspend()
    time.sleep(2.5)  # longer than a trainer may be silent; this one went on meanwhile
    scorer.resume()
    result = harness.result(job)
    assert result.outcome is Outcome.SCORED, result.reason


# -- the clock --------------------------------------------------------------------------------------------------------

FREE_S = 0.5  # of set-up: an honest one takes a fifth of that
BURN = "import time as _t; _e = _t.process_time() + {s}\nwhile _t.process_time() < _e: pass\n"


def indented(text: str) -> str:
    return "".join(f"    {line}\n" for line in text.splitlines())


def test_training_at_import_is_an_overrun(harness: Harness) -> None:
    assert harness.run(BURN.format(s=2) + STEADY, preflight=False, setup_s=FREE_S).outcome is Outcome.OVERRUN


def test_training_in_warm_up_is_an_overrun(harness: Harness) -> None:
    warm = "    for x, y in run.warmup_batches(8, 32):\n        pass\n" + indented(BURN.format(s=2))
    assert harness.run(with_(MODEL, MODEL + warm), preflight=False, setup_s=FREE_S).outcome is Outcome.OVERRUN


def test_going_on_after_the_end_is_an_overrun(harness: Harness) -> None:
    result = harness.run(with_(RETURN, indented(BURN.format(s=3)) + RETURN), preflight=False)
    assert result.outcome is Outcome.OVERRUN and "0.4 s" in result.reason


def test_a_patched_clock_does_not_help(harness: Harness) -> None:
    lie = "import time\ntime.process_time = time.monotonic = lambda: 0.0\nfrom nanochat.run import Run\nRun._over = lambda self: False\n"
    assert harness.run(lie + TRAIN, preflight=False).outcome is Outcome.OVERRUN


@needs_seccomp
@pytest.mark.parametrize("start", ["os.fork()", "os.system('true')", "__import__('multiprocessing').Process().start()"])
def test_a_trainer_cannot_start_a_child_that_could_hide_its_time(harness: Harness, start: str) -> None:
    """Whoever ignores SIGCHLD makes the kernel forget what its children used."""
    hidden = f"    import os, signal\n    signal.signal(signal.SIGCHLD, signal.SIG_IGN)\n    if {start}: pass\n"
    result = harness.run(with_(MODEL, MODEL + hidden))
    refused = result.outcome is Outcome.CRASH and "sandbox does not allow" in result.reason
    assert refused or (start.startswith("os.system") and result.outcome is Outcome.SCORED), result.reason


LEARNS_IN_THE_EXAM = """
class Late(torch.nn.Module):
    def __init__(self, model, run):
        super().__init__()
        self.model, self.run, self.asked = model, run, {before}

    def forward(self, x):
        import time
        self.asked += 1
        if x.shape[1] == 32 and self.asked == 1:
            until = time.process_time() + 2.5
            while time.process_time() < until:  # on tokens that it kept
                with torch.enable_grad():
                    y = self.run._tokens[:257].astype('int64')
                    rows = torch.from_numpy(y)
                    loss = F.cross_entropy(self.model(rows[None, :-1]).flatten(0, 1), rows[1:])
                    (grad,) = torch.autograd.grad(loss, self.model.table)
                    with torch.no_grad():
                        self.model.table -= 0.1 * grad.sign()
        return self.model(x)
"""


def test_steps_too_large_for_the_budget_are_reported(harness: Harness) -> None:
    line = "        run.log(loss=loss.item())\n"
    for seconds, budget_s, words in ((0.86, 2.0, "a step took 0.9 s"), (1.6, 0.4, "Use a longer --budget")):
        burn = f"        import time\n        end = time.process_time() + {seconds}\n        while time.process_time() < end:\n            pass\n"
        result = harness.run(with_(line, line + burn), budget_s=budget_s, preflight=False)
        assert result.outcome is Outcome.OVERRUN and words in result.reason, result.reason


def test_training_in_the_first_answer_is_an_overrun(harness: Harness) -> None:
    """Its answers agree with each other, and all the time that answering may take is left to it."""
    source = with_("def train(run):", LEARNS_IN_THE_EXAM.format(before=0) + "\n\ndef train(run):")
    source = with_(RETURN, "    return Late(model, run)\n", source)
    result = harness.run(source, preflight=False, scoring_s=60.0)
    assert result.outcome is Outcome.OVERRUN and result.charged_s > 2.0, (result.outcome, result.reason)


def test_slow_but_even_answers_are_within_the_allowance(harness: Harness) -> None:
    slow = with_(
        FORWARD,
        "        if not torch.is_grad_enabled():\n            for _ in range(40): self.table[x].exp()\n" + FORWARD,
    )
    result = harness.run(slow, scoring_s=60.0)
    assert result.outcome is Outcome.SCORED, result.reason


# -- what it may touch ------------------------------------------------------------------------------------------------


ATTEMPTS = (
    "import sysconfig; open(sysconfig.get_paths()['stdlib'] + '/argparse.py').read()",
    "open('{data}/val.bin', 'rb').read()",
    "open('{data}/manifest.json').read()",
    "open('/etc/passwd').read()",
    "import os; os.listdir(os.path.expanduser('~root'))",
    "open('{jobs}/stolen', 'w')",
    "import os; os.remove('{jobs}/keep')",
    "import os; os.rmdir('{jobs}')",
    "open('/tmp/left-behind', 'w')",
    "open('/dev/shm/left-behind', 'w')",
    "open('/proc/%d/mem' % __import__('os').getppid(), 'rb').read(1)",
    "import socket; socket.socket(socket.AF_INET, socket.SOCK_STREAM)",
    "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM)",
    "import os; os.execv('/bin/true', ['true'])",
    "import subprocess; subprocess.run(['/bin/true'], check=True)",
    "import os; os.kill({pid}, 0)",
    "import ctypes\nif ctypes.CDLL(None).msgget(77, 0o1600) < 0: raise OSError",
    "import ctypes\nif ctypes.CDLL(None).semget(77, 1, 0o1600) < 0: raise OSError",
)  # fmt: skip
TRY_ALL = """
    for code in {codes!r}:
        try:
            exec(code, {{}})
        except OSError:
            print("refused", flush=True)
        except BaseException as error:
            print(type(error).__name__, error, flush=True)
        else:
            print("worked", flush=True)
"""


@pytest.fixture(scope="module")
def tried(harness: Harness, honest: float) -> dict[str, str]:
    """What became of each of ATTEMPTS. One trainer tries them all, and then trains on."""
    (harness.folder / "keep").write_text("x")
    names = {"{data}": str(harness.data), "{jobs}": str(harness.folder), "{pid}": str(os.getpid())}
    codes = list(ATTEMPTS)
    for name, value in names.items():
        codes = [code.replace(name, value) for code in codes]
    result = harness.run(with_(MODEL, TRY_ALL.format(codes=codes) + MODEL, STEADY), preflight=False)
    assert result.outcome is Outcome.SCORED, (result.reason, result.traceback)
    said = (harness.folder / result.job / "output.txt").read_text().splitlines()
    check_soundness(harness, honest)
    return dict(zip(ATTEMPTS, said, strict=True))


@needs_landlock
@pytest.mark.parametrize("code", ATTEMPTS)
def test_what_it_may_not_touch_is_refused(harness: Harness, tried: dict[str, str], code: str) -> None:
    assert tried[code] == "refused"
    assert (harness.folder / "keep").read_text() == "x" and not (harness.folder / "stolen").exists()


@needs_landlock
def test_nothing_is_left_for_the_next_trainer(harness: Harness) -> None:
    leave = with_(
        MODEL,
        "    open('note', 'w').write('for the next one')\n    import os; print(os.getcwd(), flush=True)\n" + MODEL,
        STEADY,
    )
    result = harness.run(leave)
    assert result.outcome is Outcome.SCORED
    scratch = Path((harness.folder / result.job / "output.txt").read_text().split()[0])
    assert scratch.is_absolute() and not scratch.exists()


def test_the_environment_holds_no_secrets(harness: Harness) -> None:
    tell = with_(MODEL, "    import os; print(sorted(os.environ.items()), flush=True)\n" + MODEL, STEADY)
    result = harness.run(tell)
    told = (harness.folder / result.job / "output.txt").read_text()
    assert "'PATH'" in told and "KEY" not in told and "secret" not in told


def test_a_flood_of_output_is_cut(harness: Harness) -> None:
    flood = with_(RETURN, "    for _ in range(2000): print('x' * 10_000)\n" + RETURN, STEADY)
    result = harness.run(flood, output_limit=100_000, budget_s=3.0)
    assert result.outcome in (Outcome.SCORED, Outcome.OVERRUN)
    assert (harness.folder / result.job / "output.txt").stat().st_size < 110_000


@pytest.mark.parametrize("how", ["pass", "os.setsid()", "os.fork() and os._exit(0)"])
def test_children_that_stay_are_ended(harness: Harness, how: str) -> None:
    marker = f"autoresearch-stray-{os.getpid()}-{abs(hash(how))}"
    child = (
        f"    import os, time, ctypes\n    if os.fork() == 0:\n        {how}\n"
        f"        ctypes.CDLL(None).prctl(15, b'{marker[:15]}', 0, 0, 0)\n        time.sleep(600)\n"
    )
    harness.run(with_(MODEL, child + MODEL))
    assert not [p for p in psutil.process_iter(["name"]) if p.info["name"] == marker[:15]]


def test_killing_its_parent_does_not_help(harness: Harness) -> None:
    result = harness.run(with_(MODEL, "    import os, signal\n    os.kill(os.getppid(), signal.SIGKILL)\n" + MODEL))
    assert result.outcome in (Outcome.CRASH, Outcome.SCORED)


def test_too_many_parameters_break_a_rule(harness: Harness) -> None:
    result = harness.run(TRAIN, max_params=1000)
    assert result.outcome is Outcome.INVALID and "102,400" in result.reason and "1,000" in result.reason
    hidden = harness.run(with_(RETURN, "    return lambda x: model(x)\n"), max_params=1000)
    assert hidden.outcome is Outcome.INVALID and "torch module" in hidden.reason
    assert harness.run(with_(RETURN, "    return lambda x: model(x)\n", STEADY)).outcome is Outcome.SCORED


def test_a_model_that_cannot_answer_a_whole_batch_is_scored_with_less(harness: Harness, honest: float) -> None:
    greedy = with_(
        FORWARD, "        if not torch.is_grad_enabled() and len(x) > 2: raise MemoryError\n" + FORWARD, STEADY
    )
    result = harness.run(greedy, budget_s=5.0)
    assert result.outcome is Outcome.SCORED and result.val_bpb == pytest.approx(honest, abs=1e-4)
    hopeless = with_(FORWARD, "        if not torch.is_grad_enabled(): raise MemoryError\n" + FORWARD)
    result = harness.run(hopeless)
    assert result.outcome is Outcome.CRASH and result.crash is CrashClass.OUT_OF_MEMORY


# -- ending -----------------------------------------------------------------------------------------------------------


def until(harness: Harness, phase: str) -> None:
    while not (isinstance(told := harness.receive(), Progress) and told.phase == phase):
        pass


def test_an_abort_ends_the_job_and_the_next_one_runs(harness: Harness) -> None:
    job = harness.submit(TRAIN, budget_s=60.0)
    until(harness, "training")
    harness.send(Abort())
    assert harness.result(job).outcome is Outcome.INTERRUPTED


@pytest.mark.parametrize("how", ["end of input", "kill"])
def test_no_process_outlives_the_harness(tiny_data: Path, tmp_path: Path, how: str) -> None:
    other = Harness(tiny_data, tmp_path)
    other.submit(TRAIN, budget_s=60.0)
    until(other, "training")
    processes = [psutil.Process(other.process.pid), *psutil.Process(other.process.pid).children(recursive=True)]
    assert len(processes) >= 3
    if how == "kill":
        other.process.send_signal(signal.SIGKILL)
    other.close()
    _, alive = psutil.wait_procs(processes, timeout=60)
    assert not alive


@pytest.mark.parametrize(
    ("code", "preflight"),
    [
        # the scorer starts afresh
        ("from nanochat.harness import fork_server as f, start_trainer as t; t.FORKS = False; f.main()", True),
        ("import sys\nfrom nanochat.harness import progress, scorer, start_trainer\nfrom nanochat.contract.messages import Ready, request\n"
        "start_trainer.FORKS = False\nprogress.say(Ready(pid=0, torch=''))\n"
        "scorer.main(request(sys.stdin.buffer.readline()).job)", False),  # and so is its trainer
    ],
)  # fmt: skip
def test_spawning_instead_of_forking_scores_as_well(
    tiny_data: Path, honest: float, tmp_path: Path, code: str, preflight: bool
) -> None:
    job = Harness.__new__(Harness)
    job.data, job.folder, job.count = tiny_data, tmp_path, 0
    job.process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        cwd=Path(__file__).resolve().parents[3], env=harness_environment("cpu"),
    )  # fmt: skip
    assert isinstance(job.receive(), Ready)
    # its first steps load what a fork has loaded before
    result = job.run(STEADY, setup_s=10.0, budget_s=20.0, preflight=preflight)
    job.close()
    assert result.outcome is Outcome.SCORED and result.val_bpb == pytest.approx(honest, abs=1e-6)
