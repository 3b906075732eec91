"""GitHub Copilot logins.

Owns: the device flow at GitHub, the Copilot token that is made from the GitHub token, what their refusals mean, and CLIProxyAPI Plus' auth file, whose
`access_token` is the GitHub token. The Copilot token is kept beside it by `broker.providers.derived`. It must never send the GitHub token to a host
whose shape was not checked, and never take a missing licence for a dead login.

Facts from CLIProxyAPI Plus and other open clients; GitHub documents the device flow and none of the rest.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Self
from urllib.parse import urlsplit

from broker.model.account import AccountId, Record, Tokens
from broker.model.clock import Now
from broker.model.errors import BrokerError, ErrorCode
from broker.model.secret import Secret
from broker.oauth import device
from broker.oauth.device import DeviceCode
from broker.oauth.discovery import acceptable_url
from broker.oauth.failures import Failure, FlowFailedError, Misconfigured, Permanent, RateLimited
from broker.oauth.grant import Reading, lifetime_seconds
from broker.oauth.messages import Flow, HttpRequest, HttpResponse, PacedFlow, Pause, with_headers
from broker.oauth.sorting import Words, clean, sort_failure
from broker.oauth.waits import asked_wait, http_date
from broker.providers import derived, fields, timestamps
from broker.providers.base import Client, Document, Endpoints, FormatError, Identity, Quota, QuotaWindow, RefreshPolicy
from broker.providers.flat import FlatProvider
from broker.providers.naming import first_label, stem
from broker.providers.setup import Setup

DEFAULTS = Setup(
    name="github-copilot",
    title="GitHub Copilot",
    client_id="Iv1.b507a08c87ecfe98",
    endpoints=Endpoints(
        device_url="https://github.com/login/device/code",
        token_url="https://github.com/login/oauth/access_token",  # noqa: S106 - an address
        api_url="https://api.github.com",
    ),
    scopes=("read:user",),
    # The GitHub token is not spent by asking: a repeat is answered like the first time.
    policy=RefreshPolicy(lead_seconds=300.0, rotates=False, forgives_repeat=True),
    user_agent="GithubCopilot/1.0",
)
READING = Reading(
    words=Words(
        permanent=frozenset({"bad credentials", "incorrect_device_code"}),
        misconfigured=frozenset({"incorrect_client_credentials", "device_flow_disabled"}),
        limited=frozenset({"secondary rate limit", "rate limit exceeded"}),
    )
)

_GITHUB = "github.com"
_SCHEME = "token"
_USAGE = "/copilot_internal/user"
_EDITOR = {"Editor-Version": "vscode/1.100.0", "Editor-Plugin-Version": "copilot/1.300.0"}
_API_VERSION = {"X-GitHub-Api-Version": "2025-04-01"}
_LIFETIME_SECONDS = 1500.0  # what GitHub names as `refresh_in`, where it says nothing
_AGAIN_SECONDS = (2.0, 5.0)  # a person is waiting
_NO_LICENCE = "no_licence"
_HOST = re.compile(r"(?=.{1,253}\Z)[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)+(?::\d{1,5})?")
_WINDOWS = {"premium_interactions": "premium requests", "chat": "chat", "completions": "completions"}


@dataclass(frozen=True, slots=True)
class Copilot(FlatProvider):
    """The provider; see the module."""

    @property
    def types(self) -> frozenset[str]:
        """Plus' type and the short form CCS takes."""
        return frozenset({"github-copilot", "copilot"})

    @property
    def fact_keys(self) -> tuple[str, ...]:
        """The GitHub host, the address of the Copilot API, and the plan."""
        return ("host", "api_url", "plan")

    @property
    def options(self) -> Mapping[str, str]:
        """The options of a login."""
        return {"host": "the host of GitHub Enterprise: NAME.ghe.com, or that of your own server"}

    def for_login(self, options: Mapping[str, str], seed: Secret) -> Self:
        """Return the provider as one login uses it; raises BrokerError for a host that cannot be."""
        made = FlatProvider.for_login(self, options, seed)
        host = made.setup.options.get("host", _GITHUB).strip().removeprefix("https://").rstrip("/").lower()
        if _base(host) is None:
            detail = f"host: {host[:60]!r} is no host name; give one like acme.ghe.com"
            raise BrokerError(ErrorCode.BAD_REQUEST, detail)
        setup = replace(made.setup, endpoints=self._at(host), options={**made.setup.options, "host": host})
        return replace(made, setup=setup)

    def facts(self, document: Document) -> dict[str, str]:
        """Return the facts of a file; one without a host is github.com's."""
        return {"host": _GITHUB, **FlatProvider.facts(self, document)}

    def read(self, document: Document, file_name: str) -> Record:
        """Read an auth file; raises FormatError."""
        github = fields.secret(document, "access_token")
        if not github:
            raise FormatError("it has no access_token")
        facts = self.facts(document)
        username = fields.hint(document, "username")
        subject = _subject(username, facts["host"]) if username else None
        email = fields.hint(document, "email")
        label = first_label(fields.hint(document, "label"), email, subject, stem(file_name), "account")
        tokens = replace(derived.read(document, github), scopes=fields.words(document, "scope"))
        return Record(
            account=AccountId(self.name, label),
            tokens=tokens,
            email=email,
            subject=subject,
            facts=facts,
            disabled=fields.flag(document, "disabled"),
        )

    def write(self, document: Document, tokens: Tokens, now: Now) -> dict[str, object]:
        """Put the GitHub token where Plus has it, and the Copilot token where Plus has nothing."""
        made = dict(document)
        fields.put_secret(made, "access_token", tokens.refresh_token, add=True)
        for name, value in tokens.facts.items():
            if name in self.fact_keys:
                fields.put_text(made, name, value)
        derived.put(made, fields.secret(made, "access_token"), tokens, now)
        return made

    def file_name(self, record: Record, now: Now) -> str:
        """Return `github-copilot-<username>.json`."""
        return FlatProvider.file_name(self, replace(record, email=record.subject), now)

    def blank(self, record: Record, client: Client, now: Now) -> dict[str, object]:  # noqa: ARG002 - the base's
        """Return a new file's document in Plus' order of keys."""
        host = record.facts.get("host", _GITHUB)
        username = (record.subject or record.account.label).removesuffix(f"@{host}")
        return {
            "access_token": "",
            "token_type": "bearer",
            "scope": " ".join(record.tokens.scopes or self.scopes),
            "username": username,
            "type": self.name,
            "disabled": record.disabled,
            **{k: v for k, v in record.facts.items() if k in self.fact_keys and (k, v) != ("host", _GITHUB)},
        }

    def client_of(self, document: Document) -> Client | None:  # noqa: ARG002 - the protocol's
        """Return None: a GitHub token is used without naming the app it was made for."""
        return None

    def poll(self, given: DeviceCode, client: Client, now: Callable[[], Now]) -> PacedFlow[Tokens]:
        """Ask for the GitHub token until the person has decided, then for the Copilot token.

        An account without a licence fails here, so that no useless login is stored. Where GitHub gives no Copilot token for a reason that may pass, the
        login is returned without one: the GitHub token cannot be asked for again.

        Raises:
            FlowFailedError: `Permanent` with `device.DENIED` for an account that may not use Copilot, with GitHub's reason; else as the device flow does.
        """
        granted = yield from FlatProvider.poll(self, given, client, now)
        tokens = Tokens(None, granted.access_token, scopes=granted.scopes)
        for pause in (*_AGAIN_SECONDS, 0.0):
            try:
                mint = self._mint(tokens, self.setup.endpoints, now(), spends=False)
                return (yield from with_headers(mint, self.headers))
            except FlowFailedError as error:
                match error.failure:
                    case Misconfigured(reason=reason) | Permanent(reason=reason):
                        raise FlowFailedError(Permanent(device.DENIED, reason)) from None
            if pause:
                yield Pause(pause)
        return tokens

    def identify(self, tokens: Tokens, now: Now, project: str | None = None) -> PacedFlow[Identity]:  # noqa: ARG002 - Copilot has none
        """Ask GitHub who logged in, and which plan it is; raises FlowFailedError."""
        return with_headers(self._identify(tokens, now), self.headers)

    def refresh(self, record: Record, client: Client, now: Now) -> Flow[Tokens]:  # noqa: ARG002 - no registration is named
        """Ask for another Copilot token; raises FlowFailedError."""
        if not record.tokens.refresh_token:
            raise FlowFailedError(Permanent("no_github_token", "the login has no GitHub token"))
        mint = self._mint(record.tokens, self._of(record), now, spends=True)
        return (yield from with_headers(mint, self.headers))

    def quota(self, record: Record, now: Now) -> Flow[Quota]:
        """Ask for the plan and its monthly limits; raises FlowFailedError."""
        return with_headers(self._quota(record, now), self.headers)

    def _mint(self, tokens: Tokens, known: Endpoints, now: Now, *, spends: bool) -> Flow[Tokens]:
        request = _asking(known, "/copilot_internal/v2/token", tokens.refresh_token, _EDITOR)
        answer = yield replace(request, spends=spends)
        return _minted(answer, tokens, now)

    def _identify(self, tokens: Tokens, now: Now) -> Flow[Identity]:
        known, host, github = self.setup.endpoints, self.setup.options.get("host", _GITHUB), tokens.refresh_token
        request = _asking(known, "/user", github, {})
        answer = yield replace(request, url=known.userinfo_url or request.url)
        username = fields.hint(_object(answer), "login")
        if answer.status != 200 or not username:
            raise FlowFailedError(sort_failure(answer, now, READING.words))
        seen = _object((yield _asking(known, _USAGE, github, _EDITOR | _API_VERSION)))
        plan = fields.hint(seen, "copilot_plan")
        facts = {"host": host, **_api_url(seen), **tokens.facts, **({"plan": plan} if plan else {})}
        pending = "GitHub gave no Copilot token yet: it will be asked for again."
        return Identity(None, _subject(username, host), facts, () if tokens.access_token else (pending,))

    def _quota(self, record: Record, now: Now) -> Flow[Quota]:
        github = record.tokens.refresh_token
        answer = yield _asking(self._of(record), _USAGE, github, _EDITOR | _API_VERSION)
        if answer.status != 200:
            raise FlowFailedError(_sorted(answer, now))
        return _read_quota(_object(answer))

    def _of(self, record: Record) -> Endpoints:
        """Return where a stored login is renewed; raises FlowFailedError for a host in the file that cannot be."""
        host = record.facts.get("host", _GITHUB)
        if _base(host) is None:
            raise FlowFailedError(Misconfigured("bad_host", "the host in the auth file is no host name"))
        return self._at(host)

    def _at(self, host: str) -> Endpoints:
        """Return the endpoints of a host; a URL the config has set counts before it."""
        base, known, usual = _base(host), self.setup.endpoints, DEFAULTS.endpoints
        if host == _GITHUB or base is None:
            return known
        there = Endpoints(
            device_url=f"{base}/login/device/code",
            token_url=f"{base}/login/oauth/access_token",
            api_url=f"https://api.{host}" if host.endswith(".ghe.com") else f"{base}/api/v3",
        )
        return replace(
            known,
            device_url=there.device_url if known.device_url == usual.device_url else known.device_url,
            token_url=there.token_url if known.token_url == usual.token_url else known.token_url,
            api_url=there.api_url if known.api_url == usual.api_url else known.api_url,
        )


