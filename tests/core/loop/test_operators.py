"""Nights with a language model that is asked over real HTTP: what it is asked for is chosen, recorded and counted."""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from core.agents.llm.chat import LanguageModel
from core.agents.llm.ollama.agent import Ollama
from core.execution.deterministic import Ending, World
from core.model import Limits
from core.record import events as ev
from core.record.fold import fold
from core.record.state import State
from core.reporting import scoreboard
from core.verdicts import Verdict
from tests.core.loop.night import SOURCE, Listed, Night
from tests.ollama_server import MODEL, Script, serving

SMALL = "tiny-coder:0.5b"
WORLD = World(
    effects={"K1 = 1": -0.006, "K2 = 1": -0.007, "K4 = 1": -0.006, "K6 = 1": -0.2, "K8 = 1": -0.007},
    endings={name: Ending(outcome="crash") for name in ("K3 = 1 ", "K5 = 1 ", "K7 = 64.0", "K8 = 64.0", "K9 = 64.0")},
    seeds=0.01,
    noise=0.006,
)


def order(body: dict[str, Any]) -> str:
    """The last task in a request."""
    words: str = body["messages"][1]["content"]
    return words[words.rindex("# Now\n") :]


def served(answer: Callable[[dict[str, Any], int], dict[str, Any]], **more: Any) -> Script:
    """A server with this model, which restates program.md in few words."""

    def restating(body: dict[str, Any], count: int) -> dict[str, Any]:
        return answer(body, count) if "# Now\n" in body["messages"][1]["content"] else {"goals": ["lowest val_bpb"]}

    return Script(restating, **more)


def coder(body: dict[str, Any], count: int) -> dict[str, Any]:
    """A model that does what it is asked for, with the edits that it is shown."""
    lines = [line for line in order(body).splitlines() if line.startswith('{"edits"')]
    if not lines:
        name = f"K{1 + count % 12}"
        value = 1 + count // 12
        old = next(line for line in body["messages"][0]["content"].splitlines() if line.startswith(f"{name} = "))
        return {"hypothesis": f"Set {name}.", "edits": [{"search": old, "replace": f"{name} = {value}  # new {count}"}]}
    shown = json.loads(lines[0])["edits"]
    if "Combine" not in order(body):
        shown = [edit | {"replace": re.sub(r"= \d+ ", f"= {2 + count} ", edit["replace"])} for edit in shown]
    return {"hypothesis": "What was asked for.", "edits": shown}


def chooser(body: dict[str, Any], count: int) -> dict[str, Any]:
    """A model that picks at random among the answers that its schema allows."""
    chance = random.Random(count)
    one = chance.choice(body["format"]["anyOf"])["properties"]
    return {"hypothesis": "Perhaps.", "knob": one["knob"]["const"], "move": chance.choice(one["move"]["enum"])}


def rows(state: State) -> dict[str, scoreboard.Operated]:
    (score,) = scoreboard.scores(state)
    return score.operators


@pytest.fixture
def factors(tmp_path: Path) -> Night:
    """A night on constants that can be multiplied."""
    return Night(tmp_path, source=re.sub(r"^(K\d+) = 0", r"\1 = 16.0", SOURCE, flags=re.MULTILINE))


@pytest.fixture
def night(tmp_path: Path) -> Night:
    return Night(tmp_path)


def test_a_night_with_operators(night: Night) -> None:
    script = served(coder)
    with serving(script) as url:
        state = night.run_agent(LanguageModel(Ollama(MODEL, url)), WORLD, Limits(max_experiments=30))
    found = rows(state)
    assert {"draft", "improve", "repair", "combine"} <= found.keys()
    assert sum(row.asked for row in found.values()) == len(state.experiments) >= 30
    assert all(row.usable == row.asked for name, row in found.items() if name != "draft")
    assert sum(row.kept for row in found.values()) == len(state.kept) > 0
    on = Counter((e.notes.operator, e.notes.on) for e in state.experiments.values() if e.notes.on)
    assert all(count <= (2 if operator == "improve" else 1) for (operator, _), count in on.items())
    for e in state.experiments.values():
        if e.notes.operator == "repair":
            assert [state.experiments[number].verdict for number in e.notes.on or ()] == ["crash"]
    told = [line for line in scoreboard.lines(scoreboard.scores(state)) if line.startswith("  repair: ")]
    assert told == [
        f"  repair: {found['repair'].asked} asked for, {found['repair'].usable} usable, {found['repair'].kept} kept"
    ]
    assert rows(fold(night.events())) == found, "the journal alone says so"


def test_a_small_model_is_asked_for_what_it_can_answer(factors: Night) -> None:
    script = served(chooser, models=(SMALL,), parameters="0.5B")
    with serving(script) as url:
        state = factors.run_agent(LanguageModel(Ollama(SMALL, url)), WORLD, Limits(max_experiments=20))
    found = rows(state)
    assert found.keys() <= {"draft", "improve", "repair", "ablate"} and len(found) > 1
    assert all(row.usable == row.asked for name, row in found.items() if name != "draft"), "every answer could be used"
    assert all(e.notes.format == "knob" for e in state.experiments.values())


def test_an_operator_that_is_not_answered_costs_no_proposal(night: Night) -> None:
    def stubborn(body: dict[str, Any], count: int) -> dict[str, Any]:
        return {"hypothesis": "No."} if "# Now" in order(body) and '{"edits"' in order(body) else coder(body, count)

    script = served(stubborn)
    with serving(script) as url:
        state = night.run_agent(LanguageModel(Ollama(MODEL, url)), WORLD, Limits(max_experiments=12))
    found = rows(state)
    dropped = [e for e in state.experiments.values() if e.notes.dropped]
    assert dropped and all(e.notes.operator == "draft" and e.notes.tries == 3 for e in dropped)
    assert all(row.usable == 0 for name, row in found.items() if name != "draft")
    assert found["draft"].usable == len(state.experiments)


def test_agents_see_who_gave_a_verdict(tmp_path: Path) -> None:
    night, agent = Night(tmp_path), Listed(["K1 = 1", "K2 = 1", "K4 = 1"])
    night.run_agent(agent, WORLD, Limits(max_experiments=2))
    active = night.active()
    active.experiments.judge(ev.Judged(number=1, verdict=Verdict.KEEP, finding="", gain=0.001, pairs=1, by="human"))
    active.journal.close()
    night.run_agent(agent, WORLD, Limits(max_experiments=3))
    assert [past.by for past in agent.told[-1].past] == ["human", ""]
