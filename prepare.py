"""python prepare.py: data and tokenizer, once. Fixed: no agent edits it."""

import os
import signal
import sys

if sys.version_info < (3, 11):
    sys.exit("AutoResearch needs Python 3.11 or newer; this is Python %d.%d. Nothing was done." % sys.version_info[:2])
if sys.platform == "win32":
    sys.exit("AutoResearch runs on Linux and macOS. On Windows, install WSL2 and run it there. Nothing was done.")

signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def interrupted(number, frame):
    """While this program is still loading."""
    for other in signals:
        signal.signal(other, signal.SIG_IGN)
    os.write(2, b"Interrupted. Nothing was done.\n")
    os._exit(128 + number)


if __name__ == "__main__":
    for number in signals:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, interrupted)

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))  # PYTHONSAFEPATH leaves it out
try:
    from core import entry
    from core.machine.defaults import default_profile, scored_windows
    from nanochat.data.prepare import main
except ModuleNotFoundError as error:
    sys.exit(
        "This Python lacks the package %s. Nothing was done. `make prepare` installs all and prepares." % error.name
    )

if __name__ == "__main__":
    with entry.program():
        profile = default_profile()[1]
        main(dataset=profile.dataset, vocab=profile.vocab_size, fit=scored_windows)
