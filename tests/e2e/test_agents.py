"""Language models and coding agents in a whole run: real HTTP and the command line. Scores are computed, since agents are the subject."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from core.execution.deterministic import World
from core.record import events as ev
from core.record import journal
from core.verdicts import Verdict
from tests.ollama_server import MODEL, Script, serving
from tests.product import Product, until

SPEED = ("--budget", "0.5")


@pytest.fixture(autouse=True)
def computed(product: Product) -> None:
    product.compute(World(noise=0.005, seconds=0.3))


def ideas(body: dict[str, Any], count: int) -> dict[str, Any]:
    """A model that answers in the form it is asked for, another idea each time."""
    if "goals" in body["format"].get("properties", {}):
        return {"goals": ["lowest val_bpb"], "directions": ["the schedule, says the model"], "avoid": []}
    if "anyOf" in body["format"]:
        knobs = body["format"]["anyOf"]
        one = knobs[count % len(knobs)]["properties"]
        moves = one["move"]["enum"]
        return {"hypothesis": f"idea {count}", "knob": one["knob"]["const"], "move": moves[count % len(moves)]}
    source = body["messages"][0]["content"]  # some or all of the constants, a mixture that comes round only after seven
    values = {"LR": 0.02 + count / 1000, "DECAY": count / 1000 + 0.001, "BATCH": 9 + count}
    chosen = [name for bit, name in enumerate(values) if (count % 7 + 1) >> bit & 1]
    found = {name: re.search(rf"^{name} = \S+ ", source, re.M) for name in chosen}
    return {
        "hypothesis": f"idea {count}",
        "edits": [
            {"search": match[0], "replace": f"{name} = {values[name]} "} for name, match in found.items() if match
        ],
    }


def with_ollama(product: Product, url: str) -> None:
    product.env["OLLAMA_HOST"] = url


@pytest.mark.timeout(900)
@pytest.mark.parametrize(("tenancy", "count"), [("coresident", 20), ("unload", 14)])
def test_twenty_experiments_while_the_server_dies_and_comes_back(product: Product, tenancy: str, count: int) -> None:
    model, script = f"ollama:{MODEL}", Script(ideas)

    def agents() -> list[str]:
        return [e.agent for e in product.state().experiments.values()]

    with serving(script) as url:
        with_ollama(product, url)
        process = product.start(*product.options(), "--agent", model, "--tenancy", tenancy, *SPEED)
        wait(product, count // 3)
    port = int(url.rsplit(":", 1)[1])
    wait(product, count // 2)
    until(lambda: "search" in agents())  # some proposals were made ahead; then somebody has to stand in
    with serving(script, port):
        # Who stands in may have made a whole phase's proposals ahead: how many come before the model is asked again is open.
        until(lambda: model in agents()[agents().index("search") :])
        wait(product, count)
        product("stop", "r")
        out, _ = process.communicate(timeout=250)
    assert process.returncode == 0, out
    state = product.state()
    assert state.judged >= count and agents()[0] == model
    stood_in = [e for e in state.experiments.values() if e.agent == "search"]
    assert all(e.notes.instead == f"ollama:{MODEL}" for e in stood_in)
    assert any("does not answer" in e.notes.why for e in stood_in)
    assert "instead of ollama" in out and not product.strays()
    events = list(journal.read(product.logs / "r" / journal.NAME))
    assert not [e for e in events if isinstance(e, ev.Refused)], "no proposal is missing: another stood in"
    if tenancy == "unload":
        assert not script.loaded, "it left"
    facts = json.loads(product("status", "r", "--json").stdout)
    scores = {row["agent"]: row for row in facts["agents"]}
    assert (
        scores[f"ollama:{MODEL}"]["proposed"] == agents().count(f"ollama:{MODEL}")
        and scores[f"ollama:{MODEL}"]["tokens"] > 0
    )
    assert "search" in product("status", "r").stdout and "| agent |" in product("notebook", "r").stdout


def wait(product: Product, judged: int) -> None:
    until(lambda: (product.logs / "r" / journal.NAME).exists() and product.state().judged >= judged)


def test_a_run_without_a_named_agent_takes_the_model_that_is_there(product: Product) -> None:
    with serving(Script(ideas, models=("big:70b", MODEL))) as url:
        with_ollama(product, url)
        done = product(*product.options(), *SPEED, "--max-experiments", "1")
        assert done.returncode == 0, done.stderr
        assert "1.0 GB of weights" in done.stdout
        listed = product("agents").stdout
        assert f"ollama:{MODEL}" in listed and "the default" in listed and "context 32768" in listed
    state = product.state()
    assert state.experiments[1].agent.startswith("ollama:") and state.config.agent == f"ollama:{MODEL},search"
    assert state.charter is not None and "directions: the schedule, says the model" in state.charter.understood


def test_a_failed_restatement_is_asked_again_and_all_is_booked(product: Product) -> None:
    restated: list[int] = []

    def answer(body: dict[str, Any], count: int) -> dict[str, Any] | str:
        if "goals" not in body["format"].get("properties", {}):
            return ideas(body, count)
        restated.append(count)
        limits = {"max_params": 5_000_000, "off_limits": []}
        return "Hm." if len(restated) == 1 else {"goals": ["lowest"], "directions": [], "avoid": [], "limits": limits}

    with serving(Script(answer)) as url:
        with_ollama(product, url)
        done = product.run("--agent", f"ollama:{MODEL}", *SPEED, "--max-experiments", "2")
    assert done.returncode == 0, done.stderr
    assert len(restated) == 2 and f"ollama:{MODEL} could not restate it and is asked again later" in done.stdout
    state = product.state()
    assert state.charter is not None and "goals: lowest" in state.charter.understood
    assert any("proposed limits, not checked: max_params: 5000000" in words for words in state.charter.understood)
    (row,) = json.loads(product("status", "r", "--json").stdout)["agents"]
    form = row["formats"]["understanding"]
    assert (form["asked"], form["answered"], form["passed"]) == (2, 2, 1) and form["tokens"] > 0
    edits = row["formats"]["edits"]
    trained = sum(bool(e.launched) for e in state.experiments.values())  # a keep can overtake the second
    assert edits["passed"] == 2 and edits["trained"] == trained and row["tokens"] == edits["tokens"] + form["tokens"]


def test_a_model_on_the_training_gpu_leaves_before_anything_trains(product: Product) -> None:
    script = Script(ideas)
    with serving(script) as url:
        with_ollama(product, url)
        options = ("--agent", f"ollama:{MODEL}", "--tenancy", "unload", *SPEED, "--max-experiments", "5")
        done = product.run(*options)
    assert done.returncode == 0, done.stderr
    offset = time.time() - time.monotonic()
    assert all(request["options"]["num_ctx"] == script.requests[0]["options"]["num_ctx"] for request in script.requests)
    chats = [t + offset for path, t in script.log if path == "/api/chat"]
    unloads = [t + offset for path, t in script.log if path == "/api/generate"]
    spans = training(product)
    assert len(chats) >= 5 and len(unloads) >= 2 and not script.loaded
    for chat in chats:
        assert not any(start < chat < end for start, end in spans), "no call to the model while something trains"
    for start, _ in spans:
        asked, left = [t for t in chats if t < start], [t for t in unloads if t < start]
        assert not asked or (left and left[-1] > asked[-1]), "the model left first"


def training(product: Product) -> list[tuple[float, float]]:
    begun, spans = {}, []
    for event in journal.read(product.logs / "r" / journal.NAME):
        if type(event).__name__ == "Launched":
            begun[event.job] = event.t
        elif type(event).__name__ == "Measured":
            spans.append((begun[event.job] + 0.01, event.t - 0.01))
    return spans


def test_turns_and_the_scoreboard(product: Product) -> None:
    with serving(Script(ideas)) as url:
        with_ollama(product, url)
        done = product.run("--agent", f"ollama:{MODEL},search", *SPEED, "--max-experiments", "4")
    assert done.returncode == 0, done.stderr
    assert [e.agent for e in product.state().experiments.values()][:4] == [f"ollama:{MODEL}", "search"] * 2


def test_a_model_that_says_nothing_useful_costs_no_training(product: Product) -> None:
    with serving(Script(lambda body, count: "Delete prepare.py and the evaluation!")) as url:
        with_ollama(product, url)
        done = product.run("--agent", f"ollama:{MODEL}", *SPEED, "--max-experiments", "2")
    assert done.returncode == 0, done.stderr
    assert all(
        e.agent == "search" and "no usable proposal" in e.notes.why for e in product.state().experiments.values()
    )
    assert (product.root / "prepare.py").exists()


AGENT = """
import re, sys
from pathlib import Path
task = sys.stdin.read()
assert "experiment" in task and Path("TASK.md").read_text() == task and Path("program.md").exists()
path = Path("nanochat/train.py")
text = path.read_text()
value = float(re.search(r"DECAY = ([0-9.]+)", text)[1])
path.write_text(re.sub(r"DECAY = [0-9.]+", f"DECAY = {{value + 0.01 * int(re.search('experiment ([0-9]+)', task)[1]):.3f}}", text))
{more}
print("thinking ...")
print("A little decay should help.")
"""


def coder(product: Product, more: str = "") -> str:
    path = product.root.parent / "coder.py"
    path.write_text(AGENT.format(more=more))
    return f"command:{sys.executable} {path}"


def test_a_coding_agents_change_is_the_proposal(product: Product) -> None:
    done = product.run("--agent", coder(product), *SPEED, "--max-experiments", "2")
    assert done.returncode == 0, done.stderr
    first = product.state().experiments[1]
    assert first.hypothesis == "A little decay should help." and first.agent.startswith(sys.executable[:10])
    assert first.verdict is not None and "DECAY = 0.010" in (product.logs / "r" / "00001" / "train.py").read_text()
    assert product.git("status", "--porcelain") == "", "the user's tree is not touched"


def test_changes_elsewhere_are_refused_and_reported(product: Product) -> None:
    process = product.start(
        *product.options(), "--agent", coder(product, "Path('prepare.py').write_text('gone')"), *SPEED
    )
    said = lines(process, "changed prepare.py; only nanochat/train.py may be changed")
    product("stop", "r", "--now")
    process.wait(100)
    assert said and not product.state().experiments and "gone" not in (product.root / "prepare.py").read_text()


def test_a_usage_limit_is_said_and_waited_for(product: Product) -> None:
    more = "print('You have hit your usage limit. Try again in 2 hours.'); sys.exit(1)"
    process = product.start(*product.options(), "--agent", coder(product, more), *SPEED)
    said = lines(process, "asked again")
    clock = r"(\d\d:\d\d|\w{3} \d\d \w{3} \d\d:\d\d)"
    assert re.search(rf"has reached its usage limit until {clock}: .*The agent is asked again at \d\d:\d\d", said), said
    product("stop", "r", "--now")
    process.wait(100)


def lines(process: Any, words: str) -> str:
    """The line with these words; the loop goes on."""
    watchdog = threading.Timer(200, process.kill)
    watchdog.start()
    try:
        for line in process.stdout:
            if words in line:
                return str(line)
    finally:
        watchdog.cancel()
    raise AssertionError(f"never said: {words}")


def test_proposals_without_training(product: Product) -> None:
    with serving(Script(ideas)) as url:
        with_ollama(product, url)
        done = product("propose", "--agent", f"ollama:{MODEL}", "-n", "2")
        told = product("propose", "--agent", f"ollama:{MODEL}", "--dry-run")
    assert done.returncode == 0 and done.stdout.count("applies;") == 2 and '"tokens"' in done.stdout
    assert "program.md: what the human wants" in told.stdout and "about" in told.stdout
    assert not (product.logs / "r").exists()


def test_the_night_ends_well_when_the_server_is_gone_at_the_end(product: Product) -> None:
    script = Script(ideas)
    with serving(script) as url:
        with_ollama(product, url)
        options = ("--agent", f"ollama:{MODEL}", "--tenancy", "unload", *SPEED, "--max-experiments", "30")
        process = product.start(*product.options(), *options)
        deadline = time.monotonic() + 100
        while not script.requests or script.log[-1][0] != "/api/chat":  # it holds the GPU, and then it is gone
            assert time.monotonic() < deadline
            time.sleep(0.002)
    product("stop", "r", "--now")
    out, _ = process.communicate(timeout=250)
    assert process.returncode == 0 and "Traceback" not in out, out
    state = product.state()
    assert state.stopped is not None and "Results: " in out
    notices = [e.text for e in journal.read(product.logs / "r" / journal.NAME) if isinstance(e, ev.Notice)]
    assert any("The model may still be on the GPU" in text for text in notices), notices


def test_a_model_that_will_not_leave_costs_no_proposal(product: Product) -> None:
    agent = own_agent(product, "Timeouts(unload_s=5)", "on_gpu=True, ", "exclusive=True, ")
    with serving(Script(ideas, sticky=True)) as url:
        with_ollama(product, url)
        done = product.run("--agent", agent, *SPEED, "--max-experiments", "1")
    assert done.returncode == 0, done.stderr
    events = list(journal.read(product.logs / "r" / journal.NAME))
    assert any(isinstance(e, ev.Notice) and "keeps" in e.text for e in events)
    assert not [e for e in events if isinstance(e, ev.Refused)]
    assert [e.agent for e in product.state().experiments.values()] == [f"ollama:{MODEL}"]


def own_agent(product: Product, timeouts: str, chat: str = "", model: str = "") -> str:
    """The same agent as ollama:MODEL, with another timeouts: what a user can write."""
    path = product.root.parent / "impatient.py"
    path.write_text(
        "from core.agents.llm.chat import LanguageModel\nfrom core.agents.llm.server import Timeouts\n"
        "from core.agents.llm.ollama.agent import Ollama\n"
        "from core.agents.search.agent import Search\nfrom core.agents.team import WithStandIn\n\n\n"
        f"def make():\n    chat = Ollama({MODEL!r}, {chat}timeouts={timeouts})\n"
        f"    return WithStandIn(LanguageModel(chat, {model}), Search())\n"
    )
    return f"python:{path}"


def test_three_that_cannot_be_used_each_say_why(product: Product) -> None:
    """One that is not there, one whose context is too small, one that takes too long: in turn, in one run."""
    agents = f"ollama:other:3b,ollama:{MODEL}," + own_agent(product, "Timeouts(first_s=0.5)")
    with serving(Script(ideas, mishap="slow")) as url:
        with_ollama(product, url)
        wrong = product.run("--agent", agents, "--context", "10")
        assert wrong.returncode == 1 and "--context is '10'" in wrong.stderr
        done = product.run("--agent", agents, "--context", "1500", *SPEED, "--max-experiments", "3")
    assert done.returncode == 0, done.stderr
    assert "instead of ollama:other:3b" in done.stdout, "unattended nobody is asked"
    found = list(product.state().experiments.values())
    assert all(e.agent == "search" and e.verdict is not None for e in found)
    missing, small, slow = (e.notes.why for e in found)
    assert "`ollama pull other:3b` installs it" in missing
    assert "the model is given 1500. --context TOKENS gives it more" in small
    assert "took too long" in slow


def test_the_same_thing_forever_costs_no_training_of_it(product: Product) -> None:
    def same(body: dict[str, Any], count: int) -> dict[str, Any]:
        return ideas(body, 1) if "anyOf" not in body["format"] else {"hypothesis": "h", "knob": "LR", "move": "1.2"}

    with serving(Script(same)) as url:
        with_ollama(product, url)
        done = product.run("--agent", f"ollama:{MODEL}", *SPEED, "--max-experiments", "4")
    assert done.returncode == 0, done.stderr
    found = list(product.state().experiments.values())
    tried = [(e.parent, e.fingerprint) for e in found]
    assert len(set(tried)) == len(tried) and found[0].agent == f"ollama:{MODEL}"
    why = [e.notes.why for e in found]
    assert any("This very change" in words for words in why), why


def test_a_coding_agent_that_repeats_itself_leads_on(product: Product) -> None:
    more = "import re; path.write_text(re.sub('DECAY = .*', 'DECAY = 0.1', text))"  # also where chance has kept it
    done = product.run("--agent", coder(product, more), *SPEED, "--max-experiments", "3")
    assert done.returncode == 0, done.stderr
    found = list(product.state().experiments.values())
    assert len(found) == 3 and found[-1].verdict in (Verdict.INVALID, Verdict.KEEP, Verdict.DISCARD)
    assert any(e.verdict is Verdict.INVALID and "tried before" in e.reason for e in found)


def test_what_it_does_is_seen_as_a_phase(product: Product) -> None:
    agent = own_agent(product, "Timeouts(unload_s=20)", "on_gpu=True, ", "exclusive=True, ")
    script = Script(ideas, sticky=True, mishap="drips")
    with serving(script) as url:
        with_ollama(product, url)
        process = product.start(*product.options(), "--agent", agent, *SPEED)
        seen(product, f"asking ollama:{MODEL}")
        script.mishap = ""
        process.send_signal(signal.SIGINT)
        seen(product, f"unloading {MODEL}")
        script.loaded.clear()
        process.communicate(timeout=250)
    assert process.returncode == 0


def seen(product: Product, phase: str) -> None:
    """Wait until `status` shows this."""

    def shown() -> bool:
        done = product("status", "r", "--json")
        return done.returncode == 0 and phase in json.loads(done.stdout)["phase"]

    until(shown, phase)


@pytest.mark.parametrize(("pulls", "answer"), [("", "y"), ("no space left on device", "y"), ("", "n")])
def test_at_a_terminal_a_missing_model_is_offered_and_pulled(product: Product, pulls: str, answer: str) -> None:
    script = Script(ideas, pulls=pulls)
    with serving(script) as url:
        with_ollama(product, url)
        code, said = at_a_terminal(product, "Pull it now?", answer, "propose", "--agent", "ollama:wanted:1b")
    if pulls:
        assert code == 1 and "no space left on device" in said and "The model was not pulled" in said
    elif answer == "y":
        assert code == 0 and "wanted:1b" in script.models and "applies;" in said and "1. ollama:wanted:1b" in said
    else:
        assert code == 0 and "wanted:1b" not in script.models and "1. search" in said


def at_a_terminal(product: Product, question: str, answer: str, *arguments: str) -> tuple[int, str]:
    """Exit code and words of a command that somebody types at a terminal, and answers."""
    master, slave = pty.openpty()
    env = {**product.env, "TERM": "xterm", "COLUMNS": "200"}
    process = subprocess.Popen(
        product.command(*arguments), cwd=product.root, env=env, stdin=slave, stdout=slave, stderr=slave
    )
    os.close(slave)
    said, answered = "", False
    deadline = time.monotonic() + 200
    while time.monotonic() < deadline:
        if not select.select([master], [], [], 0.1)[0]:
            continue
        try:  # until the other end is closed, which is when the process has ended
            said += os.read(master, 4096).decode("utf-8", "replace")
        except OSError:
            break
        if question in said and not answered:
            answered = os.write(master, answer.encode() + b"\n") > 0
    os.close(master)
    return process.wait(100), said


def test_proposals_without_training_keep_to_what_is_off_limits(product: Product) -> None:
    (product.root / "program.md").write_text("---\noff_limits: DECAY\n---\n# Aim\n\nLow val_bpb.\n")
    script = product.script({"hypothesis": "h", "edits": [{"search": "DECAY = 0.0 ", "replace": "DECAY = 0.5 "}]})
    assert "does not apply: DECAY is off limits" in product("propose", "--agent", script).stdout
    with serving(Script(ideas, models=("tiny:135m",), parameters="135M", context=4096)) as url:
        with_ollama(product, url)
        told = product("propose", "--agent", "ollama:tiny:135m", "--dry-run").stdout
    assert (
        "form of answer knob, operator draft, context of 4096 tokens" in told
        and "- LR = 0.01" in told
        and "- DECAY" not in told
    )
    assert "asks no model" in product("propose", "--agent", "search", "--dry-run").stdout


@pytest.mark.parametrize("spec", ["nonsense", "ollama:", "claude:x", "search,nonsense"])
def test_unknown_agents_are_said(product: Product, spec: str) -> None:
    done = product.run("--agent", spec)
    assert done.returncode == 1 and "There is no agent" in done.stderr and not Path(product.logs / "r").exists()
    assert Verdict.KEEP.kept
