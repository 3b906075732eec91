"""The device authorization grant (RFC 8628): a person approves a login on another screen, with a short code.

Owns: asking for the code, reading what comes back, and the pace of polling. It must never log or repeat a device code: whoever has it and the client
registration gets the login.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from broker.model.account import Tokens
from broker.model.clock import Now
from broker.model.secret import Secret
from broker.oauth.client import Client, token_request
from broker.oauth.code import refusal
from broker.oauth.discovery import acceptable_url
from broker.oauth.failures import AnswerLost, Failure, FlowFailedError, Permanent, RateLimited, Transient
from broker.oauth.grant import PLAIN, Reading, lifetime_seconds, read_tokens
from broker.oauth.messages import Flow, HttpResponse, PacedFlow, Pause
from broker.oauth.sorting import Words, error_codes, sort_failure

GRANT_TYPE = "urn:ietf:params:oauth:grant-type:device_code"

DENIED = "access_denied"
EXPIRED = "expired_token"
"""The two ends of RFC 8628 section 3.5, as `Permanent.code`."""

_INTERVAL_SECONDS = 5.0  # section 3.2, where the server names none
_INTERVAL_MIN_SECONDS, _INTERVAL_MAX_SECONDS = 1.0, 300.0
_SLOW_DOWN_SECONDS = 5.0  # section 3.5
_GROWN_MAX_SECONDS = 60.0  # a person is waiting: a network that is back is noticed within a minute
_LIFETIME_SECONDS = 900.0  # section 3.2 requires `expires_in`; a server that forgets it gets what most of them grant
_USER_CODE_MAX = 64
_WORDS = Words(permanent=frozenset({DENIED, EXPIRED}))
_PLAIN_WORDS = {DENIED: refusal(DENIED), EXPIRED: "the code was not approved in time"}


@dataclass(frozen=True, slots=True)
class DeviceCode:
    """What a device authorization answer holds (section 3.2). `expires_in` and `interval` are seconds.

    `verification_uri_complete` has the user code in it; None where the server offers no such address. `client` is a registration made for this one
    login (RFC 7591), where the provider wants that: the tokens belong to it.
    """

    device_code: Secret
    user_code: str
    verification_uri: str
    verification_uri_complete: str | None
    expires_in: float
    interval: float
    client: Client | None = None

    @property
    def url(self) -> str:
        """The address to show: the one with the code in it where there is one."""
        return self.verification_uri_complete or self.verification_uri


def request_code(
    url: str, client: Client, scopes: tuple[str, ...], extra: Mapping[str, str], now: Now, reading: Reading = PLAIN
) -> Flow[DeviceCode]:
    """Ask for a code in one request (section 3.1); `extra` are more parameters of it.

    Raises:
        FlowFailedError: sorted by what to do next; `Transient` for an answer that lacks what a person needs.
    """
    fields = {**({"scope": " ".join(scopes)} if scopes else {}), **extra}
    answer = yield token_request(url, client, fields)
    return _read_code(answer, now, reading)


def poll(
    url: str,
    client: Client,
    code: DeviceCode,
    now: Callable[[], Now],
    reading: Reading = PLAIN,
    extra: Mapping[str, str | Secret] = MappingProxyType({}),
) -> PacedFlow[Tokens]:
    """Ask for the tokens until the person has decided (sections 3.4 and 3.5), with a `Pause` before each request; `extra` are more fields of it.

    `now` is read before every request: a token's end counts from the moment it was asked for. Whatever may pass, a network fault included, is tried
    again with growing pauses, until `code.expires_in` seconds were waited.

    Raises:
        FlowFailedError: `Permanent` with `DENIED` or `EXPIRED` for the person's decision, or the lack of one; else sorted by what to do next.
    """
    reading = replace(reading, words=replace(reading.words, permanent=reading.words.permanent | _WORDS.permanent))
    fields = {"grant_type": GRANT_TYPE, "device_code": code.device_code, **extra}
    pace, left = _Pace(code.interval), code.expires_in
    while left > 0:
        pause = min(pace.seconds, left)
        left -= pause
        yield Pause(pause)
        asked, answer = now(), None
        try:
            answer = yield token_request(url, client, fields)
            return read_tokens(answer, asked, reading)
        except FlowFailedError as error:
            pace = _next_pace(pace, error.failure, answer)
    raise FlowFailedError(Permanent(EXPIRED, _PLAIN_WORDS[EXPIRED]))


@dataclass(frozen=True, slots=True)
class _Pace:
    """The server's interval, how many polls in a row brought no decision of the server's, and what the server asked for beside."""

    interval: float
    faults: int = 0
    asked: float = 0.0

    @property
    def seconds(self) -> float:
        grown = min(self.interval * 2.0**self.faults, max(_GROWN_MAX_SECONDS, self.interval))
        return max(grown, self.asked)

    def stumbled(self, asked: float = 0.0) -> "_Pace":
        # Bounded for the exponent's sake; the pause stopped growing long before.
        return replace(self, faults=min(self.faults + 1, 10), asked=asked)


def _next_pace(pace: _Pace, failure: Failure, answer: HttpResponse | None) -> _Pace:
    """Return the pace of the next poll; raise the failure where there is to be none. `answer` is None where none came."""
    codes = error_codes(answer) if answer is not None else ()
    match failure:
        case Permanent(code=code, reason=reason):
            raise FlowFailedError(Permanent(code, _PLAIN_WORDS.get(code, reason))) from None
        case _ if "authorization_pending" in codes:
            return _Pace(pace.interval)
        case RateLimited(retry_after=seconds) if "slow_down" in codes:
            return _Pace(pace.interval + _SLOW_DOWN_SECONDS, asked=seconds or 0.0)
        case RateLimited(retry_after=seconds):
            return pace.stumbled(seconds or 0.0)
        case Transient() | AnswerLost() if answer is None or not _refused(answer, codes):
            return pace.stumbled()
        case _:
            raise FlowFailedError(failure) from None


def _refused(answer: HttpResponse, codes: tuple[str, ...]) -> bool:
    # Section 3.5: any other error code ends the polling. A status of overload or a page without a code is no such error.
    return bool(codes) and answer.status < 500 and answer.status not in {408, 425}


def _read_code(answer: HttpResponse, now: Now, reading: Reading) -> DeviceCode:
    fields = _fields(answer)
    code, user_code = _text(fields, "device_code"), _text(fields, "user_code")
    # `verification_url` is what Google called it before the standard did.
    uri = _url(fields, "verification_uri") or _url(fields, "verification_url")
    if not 200 <= answer.status < 300 or not (code and user_code and uri) or len(user_code) > _USER_CODE_MAX:
        failure = sort_failure(answer, now, reading.words)
        if isinstance(failure, AnswerLost):
            failure = Transient("the provider's device endpoint answered without a code and an address to show")
        raise FlowFailedError(failure)
    lifetime = lifetime_seconds(fields.get("expires_in"))
    return DeviceCode(
        device_code=Secret(code),
        user_code=user_code,
        verification_uri=uri,
        verification_uri_complete=_url(fields, "verification_uri_complete"),
        expires_in=_LIFETIME_SECONDS if lifetime is None else lifetime,
        interval=_interval(fields.get("interval")),
    )


def _fields(answer: HttpResponse) -> Mapping[str, object]:
    return answer.document() or {}


def _text(fields: Mapping[str, object], name: str) -> str | None:
    value = fields.get(name)
    return value if isinstance(value, str) and value.strip() and value.isprintable() else None


def _url(fields: Mapping[str, object], name: str) -> str | None:
    # It may be opened in a browser and is printed: anything but a web address is refused.
    url = _text(fields, name)
    return url if url and " " not in url and acceptable_url(url) else None


def _interval(value: object) -> float:
    seconds = lifetime_seconds(value)
    return _INTERVAL_SECONDS if seconds is None else min(max(seconds, _INTERVAL_MIN_SECONDS), _INTERVAL_MAX_SECONDS)
