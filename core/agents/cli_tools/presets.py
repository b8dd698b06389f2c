"""Command lines of coding agents, with the flags for work without a human. Each gets the task on stdin."""

from core.target import TARGET

PRESETS = {
    "claude": "claude -p --permission-mode acceptEdits",
    "codex": "codex exec --full-auto --skip-git-repo-check -",  # the scratch copy is not a repository
    "opencode": "opencode run",
    "aider": f"aider --yes-always --no-git --no-check-update --message-file TASK.md {TARGET.path}",
}
