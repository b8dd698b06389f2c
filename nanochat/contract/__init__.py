"""What the loop and the harness agree on. The only part of nanochat that core imports; needs neither torch nor numpy."""
