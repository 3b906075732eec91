"""Commands that a person is told to run.

Owns: which one gives the broker a grant of a provider, by the provider's name alone, so that both programs say the same. Pure.
"""

from typing import Final

_KEYS: Final = frozenset({"anthropic-api", "anthropic-compatible", "gemini-api", "openai-api", "openai-compatible"})
_KEY_FILES: Final = frozenset({"vertex"})


def way_in(provider: str) -> str:
    """Return the command that adds an account of this provider, or brings one that is there a new grant."""
    # Keys and key files are made on a vendor's page, and given to the daemon; everything else is logged in to.
    if provider in _KEYS:
        return f"ccs-broker add-key {provider}"
    return f"ccs-broker import {provider} --file KEY.json" if provider in _KEY_FILES else f"ccs-broker login {provider}"
