"""Find the encoding of a text file, and whether it is text at all."""

from __future__ import annotations

import codecs
import hashlib
from typing import BinaryIO

from nanochat.contract.dataset import Options

PIECE = 1 << 20  # bytes read at once
BINARY_WITHIN = 8000  # a null byte in the first 8000 bytes makes a file binary, as in git
MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"),  # before UTF-16, since one begins with a UTF-16 mark
    (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"), (codecs.BOM_UTF8, "utf-8-sig"),
)  # fmt: skip


class Named:
    """The encoding from the options. It is used for files that are not UTF-8 and have no byte order mark."""

    def __init__(self, options: Options) -> None:
        self.name = options.encoding
        self.replaces = options.errors == "replace"
        self.wide = b"\0" in "a".encode(self.name or "utf-8")  # text contains null bytes, as in UTF-16
        # Letters are encoded as ASCII, as in UTF-7: then a file that is valid UTF-8 need not be UTF-8.
        letters = "\u00e4\u65e5".encode(self.name or "utf-8", "ignore")
        self.seven_bit = bool(letters) and letters.isascii() and "a".encode(self.name or "utf-8") == b"a"

    @property
    def needs_mark(self) -> bool:
        return self.name in ("utf-16", "utf-32")

    def order(self, *, nulls: bool, ascii_only: bool) -> list[str]:
        """Return the encodings to try on a file without a byte order mark, best first."""
        if not self.name:
            return ["utf-8"]
        if self.wide and nulls:
            return [self.name]
        return [self.name, "utf-8"] if self.seven_bit and ascii_only else ["utf-8", self.name]


class _Attempt:
    """Decodes a file piece by piece to check that its encoding fits."""

    def __init__(self, encoding: str, errors: str = "strict") -> None:
        self.encoding = encoding
        self.works = True
        self._decoder = codecs.getincrementaldecoder(encoding)(errors)

    def feed(self, piece: bytes, final: bool = False) -> None:
        if self.works:
            try:
                self._decoder.decode(piece, final)
            except ValueError:  # the base class of UnicodeError
                self.works = False


def decode(file: BinaryIO, named: Named) -> tuple[str, str, str]:
    """Return a file's hash, its encoding, and why it is not text ('' for text).

    The encoding is that of the byte order mark. Without one it is UTF-8 if the whole file is valid, or else the one from the
    options.
    """
    digest = hashlib.sha256()
    piece = file.read(PIECE)
    if not piece:
        return digest.hexdigest(), "", "empty"
    marked = next((name for mark, name in MARKS if piece.startswith(mark)), "")
    binary = not marked and not named.wide and b"\0" in piece[:BINARY_WITHIN]
    last = _Attempt(marked or named.name or "utf-8", "replace") if named.replaces else None
    attempts = {name: _Attempt(name) for name in ([marked] if marked else {"utf-8", named.name or "utf-8"})}
    nulls, ascii_only = False, True
    while piece:
        digest.update(piece)
        if not binary:
            nulls, ascii_only = nulls or b"\0" in piece, ascii_only and piece.isascii()
            for attempt in (*attempts.values(), *([last] if last else [])):
                attempt.feed(piece)
        piece = file.read(PIECE)
    if binary:
        return digest.hexdigest(), "", "binary"
    order = [marked] if marked else named.order(nulls=nulls, ascii_only=ascii_only)
    for attempt in (*(attempts[name] for name in order), *([last] if last else [])):
        attempt.feed(b"", final=True)
        if attempt.works:
            return digest.hexdigest(), attempt.encoding, ""
    if not marked and named.needs_mark:
        return digest.hexdigest(), "", f"without the byte order mark of {shown(named.name)}"
    return digest.hexdigest(), "", f"not {' or '.join(shown(name) for name in order)}"


def shown(encoding: str) -> str:
    """Return the name of an encoding as people write it."""
    return encoding.removesuffix("-sig").upper()
