"""A grant of the program's own (RFC 6749 section 4.4).

Owns: the request, which is both the login and every renewal. It must never keep a refresh token: section 4.4.3 knows none, and the client's own
credentials always bring the next grant.
"""

from collections.abc import Mapping
from dataclasses import replace

from broker.model.account import Tokens
from broker.model.clock import Now
from broker.model.secret import Secret
from broker.oauth.client import Client, token_request
from broker.oauth.failures import FlowFailedError, Misconfigured, Permanent
from broker.oauth.grant import PLAIN, Reading, read_tokens
from broker.oauth.messages import Flow

_OURS = frozenset({"grant_type", "client_id", "client_secret"})


def request(
    url: str,
    client: Client,
    scopes: tuple[str, ...],
    extra: Mapping[str, str],
    now: Now,
    reading: Reading = PLAIN,
    *,
    spends: bool = False,
) -> Flow[Tokens]:
    """Ask for a grant in one request, with `extra` parameters beside (an audience).

    Raises:
        FlowFailedError: sorted by what to do next; never `Permanent`, since what is refused is the registration; `Misconfigured` at once where
            the client has no secret: a public client may not do this.
    """
    if client.secret is None:
        raise FlowFailedError(Misconfigured("no_client_secret", "a grant without a person needs a client secret"))
    fields: dict[str, str | Secret] = {"grant_type": "client_credentials"}
    if scopes:
        fields["scope"] = " ".join(scopes)
    fields |= {name: value for name, value in extra.items() if name not in _OURS}
    answer = yield token_request(url, client, fields, spends=spends)
    try:
        return replace(read_tokens(answer, now, reading), refresh_token=None)
    except FlowFailedError as error:
        match error.failure:
            case Permanent(code=code, reason=reason):
                # There is no login that could be dead: the registration is refused, and a person mends that in the config.
                raise FlowFailedError(Misconfigured(code, reason)) from None
            case _:
                raise
