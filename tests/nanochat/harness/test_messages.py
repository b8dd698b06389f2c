"""What goes over the pipe between loop and harness comes out as it went in."""

from __future__ import annotations

import hashlib
import json
import math

import msgspec
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nanochat.contract import messages
from nanochat.contract.job import CrashClass, Job, Outcome, Result, Speed
from nanochat.contract.messages import Abort, Done, Message, Progress, Ready, Request, Started, Train, Unusable

text = st.text(st.characters())  # lone surrogates included, as the names of files may have them
JOB = Job(id="j1", source="/a/train.py", out="/a", data="/d")
SPEED = Speed(reference_s=0.02, mean=0.9, spread=0.1, busy=1.0, readings=3)


@pytest.mark.parametrize("told", [Train(job=JOB), Abort()])
def test_what_the_loop_says(told: Request) -> None:
    raw = messages.line(told)
    assert raw.endswith(b"\n") and raw.count(b"\n") == 1 and messages.request(raw) == told


@pytest.mark.parametrize(
    "told",
    [
        Ready(pid=7, torch="2.13"),
        Started(job="j1", pids=(1, 2)),
        Progress(job="j1", phase="training", step=3, loss=None, progress=0.1, charged_s=1.0, tokens_per_s=None, wall_s=2.0,
                 speed=0.8),
        Done(result=Result(job="j1", outcome=Outcome.SCORED, val_bpb=1.5, pace=(1.0, 2.0), speed=SPEED)),
        Unusable(job="j1", reason="gone"),
    ],
)  # fmt: skip
def test_what_the_harness_says(told: Message) -> None:
    assert messages.message(messages.line(told)) == told


def test_an_earlier_harness_understands_a_job_that_uses_nothing_newer() -> None:
    assert b"keep_weights" not in messages.line(Train(job=JOB))
    keeps = Train(job=msgspec.structs.replace(JOB, keep_weights=True))
    assert messages.request(messages.line(keeps)) == keeps


@given(text, text)
def test_any_text_survives(path: str, reason: str) -> None:
    job = Job(id="j", source=path, out=path, data=path)
    assert messages.request(messages.line(Train(job=job))) == Train(job=job)
    done = Done(result=Result(job="j", outcome=Outcome.CRASH, crash=CrashClass.EXCEPTION, reason=reason))
    raw = messages.line(done)
    assert raw.count(b"\n") == 1 and messages.message(raw) == done


def test_numbers_of_numpy_and_numbers_that_are_not_finite() -> None:
    told = messages.message(
        messages.line(
            Done(result=Result(job="j", outcome=Outcome.SCORED, val_bpb=np.float64(1.5), final_loss=math.nan))
        )
    )
    assert isinstance(told, Done) and type(told.result.val_bpb) is float and told.result.val_bpb == 1.5
    assert told.result.final_loss is not None and math.isnan(told.result.final_loss)
    assert messages.message(messages.line(Ready(pid=1, torch=torch.__version__))) == Ready(
        pid=1, torch=str(torch.__version__)
    )


@pytest.mark.parametrize(
    "raw", [b"", b"\n", b"[]", b"{}", b'{"say": "no"}', b'{"say": "ready"}', b"\xff", b'{"say": "done", "result": {}}']
)
def test_nonsense_is_a_value_error(raw: bytes) -> None:
    for decode in (messages.message, messages.request):
        with pytest.raises(ValueError):
            decode(raw)


def test_a_changed_message_needs_a_new_version() -> None:
    """A run keeps the harness of the version that began it: an older one must be recognised."""
    said = (Job, Speed, Result, Train, Abort, Ready, Started, Progress, Done, Unusable)
    fields = {kind.__name__: sorted(field.name for field in msgspec.structs.fields(kind)) for kind in said}
    fields |= {kind.__name__: sorted(kind) for kind in (Outcome, CrashClass)}
    digest = hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()[:16]
    assert (messages.VERSION, digest) == (5, "274cc5901a7da336"), "raise VERSION, and write down both"
