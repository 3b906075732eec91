"""What an auth file says of the requests its account is meant for: CLIProxyAPI's `prefix`, `priority`, `weight`, `excluded_models` and `proxy_url`.

Owns: reading those fields. A field that cannot be is as good as missing: it must never cost an account. A `proxy_url` that cannot be does: the
account would go out by another way than it was meant to.
"""

from broker.model.account import UNROUTED, Routing
from broker.model.network import Unusable
from broker.model.network import read as read_proxy
from broker.model.secret import Secret
from broker.providers.base import Document
from broker.providers.fields import get, spellings

_MOST_PRIORITY = 1_000_000
_MOST_WEIGHT = 100
_MOST_EXCLUDED = 100
_LONGEST = 200
_NAMES = ("prefix", "priority", "weight", "excluded_models", "proxy_url")
_KEYS = frozenset(key for name in _NAMES for key in spellings(name))


def read(document: Document) -> Routing:
    """Read the fields, in any of their spellings. `priority` may be a number in a string; `prefix` is one path segment, slashes around it trimmed."""
    if _KEYS.isdisjoint(document):
        return UNROUTED
    proxy = _proxy(get(document, "proxy_url"))
    setting = read_proxy(proxy) if proxy is not None else None
    return Routing(
        prefix=_prefix(get(document, "prefix")),
        priority=_number(get(document, "priority"), 0, -_MOST_PRIORITY, _MOST_PRIORITY),
        weight=_number(get(document, "weight"), 1, 1, _MOST_WEIGHT),
        excluded=_globs(get(document, "excluded_models")),
        proxy_url=proxy,
        proxy_fault=setting.why if isinstance(setting, Unusable) else "",
    )


def _prefix(value: object) -> str:
    text = value.strip().strip("/") if isinstance(value, str) else ""
    return text if len(text) <= _LONGEST and text.isprintable() and "/" not in text else ""


def _proxy(value: object) -> Secret | None:
    text = value if isinstance(value, str) else "" if value is None else repr(value)
    # What is no text of UTF-8 is no URL either, and must be possible to compare.
    return Secret(text.strip().encode(errors="backslashreplace").decode()) if text.strip() else None


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
