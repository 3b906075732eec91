"""Kimi logins (Kimi Code).

Owns: the device login with its `X-Msh-*` headers, the device id that belongs to a login, the two regions, CLIProxyAPI's auth files (`type: kimi`) and the
limits of a plan.

A login is bound to the device id it was made with and to its region: both stand in the file, and a refresh token goes to no other region's host.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Self
from urllib.parse import urlsplit, urlunsplit

from broker import __version__
from broker.model.account import Record, Tokens
from broker.model.clock import Now
from broker.model.errors import BrokerError, ErrorCode
from broker.model.secret import Secret
from broker.oauth import refresh
from broker.oauth.failures import FlowFailedError
from broker.oauth.grant import Reading, read_tokens
from broker.oauth.messages import Flow, HttpRequest, PacedFlow, with_headers
from broker.oauth.sorting import Words, final_by_status
from broker.providers import answers, fields, jwt, timestamps
from broker.providers.base import Client, Document, Endpoints, Identity, Quota, QuotaWindow, RefreshPolicy
from broker.providers.flat import FlatProvider
from broker.providers.setup import Setup

DEFAULTS = Setup(
    name="kimi",
    title="Kimi",
    client_id="17e5f671-d194-4dfb-9706-5516cb48c098",
    endpoints=Endpoints(
        token_url="https://auth.kimi.com/api/oauth/token",  # noqa: S106 - an address
        device_url="https://auth.kimi.com/api/oauth/device_authorization",
        api_url="https://api.kimi.com/coding/v1",
    ),
    # A token lives 15 minutes: renewed at half of that, before CLIProxyAPI, which does so five minutes before the end.
    policy=RefreshPolicy(lead_seconds=450.0, lead_share=0.5, rotates=True),
)
READING = Reading(lifetime=900.0, words=Words(permanent=frozenset({"invalid_request"})))

_FINAL = frozenset({401, 403})  # Kimi's own program drops the login on these
_DEFAULT_REGION = "cn"
_REGIONS = {_DEFAULT_REGION: ".kimi.com", "global": ".kimi.ai"}
_PLATFORM = "ccs-broker"
_NO_DEVICE = "cli-proxy-api-device"  # what CLIProxyAPI sends for a file without an id
_HEADER_MAX = 128
_NOTHING: Document = {}
_NO_NOTES: tuple[str, ...] = ()
_HEADERS = {"Accept": "application/json"}
_TIMESTAMP = ("timestamp",)
_UNITS = {
    "MINUTE": ("minute", "minutes"),
    "HOUR": ("hour", "hours"),
    "DAY": ("day", "days"),
    "SECOND": ("second", "seconds"),
}
_RESETS = ("resetTime", "resetAt", "reset_time", "reset_at")


@dataclass(frozen=True, slots=True)
class Kimi(FlatProvider):
    """The provider; see the module."""

    @property
    def fact_keys(self) -> tuple[str, ...]:
        """The device a login is bound to, and its region, which is a field of ours."""
        return ("device_id", "region")

    @property
    def options(self) -> Mapping[str, str]:
        """The options of a login."""
        return {
            "region": "cn (kimi.com, the default) or global (kimi.ai): where the account is; logins do not cross",
            "platform": f"what X-Msh-Platform says, {_PLATFORM} by default; set it in the config, so that renewals say the same",
        }

    def for_login(self, options: Mapping[str, str], seed: Secret) -> Self:
        """Return the provider as one login uses it, in its region; raises BrokerError."""
        made = FlatProvider.for_login(self, options, seed)
        if made.region not in _REGIONS:
            raise BrokerError(ErrorCode.BAD_REQUEST, "region is cn or global")
        if not _sendable(made.platform):
            raise BrokerError(ErrorCode.BAD_REQUEST, "platform is printable ASCII of at most 128 characters")
        return made.moved(made.region)

    @property
    def region(self) -> str:
        """The region of new logins."""
        return self.setup.options.get("region", _DEFAULT_REGION).strip().lower()

    @property
    def platform(self) -> str:
        """What requests say they come from."""
        return self.setup.options.get("platform", _PLATFORM).strip()

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers of every request of a login."""
        return self.headers_of(_device_id(self.seed) if self.seed else _NO_DEVICE)

    def headers_of(self, device: str) -> Mapping[str, str]:
        """Return the headers of a request for the login with this device id."""
        agent = self.setup.user_agent
        return {
            **({"User-Agent": agent} if agent else {}),
            "X-Msh-Platform": self.platform,
            "X-Msh-Version": __version__,
            "X-Msh-Device-Name": _PLATFORM,
            "X-Msh-Device-Model": _PLATFORM,
            "X-Msh-Device-Id": device,
        }

    def moved(self, region: str) -> Self:
        """Return the provider in a region: addresses that the config names stay as they are."""
        known, builtin = self.setup.endpoints, DEFAULTS.endpoints
        found = replace(
            known,
            token_url=_moved(known.token_url, builtin.token_url, region),
            device_url=_moved(known.device_url, builtin.device_url, region),
            api_url=_moved(known.api_url, builtin.api_url, region),
        )
        return replace(self, setup=replace(self.setup, endpoints=found))

    def refresh(self, record: Record, client: Client, now: Now) -> Flow[Tokens]:
        """Renew, in the login's region and as its device; raises FlowFailedError."""
        home = self.moved(record.facts.get("region", _DEFAULT_REGION))
        return (yield from with_headers(home.renewed(record, client, now), self.headers_of(_device_of(record))))

    def renewed(self, record: Record, client: Client, now: Now) -> Flow[Tokens]:
        """Renew where this value is; raises FlowFailedError."""
        answer = yield refresh.request(self._token_url(), self.setup.client(client), record.tokens, {})
        try:
            return read_tokens(answer, now, self.reading, old=record.tokens)
        except FlowFailedError as error:
            raise FlowFailedError(final_by_status(error.failure, answer, _FINAL)) from None

    def identify(self, tokens: Tokens, now: Now, project: str | None = None) -> PacedFlow[Identity]:  # noqa: ARG002 - the protocol's
        """Find out whose login it is, as its device and in its region where the grant says which; where Kimi does not say, it is called after its device.

        Raises FlowFailedError.
        """
        told = tokens.facts.get("device_id", "")
        device = told if _sendable(told) else _device_id(self.seed) if self.seed else _NO_DEVICE
        home = self.moved(region := tokens.facts.get("region", self.region))
        facts = {"device_id": device, "region": region}
        return (yield from with_headers(home.asked(tokens, facts, now), self.headers_of(device)))

    def quota(self, record: Record, now: Now) -> Flow[Quota] | None:
        """Return the flow that asks for the limits; None without a token to ask with."""
        bearer, home = record.tokens.access_token, self.moved(record.facts.get("region", _DEFAULT_REGION))
        url = home.endpoints.api_url
        if not bearer or not url:
            return None
        return with_headers(_quota(url.rstrip("/") + "/usages", bearer, now), self.headers_of(_device_of(record)))

    def read(self, document: Document, file_name: str) -> Record:
        """Read an auth file, in which `timestamp` tells when it was last renewed; raises FormatError."""
        record = FlatProvider.read(self, document, file_name)
        told = fields.stamp(document, _TIMESTAMP)
        if told is None or record.tokens.last_refresh is not None:
            return record
        return replace(record, tokens=replace(record.tokens, last_refresh=told.seconds))

    def write(self, document: Document, tokens: Tokens, now: Now) -> dict[str, object]:
        """Replace the grant, and the time of its renewal."""
        made = FlatProvider.write(self, document, tokens, now)
        fields.put_stamp(made, _TIMESTAMP, now.wall)
        return made

    def file_name(self, record: Record, now: Now) -> str:  # noqa: ARG002 - the base's
        """Return `kimi-<unix milliseconds>.json`."""
        return f"{self.name}-{int(now.wall * 1000)}.json"

    def blank(self, record: Record, client: Client, now: Now) -> dict[str, object]:  # noqa: ARG002 - the base's
        """Return a new file's document in CLIProxyAPI's order of keys, its tokens still empty."""
        tokens = record.tokens
        return {
            "access_token": "",
            "refresh_token": "",
            "token_type": tokens.token_type,
            "scope": " ".join(tokens.scopes),
            **{name: value for name, value in record.facts.items() if name in self.fact_keys},
            **({"email": record.email} if record.email else {}),
            **({"sub": record.subject} if record.subject else {}),
            **({"expired": timestamps.write(tokens.expires_at)} if tokens.expires_at is not None else {}),
            "type": self.name,
            "timestamp": int(now.wall * 1000),
            "disabled": record.disabled,
        }

    def asked(self, tokens: Tokens, facts: Mapping[str, str], now: Now) -> Flow[Identity]:
        """Ask the API where this value is; it may be silent, for a login is good without."""
        url, told, notes = self.setup.endpoints.api_url, _NOTHING, _NO_NOTES
        if url and tokens.access_token:
            asked = HttpRequest("GET", url.rstrip("/") + "/me", headers=_HEADERS, bearer=tokens.access_token)
            try:
                told = answers.expected((yield asked), now)
            except FlowFailedError as error:
                notes = (f"Kimi did not tell whose login it is: {error.failure.reason}.",)
        claims = jwt.claims(tokens.access_token)
        subject = fields.hint(told, "user_id") or jwt.text_claim(claims, "sub")
        return Identity(fields.hint(told, "email"), subject or f"device-{facts['device_id'][:8]}", facts, notes)


