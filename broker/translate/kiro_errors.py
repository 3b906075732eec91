"""Kiro's errors: in an answer's body, and in a frame of a stream.

Owns: what AWS's names of errors and Kiro's reasons mean, and the HTTP status they stand for where there is none, or one that says less. It must never decide
what to do about one.

The names and most reasons are those of AWS's own open client (aws/amazon-q-developer-cli); the bodies `{"message", "reason"}`, the reasons of limits and a
403 for a token that has ended are from reports of other clients. AWS documents none of it.
"""

import re
from collections.abc import Mapping
from typing import Final

from broker.translate.failures import error_body, kind_of, message_of
from broker.translate.ir import Failure, FailureKind

_SPENT: Final = frozenset({"MONTHLY_REQUEST_COUNT", "OVERAGE_REQUEST_LIMIT_EXCEEDED"})
_BY_REASON: Final = {
    "INSUFFICIENT_MODEL_CAPACITY": 503,  # no account's fault, whatever the status says
    "USER_REQUEST_RATE_EXCEEDED": 429,
    "INVALID_MODEL_ID": 404,  # plans differ in their models: another account may have it
}
_BY_NAME: Final = {
    "Validation": 400,
    "ExpiredToken": 401,
    "ServiceQuotaExceeded": 402,
    "AccessDenied": 403,
    "ResourceNotFound": 404,
    "Throttling": 429,
    "InternalServer": 500,
    "ServiceUnavailable": 503,
}
_SUFFIX: Final = re.compile(r"(?:Exception|Error)$")
_DEAD_TOKEN: Final = re.compile(r"\b(?:bearer|security) token\b.*\b(?:invalid|expired)\b", re.IGNORECASE | re.DOTALL)


def decode_error(status: int, body: bytes) -> Failure:
    """Read an error answer, JSON or not."""
    return read_error(error_body(body), status)


def read_error(body: Mapping[str, object], status: int | None = None, name: str = "") -> Failure:
    """Read an error's object. `status` is HTTP's; an error in a stream has none, and its `name` or reason tells."""
    inner = body.get("error")
    error = inner if isinstance(inner, Mapping) else body
    word = _plain(name or _text(error, "__type"))
    reason, said = _text(error, "reason"), _text(error, "message") or _text(error, "Message")
    status = _meant(status, word, reason, said)
    kind = FailureKind.QUOTA_EXHAUSTED if status == 402 or reason in _SPENT else kind_of(status)
    return Failure(status, kind, message_of(said or reason or word, status), code=word or None, reason=reason or None)


def _meant(status: int | None, word: str, reason: str, said: str) -> int:
    """Return the status that says most: AWS answers 400 to much that is no fault of the request, and 403 where a token has ended."""
    if status in (None, 401, 403) and _DEAD_TOKEN.search(said):
        return 401
    if reason in _SPENT:
        return 429 if status == 429 else 402
    if reason in _BY_REASON:
        return _BY_REASON[reason]
    named = _BY_NAME.get(_SUFFIX.sub("", word))
    if status is None:
        return named or 502
    return named or status if status == 400 else status


def _plain(name: str) -> str:
    """Return the name of an error without the namespace before it and what may stand behind it."""
    return name.rpartition("#")[2].partition(":")[0]


def _text(error: Mapping[str, object], key: str) -> str:
    found = error.get(key)
    return found if isinstance(found, str) else ""
