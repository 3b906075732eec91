"""What an auth file says of the requests its account is meant for: CLIProxyAPI's `prefix`, `priority`, `weight` and `excluded_models`.

Owns: reading those fields. A field that cannot be is as good as missing: it must never cost an account.
"""

from broker.model.account import Routing
from broker.providers.base import Document
from broker.providers.fields import get

_MOST_PRIORITY = 1_000_000
_MOST_WEIGHT = 100
_MOST_EXCLUDED = 100
_LONGEST = 200


def read(document: Document) -> Routing:
    """Read the fields, in any of their spellings. `priority` may be a number in a string; `prefix` is one path segment, slashes around it trimmed."""
    return Routing(
        prefix=_prefix(get(document, "prefix")),
        priority=_number(get(document, "priority"), 0, -_MOST_PRIORITY, _MOST_PRIORITY),
        weight=_number(get(document, "weight"), 1, 1, _MOST_WEIGHT),
        excluded=_globs(get(document, "excluded_models")),
    )


def _prefix(value: object) -> str:
    text = value.strip().strip("/") if isinstance(value, str) else ""
    return text if len(text) <= _LONGEST and text.isprintable() and "/" not in text else ""


def _number(value: object, default: int, low: int, high: int) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return default
    try:
        return min(max(int(float(value)), low), high)
    except (ValueError, OverflowError):
        return default


def _globs(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        return ()
    texts = (each.strip() for each in value if isinstance(each, str))
    return tuple(each for each in texts if 0 < len(each) <= _LONGEST and each.isprintable())[:_MOST_EXCLUDED]
