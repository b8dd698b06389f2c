"""A language model for whole runs, which answers in the form that it is asked for."""

from __future__ import annotations

import re
from typing import Any

from tests.product import Product

SPEED = ("--budget", "0.5")


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
