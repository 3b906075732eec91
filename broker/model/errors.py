"""Every failure that crosses a border of the program: a closed list of codes, and one exception that carries one.

Owns: the codes, what each means for HTTP, whether trying again can help, and what the person should do.
It must never import a sibling: everything may import it.

A code is chosen by what the caller can do about it, not by where it was raised. The list is part of the socket
contract (docs/socket.md); a test holds the two together.
"""

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["TRAITS", "BrokerError", "ErrorCode", "Traits"]


class ErrorCode(StrEnum):
    """The `code` member of a problem document (RFC 9457) and of `--json` errors."""

    BAD_REQUEST = "bad_request"
    FORBIDDEN_PEER = "forbidden_peer"
    NOT_FOUND = "not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    TOO_LARGE = "too_large"
    TOO_SLOW = "too_slow"
    TOO_MANY = "too_many"
    UNKNOWN_PROVIDER = "unknown_provider"
    UNKNOWN_ACCOUNT = "unknown_account"
    UNKNOWN_LOGIN = "unknown_login"
    NO_ACCOUNT = "no_account"
    LOGIN_REQUIRED = "login_required"
    ACCOUNT_PAUSED = "account_paused"
    SUPERSEDED = "superseded"
    DEADLINE_EXCEEDED = "deadline_exceeded"
    VALIDITY_UNAVAILABLE = "validity_unavailable"
    REFRESH_FAILED = "refresh_failed"
    ANSWER_LOST = "answer_lost"
    RATE_LIMITED = "rate_limited"
    MISCONFIGURED = "misconfigured"
    STORAGE_UNWRITABLE = "storage_unwritable"
    QUOTA_UNAVAILABLE = "quota_unavailable"
    LOGIN_DENIED = "login_denied"
    LOGIN_EXPIRED = "login_expired"
    LOGIN_FAILED = "login_failed"
    LOGIN_CANCELLED = "login_cancelled"
    UNSUPPORTED = "unsupported"
    DAEMON_UNREACHABLE = "daemon_unreachable"
    STOPPING = "stopping"
    INTERNAL = "internal"


@dataclass(frozen=True, slots=True)
class Traits:
    """What a code implies, the same wherever it appears.

    `status` is the HTTP status; `retryable` says whether the same call can succeed later with no person involved;
    `title` is the RFC 9457 `title`; `hint` is the default advice, overridden where the raiser knows better.
    """

    status: int
    retryable: bool
    title: str
    hint: str


