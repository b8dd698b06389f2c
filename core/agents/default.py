"""The agent of a start that names none, and offers to pull a model that is missing. The clients of model servers are imported late."""

from __future__ import annotations

from core.machine.project import Project


def default_agent(project: Project, context: int | None, attended: bool) -> tuple[str, str]:
    """Return the agent to use when none is named, and why. If `attended` and Ollama has no model, offer to pull one."""
    from core.agents import reach
    from core.agents.llm.ollama import pulling

    if attended:
        pulling.offer_first()
    return reach.default(reach.tokens(project, context))


def offer_missing(spec: str, without: str = "search proposes") -> None:
    """Offer to pull the models of an agent that Ollama does not have. `without`: what happens without such a model."""
    from core.agents.llm.ollama import pulling

    pulling.offer_missing(spec, without)
