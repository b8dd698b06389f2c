"""The addresses of model servers, from the environment variables of Ollama and OpenAI. Pure."""

from __future__ import annotations

from nanochat.contract.address import Address, base_url, parse

OLLAMA_PORT = 11434


def ollama(text: str) -> Address:
    """Return the address in OLLAMA_HOST, by Ollama's own rules. Raises SettingError.

    Without a scheme the default port is 11434, else the scheme's. An invalid port is an error here. Ollama would use its
    default port instead, which is not what the user expects.
    """
    return parse("OLLAMA_HOST", text, without_scheme=OLLAMA_PORT)


def openai(text: str) -> Address:
    """Return the address in OPENAI_BASE_URL. Without a scheme it must be on this machine. Raises SettingError."""
    return base_url("OPENAI_BASE_URL", text)
