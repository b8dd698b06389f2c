"""The table of all runs."""

from __future__ import annotations

import msgspec

from core.judging import schedule
from core.record.live import Picture
from core.record.state import State
from core.reporting.run_table import AGENT, WIDTH, table
from core.reporting.status import RunStatus, status
from tests.core.reporting.reports import state_of


def found(state: State, run: str = "night", **values: object) -> RunStatus:
    made = status(state, schedule.noise(state), None, Picture())
    return msgspec.structs.replace(made, run=run, begun_as=run, **values)


def test_each_run_is_a_line_with_its_result() -> None:
    night = found(state_of(30, keep_every=10), begun_t=1_700_000_000.0)
    assert night.worked_s == 1800 and night.gain is not None
    header, line = table([night])
    at = {
        name: header.index(name)
        for name in ("began", "training", "agent", "kept", "start", "change (- is better)", "phase")
    }
    assert line.startswith("night ") and line[at["began"] :].startswith("11-1")
    assert line[: at["training"]].rstrip().endswith("30 min")
    assert line[at["training"] :].startswith(f"{night.device} {night.budget_s:g} s, {night.dataset} ")
    assert line[at["start"] :].startswith("1.0000 ")
    assert line[at["agent"] :].startswith("search ") and line[at["kept"] :].startswith(f"3 of {night.tried} ")
    assert line[at["change (- is better)"] :].startswith(f"-0.0120 ± {night.gain.error:.4f} ")
    assert line[at["phase"] :] == "finished: reached --max-experiments"


def test_columns_are_aligned_and_lines_of_usual_names_fit() -> None:
    runs = [
        found(state_of(0), run="nov23", worked_s=20.0),
        "odd: its journal cannot be understood",
        found(
            state_of(120, keep_every=10),
            run="wide-heads-2",
            agent="ollama:qwen3-coder:30b",
            device="cuda",
            dataset="text:/a/long/path/to/tales",
            worked_s=9e4,
        ),
        found(state_of(3), run="b", begun_t=0.0, phase="training " * 30),
    ]
    header, first, odd, second, third = table(runs)
    assert odd == runs[1], "a run that cannot be read has its sentence"
    for column in ("began", "training", "agent", "kept", "start", "change (- is better)", "phase"):
        at = header.index(column)
        assert all(line[at - 2 : at] == "  " and line[at] != " " for line in (first, second, third)), column
    assert max(map(len, (header, first, second, third))) <= WIDTH and third.endswith("…")
    assert "cuda 1 s, text:tales " in second
    assert "25 h 00 min" in second and "ollama:qwen3-coder:30b"[: AGENT - 1] + "…" in second
    at = header.index("change (- is better)")
    assert first[at:].startswith("-  ") and third[at:].startswith("-  "), "no change was kept"
    assert third[header.index("began") :].startswith("-  ")
    assert len(table(runs, 300)[4]) > WIDTH and table([]) == []


def test_a_status_says_when_the_run_began_and_how_long_it_worked() -> None:
    state = state_of(5)
    assert (found(state).begun_t, found(state).worked_s) == (100.0, 300.0)