def _base(host: str) -> str | None:
    """Return the address of a host: https, or http on loopback where it says so; None for what is no host."""
    if _HOST.fullmatch(host):
        return f"https://{host}"
    if host.startswith("http://") and acceptable_url(host) and host == f"http://{urlsplit(host).netloc}":
        return host
    return None


def _asking(known: Endpoints, path: str, github: Secret | None, headers: Mapping[str, str]) -> HttpRequest:
    url = (known.api_url or "").rstrip("/") + path
    return HttpRequest("GET", url, headers={"Accept": "application/json", **headers}, bearer=github, scheme=_SCHEME)


def _subject(username: str, host: str) -> str:
    """Return who it is: names are given anew on every host."""
    return username if host == _GITHUB else f"{username}@{host.removeprefix('http://')}"


def _minted(answer: HttpResponse, old: Tokens, now: Now) -> Tokens:
    found = _object(answer)
    token = fields.hint(found, "token")
    if answer.status != 200 or token is None:
        raise FlowFailedError(_sorted(answer, now))
    return replace(
        old,
        access_token=Secret(token),
        expires_at=now.wall + _lifetime(found, answer, now),
        last_refresh=now.wall,
        facts=_api_url(found),
    )


def _lifetime(found: Document, answer: HttpResponse, now: Now) -> float:
    """Return the seconds a Copilot token lives. Its end is told by GitHub's clock, so that is what it is measured against."""
    ends = timestamps.read(found.get("expires_at"))
    if ends is not None:
        return max(ends.seconds - (http_date(answer.headers.get("date", "")) or now.wall), 0.0)
    lasting = lifetime_seconds(found.get("refresh_in"))
    return _LIFETIME_SECONDS if lasting is None else lasting


