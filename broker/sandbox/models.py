"""The list of models, as `models.list` and `models.get` of the Gemini API give it.

Owns: its pages and the fields of one entry.
"""

from collections.abc import Sequence

from broker.sandbox.rpc import RpcError, invalid

_PAGE = 50
_PAGE_MAX = 1000
_INPUT_LIMIT_TOKENS = 1048576
_OUTPUT_LIMIT_TOKENS = 65536


def listed(known: Sequence[str], page_size: str | None, page_token: str | None) -> dict[str, object]:
    """Return one page; `page_token` is the one the page before gave.

    Raises:
        RpcError: 400 for a size or token that is not a number.
    """
    size = min(_number(page_size or str(_PAGE), "page_size") or _PAGE, _PAGE_MAX)
    start = _number(page_token or "0", "page_token")
    page: dict[str, object] = {"models": [described(name) for name in known[start : start + size]]}
    if start + size < len(known):
        page["nextPageToken"] = str(start + size)
    return page


def described(name: str) -> dict[str, object]:
    """Return the entry of a model."""
    return {
        "name": f"models/{name}",
        "baseModelId": name,
        "version": "sandbox",
        "displayName": name.replace("-", " ").title(),
        "description": "A sandbox model: deterministic, and not intelligent.",
        "inputTokenLimit": _INPUT_LIMIT_TOKENS,
        "outputTokenLimit": _OUTPUT_LIMIT_TOKENS,
        "supportedGenerationMethods": ["generateContent", "countTokens"],
        "thinking": "lite" not in name,
    }


def check(known: Sequence[str], name: str) -> None:
    """Refuse a model that is not in the list.

    Raises:
        RpcError: 404.
    """
    if name not in known:
        raise RpcError(
            404, f"models/{name} is not found for this API version, or is not supported for generateContent."
        )


def _number(text: str, name: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise invalid(f"Invalid value at '{name}': {text[:20]}")
    return int(text)
