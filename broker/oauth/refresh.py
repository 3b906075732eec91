"""Renewing a grant (RFC 6749 section 6).

Owns: the refresh flow. It must never retry: whether a refresh token may be sent again is the engine's to decide.
"""

from collections.abc import Mapping

from broker.model.account import Tokens
from broker.model.clock import Now
from broker.model.secret import Secret
from broker.oauth.client import Client, token_request
from broker.oauth.failures import FlowFailedError, Permanent
from broker.oauth.grant import PLAIN, Reading, read_tokens
from broker.oauth.messages import Flow, HttpRequest


def refresh(url: str, client: Client, tokens: Tokens, now: Now, reading: Reading = PLAIN) -> Flow[Tokens]:
    """Renew `tokens` in one request, which has `spends` set. An answer without a new refresh token keeps the old.

    Raises:
        FlowFailedError: sorted by what to do next; `Permanent` at once where there is no refresh token.
    """
    answer = yield request(url, client, tokens, {})
    return read_tokens(answer, now, reading, old=tokens)


def request(url: str, client: Client, tokens: Tokens, extra: Mapping[str, str]) -> HttpRequest:
    """Return the request that spends the refresh token of `tokens`; `extra` are more fields of its form.

    Raises:
        FlowFailedError: `Permanent`, where there is no refresh token.
    """
    if not tokens.refresh_token:
        raise FlowFailedError(Permanent("no_refresh_token", "the login has no refresh token, so it cannot be renewed"))
    fields: dict[str, str | Secret] = {"grant_type": "refresh_token", "refresh_token": tokens.refresh_token, **extra}
    return token_request(url, client, fields, spends=True)