def _api_url(found: Document) -> dict[str, str]:
    endpoints = found.get("endpoints")
    url = fields.hint(endpoints, "api") if isinstance(endpoints, Mapping) else None
    return {"api_url": url} if url and acceptable_url(url) else {}


def _sorted(answer: HttpResponse, now: Now) -> Failure:
    """Sort a refusal. 403 has three causes: too many requests, no licence, and whatever stands before GitHub."""
    failure = sort_failure(answer, now, READING.words)
    if answer.status not in {403, 404} or isinstance(failure, RateLimited):
        return failure
    found = _object(answer)
    if "retry-after" in answer.headers or answer.headers.get("x-ratelimit-remaining") == "0":
        return RateLimited(failure.reason, asked_wait(answer.headers, found, "", now.wall))
    if not found:
        return failure
    said = _licence(found) if answer.status == 403 else "it knows no Copilot at this address"
    return Misconfigured(_NO_LICENCE, f"GitHub does not let this login use Copilot: {said}")


def _licence(found: Document) -> str:
    """Return GitHub's reason for refusing a Copilot token."""
    details = found.get("error_details")
    told = details if isinstance(details, Mapping) else {}
    parts = [clean(text).rstrip(".") for name in ("title", "message") if (text := fields.hint(told, name))]
    link = fields.hint(told, "url")
    if link and link.isprintable() and acceptable_url(link):
        parts.append(f"see {link}")
    return ". ".join(parts) or clean(fields.hint(found, "message") or "no reason given")


