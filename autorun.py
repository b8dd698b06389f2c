"""Start or continue a run: `python autorun.py` is the same as `autoresearch run`."""

import os
import sys

if sys.version_info < (3, 11):
    sys.exit(
        "AutoResearch needs Python 3.11 or newer; this is Python %d.%d. Nothing was started." % sys.version_info[:2]
    )
if sys.platform == "win32":
    sys.exit("AutoResearch runs on Linux and macOS. On Windows, install WSL2 and run it there. Nothing was started.")

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))  # missing if PYTHONSAFEPATH is set
try:
    from core.cli import main
except ModuleNotFoundError as error:
    sys.exit("This Python lacks the package %s. Nothing was started. `make run` installs all and starts." % error.name)

if __name__ == "__main__":
    main(["run", *sys.argv[1:]])
