"""Qwen logins (Qwen Code's OAuth), which their vendor ended on 2026-04-15 for the free tier: kept for the files there are.

Owns: the device login with PKCE, CLIProxyAPI's auth files (`type: qwen`), and the API's address, which comes with the grant as `resource_url`.
"""

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from broker.model.account import Record, Tokens
from broker.model.clock import Now
from broker.model.errors import BrokerError, ErrorCode
from broker.model.secret import Secret
from broker.oauth import device, pkce, refresh
from broker.oauth.discovery import acceptable_url
from broker.oauth.failures import FlowFailedError, Misconfigured
from broker.oauth.grant import Reading, read_tokens
from broker.oauth.messages import Flow, PacedFlow, with_headers
from broker.oauth.sorting import Words, final_by_status
from broker.providers import fields, jwt, timestamps
from broker.providers.base import Client, DeviceCode, Document, Endpoints, Identity, RefreshPolicy
from broker.providers.flat import FlatProvider
from broker.providers.naming import safe_label
from broker.providers.setup import Setup

DEFAULTS = Setup(
    name="qwen",
    title="Qwen Code",
    client_id="f0304373b74a44d2b584a3fb70ca9e56",
    endpoints=Endpoints(
        device_url="https://chat.qwen.ai/api/v1/oauth2/device/code",
        token_url="https://chat.qwen.ai/api/v1/oauth2/token",  # noqa: S106 - an address
        api_url="https://portal.qwen.ai/v1",
    ),
    scopes=("openid", "profile", "email", "model.completion"),
    # CLIProxyAPI up to 6.9.25 renews 20 minutes before the end.
    policy=RefreshPolicy(lead_seconds=1500.0, rotates=True),
    notice="Qwen ended its free OAuth logins on 2026-04-15: a new login is expected to fail, and old ones to end.",
)
READING = Reading(facts=("resource_url",))

# Qwen Code forgets its login on any 400 or 401, whatever they say.
_FINAL = frozenset({400, 401})
_REFRESH_WORDS = Words(permanent=frozenset({"invalid_request"}))


@dataclass(frozen=True, slots=True)
class Qwen(FlatProvider):
    """The provider; see the module."""

    @property
    def fact_keys(self) -> tuple[str, ...]:
        """Where the API is, as the grant said it."""
        return ("resource_url",)

    @property
    def options(self) -> Mapping[str, str]:
        """Qwen does not tell who logged in."""
        return {"email": "the e-mail address the login is filed under, as Qwen does not tell it"}

    def for_login(self, options: Mapping[str, str], seed: Secret) -> "Qwen":
        """Return the provider as one login uses it; raises BrokerError."""
        email = options.get("email", "")
        if "email" in options and (safe_label(email) != email or "@" not in email):
            raise BrokerError(ErrorCode.BAD_REQUEST, f"email: not an e-mail address: {email[:60]!r}")
        return FlatProvider.for_login(self, options, seed)

    # --- the file ---

    def facts(self, document: Document) -> dict[str, str]:
        """Return the facts of a file, and the base URL they come to."""
        found = FlatProvider.facts(self, document)
        base_url = fields.hint(document, "base_url") or self._base_url(found.get("resource_url"))
        return {**found, **({"base_url": base_url} if base_url else {})}

    def blank(self, record: Record, client: Client, now: Now) -> dict[str, object]:  # noqa: ARG002 - the base's
        """Return a new file's document, in CLIProxyAPI's order of keys; without an e-mail address its name stands there."""
        tokens, resource = record.tokens, record.facts.get("resource_url")
        return {
            "access_token": "",
            "refresh_token": "",
            "last_refresh": timestamps.write(now.wall),
            **({"resource_url": resource} if resource else {}),
            "email": record.email or record.account.label,
            "type": self.name,
            **({"expired": timestamps.write(tokens.expires_at)} if tokens.expires_at is not None else {}),
            "disabled": record.disabled,
        }

    def _base_url(self, resource: str | None) -> str:
        """Return the API's address: with a scheme and `/v1`, and the usual one where what was said cannot be one."""
        usual = self.setup.endpoints.api_url or ""
        text = (resource or "").strip().rstrip("/")
        url = text if "://" in text else f"https://{text}"
        if not text or not acceptable_url(url) or not urlsplit(url).hostname:
            return usual
        return url if url.endswith("/v1") else f"{url}/v1"

    # --- logging in ---

    def request_code(self, client: Client, now: Now) -> Flow[DeviceCode]:
        """Ask for a device code, with a PKCE challenge; raises FlowFailedError."""
        url, setup, seed = self.setup.endpoints.device_url, self.setup, self._verifier()
        if not url:
            raise FlowFailedError(Misconfigured("no_device_url", "no device_url is known for qwen"))
        extra = {**setup.extra_params, "code_challenge": pkce.challenge(seed), "code_challenge_method": pkce.METHOD}
        flow = device.request_code(url, setup.client(client), setup.scopes, extra, now, self.reading)
        # Qwen Code sends a random UUID with this one request; a digest of what is random already is as good.
        request_id = str(uuid.UUID(hex=seed.digest().text, version=4))
        return (yield from with_headers(flow, {**self.headers, "x-request-id": request_id}))

    def poll(self, given: DeviceCode, client: Client, now: Callable[[], Now]) -> PacedFlow[Tokens]:
        """Wait for the person; raises FlowFailedError."""
        extra = {"code_verifier": self._verifier()}
        flow = device.poll(self._token_url(), self.setup.client(client), given, now, self.reading, extra)
        return (yield from with_headers(flow, self.headers))

    def identify(self, tokens: Tokens, now: Now, project: str | None = None) -> PacedFlow[Identity]:  # noqa: ARG002 - the protocol's
        """Return who the person says they are."""
        yield from ()
        claims = jwt.claims(tokens.id_token)
        email = self.setup.options.get("email") or jwt.text_claim(claims, "email")
        notes = () if email else ("Qwen does not tell whose login this is: name it with --label or --option email=.",)
        return Identity(email, None, self.facts(tokens.facts), notes)

    def _verifier(self) -> Secret:
        if self.seed is None:
            raise FlowFailedError(Misconfigured("no_verifier", "a login of qwen needs a verifier of its own"))
        return self.seed

    # --- afterwards ---

    def refresh(self, record: Record, client: Client, now: Now) -> Flow[Tokens]:
        """Renew; raises FlowFailedError."""
        return (yield from with_headers(self._refresh(record.tokens, client, now), self.headers))

    def _refresh(self, old: Tokens, client: Client, now: Now) -> Flow[Tokens]:
        answer = yield refresh.request(self._token_url(), self.setup.client(client), old, {})
        try:
            return read_tokens(answer, now, replace(self.reading, words=_REFRESH_WORDS), old)
        except FlowFailedError as error:
            raise FlowFailedError(final_by_status(error.failure, answer, _FINAL)) from None
