"""Adds a proposed limit to the front matter of program.md, and changes nothing else in the file."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import tempfile
from collections.abc import Collection, Sequence
from pathlib import Path

from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from core.charter import CharterError, Proposed, read
from core.charter.front_matter import Parts, lines, node, split
from core.errors import UserError
from core.record.journal import sync


class NotAdopted(UserError):
    """The file was not changed. The message says why."""


def adopt(path: Path, wanted: Proposed, known: Collection[str]) -> str:
    """Add a proposed limit to the front matter of program.md.

    Comments, line endings, byte order mark, permissions and a symbolic link are kept. The file is replaced as a whole.

    Args:
        path: program.md.
        wanted: The proposal, as it was shown.
        known: The names of train.py.

    Returns:
        A sentence that says what was done.

    Raises:
        NotAdopted: The file has changed and no longer proposes this, has an error, or cannot be written.
    """
    by_hand = f"Nothing was changed. To add it yourself, put this line between two lines --- at the top: {wanted.line}"
    try:
        target = path.resolve(strict=True)
        before = target.read_bytes()
        if not os.access(target, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        text = before.decode("utf-8")
        if wanted not in read(text, known).proposed:
            raise NotAdopted(f"program.md has changed and no longer proposes {wanted.line}. Nothing was changed.")
        _replace(target, before, added(text, wanted).encode("utf-8"))
    except CharterError as error:
        raise NotAdopted(f"{error} {by_hand}") from error
    except (OSError, UnicodeDecodeError) as error:
        words = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise NotAdopted(f"{path} cannot be changed ({words}). {by_hand}") from error
    return f"Added to the front matter of program.md: {wanted.line}"


def _replace(target: Path, before: bytes, after: bytes) -> None:
    """Replace a file in one step, unless it has changed since it was read. Raises OSError and NotAdopted."""
    descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    draft = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(after)
            file.flush()
            sync(file.fileno())
        with contextlib.suppress(OSError):
            status = target.stat()
            os.chown(draft, status.st_uid, status.st_gid)
        shutil.copystat(target, draft)
        os.utime(draft)
        if target.read_bytes() != before:
            raise NotAdopted("program.md was edited at the same moment, so nothing was changed. Try again.")
        os.replace(draft, target)
    finally:
        draft.unlink(missing_ok=True)


def added(text: str, wanted: Proposed) -> str:
    """Return program.md with a proposed limit in its front matter.

    Raises CharterError if the front matter has a form that cannot be changed here.
    """
    parts = split(text)
    before = read(text).limits
    found = node(parts)
    fresh = [name for name in wanted.names if name not in before.off_limits]
    after = _new(text, wanted.line) if parts.matter is None else _changed(text, parts, found, wanted, fresh)
    try:
        understood, body = read(after).limits, split(after).body
    except CharterError:
        understood, body = before, ""
    names = wanted.names or before.off_limits
    value = wanted.line.partition(":")[2].strip()
    expected = {
        "max_params": (value if wanted.key == "max_params" else str(before.max_params)),
        "max_memory_gb": str(float(value) if wanted.key == "max_memory_gb" else before.max_memory_gb),
        "off_limits": str(names),
    }
    really = {name: str(getattr(understood, name)) for name in expected}
    if really != expected or not body.endswith(parts.body):
        raise CharterError("The front matter of program.md has a form that cannot be edited automatically.")
    return after


def _new(text: str, line: str) -> str:
    """Return a text with a new front matter at its top."""
    mark = "\ufeff" if text.startswith("\ufeff") else ""
    end = _line_end(text)
    return f"{mark}---{end}{line}{end}---{end}{end}{text.removeprefix(mark)}"


def _line_end(text: str) -> str:
    match = re.search(r"\r\n|\r|\n", text)
    return match[0] if match else "\n"


def _changed(text: str, parts: Parts, found: MappingNode | None, wanted: Proposed, fresh: Sequence[str]) -> str:
    """Return the text with the line added, or merged into an existing key."""
    assert parts.matter is not None
    matter = parts.matter
    value = next((value for key, value in found.value if key.value == wanted.key), None) if found is not None else None
    if value is not None:
        matter = _merged(matter, value, wanted, fresh)
    else:
        indent = " " * (found.start_mark.column if found is not None else 0)
        end = _line_end(text)
        if matter and not matter.endswith(("\n", "\r")):
            matter += end
        matter = f"{matter}{indent}{wanted.line}{end}"
    return text[: parts.start] + matter + text[parts.start + len(parts.matter) :]


def _merged(matter: str, value: Node, wanted: Proposed, fresh: Sequence[str]) -> str:
    """Return the front matter with the value of a key changed in place. Comments and the order of lines stay."""
    begin, end = value.start_mark.index, value.end_mark.index
    names = ", ".join(fresh)
    if isinstance(value, SequenceNode) and value.value and not value.flow_style:
        last = value.value[-1].start_mark.index
        for at, content in lines(matter):
            if at <= last <= at + len(content):
                dash = content[: content.index("-")] + "- "
                line_end = _line_end(matter)
                new = "".join(f"{dash}{name}{line_end}" for name in fresh)
                after = at + len(content) + len(line_end)
                return f"{matter[:after]}{'' if after <= len(matter) else line_end}{new}{matter[after:]}"
    if isinstance(value, SequenceNode) and value.value:
        after = value.value[-1].end_mark.index
        return f"{matter[:after]}, {names}{matter[after:]}"
    if isinstance(value, SequenceNode):  # an empty list
        return f"{matter[:begin]}[{names}]{matter[end:]}"
    assert isinstance(value, ScalarNode)
    if value.value.strip().lower() not in ("", "~", "null", "none"):  # names in one line
        return f"{matter[:begin]}[{', '.join(wanted.names)}]{matter[end:]}"
    space = "" if matter[begin - 1 : begin] == " " else " "
    return f"{matter[:begin]}{space}{wanted.line.partition(':')[2].strip()}{matter[end:]}"
