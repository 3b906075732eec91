"""Every operation of the socket contract, as data: the one table the server, the OpenAPI document and the docs follow.

Owns: methods, paths, query parameters, messages, error codes, and the finding of an operation for a request line. Pure. It must never know how an
operation is carried out, or which HTTP library carries it.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from typing import Final
from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec

from broker.ipc.config_view import ConfigView, ReloadAnswer
from broker.ipc.network_schema import NetworkTest, NetworkTestAnswer, NetworkView
from broker.ipc.schema import (
    AccountList,
    AccountQuota,
    AccountView,
    Health,
    ImportAnswer,
    ImportRequest,
    KeyAdd,
    Lease,
    LoginCallback,
    LoginStart,
    LoginView,
    LogoutAnswer,
    Relabel,
    Report,
    ReportAnswer,
)
from broker.model.errors import BrokerError, ErrorCode

__all__ = [
    "COMMON_ERRORS",
    "EVENT_STREAM",
    "JSON",
    "OPERATIONS",
    "Call",
    "Flag",
    "Name",
    "Operation",
    "Seconds",
    "allowed_methods",
    "resolve",
]

JSON: Final = "application/json"
EVENT_STREAM: Final = "text/event-stream"

_E = ErrorCode

COMMON_ERRORS: Final = (
    _E.BAD_REQUEST, _E.FORBIDDEN_PEER, _E.NOT_FOUND, _E.METHOD_NOT_ALLOWED, _E.TOO_LARGE, _E.TOO_SLOW, _E.TOO_MANY, _E.STOPPING, _E.INTERNAL,
)  # fmt: skip
"""What any operation may answer."""


class Name(StrEnum):
    """The operations; `operationId` in the OpenAPI document."""

    HEALTH = "health"
    ACCOUNTS = "list_accounts"
    ACCOUNT = "get_account"
    LEASE_DEFAULT = "lease_default"
    LEASE = "lease"
    REPORT = "report"
    WATCH = "watch"
    REFRESH = "refresh"
    PAUSE = "pause"
    RESUME = "resume"
    CLEAR_COOLDOWN = "clear_cooldown"
    LOGOUT = "logout"
    QUOTA = "get_quota"
    SET_DEFAULT = "set_default"
    RENAME = "rename"
    ADD_KEY = "add_key"
    LOGIN_START = "start_login"
    LOGIN = "get_login"
    LOGIN_CALLBACK = "finish_login"
    LOGIN_CANCEL = "cancel_login"
    IMPORT = "import_logins"
    CONFIG = "get_config"
    RELOAD = "reload_config"
    NETWORK = "get_network"
    NETWORK_TEST = "test_network"
    METRICS = "metrics"
    OPENAPI = "openapi"


class Seconds(msgspec.Struct, frozen=True):
    """A query parameter: a number of seconds, zero or more."""

    name: str
    default: float
    meaning: str


class Flag(msgspec.Struct, frozen=True):
    """A query parameter that is `true` or `false`; false where it is left out."""

    name: str
    meaning: str


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation. `control` ones are served on `broker.sock` only.

    `request` and `response` are message types; a `response` of None is text of `media_type`.
    """

    name: Name
    method: str
    path: str
    summary: str
    response: type | None
    control: bool = False
    request: type | None = None
    query: tuple[Seconds, ...] = ()
    flags: tuple[Flag, ...] = ()
    errors: tuple[ErrorCode, ...] = ()
    status: int = 200
    media_type: str = JSON
    parts: tuple[str, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Split the path once; requests are matched part by part."""
        object.__setattr__(self, "parts", tuple(self.path.split("/")[1:]))

    @property
    def path_names(self) -> tuple[str, ...]:
        """The names in the path's braces."""
        return tuple(part[1:-1] for part in self.parts if part.startswith("{"))


class Call(msgspec.Struct, frozen=True):
    """An operation as asked for: `path` and `query` hold its parameters, defaults filled in; `flags` are those set.

    `waited` seconds went by since the request was here, which count towards what it lets us wait.
    """

    operation: Operation
    path: Mapping[str, str]
    query: Mapping[str, float]
    waited: float = 0.0
    flags: frozenset[str] = frozenset()


_ACCOUNT = "/v1/accounts/{provider}/{label}"
_LOGIN = "/v1/logins/{id}"
_UNKNOWN = (_E.UNKNOWN_PROVIDER, _E.UNKNOWN_ACCOUNT)
_RENEWAL = (
    _E.LOGIN_REQUIRED, _E.ACCOUNT_PAUSED, _E.DEADLINE_EXCEEDED, _E.VALIDITY_UNAVAILABLE, _E.REFRESH_FAILED, _E.ANSWER_LOST, _E.RATE_LIMITED,
    _E.MISCONFIGURED, _E.STORAGE_UNWRITABLE, _E.SUPERSEDED, _E.UNSUPPORTED,
)  # fmt: skip
_LOGIN_ENDS = (_E.LOGIN_DENIED, _E.LOGIN_EXPIRED, _E.LOGIN_FAILED, _E.LOGIN_CANCELLED)
_MIN_VALIDITY = Seconds("min_validity", 60.0, "How long the token must still be valid, in seconds.")
_MAX_WAIT = Seconds(
    "max_wait",
    10.0,
    "How long to wait for a renewal, in seconds; at most `socket.max_wait_seconds`, a longer wait is shortened to that.",
)
_WAIT = Seconds(
    "wait",
    0.0,
    "How long to wait for the login to move on, in seconds; at most `socket.max_wait_seconds`, a longer wait is shortened to that.",
)

_QUOTA_WAIT = Seconds(
    "max_wait",
    20.0,
    "How long to wait for the provider, in seconds; at most `socket.max_wait_seconds`, a longer wait is shortened to that.",
)
_KEEP_REMOTE = Flag("keep_remote", "Do not revoke at the provider: remove the login here only.")

OPERATIONS: Final = (
    Operation(Name.HEALTH, "GET", "/v1/health", "Version, uptime, counts by state, protections found active by probing", Health),
    Operation(Name.ACCOUNTS, "GET", "/v1/accounts", "All accounts, without secrets", AccountList),
    Operation(Name.ACCOUNT, "GET", _ACCOUNT, "One account, without secrets", AccountView, errors=_UNKNOWN),
    Operation(
        Name.LEASE_DEFAULT, "GET", "/v1/lease/{provider}", "A token of the provider's default account", Lease,
        query=(_MIN_VALIDITY, _MAX_WAIT), errors=(*_UNKNOWN, _E.NO_ACCOUNT, *_RENEWAL),
    ),
    Operation(
        Name.LEASE, "GET", "/v1/lease/{provider}/{label}", "A token good for at least `min_validity` seconds", Lease,
        query=(_MIN_VALIDITY, _MAX_WAIT), errors=(*_UNKNOWN, *_RENEWAL),
    ),
    Operation(
        Name.REPORT, "POST", "/v1/report", "What happened with a lease; after `rejected`, the next lease", ReportAnswer,
        request=Report, errors=(*_UNKNOWN, *_RENEWAL),
    ),
    Operation(
        Name.WATCH, "GET", "/v1/watch", "Server-sent events: a snapshot, then changes; resumes by `Last-Event-ID`", None,
        media_type=EVENT_STREAM,
    ),
    Operation(
        Name.REFRESH, "POST", f"{_ACCOUNT}/refresh", "Renew now", AccountView,
        control=True, query=(_MAX_WAIT,), errors=(*_UNKNOWN, *_RENEWAL),
    ),
    Operation(
        Name.PAUSE, "POST", f"{_ACCOUNT}/pause", "Set aside: renewed, never served", AccountView,
        control=True, errors=(*_UNKNOWN, _E.STORAGE_UNWRITABLE, _E.DEADLINE_EXCEEDED),
    ),
    Operation(
        Name.RESUME, "POST", f"{_ACCOUNT}/resume", "Serve again", AccountView,
        control=True, errors=(*_UNKNOWN, _E.STORAGE_UNWRITABLE, _E.DEADLINE_EXCEEDED),
    ),
    Operation(
        Name.CLEAR_COOLDOWN, "POST", f"{_ACCOUNT}/clear-cooldown", "Forget what `limited` reports set", AccountView, control=True, errors=_UNKNOWN,
    ),
    Operation(
        Name.LOGOUT, "DELETE", _ACCOUNT, "Log out: revoke at the provider where it can be done, then remove", LogoutAnswer,
        control=True, flags=(_KEEP_REMOTE,), errors=(*_UNKNOWN, _E.STORAGE_UNWRITABLE, _E.DEADLINE_EXCEEDED),
    ),
    Operation(
        Name.QUOTA, "GET", f"{_ACCOUNT}/quota", "Plan and limits, as the provider tells them; kept for a minute", AccountQuota,
        control=True, query=(_QUOTA_WAIT,), errors=(*_UNKNOWN, *_RENEWAL, _E.QUOTA_UNAVAILABLE),
    ),
    Operation(
        Name.SET_DEFAULT, "POST", f"{_ACCOUNT}/default", "Make it what the provider's name alone means", AccountView,
        control=True, errors=(*_UNKNOWN, _E.STORAGE_UNWRITABLE),
    ),
    Operation(
        Name.RENAME, "POST", f"{_ACCOUNT}/rename", "Give it another label", AccountView,
        control=True, request=Relabel, errors=(*_UNKNOWN, _E.STORAGE_UNWRITABLE, _E.DEADLINE_EXCEEDED, _E.SUPERSEDED, _E.UNSUPPORTED),
    ),
    Operation(
        Name.ADD_KEY, "POST", "/v1/keys", "Add an API key as an account, or replace its key", AccountView,
        control=True, request=KeyAdd, errors=(_E.UNKNOWN_PROVIDER, _E.UNSUPPORTED, _E.STORAGE_UNWRITABLE, _E.DEADLINE_EXCEEDED),
    ),
    Operation(
        Name.LOGIN_START, "POST", "/v1/logins", "Start a login", LoginView,
        control=True, request=LoginStart, status=201, errors=(_E.UNKNOWN_PROVIDER, _E.UNSUPPORTED, _E.MISCONFIGURED, *_LOGIN_ENDS),
    ),
    Operation(
        Name.LOGIN, "GET", _LOGIN, "How a login stands; waits up to `wait` seconds for it to move on", LoginView,
        control=True, query=(_WAIT,), errors=(_E.UNKNOWN_LOGIN,),
    ),
    Operation(
        Name.LOGIN_CALLBACK, "POST", f"{_LOGIN}/callback", "Finish a login with the pasted callback URL or code", LoginView,
        control=True, request=LoginCallback, errors=(_E.UNKNOWN_LOGIN, _E.STORAGE_UNWRITABLE, *_LOGIN_ENDS),
    ),
    Operation(Name.LOGIN_CANCEL, "DELETE", _LOGIN, "Give a login up", LoginView, control=True, errors=(_E.UNKNOWN_LOGIN,)),
    Operation(
        Name.IMPORT, "POST", "/v1/import", "Take over logins that other programs left on disk", ImportAnswer, control=True, request=ImportRequest,
    ),
    Operation(Name.CONFIG, "GET", "/v1/config", "Every setting as it is in force, and where it comes from; secrets hidden", ConfigView, control=True),
    Operation(
        Name.RELOAD, "POST", "/v1/config/reload", "Read the config file again and take over what it says; a faulty one changes nothing", ReloadAnswer,
        control=True,
    ),
    Operation(Name.NETWORK, "GET", "/v1/network", "By which way accounts and providers are reached", NetworkView, control=True),
    Operation(
        Name.NETWORK_TEST, "POST", "/v1/network/test", "Connect through the outbound proxy in question, and hang up", NetworkTestAnswer,
        control=True, request=NetworkTest, errors=_UNKNOWN,
    ),
    Operation(
        Name.METRICS, "GET", "/metrics", "Prometheus text", None, control=True, media_type="text/plain; version=0.0.4; charset=utf-8",
    ),
    Operation(Name.OPENAPI, "GET", "/v1/openapi.json", "This contract as OpenAPI 3.1", None, control=True),
)  # fmt: skip


# The same few request lines come over and over; finding one anew is a quarter of what a lease costs.
@lru_cache(maxsize=512)
def resolve(method: str, target: str, *, control: bool) -> Call:
    """Find the operation a request line asks for; `target` is its path and query as sent, `control` tells which socket it came in on.

    HEAD finds what GET would.

    Raises:
        BrokerError: `not_found`, `method_not_allowed`, or `bad_request` naming the parameter.
    """
    split = urlsplit(target)
    parts = _parts(split.path)
    found = [operation for operation in OPERATIONS if _fits(operation, parts)]
    served = [operation for operation in found if control or not operation.control]
    if not served:
        only = " is served on broker.sock only" if found else " is not a path of this socket"
        raise BrokerError(ErrorCode.NOT_FOUND, f"{split.path[:200]!r}{only}")
    wanted = "GET" if method == "HEAD" else method
    operation = next((each for each in served if each.method == wanted), None)
    if operation is None:
        raise BrokerError(ErrorCode.METHOD_NOT_ALLOWED, f"{method[:20]} is not a method of {split.path[:200]!r}")
    path = {name[1:-1]: part for name, part in zip(operation.parts, parts, strict=True) if name.startswith("{")}
    query, flags = _query(operation, split.query)
    return Call(operation, path, query, flags=flags)


def allowed_methods(target: str, *, control: bool) -> tuple[str, ...]:
    """Return the methods of a path on this socket, sorted: the `Allow` header of a 405."""
    parts = _parts(urlsplit(target).path)
    methods = {each.method for each in OPERATIONS if _fits(each, parts) and (control or not each.control)}
    return tuple(sorted(methods | {"HEAD"} if "GET" in methods else methods))


def _parts(path: str) -> tuple[str, ...]:
    # Split before decoding, so that an encoded slash stays inside its part.
    return tuple(unquote(part) for part in path.split("/")[1:])


def _fits(operation: Operation, parts: tuple[str, ...]) -> bool:
    return len(parts) == len(operation.parts) and all(
        (bool(part) if name.startswith("{") else name == part)
        for name, part in zip(operation.parts, parts, strict=True)
    )


def _query(operation: Operation, text: str) -> tuple[dict[str, float], frozenset[str]]:
    values = {each.name: each.default for each in operation.query}
    flags = {each.name: False for each in operation.flags}
    given: set[str] = set()
    for name, value in parse_qsl(text, keep_blank_values=True):
        # A misspelt min_validity must not silently mean the default.
        if name not in values and name not in flags:
            raise BrokerError(ErrorCode.BAD_REQUEST, f"unknown query parameter {name[:60]!r}")
        if name in given:
            raise BrokerError(ErrorCode.BAD_REQUEST, f"query parameter {name!r} is given twice")
        given.add(name)
        if name in flags:
            flags[name] = _flag(name, value)
        else:
            values[name] = _seconds(name, value)
    return values, frozenset(name for name, on in flags.items() if on)


def _flag(name: str, text: str) -> bool:
    if text not in {"true", "false"}:
        raise BrokerError(ErrorCode.BAD_REQUEST, f"query parameter {name!r} must be true or false, not {text[:60]!r}")
    return text == "true"


def _seconds(name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise BrokerError(
            ErrorCode.BAD_REQUEST, f"query parameter {name!r} must be a number of seconds, not {text[:60]!r}"
        )
    return value
