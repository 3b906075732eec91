"""Anthropic's errors, those of an upstream.

Owns: reading `{"type": "error", "error": {"type", "message"}}` (docs.anthropic.com, "Errors"). It must never decide what to do about one.
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from broker.translate.failures import kind_of
from broker.translate.ir import Failure, FailureKind

_MESSAGE_MAX: Final = 2000
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
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        value = None
    error = value.get("error") if isinstance(value, Mapping) else None
    if isinstance(error, str):
        error = {"message": error}
    return read_error(error if isinstance(error, Mapping) else {}, status)


def read_error(error: Mapping[str, object], status: int | None = None) -> Failure:
    """Read the inside of an `error`. `status` is HTTP's; an error in a stream has none, and its type tells."""
    word, message = error.get("type"), error.get("message")
    kind = _KINDS.get(word) if isinstance(word, str) else None
    if status is None:
        status = _STATUSES.get(kind, 502) if kind else 502
    told = message if isinstance(message, str) and message else f"the upstream answered {status} without saying why"
    # The status is the transport's word and the type the API's: where both are there, the type is more precise.
    return Failure(status, kind or kind_of(status), told[:_MESSAGE_MAX], code=word if isinstance(word, str) else None)
