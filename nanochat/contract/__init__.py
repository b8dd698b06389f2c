"""Types and files that the loop and the harness share. `core` imports no other part of nanochat. Needs no torch or numpy."""
