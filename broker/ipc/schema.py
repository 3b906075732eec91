"""The messages of the socket contract, version 1.

Owns: every JSON shape that crosses the socket. Pure. A field is added, never renamed or given another meaning; readers ignore fields they
don't know. Times are wall-clock seconds since the epoch, absolute, so that a message can be built once and served many times.
"""

from typing import Final, TypeVar

import msgspec

from broker.model.errors import TRAITS, BrokerError, ErrorCode
from broker.model.secret import Secret

__all__ = [
    "PROBLEM_JSON",
    "AccountList",
    "AccountQuota",
    "AccountView",
    "Changed",
    "Cooldown",
    "Health",
    "ImportAnswer",
    "ImportRequest",
    "ImportedLogin",
    "KeyAdd",
    "Lease",
    "LoginCallback",
    "LoginStart",
    "LoginView",
    "LogoutAnswer",
    "Problem",
    "ProviderView",
    "QuotaWindow",
    "Relabel",
    "Removed",
    "Report",
    "ReportAnswer",
    "Snapshot",
    "WatchAccount",
    "WatchEvent",
    "decode",
    "decode_event",
    "encode",
    "error_of",
    "problem_of",
]

T = TypeVar("T")

PROBLEM_JSON: Final = "application/problem+json"


class Cooldown(msgspec.Struct, frozen=True):
    """An account set aside for one model (or all, with `model` null) until `until`."""

    model: str | None
    until: float
    reason: str


class QuotaWindow(msgspec.Struct, frozen=True, kw_only=True):
    """One limit: `name` as people call it, `used` a share (1.0 is all of it), `resets_at` when it begins anew; null where the provider does not say."""

    name: str
    used: float | None = None
    resets_at: float | None = None
    note: str | None = None


class AccountQuota(msgspec.Struct, frozen=True, kw_only=True):
    """GET /v1/accounts/{provider}/{label}/quota: what the provider told of plan and limits at `read_at`. `notes` say what could not be read."""

    account: str
    read_at: float
    plan: str | None = None
    windows: tuple[QuotaWindow, ...] = ()
    notes: tuple[str, ...] = ()


class AccountView(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=False):
    """An account as anyone on the socket may see it: no secrets.

    `state` is one of the StateName values; `reason` says why in one sentence; `hint` what to do. `default` marks the account a bare provider
    name means. `file` is the file's name in its directory. `quota` is what was last read of it; null on the push stream, and where nobody asked.
    `linked` names the program whose login file, `linked_file`, the account shares its login with. `warnings` are sentences about that, and about a
    login that another program renews too. `prefix`, `priority`, `weight` and `excluded_models` are what its file says of the requests it is meant for.
    """

    account: str
    provider: str
    label: str
    state: str
    generation: int
    reason: str | None = None
    hint: str | None = None
    since: float | None = None
    email: str | None = None
    expires_at: float | None = None
    last_refresh: float | None = None
    next_refresh: float | None = None
    default: bool = False
    paused: bool = False
    disabled: bool = False
    renewable: bool = False
    file: str = ""
    cooldowns: tuple[Cooldown, ...] = ()
    facts: dict[str, str] = {}
    quota: AccountQuota | None = None
    linked: str | None = None
    linked_file: str | None = None
    warnings: tuple[str, ...] = ()
    prefix: str | None = None
    priority: int = 0
    weight: int = 1
    excluded_models: tuple[str, ...] = ()


class AccountList(msgspec.Struct, frozen=True):
    """GET /v1/accounts."""

    accounts: tuple[AccountView, ...]


class Lease(msgspec.Struct, frozen=True, kw_only=True):
    """A token to use now.

    `expires_at` is null for tokens that do not expire. `short` is true when the provider issues tokens that live shorter than the
    validity asked for, and this is as good as it gets: the one case in which a lease holds less than was asked (promise P6).
    `facts` are the non-secret fields the API side needs. `proxy_url` is the account's own outbound proxy, with user name and password where it has them;
    null where its file names none.
    """

    account: str
    provider: str
    generation: int
    access_token: Secret
    token_type: str = "Bearer"  # noqa: S105 - the word of RFC 6750
    expires_at: float | None = None
    short: bool = False
    facts: dict[str, str] = {}
    proxy_url: Secret | None = None


