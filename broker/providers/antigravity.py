"""Antigravity logins (Google).

Owns: the auth files CLIProxyAPI writes (`type: antigravity`), under either of the names it gave them, the places where the installed app's client secret
may be found, and the steps after a login, which are Code Assist's in another spelling.

A file tells the end of its access token twice: `expired`, and `timestamp` (milliseconds, when it was issued) with `expires_in`. They are kept in step.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Self
from urllib.parse import urlsplit, urlunsplit

from broker.model.account import Record, Tokens
from broker.model.clock import Now
from broker.model.secret import Secret
from broker.oauth.failures import FlowFailedError, Permanent
from broker.oauth.grant import lifetime_seconds
from broker.oauth.messages import Flow, PacedFlow, Pause, with_headers
from broker.providers import codeassist, codeassist_quota, fields, google, timestamps
from broker.providers.base import (
    Client,
    Document,
    Identity,
    Quota,
    Redirect,
    RefreshPolicy,
    SecretSource,
    SourceKind,
)
from broker.providers.flat import FlatProvider
from broker.providers.naming import file_piece
from broker.providers.setup import PASTE, Setup
from broker.providers.timestamps import Unix

CLIENT_ID = "1071006060591-tmhssin2h21lcre235vtolojh4g403ep.apps.googleusercontent.com"
_SCOPES = "https://www.googleapis.com/auth/"
_VERSION = "2.9.1"  # what CLIProxyAPI falls back to; servers hide newer models from versions before 2.9.0
_HOST, _DAILY_HOST = "cloudcode-pa.googleapis.com", "daily-cloudcode-pa.googleapis.com"

DEFAULTS = Setup(
    name="antigravity",
    title="Antigravity",
    client_id=CLIENT_ID,
    endpoints=replace(google.ENDPOINTS, api_url=f"https://{_HOST}"),
    scopes=tuple(
        _SCOPES + name
        for name in ("cloud-platform", "userinfo.email", "userinfo.profile", "cclog", "experimentsandconfigs")
    ),
    redirect=Redirect(host="localhost", port=51121, path="/oauth-callback"),
    policy=RefreshPolicy(lead_seconds=300.0, rotates=False, forgives_repeat=True),
    extra_params={"access_type": "offline", "prompt": "consent"},
    # Without one like it the API answers that this version of Antigravity is no longer supported.
    user_agent=f"antigravity/hub/{_VERSION} darwin/arm64",
)

_PROGRAMS = (
    "{npm-root}/antigravity-claude-proxy/src/constants.js",
    "{npm-root}/opencode-antigravity-auth/dist/src/constants.js",
)
_CACHED = ("~/.cache/opencode/node_modules/opencode-antigravity-auth/dist/src/constants.js",)
_VARIABLES = ("ANTIGRAVITY_OAUTH_CLIENT_SECRET", "ANTIGRAVITY_CLIENT_SECRET")
_BINARIES = ("{path}/agy", "~/.local/bin/agy", "/usr/local/bin/agy", "/opt/homebrew/bin/agy")
_PROJECT_KEYS = ("cloudaicompanionProject", "projectId", "project")
_FREE_TIER = "free-tier"
_PAGE = "https://antigravity.google/oauth-callback"  # what `agy` is reported to use
_POSTS, _POST_SECONDS = 5, 2.0  # CLIProxyAPI's patience


@dataclass(frozen=True, slots=True)
class Antigravity(FlatProvider):
    """The provider; see the module."""

    @property
    def needs_secret(self) -> bool:
        """Google's token endpoint wants the installed app's secret even with PKCE."""
        return True

    @property
    def revokes_alone(self) -> bool:
        """Google's revocation takes the token and nothing else."""
        return True

    @property
    def google(self) -> bool:
        """google-auth-oauthlib builds the authorization URL."""
        return True

    @property
    def fact_keys(self) -> tuple[str, ...]:
        """The Code Assist project, and another place for the API where the file names one."""
        return ("project_id", "base_url")

    @property
    def secret_sources(self) -> tuple[SecretSource, ...]:
        """Programs that bring the secret along, variables named after it, and the `agy` binary."""
        programs, cached = (
            tuple(SecretSource(SourceKind.GLOB, path) for path in paths) for paths in (_PROGRAMS, _CACHED)
        )
        variables = tuple(SecretSource(SourceKind.ENV, name) for name in _VARIABLES)
        anchors = (self.client_id, google.KEY_PREFIX)
        binaries = tuple(SecretSource(SourceKind.BINARY, path, anchors) for path in _BINARIES)
        return (*programs, *(variables if self.setup.own_client else ()), *cached, *binaries)

    @property
    def options(self) -> Mapping[str, str]:
        """The options of a login."""
        return {
            PASTE: "true to have Antigravity's page show the code, to be pasted here; not known to take this client"
        }

    def for_login(self, options: Mapping[str, str], seed: Secret) -> Self:
        """Return the provider as one login uses it; raises BrokerError."""
        made = FlatProvider.for_login(self, options, seed)
        return replace(made, setup=made.setup.pasting(_PAGE))

    def find_secret(self, source: SecretSource, text: str) -> Secret | None:
        """Find the client secret in a source's text."""
        match source.kind:
            case SourceKind.ENV:
                return Secret(text.strip()) if text.strip() else None
            case SourceKind.BINARY:
                return google.secret_in_binary(text, self.client_id)
            case _:
                return google.secret_in_source(text, self.client_id)

    def read(self, document: Document, file_name: str) -> Record:
        """Read an auth file; raises FormatError."""
        record = FlatProvider.read(self, document, file_name)
        tokens, issued = record.tokens, timestamps.read(document.get("timestamp"))
        if issued is None:
            return record
        lifetime = lifetime_seconds(fields.get(document, "expires_in"))
        if not tokens.expires_at and lifetime is not None:  # 0 stands for not told
            tokens = replace(tokens, expires_at=issued.seconds + lifetime)
        return replace(record, tokens=replace(tokens, last_refresh=tokens.last_refresh or issued.seconds))

    def write(self, document: Document, tokens: Tokens, now: Now) -> dict[str, object]:
        """Replace the grant, and the time it was issued where the file tells it."""
        issued = now.wall if tokens.last_refresh is None else tokens.last_refresh
        made = FlatProvider.write(self, document, tokens, Now(issued, now.boot))
        if "timestamp" in made:
            old = timestamps.read(made["timestamp"])
            made["timestamp"] = timestamps.write(issued, old.notation if old else Unix(milliseconds=True))
        return made

    def file_name(self, record: Record, now: Now) -> str:  # noqa: ARG002 - the protocol's
        """Return `antigravity-<email>.json`, as CLIProxyAPI has named it since 6.7.22."""
        piece = file_piece(record.email or record.account.label)
        return f"antigravity-{piece}.json" if piece else "antigravity.json"

    def blank(self, record: Record, client: Client, now: Now) -> dict[str, object]:  # noqa: ARG002 - the protocol's
        """Return a new file's document; CLIProxyAPI sorts its keys."""
        tokens = record.tokens
        ends = tokens.expires_at is not None
        made: dict[str, object] = {
            "access_token": "",
            "disabled": record.disabled,
            **({"email": record.email} if record.email else {}),
            **({"expired": None, "expires_in": 0} if ends else {}),
            "refresh_token": "",
            **({"timestamp": 0} if ends else {}),
            "type": self.name,
            **{name: value for name, value in record.facts.items() if name in self.fact_keys},
        }
        return {name: made[name] for name in sorted(made)}

    def identify(self, tokens: Tokens, now: Now, project: str | None = None) -> PacedFlow[Identity]:
        """Ask who logged in, and find the project; raises FlowFailedError."""
        return with_headers(self._identify(tokens, now, project), self.headers)

    def quota(self, record: Record, now: Now) -> Flow[Quota] | None:
        """Ask for the limits of each model; None where the API's address is not known."""
        base = self.setup.endpoints.api_url
        if not base:
            return None
        project, bearer = record.facts.get("project_id"), record.tokens.access_token
        flow = codeassist_quota.by_model(_daily(base) + codeassist.API, bearer, project, now)
        return with_headers(flow, self.headers)

    def _identify(self, tokens: Tokens, now: Now, project: str | None) -> PacedFlow[Identity]:
        bearer, base = tokens.access_token, self.setup.endpoints.api_url
        if not bearer:
            raise FlowFailedError(Permanent("no_token", "the login brought no access token"))
        email, subject = yield from codeassist.person(self.setup.endpoints, tokens, bearer, now)
        if not base:
            return Identity(email, subject, {"project_id": project} if project else {})
        found, notes = yield from self._project(base.rstrip("/"), bearer, project, now)
        return Identity(email, subject, {"project_id": found} if found else {}, notes)

    def _project(
        self, base: str, bearer: Secret, project: str | None, now: Now
    ) -> PacedFlow[tuple[str | None, tuple[str, ...]]]:
        question: dict[str, object] = {"metadata": {"ideType": "ANTIGRAVITY"}}
        if project:
            question["cloudaicompanionProject"] = project
        answer = yield codeassist.post(base + codeassist.API, ":loadCodeAssist", question, bearer)
        loaded = codeassist.expected(answer, now)
        notes = codeassist.ineligible(loaded)
        told = next((found for key in _PROJECT_KEYS if (found := codeassist.project_id(loaded.get(key)))), None)
        if told is None:
            tier = _tier(loaded)
            if tier is None and notes:
                raise codeassist.refused(notes, self.title)
            told = yield from self._onboard(_daily(base) + codeassist.API, tier or _FREE_TIER, bearer, now)
        found = told or project
        if found is None:
            missing = "Google named no project: requests may be refused. Log in again with --project PROJECT_ID."
            return None, (missing, *notes)
        return found, (f"Project {found} was chosen by {'Google' if told else 'you'}.", *notes)

    def _onboard(self, base: str, tier: str, bearer: Secret, now: Now) -> PacedFlow[str | None]:
        """Sign the account up for a tier; None where Google is not done in time, or names no project."""
        metadata = {"ide_type": "ANTIGRAVITY", "ide_version": self._version(), "ide_name": "antigravity"}
        body: Mapping[str, object] = {"tier_id": tier, "metadata": metadata}
        for turn in range(_POSTS):
            if turn:
                yield Pause(_POST_SECONDS)
            operation = codeassist.expected((yield codeassist.post(base, ":onboardUser", body, bearer)), now)
            if operation.get("done") is True:
                return codeassist.finished(operation)
        return None

    def _version(self) -> str:
        named = re.match(r"antigravity/(?:hub/)?(\d[\w.]*)", self.setup.user_agent or "", re.ASCII)
        return named[1] if named else _VERSION


def _tier(loaded: Document) -> str | None:
    """Return the tier to sign up for: the default one, else the one there is; None where there is none."""
    tiers = loaded.get("allowedTiers")
    allowed = [tier for tier in tiers if isinstance(tier, Mapping)] if isinstance(tiers, list) else []
    default = next((codeassist.tier_id(tier) for tier in allowed if tier.get("isDefault") is True), None)
    return default or codeassist.tier_id(loaded.get("currentTier"))


def _daily(api_url: str) -> str:
    """Return where sign-up and limits are asked for: Google's daily host in the place of its production host, else the address as it is."""
    parts = urlsplit(api_url.rstrip("/"))
    return urlunsplit(parts._replace(netloc=_DAILY_HOST) if parts.netloc == _HOST else parts)
