"""xAI logins (Grok).

Owns: the device login and the older one by code, CLIProxyAPI's auth files (`type: xai`), and which token endpoint a file may name.

A refresh token is never sent to an address only because a file says so: the file's `token_endpoint` counts where it is plain https on `x.ai` or a host
below it, and the config has set no endpoint of its own. Whoever can write into the auth directory would otherwise have the refresh token sent to them.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from broker.model.account import Record, Tokens
from broker.model.clock import Now
from broker.model.secret import Secret
from broker.oauth.failures import FlowFailedError, Permanent
from broker.oauth.grant import Reading
from broker.oauth.messages import Flow, HttpRequest, PacedFlow, with_headers
from broker.oauth.sorting import Words
from broker.providers import answers, fields, jwt, timestamps
from broker.providers.base import (
    Authorization,
    Client,
    Document,
    Endpoints,
    Identity,
    LoginFlow,
    Redirect,
    RefreshPolicy,
)
from broker.providers.flat import FlatProvider
from broker.providers.naming import file_piece
from broker.providers.setup import Setup

DEFAULTS = Setup(
    name="xai",
    title="Grok (xAI)",
    client_id="b1a00492-073a-47ea-816f-4c329264a828",
    endpoints=Endpoints(
        authorize_url="https://auth.x.ai/oauth2/authorize",
        token_url="https://auth.x.ai/oauth2/token",  # noqa: S106 - an address
        revoke_url="https://auth.x.ai/oauth2/revoke",
        userinfo_url="https://auth.x.ai/oauth2/userinfo",
        device_url="https://auth.x.ai/oauth2/device/code",
        api_url="https://api.x.ai/v1",
    ),
    scopes=("openid", "profile", "email", "offline_access", "grok-cli:access", "api:access"),
    redirect=Redirect(host="127.0.0.1", port=56121, path="/callback"),
    # CLIProxyAPI renews five minutes before the end. Whoever is first leaves nothing for the other to spend.
    policy=RefreshPolicy(lead_seconds=1800.0, rotates=True),
)
READING = Reading(
    lifetime=21_600.0,
    # xAI's sentences for a dead login. A status alone proves nothing: its walls against robots answer 400, 401 and 403 too.
    words=Words(permanent=frozenset({"refresh token has been revoked", "refresh token not found or invalid"})),
)

_ENDPOINT = "token_endpoint"
_USING_API = "using_api"
_FACTS = ("base_url", _ENDPOINT, _USING_API)
# Strict, since two readers of one odd address may find two hosts in it: no user name, port, escape, query or fragment.
_OURS = re.compile(r"https://(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\.)*x\.ai/[A-Za-z0-9._~/-]*", re.ASCII)
_HEADERS = {"Accept": "application/json"}


@dataclass(frozen=True, slots=True)
class Xai(FlatProvider):
    """The provider; see the module."""

    @property
    def flows(self) -> tuple[LoginFlow, ...]:
        """The ways to log in: by device first, as xAI's own program does."""
        known = self.setup.endpoints
        device = (LoginFlow.DEVICE,) if known.device_url else ()
        return (*device, *((LoginFlow.CODE,) if known.authorize_url else ()))

    @property
    def fact_keys(self) -> tuple[str, ...]:
        """Where the API and the token endpoint are, and whether the API is used in place of the chat proxy."""
        return _FACTS

    @property
    def extra_params(self) -> Mapping[str, str]:
        """Extra parameters of the authorization request; those of the config count, and go with a device login too."""
        nonce = {"nonce": self.seed.digest().text} if self.seed else {}
        return {**nonce, "plan": "generic", "referrer": "ccs-broker", **self.setup.extra_params}

    def facts(self, document: Document) -> dict[str, str]:
        """Return the facts of a file, without a token endpoint that must not be used."""
        found = FlatProvider.facts(self, document)
        if not self.trusts(found.get(_ENDPOINT)):
            found.pop(_ENDPOINT, None)
        return found

    def trusts(self, url: str | None) -> bool:
        """Tell whether a refresh token may go to an address that a file names."""
        configured = self.setup.endpoints.token_url
        if configured != DEFAULTS.endpoints.token_url:
            return url is not None and url == configured
        return url is not None and _OURS.fullmatch(url) is not None

    def exchange(self, authorization: Authorization, given: Secret, client: Client, now: Now) -> Flow[Tokens]:
        """Exchange an authorization code; raises FlowFailedError, also for an ID token made for another login."""
        tokens = yield from FlatProvider.exchange(self, authorization, given, client, now)
        nonce = jwt.text_claim(jwt.claims(tokens.id_token), "nonce")
        # OpenID Connect Core section 3.1.3.7 point 11. Whether xAI repeats the nonce is not known, so one that is missing is no fault.
        if nonce is not None and nonce != self.extra_params.get("nonce"):
            raise FlowFailedError(Permanent("nonce_mismatch", "the provider's ID token belongs to another login"))
        return tokens

    def refresh(self, record: Record, client: Client, now: Now) -> Flow[Tokens]:
        """Renew, at the endpoint the file names where that may be used; raises FlowFailedError."""
        told = record.facts.get(_ENDPOINT)
        url = told if self.trusts(told) else self.setup.endpoints.token_url
        home = replace(self, setup=replace(self.setup, endpoints=replace(self.setup.endpoints, token_url=url)))
        return (yield from FlatProvider.refresh(home, record, client, now))

    def identify(self, tokens: Tokens, now: Now, project: str | None = None) -> PacedFlow[Identity]:  # noqa: ARG002 - the protocol's
        """Take who logged in from the ID token, else from userinfo; raises FlowFailedError where neither tells."""
        return (yield from with_headers(self._identify(tokens, now), self.headers))

    def file_name(self, record: Record, now: Now) -> str:
        """Return `xai-<email, subject or unix milliseconds>.json`."""
        return f"{self.name}-{file_piece(record.email or record.subject or '') or int(now.wall * 1000)}.json"

    def blank(self, record: Record, client: Client, now: Now) -> dict[str, object]:  # noqa: ARG002 - the base's
        """Return a new file's document in CLIProxyAPI's order of keys, its tokens still empty."""
        tokens, facts = record.tokens, record.facts
        ends = tokens.expires_at
        return {
            "type": self.name,
            "access_token": "",
            "refresh_token": "",
            **({"id_token": ""} if tokens.id_token else {}),
            "token_type": tokens.token_type,
            **({"expires_in": 0, "expired": timestamps.write(ends)} if ends is not None else {}),
            "last_refresh": timestamps.write(now.wall),
            **({"email": record.email} if record.email else {}),
            **({"sub": record.subject} if record.subject else {}),
            **{name: facts[name] for name in ("base_url", _ENDPOINT) if name in facts},
            **({_USING_API: facts[_USING_API] == "true"} if _USING_API in facts else {}),
            "auth_kind": "oauth",
            "disabled": record.disabled,
        }

    def _identify(self, tokens: Tokens, now: Now) -> Flow[Identity]:
        known = self.setup.endpoints
        facts = {name: url for name, url in (("base_url", known.api_url), (_ENDPOINT, known.token_url)) if url}
        claims = jwt.claims(tokens.id_token)
        email, subject = jwt.text_claim(claims, "email"), jwt.text_claim(claims, "sub")
        if email or not known.userinfo_url or not tokens.access_token:
            return Identity(email, subject, facts)
        answer = yield HttpRequest("GET", known.userinfo_url, headers=_HEADERS, bearer=tokens.access_token)
        try:
            told = answers.expected(answer, now)
        except FlowFailedError:
            if subject is None:
                raise
            return Identity(None, subject, facts, ("xAI did not tell the e-mail address.",))
        who = fields.hint(told, "sub")
        # OpenID Connect Core section 5.3.2: an answer about somebody else must not be used.
        if subject and who and who != subject:
            return Identity(None, subject, facts)
        return Identity(fields.hint(told, "email"), subject or who, facts)