class Report(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """POST /v1/report: what happened with a lease.

    `outcome`: `rejected` (the API answered 401; compare-and-swap on `generation`), `limited` (cool down until `until`, or for
    `retry_after` seconds; for `model`, or the whole account when null), `ok` (clears what `limited` set). `max_wait` seconds bounds the wait for the next
    lease after `rejected`.
    """

    account: str
    generation: int
    outcome: str
    model: str | None = None
    until: float | None = None
    retry_after: float | None = None
    reason: str = ""
    min_validity: float = 60.0
    max_wait: float = 10.0


class ReportAnswer(msgspec.Struct, frozen=True):
    """The answer to a report: the lease to use next, where there is one."""

    lease: Lease | None = None
    cooldown: Cooldown | None = None


class WatchAccount(msgspec.Struct, frozen=True):
    """One account on the push stream: its view, and its lease while it has a servable token."""

    view: AccountView
    lease: Lease | None = None


class Snapshot(msgspec.Struct, frozen=True, tag_field="type", tag="snapshot"):
    """The whole table. It supersedes everything the reader held."""

    accounts: tuple[WatchAccount, ...]
    version: str


class Changed(msgspec.Struct, frozen=True, tag_field="type", tag="changed"):
    """One account is new or differs."""

    account: WatchAccount


class Removed(msgspec.Struct, frozen=True, tag_field="type", tag="removed"):
    """One account is gone."""

    account: str


WatchEvent = Snapshot | Changed | Removed


class LoginStart(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """POST /v1/logins. `callback` false means no listener: the person pastes the final URL or the code. `timeout` is seconds.

    `options` are the provider's own (a region, an enterprise host).
    """

    provider: str
    label: str | None = None
    flow: str | None = None
    callback: bool = True
    project: str | None = None
    timeout: float = 300.0
    options: dict[str, str] = {}


class LoginView(msgspec.Struct, frozen=True, kw_only=True):
    """A login under way or ended. `state`: `waiting`, `finishing`, `done`, `failed`. `url` is where the person goes.

    `notes` are sentences for the person (which project was chosen, what is limited).
    """

    id: str
    provider: str
    state: str
    flow: str
    url: str | None = None
    redirect_uri: str | None = None
    user_code: str | None = None
    expires_at: float | None = None
    account: str | None = None
    file: str | None = None
    notes: tuple[str, ...] = ()
    problem: "Problem | None" = None


class LoginCallback(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """POST /v1/logins/{id}/callback: the pasted callback URL, its query, or the bare code."""

    text: Secret


class Relabel(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """POST /v1/accounts/{provider}/{label}/rename."""

    label: str


class KeyAdd(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """POST /v1/keys: an API key as an account. `header` is how requests carry it: `authorization`, `x-api-key`, or another header's name.

    Where the account exists its key is replaced, and what is left out here stays as it is.
    """

    provider: str
    key: Secret
    label: str | None = None
    base_url: str | None = None
    header: str | None = None
    models: tuple[str, ...] = ()


class LogoutAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """DELETE /v1/accounts/{provider}/{label}: the account is gone here. `revoked` tells whether the provider confirmed; `detail` why not."""

    account: str
    revoked: bool
    detail: str | None = None


class ImportRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """POST /v1/import. `tool` is a program by its name, or `all`; `path` names its file where that lies elsewhere than usual.

    `mode`: `copy`, or `linked`, which shares the login with the program; left out, it is a copy. `dry_run` changes nothing. `variables` are those of
    the caller's environment that say where programs keep their files.
    """

    tool: str = "all"
    mode: str | None = None
    path: str | None = None
    dry_run: bool = False
    variables: dict[str, str] = {}


class ImportedLogin(msgspec.Struct, frozen=True, kw_only=True):
    """A login that was found, and what was (or would be) done with it.

    `action`: `added`, `updated`, `linked`, `unlinked`, `present` (nothing to do), `skipped` or `refused`, with a `reason`. `linkable` tells that it
    can be linked, `rotates` that each of its refresh tokens is good once. `notes` are sentences for the person.
    """

    tool: str
    title: str
    path: str
    provider: str
    action: str
    account: str | None = None
    email: str | None = None
    reason: str | None = None
    linkable: bool = False
    rotates: bool = False
    notes: tuple[str, ...] = ()


class ImportAnswer(msgspec.Struct, frozen=True):
    """The answer to an import: the accounts that were added or changed, what was refused and why, and all that was found."""

    adopted: tuple[str, ...] = ()
    refused: dict[str, str] = {}
    logins: tuple[ImportedLogin, ...] = ()
    dry_run: bool = False


class ProviderView(msgspec.Struct, frozen=True, kw_only=True):
    """A provider the daemon knows."""

    name: str
    title: str
    flows: tuple[str, ...]


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """GET /v1/health. `status`: `ok` or `degraded`; `problems` are sentences; `protections` were found by probing, not assumed.

    `clock_skew` names the providers whose clock differs from ours by a minute or more, with the seconds it is ahead.
    """

    status: str
    version: str
    pid: int
    uptime: float
    accounts: dict[str, int]
    providers: tuple[ProviderView, ...] = ()
    problems: tuple[str, ...] = ()
    protections: dict[str, bool] = {}
    store_mode: str = "plain"
    directories: tuple[str, ...] = ()
    clock_skew: dict[str, float] = {}


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """A problem document (RFC 9457): `code` is one of `ErrorCode`; `type` is `urn:ccs-broker:` and the code."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    retryable: bool
    hint: str
    account: str | None = None
    retry_after: float | None = None


def problem_of(error: BrokerError) -> Problem:
    """Return the document that tells `error`."""
    return Problem(
        type=f"urn:ccs-broker:{error.code}",
        title=TRAITS[error.code].title,
        status=error.status,
        detail=error.detail,
        code=error.code.value,
        retryable=error.retryable,
        hint=error.hint,
        account=error.account,
        retry_after=error.retry_after,
    )


def error_of(problem: Problem) -> BrokerError:
    """Return the error a problem document tells; a code we don't know (a newer daemon's) becomes `internal`."""
    known = problem.code in ErrorCode._value2member_map_
    return BrokerError(
        ErrorCode(problem.code) if known else ErrorCode.INTERNAL,
        problem.detail,
        hint=problem.hint,
        account=problem.account,
        retry_after=problem.retry_after,
        retryable=problem.retryable,
    )


def encode(message: object) -> bytes:
    """Write a message as JSON; this is where its secrets become text. Raises TypeError for what has no JSON form."""
    return _encoder.encode(message)


def decode(data: bytes | str, shape: type[T]) -> T:
    """Read a message.

    Raises:
        BrokerError: `bad_request`, naming the field, where `data` is not JSON or not of this shape.
    """
    try:
        return msgspec.json.decode(data, type=shape, dec_hook=_to_secret)
    except _UNREADABLE as error:
        raise BrokerError(ErrorCode.BAD_REQUEST, f"not a valid message: {error}") from None


def decode_event(data: bytes | str) -> WatchEvent:
    """Read one event of the push stream; raises as `decode` does."""
    try:
        event: WatchEvent = _event_decoder.decode(data)
    except _UNREADABLE as error:
        raise BrokerError(ErrorCode.BAD_REQUEST, f"not a valid event: {error}") from None
    return event


def _from_secret(value: object) -> str:
    if isinstance(value, Secret):
        return value.reveal()
    raise TypeError(f"no JSON form for {type(value).__name__}")


def _to_secret(kind: type, value: object) -> object:
    if kind is Secret and isinstance(value, str):
        return Secret(value)
    if kind is object:  # any JSON value, as the user's own rules for bodies have
        return value
    raise ValueError("expected text")


_encoder = msgspec.json.Encoder(enc_hook=_from_secret)
_event_decoder = msgspec.json.Decoder(WatchEvent, dec_hook=_to_secret)
_UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
