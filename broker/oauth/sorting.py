"""What an answer of a token endpoint means, sorted by what to do next.

Owns: `sort_failure`, the one place that turns any answer into a `Failure`, `error_codes` beside it, and the words of the standards it knows; a vendor
adds its own as `Words`. It must never repeat a value that could be a token: reasons are cleaned before they are shown.

Order of judgement: an answer that tells of overload or a limit is believed first (nothing it says can prove a grant dead); then an error code
known as final, wherever in the body it stands; everything else may pass.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import parse_qsl

import msgspec

from broker.model.clock import Now
from broker.oauth.failures import AnswerLost, Failure, Misconfigured, Permanent, RateLimited, Transient
from broker.oauth.messages import HttpResponse
from broker.oauth.waits import asked_wait, retry_after

_BODY_MAX = 65_536  # error documents are small; a longer one is judged by its beginning
_REASON_MAX = 200
_TRANSIENT_STATUSES = frozenset({408, 425})
_CODE_KEYS = ("error", "code", "error_code", "errorCode", "type", "__type", "status", "reason", "error_subtype")
_TEXT_KEYS = ("error_description", "message", "errorMessage", "error_message", "detail", "msg", "title", "error")
_NESTED_KEYS = ("error", "errors", "data", "details", "response", "body", "message")
_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_.\-]*")
# Anything that could be a credential: a long run without a space that is not plain words.
_TOKENISH = re.compile(r"[A-Za-z0-9_\-.~+/=|%]{20,}")

_MISCONFIGURED = frozenset(
    {
        "invalid_client", "unauthorized_client", "unsupported_grant_type",  # RFC 6749 section 5.2
        "invalid_request", "invalid_scope",  # the same: what we send is wrong, the grant may be fine
        "deleted_client", "disabled_client", "org_internal",  # Google's words for a client of no use
    }
)  # fmt: skip
_PERMANENT = frozenset({"invalid_grant"})
_LIMITED = frozenset(
    {"slow_down", "rate_limit_error", "rate_limit_exceeded", "rate_limited", "too_many_requests", "resource_exhausted", "quota_exceeded"}
)  # fmt: skip
_PASSING = frozenset({"server_error", "temporarily_unavailable", "overloaded_error", "internal_failure"})


@dataclass(frozen=True, slots=True)
class Words:
    """A vendor's own error codes beside those of the standards, lower-case; one with a space in it is looked for in sentences."""

    permanent: frozenset[str] = frozenset()
    misconfigured: frozenset[str] = frozenset()
    limited: frozenset[str] = frozenset()
    passing: frozenset[str] = frozenset()


STANDARD = Words()
Meaning = Literal["permanent", "misconfigured", "limited", "passing"]


@dataclass(frozen=True, slots=True)
class _Told:
    """What an answer says: error codes in order of trust, the human sentence, the parsed body (None where it is not JSON)."""

    codes: tuple[str, ...]
    text: str
    body: object = field(repr=False)  # it may hold tokens
    html: bool

    @property
    def refusal(self) -> bool:
        """Whether the body says that something went wrong."""
        return isinstance(self.body, Mapping) and any(self.body.get(key) for key in ("error", "errors", "error_code"))


def sort_failure(answer: HttpResponse, now: Now, words: Words = STANDARD) -> Failure:
    """Sort an answer that did not bring what was asked for.

    A 2xx answer is one without a usable token: an error in it counts as such, and none means that the answer is lost, since the server has acted.
    """
    told = _listen(answer)
    sentence = _sentence(answer, told)
    if answer.status == 429:
        return RateLimited(sentence, _wait(answer, told, now))
    if answer.status >= 500 or answer.status in _TRANSIENT_STATUSES:
        # A reset header may stand on every answer; only Retry-After speaks of this one.
        wait = retry_after(answer.headers, now.wall)
        return Transient(sentence) if wait is None else RateLimited(sentence, wait)
    return _sort_refusal(answer, told, now, words)


def final_by_status(
    failure: Failure, answer: HttpResponse, statuses: frozenset[int], words: Words = STANDARD
) -> Failure:
    """Return the failure of an answer whose status alone ends a grant with its vendor: `Permanent` in place of `Transient`.

    What says otherwise is believed: a code that means something else, and a web page, which is no answer of a token endpoint.
    """
    told = _listen(answer)
    passing = any(code.lower() in _PASSING | words.passing for code in told.codes)
    if answer.status not in statuses or not isinstance(failure, Transient) or told.html or passing:
        return failure
    return Permanent(clean(told.codes[0]) if told.codes else f"http_{answer.status}", failure.reason)


def error_codes(answer: HttpResponse) -> tuple[str, ...]:
    """Return the error codes an answer tells, whatever its shape: lower-case, those to be trusted most first."""
    return tuple(code.lower() for code in _listen(answer).codes)


