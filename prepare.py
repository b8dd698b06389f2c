"""python prepare.py: data and tokenizer, once. Fixed: no agent edits it."""

import sys

if sys.version_info < (3, 11):
    sys.exit("AutoResearch needs Python 3.11 or newer; this is Python %d.%d. Nothing was done." % sys.version_info[:2])

from nanochat.prepare import main

if __name__ == "__main__":
    main()
