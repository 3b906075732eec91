"""Google's authorization URL, as Google's own library builds it.

Owns: the use of google-auth-oauthlib. The library is imported on first use: it takes a fifth of a second, which only a login pays.

It builds the URL and nothing else. The code exchange is a flow of ours: the library's goes out through `requests`, refuses plain http on loopback (oauthlib
does so for every URL but by a process-wide environment variable), and would be a second way for a client secret to leave the process, beside the one
transport. For the same reason no client secret is given to it.
"""

from collections.abc import Mapping
from urllib.parse import urlsplit, urlunsplit

from broker.model.secret import Secret


def authorization_url(
    endpoint: str,
    client_id: str,
    redirect_uri: str,
    scopes: tuple[str, ...],
    state: Secret,
    verifier: Secret,
    extra: Mapping[str, str],
) -> str:
    """Return the URL the person opens, with PKCE S256; the arguments are those of `broker.oauth.code.authorization_url`."""
    from google_auth_oauthlib.flow import Flow  # noqa: PLC0415 - see the module

    parts = urlsplit(endpoint)
    registration = {
        "client_id": client_id,
        # A sandbox speaks plain http on loopback; oauthlib only writes the address, so it may take it for https.
        "auth_uri": urlunsplit(parts._replace(scheme="https")),
        "token_uri": "https://oauth2.googleapis.com/token",
    }
    flow = Flow.from_client_config(
        {"installed": registration}, list(scopes), redirect_uri=redirect_uri, code_verifier=verifier.reveal()
    )
    url: str = flow.authorization_url(state=state.reveal(), **extra)[0]
    return urlunsplit(urlsplit(url)._replace(scheme=parts.scheme))
