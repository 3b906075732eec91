"""What providers' headers say of an account's limits.

Owns: which headers those are, and what they mean: Anthropic's `anthropic-ratelimit-*` (a plan's `unified` windows, and a key's), what OpenAI, xAI, GitHub and
many others call `x-ratelimit-*`, and ChatGPT's `x-codex-*`. Pure. It must never guess: what is not understood is shown as it came.
"""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Final

import msgspec

from broker.proxy.headers import Headers

_PREFIXES: Final = (b"anthropic-ratelimit-", b"x-ratelimit-", b"x-codex-")
_RETRY: Final = "retry-after"
_MOST: Final = 64
_LONGEST: Final = 200
_EPOCH: Final = 1e9  # a reset beyond it is a time, one below it a number of seconds
_FIELDS: Final = "limit|remaining|status|utilization|used-percent|reset-after-seconds|reset-at|reset"
_WINDOW_FIRST: Final = re.compile(rf"(?:anthropic-ratelimit|x-codex)-(?P<window>.+)-(?P<field>{_FIELDS})")
_FIELD_FIRST: Final = re.compile(r"x-ratelimit-(?P<field>limit|remaining|reset)(?:-(?P<window>.+))?")
_PARTS: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d)")
_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}


class Window(msgspec.Struct, frozen=True):
    """One limit. `used` is a share of 1, `resets_at` wall-clock seconds, `status` the provider's word. None is what was not told."""

    name: str
    limit: float | None = None
    remaining: float | None = None
    used: float | None = None
    resets_at: float | None = None
    status: str | None = None


def limits_in(headers: Headers) -> dict[str, str]:
    """Return those headers of an answer that tell limits; what is not printable ASCII is left out."""
    found: dict[str, str] = {}
    for name, value in headers:
        if name.startswith(_PREFIXES) or name == b"retry-after":
            text = value[:_LONGEST].decode("latin-1")
            if (
                len(found) < _MOST
                and name.isascii()
                and len(name) <= _LONGEST
                and text.isascii()
                and text.isprintable()
            ):
                found[name.decode("ascii")] = text
    return found


def windows(told: Mapping[str, str], at: float) -> tuple[tuple[Window, ...], dict[str, str]]:
    """Return the limits that headers tell, and those headers that tell something else. `at` is when they came, in wall-clock seconds."""
    found: dict[str, dict[str, str]] = {}
    rest: dict[str, str] = {}
    for name, value in told.items():
        match = _WINDOW_FIRST.fullmatch(name) or _FIELD_FIRST.fullmatch(name)
        if match is None:
            rest[name] = value
        else:
            found.setdefault(match["window"] or "requests", {})[match["field"]] = value
    made = [_window(name, fields, at) for name, fields in found.items()]
    if (wait := told.get(_RETRY)) is not None and (until := _reset(wait, at)) is not None:
        made.append(Window(_RETRY, resets_at=until))
        del rest[_RETRY]
    return tuple(made), rest


def _window(name: str, fields: Mapping[str, str], at: float) -> Window:
    limit, remaining = _number(fields.get("limit")), _number(fields.get("remaining"))
    used = _number(fields.get("utilization"))
    if (percent := _number(fields.get("used-percent"))) is not None:
        used = percent / 100
    elif used is None and limit and remaining is not None:
        used = 1 - remaining / limit
    resets = [_reset(fields[field], at) for field in ("reset-at", "reset", "reset-after-seconds") if field in fields]
    return Window(
        name, limit, remaining, used, next((each for each in resets if each is not None), None), fields.get("status")
    )


def _number(text: str | None) -> float | None:
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if 0 <= number < 1e15 else None


def _reset(text: str, at: float) -> float | None:
    """Return when something begins anew: told as a Unix time, as seconds from now, as `6m0s`, or as a date (RFC 3339)."""
    number = _number(text)
    if number is not None:
        return number if number > _EPOCH else at + number
    if text and not _PARTS.sub("", text):
        return at + sum(float(count) * _UNITS[unit] for count, unit in _PARTS.findall(text))
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment.timestamp() if moment.tzinfo is not None else None
