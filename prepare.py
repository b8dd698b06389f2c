"""python prepare.py: data and tokenizer, once. Fixed: no agent edits it."""

import os
import sys

if sys.version_info < (3, 11):
    sys.exit("AutoResearch needs Python 3.11 or newer; this is Python %d.%d. Nothing was done." % sys.version_info[:2])
if sys.platform == "win32":
    sys.exit("AutoResearch runs on Linux and macOS. On Windows, install WSL2 and run it there. Nothing was done.")

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))  # PYTHONSAFEPATH leaves it out
try:
    from core import entry
    from core.begin import machine
    from nanochat.prepare import main
except ModuleNotFoundError as error:
    sys.exit(
        "This Python lacks the package %s. Nothing was done. `make prepare` installs all and prepares." % error.name
    )

if __name__ == "__main__":
    with entry.program():
        profile = machine()[1]
        main(dataset=profile.dataset, vocab=profile.vocab_size)
