"""Failures of ours and of upstreams in one neutral shape.

Owns: what an HTTP status means for the next step, what the error answers of all dialects have in common, and the way from a `BrokerError` to an `ir.Failure`.
It must never write a dialect's error body.
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from broker.model.errors import BrokerError, ErrorCode
from broker.translate.fields import field_of
from broker.translate.ir import Failed, Failure, FailureKind

_MESSAGE_MAX: Final = 2000  # Enough for every real message; some proxies on the way answer with whole pages.
_BY_STATUS = {
    401: FailureKind.AUTHENTICATION,
    403: FailureKind.PERMISSION,
    404: FailureKind.NOT_FOUND,
    408: FailureKind.TIMEOUT,
    413: FailureKind.TOO_LARGE,
    429: FailureKind.RATE_LIMITED,
    499: FailureKind.TIMEOUT,
    503: FailureKind.OVERLOADED,
    504: FailureKind.TIMEOUT,
    529: FailureKind.OVERLOADED,
}


def kind_of(status: int) -> FailureKind:
    """Return what an HTTP status of 400 or more means where nothing more is known."""
    known = _BY_STATUS.get(status)
    if known is not None:
        return known
    return FailureKind.SERVER if status >= 500 else FailureKind.BAD_REQUEST


def error_body(body: bytes) -> Mapping[str, object]:
    """Return the object an error answer is, or the first of an array of them; an empty one where it is none, JSON or not."""
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    if isinstance(value, list):
        value = value[0] if value else None
    return value if isinstance(value, Mapping) else {}


def tells_error(body: bytes) -> bool:
    """Tell whether a body is an error in an API's own words, not a page of whatever stands before it."""
    return isinstance(error_body(body).get("error"), Mapping)


def error_inside(body: bytes) -> Mapping[str, object]:
    """Return the inside of an error answer's `error`; one that is plain text is its `message`."""
    error = error_body(body).get("error")
    if isinstance(error, str):
        return {"message": error}
    return error if isinstance(error, Mapping) else {}


def message_of(told: str | None, status: int) -> str:
    """Return what an upstream said of its error, at most 2,000 characters; a sentence of ours where it said nothing."""
    return (told or f"the upstream answered {status} without saying why")[:_MESSAGE_MAX]


def failure_of(error: BrokerError) -> Failure:
    """Say one of our own errors to a client: the detail and the advice become the message, the named field `param`."""
    message = error.detail if error.code is ErrorCode.BAD_REQUEST else f"{error.detail} {error.hint}".strip()
    return Failure(
        status=error.status,
        kind=kind_of(error.status),
        message=message,
        code=error.code.value,
        param=field_of(error.detail) if error.code is ErrorCode.BAD_REQUEST else None,
        retry_after=error.retry_after,
    )


def broken_answer(why: str) -> Failed:
    """Return the event for an upstream whose answer cannot be used."""
    return Failed(Failure(502, FailureKind.SERVER, why, code="bad_upstream_answer"))
