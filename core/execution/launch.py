"""Start a module of a run's own copy of nanochat. Only files that were copied when the run began are imported.

The text of this file runs as `python -P -c TEXT FOLDER -m MODULE`, or with `-c CODE [ARGUMENT ...]` instead of the last two
arguments. Modules of nanochat are compiled from the copied sources in FOLDER. FOLDER is not searched for other modules.
Bytecode, libraries and packages that were added to FOLDER later are never imported. This file imports no module of this
project, since none can be found before it has run.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import json
import os
import runpy
import sys
from collections.abc import Sequence
from types import CodeType, ModuleType

PACKAGE = "nanochat"
LIST = "frozen.json"  # beside FOLDER: the files that were copied, with their hashes; `COPIES` of the contract


class Source(importlib.machinery.SourceFileLoader):
    """A loader that always compiles the source and ignores bytecode. `command` starts another Python in the same way."""

    command: Sequence[str] = ()

    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        code: CodeType = self.source_to_code(self.get_data(path), path)
        return code


class Finder(importlib.abc.MetaPathFinder):
    """Finds the copied modules of the package. Raises ModuleNotFoundError for any other module of the package."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._known: dict[str, str] | None = None  # path -> SHA-256
        path = os.path.join(os.path.dirname(folder), LIST)
        if os.path.exists(path):
            with open(path, encoding="utf-8") as file:
                self._known = json.load(file)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        parts = fullname.split(".")
        if parts[0] != PACKAGE:
            return None
        for package in (False, True):
            names = [*parts, "__init__.py"] if package else [*parts[:-1], f"{parts[-1]}.py"]
            file = os.path.join(self._folder, *names)
            known = "/".join([os.path.basename(self._folder), *names])
            if known in self._known if self._known is not None else os.path.isfile(file):
                folders = [os.path.dirname(file)] if package else None
                return importlib.util.spec_from_file_location(
                    fullname, file, loader=Source(fullname, file), submodule_search_locations=folders
                )
        raise ModuleNotFoundError(f"This run has no module {fullname}", name=fullname)


def main(folder: str, how: str, what: str, *arguments: str) -> None:
    """Run a module (`how` is -m) or a piece of code (-c) with the copy of the package in `folder`."""
    Source.command = [sys.executable, "-P", "-c", sys.orig_argv[3], folder]
    sys.meta_path.insert(0, Finder(folder))
    sys.argv = [how, *arguments]
    if how == "-m":
        runpy.run_module(what, run_name="__main__", alter_sys=True)
    else:
        exec(compile(what, "<code>", "exec"), {"__name__": "__main__"})


if __name__ == "__main__":
    main(*sys.argv[1:])
