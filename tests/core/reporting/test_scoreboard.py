"""Figures of each agent: the costs of a model are in its own row, by answer format, whoever made the final proposal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from core.judging.noise import Noise
from core.model import Cost, FormCost, Notes, Role
from core.record import events as ev
from core.record import journal
from core.record.events import AnyEvent
from core.record.fold import fold
from core.record.live import Picture
from core.record.state import State
from core.reporting import log_lines, phrases, scoreboard, status, summary
from core.verdicts import Verdict
from tests.core.judging.test_schedule import CONFIG
from tests.events import measurement

MODEL = "ollama:m"


def form(asked: int, parsed: int, applied: int, passed: int, tokens: int = 100, seconds: float = 1.0) -> FormCost:
    return FormCost(
        asked=asked, answered=asked, parsed=parsed, applied=applied, passed=passed, tokens=tokens, seconds=seconds
    )


def proposed(number: int, agent: str, took: float = 3.0, again: int | None = None, **notes: Any) -> AnyEvent:
    return ev.Proposed(
        number=number, commit=f"c{number}", parent="fit", fingerprint=f"p{number}", hypothesis="h", agent=agent, charter="s",
        notes=Notes(**notes), seconds=took, retry_of=again,
    )  # fmt: skip


def written(number: int, **notes: Any) -> AnyEvent:
    """A proposal as it is read from a journal with these notes."""
    fields = msgspec.to_builtins(proposed(number, MODEL)) | {"meta": notes}
    return journal.decode(msgspec.json.encode(fields), number, Path("events.jsonl"))


def launched(number: int) -> AnyEvent:
    return ev.Launched(job=f"j{number}", role=Role.CANDIDATE, commit=f"c{number}", seed=1, slot=0, number=number)


def crashed(number: int, wall_s: float) -> list[AnyEvent]:
    return [
        launched(number),
        measurement(
            job=f"j{number}", role=Role.CANDIDATE, commit=f"c{number}", seed=1, outcome="crash", number=number, total_wall_s=wall_s
        ),
        ev.Judged(number=number, verdict=Verdict.CRASH, finding="f"),
    ]  # fmt: skip


def own(number: int, **more: Any) -> AnyEvent:
    costs = {
        "tries": 2,
        "tokens": 150,
        "prompt_tokens": 50,
        "seconds": 2.0,
        "forms": {"edits": form(2, 2, 1, 1, 200, 2.0)},
    }
    return proposed(number, MODEL, model=MODEL, format="edits", **{**costs, **more})


def stand_in(number: int) -> AnyEvent:
    costs = {"tries": 6, "tokens": 600, "prompt_tokens": 0, "seconds": 2.5}
    forms = {"edits": form(3, 0, 0, 0, 300), "knob": form(3, 3, 3, 0, 300, 1.5)}
    return proposed(
        number, "search", instead=MODEL, model=MODEL, format="edits", why="no usable proposal", forms=forms, **costs
    )


def state(*events: AnyEvent) -> State:
    return fold(
        [
            ev.Created(v=ev.SCHEMA, config=CONFIG),
            ev.StartCommit(commit="fit", source_hash="h", nodes=1),
            *events,
        ]
    )


def test_a_model_is_booked_by_form_and_by_what_became_of_it() -> None:
    keep = ev.Judged(number=1, verdict=Verdict.KEEP, finding="f", gain=0.02, commit="k1")
    found = state(own(1), launched(1), keep, own(2), *crashed(2, 7.0))
    (score,) = scoreboard.scores(found)
    edits = score.formats["edits"]
    assert (edits.asked, edits.answered, edits.parsed, edits.applied, edits.passed) == (4, 4, 4, 2, 2)
    assert (edits.trained, edits.kept, edits.tokens, edits.seconds, edits.wasted_s) == (2, 1, 400, 4.0, 7.0)
    assert (score.proposed, score.tries, score.tokens, score.seconds, score.wasted_s, score.failed) == (
        2,
        4,
        400,
        6.0,
        7.0,
        0,
    )
    assert (
        "edits: 4 answers asked for, 4 read, 2 applied, 2 passed the checks, 2 trained, 1 kept"
        in scoreboard.lines(scoreboard.scores(found))[1]
    )


def test_a_model_that_always_fails_pays_for_itself() -> None:
    found = {score.agent: score for score in scoreboard.scores(state(stand_in(1), *crashed(1, 9.0), stand_in(2)))}
    model, search = found[MODEL], found["search"]
    assert (model.proposed, model.failed, model.tokens, model.seconds, model.wasted_s) == (0, 2, 1200, 5.0, 0.0)
    assert (search.proposed, search.stood_in, search.tokens, search.seconds, search.wasted_s) == (2, 2, 0, 1.0, 9.0)
    assert model.formats["knob"].applied == 6 and model.formats["knob"].passed == 0 and not search.formats


def test_a_server_that_is_down_restating_and_refusals_are_booked_too() -> None:
    found = state(
        proposed(1, "search", instead=MODEL, why="Ollama does not answer"),
        ev.Charter(sha="s", cost=Cost(model=MODEL, tries=1, tokens=70, prompt_tokens=30, seconds=4.0)),
        ev.Refused(number=2, agent="claude", reason="no"),
    )
    rows = {score.agent: score for score in scoreboard.scores(found)}
    assert (rows[MODEL].failed, rows[MODEL].tokens, rows[MODEL].seconds) == (1, 100, 4.0) and rows["claude"].failed == 1


def test_a_repeat_counts_once_as_a_proposal_and_has_the_verdict() -> None:
    interrupted = ev.Judged(number=1, verdict=Verdict.INTERRUPTED, finding="f")
    lost = ev.Judged(number=2, verdict=Verdict.DISCARD, finding="f")
    notes = {"model": MODEL, "format": "edits", "tokens": 10, "forms": {"edits": form(1, 1, 1, 1)}}
    found = state(
        proposed(1, MODEL, **notes), launched(1), interrupted, proposed(2, MODEL, again=1, **notes), launched(2), lost
    )
    (score,) = scoreboard.scores(found)
    assert (score.proposed, score.tokens, score.tried, score.formats["edits"].trained) == (1, 10, 1, 1)


def test_old_journals_and_strange_notes_are_read() -> None:
    found = state(
        proposed(1, MODEL, model=MODEL, format="edits", tries=2, tokens=9), written(2, model=MODEL, forms=[3], tokens="x"),
        written(3, model=MODEL, forms={"edits": 5}),
    )  # fmt: skip
    (score,) = scoreboard.scores(found)
    assert (score.formats["edits"].asked, score.formats["edits"].passed, score.tokens) == (2, 1, 9)


def test_the_banner_is_in_the_status_in_json_and_said_once_without_an_app() -> None:
    events = [own(1), own(2), *(stand_in(number) for number in range(3, 9))]
    said = []
    for count, event in enumerate(events, 1):
        said.append(log_lines.line(event, state(*events[:count])) or "")
    assert [number for number, words in enumerate(said, 1) if "· note: search proposed" in words] == [5]
    found = status.status(state(*events), Noise(0.01, 0), None, Picture(), [])
    assert found.banner == f"search proposed 6 of the last 8 instead of {MODEL}"
    assert found.banner in summary.text(summary.summary(found, 200))
    assert status.status(state(own(1)), Noise(0.01, 0), None, Picture(), []).banner == ""
    assert found.agents[0].formats, "the ledger is in the JSON"


def test_operators_count_for_the_model_that_was_asked() -> None:
    found = state(
        own(1, operator="draft"),
        own(2, operator="repair", on=(1,)),
        own(3, operator="draft", dropped="combine", on=(1, 2)),
        proposed(4, "search", instead=MODEL, model=MODEL, operator="draft", dropped="repair", on=(3,)),
        own(5, operator="of a later version"),
    )
    rows = {score.agent: score.operators for score in scoreboard.scores(found)}
    assert {name: (row.asked, row.usable) for name, row in rows[MODEL].items()} == {
        "draft": (3, 2), "repair": (2, 1), "combine": (1, 0), "of a later version": (1, 1),
    }  # fmt: skip
    assert rows["search"] == {}
    lines = scoreboard.lines(scoreboard.scores(found))
    assert [line.split(":")[0].strip() for line in lines if "usable" in line] == [
        "draft", "repair", "combine", "of a later version",
    ]  # fmt: skip
    assert [phrases.asked_for(e.notes) for e in found.experiments.values()] == [
        "draft", "repair of #1", "combine of #1, #2; without a usable answer, so a draft was asked for",
        "repair of #3; without a usable answer", "of a later version",
    ]  # fmt: skip
