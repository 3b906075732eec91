"""Errors of APIs that speak like OpenAI's.

Owns: reading `{"error": {"message", "type", "param", "code"}}` and what compatible servers make of it. It must never decide what to do about one.

Source: platform.openai.com/docs/guides/error-codes.
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from broker.translate.failures import error_body, kind_of, message_of
from broker.translate.ir import Failure, FailureKind

_BY_CODE: Final = {
    "insufficient_quota": FailureKind.QUOTA_EXHAUSTED,
    "quota_exceeded": FailureKind.QUOTA_EXHAUSTED,
    "usage_limit_reached": FailureKind.QUOTA_EXHAUSTED,
    "exceeded_current_quota_error": FailureKind.QUOTA_EXHAUSTED,
    "billing_hard_limit_reached": FailureKind.QUOTA_EXHAUSTED,
    "rate_limit_exceeded": FailureKind.RATE_LIMITED,
    "rate_limit_reached_error": FailureKind.RATE_LIMITED,
    "rate_limit_error": FailureKind.RATE_LIMITED,
    "invalid_api_key": FailureKind.AUTHENTICATION,
    "authentication_error": FailureKind.AUTHENTICATION,
    "permission_error": FailureKind.PERMISSION,
    "model_not_found": FailureKind.NOT_FOUND,
    "not_found_error": FailureKind.NOT_FOUND,
    "context_length_exceeded": FailureKind.BAD_REQUEST,
    "invalid_request_error": FailureKind.BAD_REQUEST,
    "content_policy_violation": FailureKind.BAD_REQUEST,
    "invalid_prompt": FailureKind.BAD_REQUEST,
    "unsupported_parameter": FailureKind.BAD_REQUEST,
    "overloaded_error": FailureKind.OVERLOADED,
    "server_is_overloaded": FailureKind.OVERLOADED,
    "slow_down": FailureKind.OVERLOADED,
    "server_error": FailureKind.SERVER,
}
_STATUSES: Final = {
    FailureKind.BAD_REQUEST: 400,
    FailureKind.AUTHENTICATION: 401,
    FailureKind.PERMISSION: 403,
    FailureKind.NOT_FOUND: 404,
    FailureKind.RATE_LIMITED: 429,
    FailureKind.QUOTA_EXHAUSTED: 429,
    FailureKind.OVERLOADED: 503,
}
_GENERAL: Final = ("invalid_request_error", "server_error")  # said of nearly anything: the status knows better


class _Body(msgspec.Struct):
    error: object = None


def decode_error(status: int, body: bytes) -> Failure:
    """Read an error answer, JSON or not."""
    return read_error(error_body(body), status)


def tells_error(body: bytes) -> bool:
    """Tell whether a body is an error in the dialect's own words."""
    try:
        return isinstance(msgspec.json.decode(body, type=_Body).error, Mapping)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False


def read_error(body: Mapping[str, object], status: int | None = None) -> Failure:
    """Read a body that holds an error. `status` is HTTP's; an error in a stream has none, and its words tell."""
    error = body.get("error")
    inner: Mapping[str, object] = error if isinstance(error, Mapping) else body
    code, word = _text(inner, "code"), _text(inner, "type")
    known = next((_BY_CODE[each] for each in (code, word) if each in _BY_CODE), None)
    if status is None:
        own = inner.get("code")
        told = own if isinstance(own, int) and 400 <= own <= 599 else 502
        status = _STATUSES.get(known, told) if known is not None else told
    plain = error if isinstance(error, str) else _text(inner, "message") or _text(body, "detail")
    precise = known is not None and (code in _BY_CODE or word not in _GENERAL)
    return Failure(
        status=status,
        kind=known if known is not None and precise else kind_of(status),
        message=message_of(plain, status),
        code=word,
        reason=code,
        param=_text(inner, "param"),
        retry_after=_seconds(inner.get("resets_in_seconds")),
        retry_at=_seconds(inner.get("resets_at")),
    )


def _text(value: Mapping[str, object], key: str) -> str | None:
    found = value.get(key)
    return found if isinstance(found, str) and found else None


def _seconds(value: object) -> float | None:
    told = isinstance(value, int | float) and not isinstance(value, bool) and value >= 0
    return float(value) if told and isinstance(value, int | float) else None
