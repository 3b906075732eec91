"""Anthropic's errors, those of an upstream.

Owns: reading `{"type": "error", "error": {"type", "message"}}` (docs.anthropic.com, "Errors"). It must never decide what to do about one.
"""

from collections.abc import Mapping
from typing import Final

from broker.translate.failures import error_inside, kind_of, message_of
from broker.translate.ir import Failure, FailureKind

_KINDS: Final = {
    "invalid_request_error": FailureKind.BAD_REQUEST,
    "authentication_error": FailureKind.AUTHENTICATION,
    "permission_error": FailureKind.PERMISSION,
    "billing_error": FailureKind.PERMISSION,
    "not_found_error": FailureKind.NOT_FOUND,
    "request_too_large": FailureKind.TOO_LARGE,
    "rate_limit_error": FailureKind.RATE_LIMITED,
    "api_error": FailureKind.SERVER,
    "timeout_error": FailureKind.TIMEOUT,
    "overloaded_error": FailureKind.OVERLOADED,
}
_STATUSES: Final = {
    FailureKind.BAD_REQUEST: 400,
    FailureKind.AUTHENTICATION: 401,
    FailureKind.PERMISSION: 403,
    FailureKind.NOT_FOUND: 404,
    FailureKind.TOO_LARGE: 413,
    FailureKind.RATE_LIMITED: 429,
    FailureKind.OVERLOADED: 529,
    FailureKind.TIMEOUT: 504,
}


def decode_error(status: int, body: bytes) -> Failure:
    """Read an error answer, JSON or not."""
    return read_error(error_inside(body), status)


def read_error(error: Mapping[str, object], status: int | None = None) -> Failure:
    """Read the inside of an `error`. `status` is HTTP's; an error in a stream has none, and its type tells."""
    word, message = error.get("type"), error.get("message")
    kind = _KINDS.get(word) if isinstance(word, str) else None
    if status is None:
        status = _STATUSES.get(kind, 502) if kind else 502
    told = message_of(message if isinstance(message, str) else None, status)
    # The status is the transport's word and the type the API's: where both are there, the type is more precise.
    return Failure(status, kind or kind_of(status), told, code=word if isinstance(word, str) else None)
