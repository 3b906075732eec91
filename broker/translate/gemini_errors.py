"""Google's errors: reading those of an upstream, writing ours for Gemini clients.

Owns: google.rpc.Status as JSON (google.aip.dev/193) with the details ErrorInfo, RetryInfo, QuotaFailure and Help. It must never decide what
to do about one; `FailureKind` says what it means, the proxy decides.
"""

import re
from collections.abc import Mapping
from typing import Final

import msgspec

from broker.translate.failures import error_inside, kind_of, message_of
from broker.translate.ir import Failure, FailureKind

_PER_MINUTE_SECONDS: Final = 60.0

_STATUS_WORDS = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    408: "DEADLINE_EXCEEDED",
    409: "ABORTED",
    413: "INVALID_ARGUMENT",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    500: "INTERNAL",
    501: "UNIMPLEMENTED",
    502: "INTERNAL",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
    529: "UNAVAILABLE",
}
_BY_REASON = {
    "QUOTA_EXHAUSTED": FailureKind.QUOTA_EXHAUSTED,
    "INSUFFICIENT_G1_CREDITS_BALANCE": FailureKind.QUOTA_EXHAUSTED,
    "MODEL_CAPACITY_EXHAUSTED": FailureKind.OVERLOADED,
    "API_KEY_INVALID": FailureKind.AUTHENTICATION,
}
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_STEP = r"\d+(?:\.\d+)?(?:ms|us|µs|ns|h|m|s)"
_DURATION = re.compile(rf"(?:{_STEP})+")
_STEPS = re.compile(r"(\d+(?:\.\d+)?)(ms|us|µs|ns|h|m|s)")
_IN_TEXT = re.compile(rf"\b(?:after|in) ((?:{_STEP})+)")
_Object = Mapping[str, object]


def decode_error(status: int, body: bytes) -> Failure:
    """Read an error answer; `body` may be an object, the object in an array, or no JSON at all."""
    return read_status(error_inside(body), status)


def read_status(error: _Object, status: int | None = None) -> Failure:
    """Read the inside of an `error`. `status` is HTTP's; without it (an error in a stream) the error's own code counts."""
    own = error.get("code")
    http = status or (own if isinstance(own, int) and 400 <= own <= 599 else 502)
    details = _details(error)
    info = details.get("ErrorInfo", {})
    reason, metadata = _text(info, "reason"), _inner(info, "metadata")
    message = message_of(_text(error, "message"), http)
    quotas = _quota_ids(details.get("QuotaFailure", {}))
    return Failure(
        status=http,
        kind=_kind(http, reason, message, quotas),
        message=message,
        code=_text(error, "status"),
        reason=reason,
        retry_after=_retry_after(details, metadata, message, quotas),
        help_url=_help(details.get("Help", {}), metadata),
    )


def encode_error(failure: Failure) -> bytes:
    """Return the error as Gemini clients expect it."""
    details: list[dict[str, object]] = []
    if failure.reason is not None:
        details.append({"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": failure.reason})
    if failure.retry_after is not None:
        delay = f"{failure.retry_after:.3f}".rstrip("0").rstrip(".") + "s"
        details.append({"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay})
    if failure.param is not None:
        violation = {"field": failure.param, "description": failure.message}
        details.append({"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": [violation]})
    if failure.help_url is not None:
        links = [{"description": "How to mend this", "url": failure.help_url}]
        details.append({"@type": "type.googleapis.com/google.rpc.Help", "links": links})
    word = _STATUS_WORDS.get(failure.status, "INTERNAL" if failure.status >= 500 else "INVALID_ARGUMENT")
    error: dict[str, object] = {"code": failure.status, "message": failure.message, "status": word}
    if details:
        error["details"] = details
    return msgspec.json.encode({"error": error})


def parse_duration(text: str) -> float | None:
    """Read a duration as Go writes them (`2h7m23.4s`, `456ms`), in seconds; None where it is none."""
    text = text.strip()
    if not _DURATION.fullmatch(text):
        return None
    return sum(float(number) * _UNITS[unit] for number, unit in _STEPS.findall(text))


def _details(error: _Object) -> dict[str, _Object]:
    """Return the details by the last word of their type; of several of one type the first."""
    out: dict[str, _Object] = {}
    details = error.get("details")
    for detail in details if isinstance(details, list) else ():
        if isinstance(detail, Mapping):
            out.setdefault((_text(detail, "@type") or "").rpartition(".")[2], detail)
    return out


def _text(place: _Object, key: str) -> str | None:
    value = place.get(key)
    return value if isinstance(value, str) and value else None


def _inner(place: _Object, key: str) -> _Object:
    value = place.get(key)
    return value if isinstance(value, Mapping) else {}


def _quota_ids(failure: _Object) -> list[str]:
    violations = failure.get("violations")
    found = [v for v in violations if isinstance(v, Mapping)] if isinstance(violations, list) else []
    return [quota for v in found if (quota := _text(v, "quotaId"))]


def _kind(status: int, reason: str | None, message: str, quotas: list[str]) -> FailureKind:
    known = _BY_REASON.get(reason or "")
    if known is not None:
        return known
    daily = any("PerDay" in quota or "Daily" in quota for quota in quotas)
    if status == 429 and (daily or re.search(r"\blimit: 0\b", message)):
        return FailureKind.QUOTA_EXHAUSTED
    return kind_of(status)


def _retry_after(details: dict[str, _Object], metadata: _Object, message: str, quotas: list[str]) -> float | None:
    """Return the seconds to wait: from RetryInfo, else ErrorInfo, else the text, else what a quota per minute means."""
    told = _text(details.get("RetryInfo", {}), "retryDelay"), _text(metadata, "quotaResetDelay")
    for text in told:
        seconds = parse_duration(text) if text else None
        if seconds is not None:
            return seconds
    said = _IN_TEXT.search(message)
    if said:
        return parse_duration(said[1])
    return _PER_MINUTE_SECONDS if any("PerMinute" in quota for quota in quotas) else None


def _help(details: _Object, metadata: _Object) -> str | None:
    for key in ("validation_link", "validation_url"):
        link = _text(metadata, key)
        if link:
            return link
    links = details.get("links")
    first = links[0] if isinstance(links, list) and links else None
    return _text(first, "url") if isinstance(first, Mapping) else None
