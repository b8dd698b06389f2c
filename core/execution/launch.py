"""Start a module of a run's own copy of nanochat, and nothing that merely lies beside it.

The text of this file is run as `python -P -c TEXT FOLDER -m MODULE`, or with `-c CODE [ARGUMENT ...]` in the place of the last
two. Modules of nanochat come from the sources in FOLDER that were copied when the run began, and from nowhere else: FOLDER is
not searched for other modules, and a compiled module, a library or a package that somebody put there is never imported in
the place of a source. It imports nothing of ours, since it runs before anything of ours can be found.
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
from typing import Any

PACKAGE = "nanochat"
LIST = "frozen.json"  # beside FOLDER: the files that were copied, with their hashes


class Source(importlib.machinery.SourceFileLoader):
    """Compiles a module from its source, whatever compiled modules there are. `command` starts another Python like this one."""

    command: Sequence[str] = ()

    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        code: CodeType = self.source_to_code(self.get_data(path), path)
        return code


class Finder(importlib.abc.MetaPathFinder):
    """Finds the modules of the package, and says of any other of that name that it is not there."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._known: dict[str, Any] | None = None
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
