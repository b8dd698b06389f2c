"""The addresses of model servers, as the variables of Ollama and OpenAI give them. Pure."""

from __future__ import annotations

from nanochat.contract.address import Address, base_url, parse

OLLAMA_PORT = 11434


def ollama(text: str) -> Address:
    """Return the address that OLLAMA_HOST means, by Ollama's own rules. Raises SettingError.

    The port is 11434, with a scheme that scheme's own. Ollama replaces a port that it cannot read by its default; here that is
    an error, because the server is then not where the user thinks.
    """
    return parse("OLLAMA_HOST", text, without_scheme=OLLAMA_PORT)


def openai(text: str) -> Address:
    """Return the address that OPENAI_BASE_URL means; without a scheme only this machine's. Raises SettingError."""
    return base_url("OPENAI_BASE_URL", text)
