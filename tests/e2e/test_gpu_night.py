"""A night on a fake CUDA device: real command line, real git, real sandbox with the rights of a GPU trainer."""

from __future__ import annotations

import shutil
from typing import Any, TypeVar

from core.record import events as ev
from core.record import journal
from core.verdicts import Verdict
from nanochat.contract.job import CrashClass
from tests.fake_cuda import GIB
from tests.ollama_server import MODEL, Script, serving
from tests.product import BETTER, Product, edit, harmless

Event = TypeVar("Event")
WORSE = edit("Steps that come to nothing, to see that they lose.", ("1e-5", "10.0"))
HUNGRY = edit(
    "A table that no card holds.",
    ("    return model", "    torch.zeros(9 << 30, dtype=torch.uint8, device=run.device)\n    return model"),
)


def recorded(product: Product, kind: type[Event]) -> list[Event]:
    """The events of one kind in the journal."""
    return [event for event in journal.read(product.logs / "r" / journal.NAME) if isinstance(event, kind)]


def test_a_night_on_one_card(gpu_product: Product) -> None:
    """A keep, a discard, an edit that runs out of memory, and one after it. Two slots are more than the card has."""
    assert gpu_product.cards is not None
    script = gpu_product.script(BETTER, WORSE, HUNGRY, harmless(1))
    done = gpu_product.run("--agent", script, "--slots", "2")
    assert done.returncode == 0, done.stdout + done.stderr
    state = gpu_product.state()
    found = {number: experiment.verdict for number, experiment in state.experiments.items()}
    assert found[1] is Verdict.KEEP and found[2] is Verdict.DISCARD and found[3] is Verdict.CRASH, done.stdout
    assert state.experiments[3].crash == CrashClass.OUT_OF_MEMORY and 4 in found
    assert state.config is not None and (state.config.device, state.config.slots) == ("cuda", 1)
    assert any("only 1 can run" in notice.text for notice in recorded(gpu_product, ev.Notice))
    assert state.baseline is not None and 1 << 20 < state.baseline.result.peak_memory < GIB, "as the driver tells it"
    assert gpu_product.cards.users(0) == {} and gpu_product.strays() == []


def better(body: dict[str, Any], count: int) -> dict[str, Any] | str:
    """The idea of BETTER, in the form that a larger model is asked for; a knob in that of a small one."""
    form = body.get("format") or {}
    if "goals" in form.get("properties", {}):
        return {"goals": ["lowest val_bpb"], "directions": [], "avoid": []}
    if "anyOf" in form:
        one = form["anyOf"][count % len(form["anyOf"])]["properties"]
        return {"hypothesis": "h", "knob": one["knob"]["const"], "move": one["move"]["enum"][0]}
    return {"hypothesis": "h", "edits": [{"search": "LR = 0.01 ", "replace": f"LR = {0.02 + count / 100:.2f} "}]}


def test_training_waits_until_the_model_s_memory_is_free(gpu_product: Product) -> None:
    """Ollama says that the model is gone a second before the driver does."""
    script = Script(better, cards=gpu_product.cards, vram=3 * GIB, frees_s=1.0)
    with serving(script) as url:
        gpu_product.env["OLLAMA_HOST"] = url
        done = gpu_product.run("--agent", f"ollama:{MODEL}", "--max-experiments", "1")
    assert done.returncode == 0, done.stdout + done.stderr
    launched = [event for event in recorded(gpu_product, ev.Launched) if event.number == 1]
    assert script.freed and launched[0].t >= script.freed[0], "its memory was free before it trained"
    found = [event for event in recorded(gpu_product, ev.Measured) if event.number == 1]
    assert found and not any(event.disturbed for event in found)
    assert gpu_product.state().experiments[1].agent == f"ollama:{MODEL}"


def test_without_a_compiler_the_night_goes_on_uncompiled(gpu_product: Product) -> None:
    """It is said at the start, and the trainer's torch.compile does nothing."""
    assert gpu_product.cards is not None
    tools = gpu_product.root.parent / "tools"
    tools.mkdir()
    (tools / "git").symlink_to(str(shutil.which("git")))
    gpu_product.env["PATH"] = str(tools)
    shown = edit(
        "Show the setting.",
        (
            "    return model",
            "    print('disabled', __import__('os').environ.get('TORCHDYNAMO_DISABLE'))\n    return model",
        ),
    )
    done = gpu_product.run("--agent", gpu_product.script(shown))
    assert done.returncode == 0, done.stdout + done.stderr
    assert any(
        "torch.compile is off" in n.text and "apt install gcc" in n.text for n in recorded(gpu_product, ev.Notice)
    )
    printed = "".join(path.read_text() for path in (gpu_product.logs / "r").rglob("output.txt"))
    assert "disabled 1" in printed