def _quota(url: str, bearer: Secret, now: Now) -> Flow[Quota]:
    answer = yield HttpRequest("GET", url, headers=_HEADERS, bearer=bearer)
    told = answers.expected(answer, now)
    limits = told.get("limits")
    listed = limits if isinstance(limits, list) else []
    made = (_window("7 days", told.get("usage")), *(_limit(number, each) for number, each in enumerate(listed, 1)))
    windows = tuple(each for each in made if each is not None)
    notes = () if windows else ("Kimi's answer holds no limits that could be read.",)
    return Quota(_plan(told), windows, notes)


def _plan(told: Document) -> str | None:
    user = told.get("user")
    membership = user.get("membership") if isinstance(user, Mapping) else None
    level = fields.hint(membership, "level") if isinstance(membership, Mapping) else None
    return level.removeprefix("LEVEL_").lower() if level else None


def _limit(number: int, told: object) -> QuotaWindow | None:
    """Read one of `limits`: what is used stands in `detail`, over which time in `window`."""
    if not isinstance(told, Mapping):
        return None
    detail = told.get("detail")
    return _window(_span(told.get("window")) or f"limit {number}", detail if isinstance(detail, Mapping) else told)


def _window(name: str, told: object) -> QuotaWindow | None:
    """Read a limit, whose numbers are mostly text; `used` or `remaining` may be missing."""
    if not isinstance(told, Mapping):
        return None
    limit, used, left = (answers.amount(told.get(key)) for key in ("limit", "used", "remaining"))
    if used is None and limit is not None and left is not None:
        used = max(limit - left, 0.0)
    if limit is None or used is None:
        return None
    resets = fields.stamp(told, _RESETS)
    return QuotaWindow(name, answers.share(used, limit), resets.seconds if resets else None, f"{used:g} of {limit:g}")


def _span(window: object) -> str | None:
    """Say a time as people do: 300 minutes are 5 hours."""
    told = window if isinstance(window, Mapping) else {}
    amount = answers.amount(told.get("duration"))
    unit = str(told.get("timeUnit")).upper().removeprefix("TIME_UNIT_")
    if not amount or unit not in _UNITS:
        return None
    if unit == "MINUTE" and amount % 60 == 0:
        amount, unit = amount / 60, "HOUR"
    one, many = _UNITS[unit]
    return f"{amount:g} {one if amount == 1 else many}"


def _device_id(seed: Secret) -> str:
    """Make the device id of a login, in the shape of a UUID: from a fingerprint of the seed, never from the seed itself."""
    text = seed.digest().text
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


def _device_of(record: Record) -> str:
    told = record.facts.get("device_id", "")
    return told if _sendable(told) else _NO_DEVICE


def _sendable(text: str) -> bool:
    return 0 < len(text) <= _HEADER_MAX and text.isascii() and text.isprintable()


def _moved(url: str | None, builtin: str | None, region: str) -> str | None:
    ending = _REGIONS.get(region)
    if url is None or url != builtin or ending is None:
        return url
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.removesuffix(_REGIONS[_DEFAULT_REGION]) + ending))
