"""The client registration an OAuth request is made with.

Owns: `Client`, and how it proves itself at a token endpoint. It must never know where a registration was found.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from broker.model.secret import Secret
from broker.oauth.messages import HttpRequest


@dataclass(frozen=True, slots=True)
class Client:
    """An OAuth client registration. `secret` is None for a public client; `basic` sends it as HTTP Basic (RFC 6749 2.3.1).

    `expires_at` is when the registration itself ends (RFC 7591 section 3.2.1), in wall-clock seconds; None where it does not or is not known to.
    """

    id: str
    secret: Secret | None = None
    basic: bool = False
    expires_at: float | None = None


def token_request(url: str, client: Client, fields: Mapping[str, str | Secret], *, spends: bool = False) -> HttpRequest:
    """Return a form POST in which `client` proves itself (RFC 6749 section 2.3.1).

    With `basic` and a secret, id and secret go into the Authorization header and nowhere else: servers refuse a request that uses two methods.
    A public client names itself in the form (section 3.2.1).
    """
    headers = {"Accept": "application/json"}
    if client.basic and client.secret is not None:
        return HttpRequest(
            "POST", url, headers=headers, form=dict(fields), basic=(client.id, client.secret), spends=spends
        )
    form: dict[str, str | Secret] = {**fields, "client_id": client.id}
    if client.secret is not None:
        form["client_secret"] = client.secret
    return HttpRequest("POST", url, headers=headers, form=form, spends=spends)