def _read_quota(found: Document) -> Quota:
    plan = fields.hint(found, "copilot_plan")
    resets = timestamps.read(found.get("quota_reset_date_utc")) or timestamps.read(
        f"{found.get('quota_reset_date')}T00:00:00Z"
    )
    snapshots = found.get("quota_snapshots")
    windows = [
        _window(title, one, resets.seconds if resets else None)
        for name, title in _WINDOWS.items()
        if isinstance(snapshots, Mapping) and isinstance(one := snapshots.get(name), Mapping)
    ]
    notes = () if windows else ("GitHub's answer about limits could not be read.",)
    return Quota(plan, tuple(windows), notes)


def _window(title: str, one: Document, resets_at: float | None) -> QuotaWindow:
    if one.get("unlimited") is True:
        return QuotaWindow(title, None, None, "unlimited")
    share, left, total = (_number(one.get(name)) for name in ("percent_remaining", "remaining", "entitlement"))
    if share is None and left is not None and total:
        share = 100 * left / total
    used = None if share is None else min(max(1 - share / 100, 0.0), 1.0)
    note = f"{left:g} of {total:g} left" if left is not None and total is not None else None
    return QuotaWindow(title, used, resets_at, note)


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _object(answer: HttpResponse) -> Document:
    return answer.document() or {}
