"""The proxy's own errors, in no dialect, and how each client is told.

Owns: the wording of every refusal that is not an upstream's, and the table of error codecs. Pure; it must never decide that something failed.
"""

import math
from email.utils import parsedate_to_datetime
from typing import assert_never

import msgspec

from broker.proxy.headers import Headers
from broker.proxy.routes import Voice
from broker.translate import claude_answer
from broker.translate.codecs import ERRORS, Dialect
from broker.translate.failures import kind_of
from broker.translate.ir import Failure
from broker.translate.sse import encode_event


def failure(
    status: int, message: str, *, reason: str | None = None, param: str | None = None, retry_after: float | None = None
) -> Failure:
    """Make a failure of ours. `reason` is a word for programs, `param` the request's field at fault, `retry_after` seconds."""
    return Failure(status, kind_of(status), message, reason=reason, param=param, retry_after=retry_after)


def refusal(told: Failure, voice: Voice, request_id: str) -> tuple[Headers, bytes]:
    """Return headers and body of an error answer; its status is the failure's."""
    headers = [(b"content-type", b"application/json"), (b"x-request-id", request_id.encode())]
    if told.retry_after is not None:
        headers.append((b"retry-after", b"%d" % math.ceil(told.retry_after)))
    return headers, error_body(told, voice, request_id)


def error_body(told: Failure, voice: Voice, request_id: str) -> bytes:
    """Word a failure for a client."""
    match voice:
        case Voice.OPENAI:
            return ERRORS[Dialect.OPENAI_CHAT].encode_error(told)
        case Voice.GEMINI:
            return ERRORS[Dialect.GEMINI].encode_error(told)
        case Voice.ANTHROPIC:
            return claude_answer.encode_error(told, request_id)
        case _:
            assert_never(voice)


def error_event(told: Failure, voice: Voice, request_id: str, client: Dialect | None = None) -> bytes:
    """Word a failure as the last event of a stream that has begun; that of Responses has a form of its own (OpenAI's reference, `error` event)."""
    body = error_body(told, voice, request_id)
    if client is not Dialect.RESPONSES:
        return encode_event(body, "error" if voice is Voice.ANTHROPIC else "")
    error = msgspec.json.decode(body)["error"]
    # As the reference has it, and in an object besides: OpenAI's own libraries look there.
    flat = {"type": "error", **{name: error[name] for name in ("code", "message", "param")}}
    return encode_event(msgspec.json.encode({**flat, "error": error}), "error")


def timed(told: Failure, retry_after: bytes | None, now: float) -> Failure:
    """Return an upstream's failure with the wait it asks for: by its body in seconds, by the Retry-After header (RFC 9110), or by a time its body tells."""
    if told.retry_after is not None:
        return told
    if retry_after is not None and retry_after.isdigit():
        return msgspec.structs.replace(told, retry_after=float(retry_after))
    ends = told.retry_at if retry_after is None else _date(retry_after) or told.retry_at
    return told if ends is None else msgspec.structs.replace(told, retry_after=max(0.0, ends - now))


def _date(value: bytes) -> float | None:
    try:
        return parsedate_to_datetime(value.decode("ascii")).timestamp()
    except (ValueError, OverflowError):
        return None
