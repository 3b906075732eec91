"""iFlow logins, which CLIProxyAPI dropped on 2026-04-17: kept for the files there are.

Owns: iFlow's code login (its own parameter names, no PKCE, the client proven twice), and CLIProxyAPI's auth files (`type: iflow`), those of its cookie login
included. What the API wants is not the access token but the account's API key, asked for after each grant: it is this provider's `Tokens.access_token`.
The account's own token, which opens nothing but the question for that key, travels as `Tokens.id_token` and lies in the file as `access_token`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from broker.model.account import AccountId, Record, Tokens
from broker.model.clock import Now
from broker.model.secret import Secret
from broker.oauth import code
from broker.oauth.failures import FlowFailedError, Misconfigured, Permanent, Transient
from broker.oauth.grant import read_tokens
from broker.oauth.messages import Flow, HttpRequest, HttpResponse, PacedFlow, with_headers
from broker.oauth.sorting import sort_failure
from broker.providers import fields, timestamps
from broker.providers.answers import expected, parsed
from broker.providers.base import (
    Authorization,
    Client,
    Document,
    Endpoints,
    FormatError,
    Identity,
    Redirect,
    RefreshPolicy,
)
from broker.providers.flat import FlatProvider
from broker.providers.naming import file_piece, first_label, stem
from broker.providers.setup import Setup
from broker.providers.tokenmap import read_grant, replace_grant, with_known_end

DEFAULTS = Setup(
    name="iflow",
    title="iFlow",
    client_id="10009311001",
    endpoints=Endpoints(
        authorize_url="https://iflow.cn/oauth",
        token_url="https://iflow.cn/oauth/token",  # noqa: S106 - an address
        userinfo_url="https://iflow.cn/api/oauth/getUserInfo",
        api_url="https://apis.iflow.cn/v1",
    ),
    redirect=Redirect(host="localhost", port=11451, path="/oauth2callback"),
    # CLIProxyAPI up to 6.9.27 renews 24 hours before the end.
    policy=RefreshPolicy(lead_seconds=25 * 3600.0, lead_share=0.6, rotates=True),
    extra_params={"loginMethod": "phone", "type": "phone"},
    notice="iFlow is reported to refuse the logins of command-line tools since April 2026: a new login may fail, and old ones end.",
)

_END_KEYS = ("expireTime", "expire_time")  # what iFlow's own page calls the end of a key
_OLD_KEY_SECONDS = 600.0  # how long the key there is stays in use where a new grant came without one
_ACCEPT = {"Accept": "application/json"}


@dataclass(frozen=True, slots=True)
class IFlow(FlatProvider):
    """The provider; see the module."""

    @property
    def needs_secret(self) -> bool:
        """The token endpoint wants the app's secret. No installed program is known to hold it: the config names it."""
        return True

    # --- the file ---

    def read(self, document: Document, file_name: str) -> Record:
        """Read an auth file; raises FormatError. One of a cookie login has a key that ends, and nothing to renew it with."""
        grant, key = read_grant(document), fields.secret(document, "api_key")
        if not key and not grant.refresh_token:
            raise FormatError("it has neither api_key nor refresh_token")
        ends = grant.expires_at
        if ends is None and (told := fields.stamp(document, _END_KEYS)) is not None:
            ends = told.seconds
        email = fields.text(document, "email")
        return Record(
            account=AccountId(
                self.name, first_label(fields.hint(document, "label"), email, stem(file_name), "account")
            ),
            tokens=with_known_end(replace(grant, access_token=key, id_token=grant.access_token, expires_at=ends)),
            email=email,
            facts=self.facts(document),
            disabled=fields.flag(document, "disabled"),
        )

    def facts(self, document: Document) -> dict[str, str]:
        """Return where the API is."""
        base_url = fields.hint(document, "base_url") or self.setup.endpoints.api_url
        return {"base_url": base_url} if base_url else {}

    def write(self, document: Document, tokens: Tokens, now: Now) -> dict[str, object]:
        """Replace key and grant."""
        grant = replace(tokens, access_token=tokens.id_token, id_token=None)
        made = replace_grant(document, grant, now, canonical=True, expiry_key=self.expiry_key)
        fields.put_secret(made, "api_key", tokens.access_token, add=True)
        return made

    def file_name(self, record: Record, now: Now) -> str:
        """Return `iflow-<email>-<unix seconds>.json`."""
        return f"iflow-{file_piece(record.email or record.account.label) or 'account'}-{int(now.wall)}.json"

    def blank(self, record: Record, client: Client, now: Now) -> dict[str, object]:  # noqa: ARG002 - the base's
        """Return a new file's document, in CLIProxyAPI's order of keys."""
        tokens = record.tokens
        return {
            "access_token": "",
            "refresh_token": "",
            "last_refresh": timestamps.write(now.wall),
            **({"expired": timestamps.write(tokens.expires_at)} if tokens.expires_at is not None else {}),
            "api_key": "",
            "email": record.email or record.account.label,
            "token_type": tokens.token_type,
            "scope": " ".join(tokens.scopes),
            "type": self.name,
            "disabled": record.disabled,
        }

    # --- logging in ---

    def authorization_url(self, client: Client, redirect_uri: str, state: Secret, verifier: Secret) -> str:  # noqa: ARG002 - no PKCE there
        """Return the URL a person opens: iFlow's page knows `redirect`, and neither scopes nor PKCE."""
        asked: dict[str, str | Secret] = {
            **self.extra_params,
            "redirect": redirect_uri,
            "state": state,
            "client_id": client.id,
        }
        return code.address(self.setup.endpoints.authorize_url or "", asked)

    def exchange(self, authorization: Authorization, given: Secret, client: Client, now: Now) -> Flow[Tokens]:
        """Exchange an authorization code, and ask for the account's key; raises FlowFailedError."""
        return (yield from with_headers(self._exchange(authorization, given, client, now), self.headers))

    def _exchange(self, authorization: Authorization, given: Secret, client: Client, now: Now) -> Flow[Tokens]:
        asked: dict[str, str | Secret] = {
            "grant_type": "authorization_code",
            "code": given,
            "redirect_uri": authorization.redirect_uri,
        }
        tokens = _granted((yield self._token_request(client, asked)), now)
        key, email = yield from self._account(tokens.access_token, now)
        return replace(tokens, access_token=key, id_token=tokens.access_token, facts={"email": email} if email else {})

    def identify(self, tokens: Tokens, now: Now, project: str | None = None) -> PacedFlow[Identity]:  # noqa: ARG002 - the protocol's
        """Return whose key it is, which came with it."""
        yield from ()
        return Identity(tokens.facts.get("email"), None, self.facts({}))

    # --- afterwards ---

    def refresh(self, record: Record, client: Client, now: Now) -> Flow[Tokens]:
        """Renew, and ask for the account's key again; raises FlowFailedError."""
        return (yield from with_headers(self._refresh(record.tokens, client, now), self.headers))

    def _refresh(self, old: Tokens, client: Client, now: Now) -> Flow[Tokens]:
        if not old.refresh_token:
            reason = "a key that came from a browser's cookie cannot be renewed; log in again"
            raise FlowFailedError(Permanent("no_refresh_token", reason))
        asked: dict[str, str | Secret] = {"grant_type": "refresh_token", "refresh_token": old.refresh_token}
        answer = yield self._token_request(client, asked, spends=True)
        tokens = _granted(answer, now, old)
        made = replace(tokens, id_token=tokens.access_token)
        try:
            key, _ = yield from self._account(tokens.access_token, now)
        except FlowFailedError:
            # The refresh token is spent: the new one is kept, with the key there is, and soon renewed again.
            soon = now.wall + _OLD_KEY_SECONDS
            ends = soon if tokens.expires_at is None else min(tokens.expires_at, soon)
            return replace(made, access_token=old.access_token, expires_at=ends)
        return replace(made, access_token=key)

    def _token_request(self, client: Client, asked: Mapping[str, str | Secret], *, spends: bool = False) -> HttpRequest:
        """Return a request in which the client proves itself in the header and in the form: iFlow wants both, against RFC 6749 section 2.3."""
        if client.secret is None:
            raise FlowFailedError(Misconfigured("no_client_secret", "iFlow's token endpoint wants a client secret"))
        form = {**asked, "client_id": client.id, "client_secret": client.secret}
        basic = (client.id, client.secret)
        return HttpRequest("POST", self._token_url(), headers=_ACCEPT, form=form, basic=basic, spends=spends)

    def _account(self, token: Secret | None, now: Now) -> Flow[tuple[Secret, str | None]]:
        """Ask for the account's API key, and for the address or the phone number of its owner."""
        url = self.setup.endpoints.userinfo_url
        if not url:
            raise FlowFailedError(Misconfigured("no_userinfo_url", "no userinfo_url is known for iflow"))
        answer = yield HttpRequest("GET", url, headers=_ACCEPT, query={"accessToken": token or ""})
        told = expected(answer, now).get("data")
        data = told if isinstance(told, Mapping) else {}
        key = fields.hint(data, "apiKey")
        if parsed(answer).get("success") is False or key is None or not key.isprintable():
            raise FlowFailedError(Transient("iFlow gave no API key for the account"))
        return Secret(key), fields.hint(data, "email") or fields.hint(data, "phone")


def _granted(answer: HttpResponse, now: Now, old: Tokens | None = None) -> Tokens:
    """Return the grant in an answer. iFlow tells failures with status 200 too: those are no lost answers."""
    told = parsed(answer)
    refused = told.get("success") is False or ("code" in told and not told.get("access_token"))
    if refused and 200 <= answer.status < 300:
        raise FlowFailedError(sort_failure(replace(answer, status=400), now))
    return read_tokens(answer, now, old=old)