TRAITS: dict[ErrorCode, Traits] = {
    ErrorCode.BAD_REQUEST: Traits(400, False, "The request is not valid", "Correct the field the detail names."),
    ErrorCode.FORBIDDEN_PEER: Traits(
        403, False, "This caller may not use the socket", "Run it as the user who owns the daemon."
    ),
    ErrorCode.NOT_FOUND: Traits(404, False, "No such path", "GET /v1/openapi.json lists the paths."),
    ErrorCode.METHOD_NOT_ALLOWED: Traits(405, False, "Method not allowed", "GET /v1/openapi.json lists the methods."),
    ErrorCode.TOO_LARGE: Traits(413, False, "The request is too large", "Send less; the limits are in docs/socket.md."),
    ErrorCode.TOO_SLOW: Traits(408, True, "The request did not arrive in time", "Send the whole request at once."),
    ErrorCode.TOO_MANY: Traits(503, True, "Too many connections", "Close idle connections and try again."),
    ErrorCode.UNKNOWN_PROVIDER: Traits(404, False, "Unknown provider", "Use one of the providers the detail lists."),
    ErrorCode.UNKNOWN_ACCOUNT: Traits(404, False, "Unknown account", "Run: ccs-broker list"),
    ErrorCode.UNKNOWN_LOGIN: Traits(
        404, False, "Unknown or finished login", "Start again with: ccs-broker login PROVIDER"
    ),
    ErrorCode.NO_ACCOUNT: Traits(404, False, "No account of this provider", "Run: ccs-broker login PROVIDER"),
    ErrorCode.LOGIN_REQUIRED: Traits(403, False, "A person must log in again", "Run: ccs-broker login PROVIDER"),
    ErrorCode.ACCOUNT_PAUSED: Traits(409, False, "The account is paused", "Run: ccs-broker resume ACCOUNT"),
    ErrorCode.SUPERSEDED: Traits(409, True, "The account changed meanwhile", "Read it again and repeat."),
    ErrorCode.DEADLINE_EXCEEDED: Traits(
        504, True, "Not done by the deadline you gave", "Ask again, or with a longer max_wait."
    ),
    ErrorCode.VALIDITY_UNAVAILABLE: Traits(
        503, True, "No token with the validity you asked for", "Ask for a smaller min_validity."
    ),
    ErrorCode.REFRESH_FAILED: Traits(
        503, True, "The token endpoint could not renew the login", "It is tried again; see: ccs-broker status"
    ),
    ErrorCode.ANSWER_LOST: Traits(
        503,
        True,
        "A renewal was sent and its answer lost",
        "See: ccs-broker status; it is tried once more when the token ends.",
    ),
    ErrorCode.RATE_LIMITED: Traits(429, True, "The provider limits us", "Wait; the detail says how long."),
    ErrorCode.MISCONFIGURED: Traits(
        500,
        False,
        "The client registration is wrong or missing",
        "Check client_id and client secret of the provider: ccs-broker config check",
    ),
    ErrorCode.STORAGE_UNWRITABLE: Traits(
        503,
        True,
        "The auth directory cannot be written",
        "Free space or mend permissions; no token is spent until then.",
    ),
    ErrorCode.QUOTA_UNAVAILABLE: Traits(
        502,
        True,
        "The provider did not tell plan and limits",
        "Ask again in a minute; the login itself is not affected.",
    ),
    ErrorCode.LOGIN_DENIED: Traits(
        403, False, "The login was refused", "Approve it on the provider's page, or use another account."
    ),
    ErrorCode.LOGIN_EXPIRED: Traits(
        410, False, "The login was not finished in time", "Start again with: ccs-broker login PROVIDER"
    ),
    ErrorCode.LOGIN_FAILED: Traits(502, True, "The login failed", "Start again with: ccs-broker login PROVIDER"),
    ErrorCode.LOGIN_CANCELLED: Traits(
        409, False, "The login was cancelled", "Start again with: ccs-broker login PROVIDER"
    ),
    ErrorCode.UNSUPPORTED: Traits(
        501, False, "This provider cannot do that", "docs/providers.md says what each provider can do."
    ),
    ErrorCode.DAEMON_UNREACHABLE: Traits(
        503, True, "The daemon is not reachable", "Start it: ccs-broker serve, or: ccs-broker service install"
    ),
    ErrorCode.STOPPING: Traits(503, True, "The daemon is stopping", "Ask again in a moment."),
    ErrorCode.INTERNAL: Traits(500, True, "A fault of ours", "The log has the details; please report it."),
}


class BrokerError(Exception):
    """A failure with a code from the closed list.

    `detail` is one sentence for a person and never holds a secret. `account` is the `provider/label` it is about,
    `hint` what to do next, `retry_after` the seconds after which trying again makes sense.
    """

    def __init__(
        self,
        code: ErrorCode,
        detail: str,
        *,
        hint: str | None = None,
        account: str | None = None,
        retry_after: float | None = None,
        retryable: bool | None = None,
    ) -> None:
        """Carry `code` and its particulars; `hint` and `retryable` default to the code's own."""
        super().__init__(detail)
        traits = TRAITS[code]
        self.code = code
        self.detail = detail
        self.hint = traits.hint if hint is None else hint
        self.account = account
        self.retry_after = retry_after
        self.retryable = traits.retryable if retryable is None else retryable

    @property
    def status(self) -> int:
        """The HTTP status of the code."""
        return TRAITS[self.code].status

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (self.code, self.detail, self.hint, self.account, self.retry_after, self.retryable))


class SettingError(BrokerError):
    """A setting of the config that cannot be worked with. `key` is the way to it through the tables, `text` what is wrong."""

    def __init__(self, key: tuple[str, ...], text: str, *, hint: str | None = None) -> None:
        """Refuse the setting at `key`; the detail says both."""
        super().__init__(ErrorCode.BAD_REQUEST, f"{'.'.join(key)}: {text}", hint=hint)
        self.key = key
        self.text = text


def _rebuild(
    code: ErrorCode, detail: str, hint: str, account: str | None, retry_after: float | None, retryable: bool
) -> BrokerError:
    return BrokerError(code, detail, hint=hint, account=account, retry_after=retry_after, retryable=retryable)
