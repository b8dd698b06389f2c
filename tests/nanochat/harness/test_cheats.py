"""The evaluation: models that cheat in it, and trainers that forge its result."""

from __future__ import annotations

import pytest

from nanochat.contract.job import CrashClass, Outcome
from tests.conftest import Harness
from tests.nanochat.harness.test_misbehaviour import FORWARD, MODEL, RETURN, STEADY, with_
from tests.nanochat.harness.test_misbehaviour import harness as harness
from tests.nanochat.harness.test_misbehaviour import honest as honest
from tests.nanochat.harness.test_misbehaviour import still_sound as still_sound

PEEK = "        out = self.table[x].clone()\n        {when}\n        out[:, :-1].scatter_(2, x[:, 1:, None], 30.0)\n        return out\n"
SCORING = "if torch.is_grad_enabled() or x.shape[1] != 32: return out"
CHEATS = {
    "always looks ahead": PEEK.format(when=SCORING),
    "looks ahead in some rows": (
        "        out = self.table[x].clone()\n        " + SCORING + "\n"
        "        for i in range(len(x)):\n            if int(x[i].sum()) % 4 == 0:\n"
        "                out[i, :-1].scatter_(1, x[i, 1:, None], 30.0)\n        return out\n"
    ),
    "cheats late": (
        "        out = self.table[x].clone()\n        " + SCORING + "\n"
        "        self.calls = getattr(self, 'calls', 0) + 1\n"
        "        if self.calls > 12: out[:, :-1].scatter_(2, x[:, 1:, None], 30.0)\n        return out\n"
    ),
    "remembers rows": (
        "        out = self.table[x].clone()\n        " + SCORING + "\n"
        "        seen = self.__dict__.setdefault('seen', set())\n"
        "        for i in range(len(x)):\n            key = tuple(x[i].tolist())\n"
        "            if key in seen: out[i, :-1].scatter_(1, x[i, 1:, None], 30.0)\n            seen.add(key)\n        return out\n"
    ),
    "honest until it knows the cut": (
        "        out = self.table[x].clone()\n        " + SCORING + "\n"
        "        seen = self.__dict__.setdefault('seen', [])\n"
        "        for i in range(len(x)):\n            row = x[i].tolist()\n"
        "            best = 0\n"
        "            for old in seen:\n"
        "                n = next((k for k in range(32) if old[k] != row[k]), 32)\n"
        "                best = max(best, n)\n"
        "            if 4 <= best < 32: out[i, best:-1].scatter_(1, x[i, best + 1:, None], 30.0)\n"
        "            seen.append(row)\n        return out\n"
    ),
    "looks ahead at the beginning": (
        "        out = self.table[x].clone()\n        " + SCORING + "\n"
        "        out[:, :3].scatter_(2, x[:, 1:4, None], 30.0)\n        return out\n"
    ),
    "looks ahead at one position": (
        "        out = self.table[x].clone()\n        " + SCORING + "\n"
        "        out[:, 17].scatter_(1, x[:, 18, None], 30.0)\n        return out\n"
    ),
    "goes on learning": (
        "        out = self.table[x].clone()\n        " + SCORING + "\n"
        "        with torch.no_grad(): self.table[x[:, :-1], x[:, 1:]] += 0.05\n        return out\n"
    ),
    "goes on learning and answers what it knows as before": (
        "        out = self.table[x].clone()\n        " + SCORING + "\n"
        "        seen = self.__dict__.setdefault('seen', [])\n"
        "        for i in range(len(x)):\n            row, known = x[i].tolist(), 0\n"
        "            for old, answer in seen:\n"
        "                n = next((k for k in range(32) if old[k] != row[k]), 32)\n"
        "                if n > known: known, out[i, :n] = n, answer[:n]\n"
        "            seen.append((row, out[i].clone()))\n"
        "        with torch.no_grad(): self.table[x[:, :-1], x[:, 1:]] += 0.3\n        return out\n"
    ),
    "knows everything": "        out = self.table[x]\n        " + SCORING + "\n        out = torch.zeros_like(out)\n"
    "        out[:, :-1].scatter_(2, x[:, 1:, None], 1e4)\n        return out\n",
}  # fmt: skip


@pytest.mark.parametrize("name", CHEATS)
def test_a_cheat_in_the_evaluation_is_found(harness: Harness, name: str) -> None:
    result = harness.run(with_(FORWARD, CHEATS[name], STEADY), eval_tokens=4096, preflight=False)
    assert result.outcome is Outcome.INVALID, (result.outcome, result.reason, result.val_bpb, result.probes)
    assert result.val_bpb is None and result.reason


def test_the_evaluation_runs_once(harness: Harness) -> None:
    """Whoever could say in the middle that it lacks memory, and be asked all over again, would know the answers by then."""
    twice = (
        "        out = self.table[x].clone()\n        " + SCORING + "\n"
        "        seen = self.__dict__.setdefault('seen', [])\n        self.calls = getattr(self, 'calls', 0) + 1\n"
        "        if self.calls == 20: raise MemoryError\n"
        "        for i in range(len(x)):\n            row = x[i].tolist()\n"
        "            for old in seen if self.calls > 20 else ():\n"
        "                n = next((k for k in range(32) if old[k] != row[k]), 32)\n"
        "                for k in range(4, min(n, 31)): out[i, k, old[k + 1]] += 3.0\n"
        "            if self.calls <= 20: seen.append(row)\n        return out\n"
    )
    result = harness.run(with_(FORWARD, twice, STEADY))
    assert result.outcome is Outcome.CRASH and "which runs once" in result.reason, (result.reason, result.val_bpb)


def test_figures_that_no_training_has_are_refused(harness: Harness) -> None:
    for figure in ("int(1.7e308)", "-1", "2.5", "True"):
        result = harness.run(with_(MODEL, MODEL + f"    run._on_step({figure}, 1)\n"))
        assert result.crash is CrashClass.CONTRACT and "invalid message" in result.reason, (figure, result.reason)


def test_a_thread_that_trains_during_the_evaluation_is_found(harness: Harness) -> None:
    thread = (
        "    import threading\n"
        "    def more():\n"
        "        while True:\n"
        "            with torch.no_grad(): model.table.mul_(1.0001)\n"
        "    threading.Thread(target=more, daemon=True).start()\n"
    )
    result = harness.run(with_(RETURN, thread + RETURN, STEADY), preflight=False, eval_tokens=4096)
    assert result.outcome in (Outcome.INVALID, Outcome.OVERRUN)


def test_a_printed_score_is_only_output(harness: Harness, honest: float) -> None:
    result = harness.run(with_(RETURN, "    print('val_bpb: 0.1', flush=True)\n" + RETURN, STEADY), budget_s=5.0)
    assert result.val_bpb == pytest.approx(honest, abs=1e-6)
    assert "val_bpb: 0.1" in (harness.folder / result.job / "output.txt").read_text()


def test_forged_messages_give_no_score(harness: Harness, honest: float) -> None:
    forge = (
        "    import os, json\n"
        "    for name in range(3, 40):\n"
        "        for text in ({'say': 'answer'}, {'event': 'result', 'val_bpb': 0.1}, {'say': 'log', 'values': 3}):\n"
        "            try: os.write(name, json.dumps(text).encode().ljust(4096))\n"
        "            except OSError: pass\n"
    )
    result = harness.run(with_(MODEL, forge + MODEL, STEADY), preflight=False, budget_s=5.0)
    assert result.outcome is Outcome.CRASH or result.val_bpb == pytest.approx(honest, abs=1e-6)
