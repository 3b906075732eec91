"""The authorization code flow (RFC 6749 section 4.1) with PKCE (RFC 7636) and a loopback redirect (RFC 8252).

Owns: the authorization URL, reading what comes back by callback or by hand, the one-time state, and the exchange. It must never log or
repeat a code, a state or a verifier.
"""

import re
from collections.abc import Mapping
from urllib.parse import parse_qs, urlencode, urlsplit, urlunsplit

import msgspec

from broker.model.account import Tokens
from broker.model.clock import Now
from broker.model.secret import Secret
from broker.oauth.client import Client, token_request
from broker.oauth.grant import PLAIN, Reading, read_tokens
from broker.oauth.messages import Flow
from broker.oauth.pkce import METHOD, challenge
from broker.oauth.sorting import clean

_PASTE_MAX = 16_384
_BARE_CODE = re.compile(
    r"(?!(?:code|state|error)=)[A-Za-z0-9._~+/=%\-]{4,4096}"
)  # RFC 6749 appendix A.11 allows more; no provider uses it
_REFUSALS = {
    "access_denied": "the access was refused on the provider's page",
    "admin_policy_enforced": "the administrator of this account's organisation does not allow this program",
    "disallowed_useragent": "the provider does not accept logins from this browser",
    "org_internal": "this client registration is for members of one organisation only",
    "invalid_scope": "the provider does not know a scope that was asked for; check `scopes` in the config",
    "redirect_uri_mismatch": "the provider does not accept our callback address; check `redirect_port` in the config",
    "unauthorized_client": "the provider does not allow this client registration to log people in",
    "unsupported_response_type": "the provider does not offer the authorization code flow",
    "login_required": "the provider asks to sign in first",
    "consent_required": "the provider asks for consent that was not given",
    "interaction_required": "the provider needs an answer on its page that was not given",
    "server_error": "the provider had an error of its own; try again",
    "temporarily_unavailable": "the provider is overloaded; try again in a while",
}

# What some servers say in the description alone, under an error that means something else.
_DESCRIBED = {"missing_codex_entitlement": "this account, or its workspace, has no right to use Codex"}


class Authorization(msgspec.Struct, frozen=True):
    """A code flow under way: what the exchange must repeat."""

    url: str
    redirect_uri: str
    state: Secret
    verifier: Secret


class Approved(msgspec.Struct, frozen=True):
    """The provider sent a code. `state` is None where the person pasted a bare code."""

    code: Secret
    state: Secret | None


class Denied(msgspec.Struct, frozen=True):
    """The provider sent an error (RFC 6749 section 4.1.2.1). `reason` is one sentence for the person."""

    code: str
    reason: str
    state: Secret | None


class Unreadable(msgspec.Struct, frozen=True):
    """Neither a code nor an error. `reason` says what was expected."""

    reason: str


Callback = Approved | Denied | Unreadable


def authorization_url(
    endpoint: str,
    client_id: str,
    redirect_uri: str,
    scopes: tuple[str, ...],
    state: Secret,
    verifier: Secret,
    extra: Mapping[str, str],
) -> str:
    """Return the URL the person opens; a query the endpoint already has is kept (RFC 6749 section 3.1).

    It holds the state, which the person's browser must see, and the challenge, which anyone may. A parameter that `extra` sets to nothing is left out, for
    vendors whose page knows no such one.
    """
    fields: dict[str, str | Secret] = {
        "response_type": "code",
        "client_id": client_id,
        "redirect_uri": redirect_uri,
        **({"scope": " ".join(scopes)} if scopes else {}),
        "state": state,
        "code_challenge": challenge(verifier),
        "code_challenge_method": METHOD,
        **extra,
    }
    return address(endpoint, fields)


def address(endpoint: str, fields: Mapping[str, str | Secret]) -> str:
    """Return an address a person opens: with these parameters behind those it has, but for empty ones. The one secret among them may be the state."""
    sent = {name: value.reveal() if isinstance(value, Secret) else value for name, value in fields.items() if value}
    parts = urlsplit(endpoint)
    return urlunsplit(parts._replace(query="&".join(q for q in (parts.query, urlencode(sent)) if q), fragment=""))


def exchange(
    url: str, authorization: Authorization, code: Secret, client: Client, now: Now, reading: Reading = PLAIN
) -> Flow[Tokens]:
    """Redeem a code (RFC 6749 section 4.1.3, RFC 7636 section 4.5) in one request.

    Raises:
        FlowFailedError: sorted by what to do next.
    """
    fields: dict[str, str | Secret] = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": authorization.redirect_uri,
        "code_verifier": authorization.verifier,
    }
    answer = yield token_request(url, client, fields)
    return read_tokens(answer, now, reading)


def read_callback(text: Secret) -> Callback:
    """Read what a person pasted or a browser called.

    Accepted: the whole callback URL, `?query`, `code=…&state=…`, `host/path?query`, parameters in the fragment, `code#state`, a bare code.
    """
    pasted = "".join(text.reveal().split()).strip("\"'<>")
    if len(pasted) > _PASTE_MAX:
        return Unreadable("that is too long for a callback URL or a code")
    if not pasted:
        return Unreadable("nothing was pasted")
    fields = _parameters(pasted)
    state = Secret(fields["state"]) if fields.get("state") else None
    if error := fields.get("error"):
        return Denied(clean(error), refusal(error, fields.get("error_description", "")), state)
    if code := fields.get("code"):
        return Approved(Secret(code), state)
    # Terminals and mail break addresses into lines, so that spaces in one mean nothing. A code is short: words are none.
    return _bare("" if " " in text.reveal().strip() else pasted)


def state_matches(given: Secret | None, expected: Secret) -> bool:
    """Compare a state in constant time; a missing one does not match."""
    return given is not None and given == expected


def refusal(error: str, description: str = "") -> str:
    """Say an authorization error in plain words, with the provider's own where it gave some."""
    plain = _REFUSALS.get(error, f"the provider refused the login ({clean(error) or 'no reason given'})")
    said = clean(description)
    if known := next((words for sign, words in _DESCRIBED.items() if sign in description), None):
        return f"{known} (the provider says: {said})"
    return f"{plain} (the provider says: {said})" if said else plain


def _parameters(pasted: str) -> dict[str, str]:
    """Collect query and fragment parameters, the query first; empty where the text has none."""
    before, _, fragment = pasted.partition("#")
    address, mark, query = before.partition("?")
    if not mark and re.match(r"(?:code|state|error|scope|iss)=", address):
        query = address
    found: dict[str, str] = {}
    for part in (query, fragment):
        for name, values in parse_qs(part).items():
            found.setdefault(name, values[0])
    # `code=…#state`, as some vendors' pages show it
    if "code" in found and "state" not in found and fragment and "=" not in fragment:
        found["state"] = fragment
    return found


def _bare(pasted: str) -> Callback:
    code, mark, state = pasted.partition("#")
    if "://" in pasted or not _BARE_CODE.fullmatch(code) or (mark and not _BARE_CODE.fullmatch(state)):
        return Unreadable("there is no code in it: paste the whole address the browser ended on, or the code alone")
    return Approved(Secret(code), Secret(state) if mark else None)
