"""What models write, and how a test reads it."""

from __future__ import annotations

from core.agents.llm import formats
from core.agents.llm.formats import Tier
from core.change.edits import EditError
from core.model import Proposal
from tests.product import TRAIN

LOWER = "<<<<<<< SEARCH\nDECAY = 0.0 \n=======\nDECAY = 0.9 \n>>>>>>> REPLACE\n"


RAISE = "<<<<<<< SEARCH\nLR = 0.01  # learning rate\n=======\nLR = 0.02\n>>>>>>> REPLACE\n"


def parse(tier: Tier, text: str, source: str = TRAIN) -> Proposal | None:
    try:
        return formats.parse(tier, text, source)
    except EditError as error:
        assert str(error)
        return None
