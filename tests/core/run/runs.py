"""Runs as their journals have them, for tests of what is done with runs."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec

from core.machine.project import Project
from core.model import RunConfig
from core.record import events as ev
from core.record.journal import Journal

SHIPPED = (Path(__file__).resolve().parents[3] / "nanochat" / "train.py").read_text(encoding="utf-8")


START = ev.Started(pid=1, agent="search", approval="auto", slots=1)


TOLD, DONE = ev.Stopped(reason="stop requested"), ev.Stopped(reason="reached a limit", finished=True)


def write_run(project: Project, name: str, *events: ev.AnyEvent, **header: object) -> Path:
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
