"""Start, monitor and score a training. A run uses its own copy of these files."""
