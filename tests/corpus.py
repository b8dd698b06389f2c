"""The text that the tests train on: always the same bytes, whatever becomes of the product's own source."""

from __future__ import annotations

import random
from itertools import accumulate
from pathlib import Path

FILES, BYTES = 64, 10_000  # documents, and about how long each is
WORDS, NEXT = 900, 12  # words of the language, and how many of them usually follow a given one
CONSONANTS, VOWELS = "bcdfghklmnprstvw", "aeiou"
LINES = (
    "def {}({}, {}):",
    "    {} = {}({}, {})",
    "    for {} in {}.{}:",
    "        {}.{}({})",
    "    if {} > {}:",
    "        return {} + {}",
    "    # {} {} {} {} {}.",
    "    return {}",
    "",
)


def write(folder: Path) -> Path:
    """Fill the new folder with the documents, some 650 kB of made-up source code. Returns the folder.

    A word depends on the word before it, so a model that looks back further is better, as on real text.
    """
    draw = random.Random(20_261_126)
    words = sorted({_word(draw) for _ in range(WORDS)})
    usual = list(accumulate(1 / rank for rank in range(1, len(words) + 1)))  # Zipf's law
    follows = {word: draw.choices(words, cum_weights=usual, k=NEXT) for word in words}
    folder.mkdir(parents=True)
    for number in range(FILES):
        (folder / f"module_{number:02}.py").write_text(_document(draw, words, usual, follows), encoding="utf-8")
    return folder


def _word(draw: random.Random) -> str:
    return "".join(draw.choice(CONSONANTS) + draw.choice(VOWELS) for _ in range(draw.choice((1, 2, 2, 3))))


def _document(draw: random.Random, words: list[str], usual: list[float], follows: dict[str, list[str]]) -> str:
    lines, size, word = [], 0, draw.choice(words)
    while size < BYTES:
        for shape in LINES if draw.random() < 0.5 else draw.sample(LINES, len(LINES)):
            filled = []
            for _ in range(shape.count("{}")):
                free = draw.random() < 0.15
                word = draw.choices(words, cum_weights=usual)[0] if free else draw.choice(follows[word])
                filled.append(word)
            lines.append(shape.format(*filled))
            size += len(lines[-1]) + 1
    return "\n".join(lines) + "\n"
