"""Ending a grant at the provider (RFC 7009).

Owns: the revocation request and what its answer means.
"""

from broker.model.account import Tokens
from broker.oauth.client import Client, token_request
from broker.oauth.messages import HttpRequest, HttpResponse


def revoke(url: str, client: Client | None, tokens: Tokens) -> HttpRequest | None:
    """Return the request that ends the whole grant: by its refresh token (section 2.1), else its access token; None with neither.

    Without a `client` the token is all that is sent, for vendors that ask for no more.
    """
    kind, token = (
        ("refresh_token", tokens.refresh_token) if tokens.refresh_token else ("access_token", tokens.access_token)
    )
    if not token:
        return None
    if client is None:
        return HttpRequest("POST", url, headers={"Accept": "application/json"}, form={"token": token})
    return token_request(url, client, {"token": token, "token_type_hint": kind})


def revoked(answer: HttpResponse) -> bool:
    """Tell whether the grant is gone.

    200 says so, for unknown tokens too (section 2.2); vendors whose call is not the standard's answer 204. Google answers 400 `invalid_token` for a token
    that is already dead.
    """
    return answer.status in {200, 204} or (answer.status == 400 and b'"invalid_token"' in answer.body)
