"""What starts, watches and scores a training. A run works with its own copy of these files."""