def clean(text: str) -> str:
    """Make a provider's sentence fit to be shown and stored: one line, at most 200 characters, nothing that could be a credential."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    line = _TOKENISH.sub(lambda found: found[0] if _plain(found[0]) else "…", line)
    return line if len(line) <= _REASON_MAX else line[: _REASON_MAX - 1] + "…"


def _sort_refusal(answer: HttpResponse, told: _Told, now: Now, words: Words) -> Failure:
    sentence = _sentence(answer, told)
    match _judge(told, words):
        case "permanent", code:
            return Permanent(code, sentence)
        case "misconfigured", code:
            return Misconfigured(code, sentence)
        case "limited", _:
            return RateLimited(sentence, _wait(answer, told, now))
        case None if 200 <= answer.status < 300 and not told.refusal:
            return AnswerLost("the provider answered without a usable token")
        case _:
            return Transient(sentence)


def _wait(answer: HttpResponse, told: _Told, now: Now) -> float | None:
    return asked_wait(answer.headers, told.body, told.text, now.wall)


def _plain(word: str) -> bool:
    # `refresh_token_invalidated` and `type.googleapis.com/google.rpc.ErrorInfo` are words: letters in pieces that can be read.
    return all(len(piece) <= 16 and piece.isalpha() for piece in re.split(r"[_\-./]", word) if piece)


def _sentence(answer: HttpResponse, told: _Told) -> str:
    if told.html:
        return f"the provider answered {answer.status} with a web page"
    said = ": ".join(part for part in (clean(told.codes[0]) if told.codes else "", clean(told.text)) if part)
    return f"the provider answered {answer.status}" + (f" ({said})" if said else "")


def _judge(told: _Told, words: Words) -> tuple[Meaning, str] | None:
    """Return the meaning of the first code that has one, looking at the codes of the body before the words of its sentence."""
    if told.html:
        return None
    meanings: dict[str, Meaning] = {
        **dict.fromkeys(_PASSING | words.passing, "passing"),
        **dict.fromkeys(_LIMITED | words.limited, "limited"),
        **dict.fromkeys(_MISCONFIGURED | words.misconfigured, "misconfigured"),
        **dict.fromkeys(_PERMANENT | words.permanent, "permanent"),
    }
    text = told.text.lower()
    spoken = (word.rstrip(".-") for word in _WORD.findall(text))
    phrases = (phrase for phrase in meanings if " " in phrase and phrase in text)
    for code in (*(code.lower() for code in told.codes), *spoken, *phrases):
        if code in meanings:
            return meanings[code], code
    return None


def _listen(answer: HttpResponse) -> _Told:
    raw = answer.body[:_BODY_MAX].decode("utf-8", "replace").strip()
    kind = answer.headers.get("content-type", "").lower()
    if raw.startswith("<") or "html" in kind:
        return _Told((), "", None, html=True)
    body = _json(raw)
    if isinstance(body, (Mapping, list)):
        return _Told(tuple(_codes(body)), " ".join(dict.fromkeys(_texts(body))), body, html=False)
    # Some servers answer in the form encoding of RFC 6749 appendix B, some in plain words.
    form = dict(parse_qsl(raw)) if "=" in raw and " " not in raw else {}
    if "error" in form:
        return _Told(tuple(_codes(form)), " ".join(_texts(form)), form, html=False)
    return _Told((), raw, None, html=False)


def _json(text: str) -> object:
    """Parse JSON, also where it is wrapped in a JSON string."""
    try:
        body = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return None
    return _json(body) if isinstance(body, str) and body.startswith(("{", "[", '"{')) else body


def _codes(body: object, depth: int = 0) -> Iterator[str]:
    for values in _levels(body, depth):
        for key in _CODE_KEYS:
            value = values.get(key)
            if (
                isinstance(value, str)
                and value
                and not value.isspace()
                and " " not in value
                and not value.startswith(("{", "["))
            ):
                yield value.rsplit("#", 1)[-1]  # AWS writes `namespace#Exception`


def _texts(body: object) -> Iterator[str]:
    for values in _levels(body, 0):
        for key in _TEXT_KEYS:
            value = values.get(key)
            if isinstance(value, str) and " " in value.strip() and not value.lstrip().startswith(("{", "[")):
                yield value.strip()


def _levels(body: object, depth: int) -> Iterator[Mapping[str, object]]:
    """Walk the objects of an error document from the outside in; JSON inside strings counts as objects."""
    if depth > 6:  # deeper than any answer seen; a bound against hostile nesting
        return
    if isinstance(body, list):
        for item in body[:20]:
            yield from _levels(item, depth + 1)
    elif isinstance(body, str):
        if body.lstrip().startswith(("{", "[")):
            yield from _levels(_json(body), depth + 1)
    elif isinstance(body, Mapping):
        yield body
        for key in _NESTED_KEYS:
            yield from _levels(body.get(key), depth + 1)
