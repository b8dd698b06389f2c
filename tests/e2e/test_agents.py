"""Language models and coding agents in a whole run: real HTTP, real training, the command line."""

from __future__ import annotations

import json
import re
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from core import journal
from core.model import Verdict
from tests.ollama_server import MODEL, Script, serving
from tests.product import Product

SPEED = ("--budget", "0.5")


def ideas(body: dict[str, Any], count: int) -> dict[str, Any]:
    """A model that answers in the form it is asked for, another idea each time."""
    if "goals" in body["format"].get("properties", {}):
        return {"goals": ["lowest val_bpb"], "directions": ["the schedule, says the model"], "avoid": []}
    if "anyOf" in body["format"]:
        return {"hypothesis": f"idea {count}", "knob": "LR", "move": "1.2"}
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


def test_twenty_experiments_and_the_server_dies_and_comes_back(product: Product) -> None:
    script = Script(ideas)
    with serving(script) as url:
        with_ollama(product, url)
        process = product.start(*product.options(), "--agent", f"ollama:{MODEL}", *SPEED, "--max-experiments", "20")
        wait(product, 6)
    port = int(url.rsplit(":", 1)[1])
    wait(product, 9)
    with serving(script, port):
        out, _ = process.communicate(timeout=110)
    assert process.returncode == 0, out
    state = product.state()
    agents = [e.agent for e in state.experiments.values()]
    assert state.judged == 20 and agents[0] == f"ollama:{MODEL}" and "search" in agents
    assert agents[-1] == f"ollama:{MODEL}", "it comes back by itself"
    stood_in = [e for e in state.experiments.values() if e.agent == "search"]
    assert all(e.meta["instead"] == f"ollama:{MODEL}" and "does not answer" in e.meta["why"] for e in stood_in)
    assert "instead of ollama" in out and not product.strays()
    facts = json.loads(product("status", "r", "--json").stdout)
    scores = {row["agent"]: row for row in facts["agents"]}
    assert (
        scores[f"ollama:{MODEL}"]["proposed"] == agents.count(f"ollama:{MODEL}")
        and scores[f"ollama:{MODEL}"]["tokens"] > 0
    )
    assert "search" in product("status", "r").stdout and "| agent |" in product("notebook", "r").stdout


def wait(product: Product, judged: int) -> None:
    deadline = time.monotonic() + 60
    while not (product.logs / "r" / journal.NAME).exists() or product.state().judged < judged:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_run_without_a_named_agent_takes_the_model_that_is_there(product: Product) -> None:
    with serving(Script(ideas, models=("big:70b", MODEL))) as url:
        with_ollama(product, url)
        done = product(*product.options(), *SPEED, "--max-experiments", "1")
        assert done.returncode == 0, done.stderr
        assert "1.0 GB of weights" in done.stdout
        listed = product("agents").stdout
        assert f"ollama:{MODEL}" in listed and "the default" in listed and "context 32768" in listed
    state = product.state()
    assert state.experiments[1].agent.startswith("ollama:")
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
    assert edits["passed"] == edits["trained"] == 2 and row["tokens"] == edits["tokens"] + form["tokens"]


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
        e.agent == "search" and "no usable proposal" in e.meta["why"] for e in product.state().experiments.values()
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
    process.wait(30)
    assert said and not product.state().experiments and "gone" not in (product.root / "prepare.py").read_text()


def test_a_usage_limit_is_said_and_waited_for(product: Product) -> None:
    more = "print('You have hit your usage limit. Try again in 2 hours.'); sys.exit(1)"
    process = product.start(*product.options(), "--agent", coder(product, more), *SPEED)
    assert lines(process, "usage limit") and "asked again in 7200 s" in lines(process, "asked again")
    product("stop", "r", "--now")
    process.wait(30)


def lines(process: Any, words: str) -> str:
    """The line with these words; the loop goes on."""
    watchdog = threading.Timer(60, process.kill)
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
    assert f"[ollama:{MODEL}, form of answer edits, context of " in told.stdout
    assert not (product.logs / "r").exists()


def test_proposals_without_training_keep_to_what_is_off_limits(product: Product) -> None:
    (product.root / "program.md").write_text("# Aim\n\nLow val_bpb. Do not touch DECAY.\n")
    script = product.script({"hypothesis": "h", "edits": [{"search": "DECAY = 0.0 ", "replace": "DECAY = 0.5 "}]})
    assert "does not apply: DECAY is off limits" in product("propose", "--agent", script).stdout
    with serving(Script(ideas, models=("tiny:135m",), context=4096)) as url:
        with_ollama(product, url)
        told = product("propose", "--agent", "ollama:tiny:135m", "--dry-run").stdout
    assert "form of answer knob, context of 4096 tokens" in told and "- LR = 0.01" in told and "- DECAY" not in told
    assert "asks no model" in product("propose", "--agent", "search", "--dry-run").stdout


@pytest.mark.parametrize("spec", ["nonsense", "ollama:", "claude:x", "search,nonsense"])
def test_unknown_agents_are_said(product: Product, spec: str) -> None:
    done = product.run("--agent", spec)
    assert done.returncode == 1 and "There is no agent" in done.stderr and not Path(product.logs / "r").exists()
    assert Verdict.KEEP.kept
