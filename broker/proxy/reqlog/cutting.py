"""Long strings, cut.

Owns: the marker `<123456 bytes>` that stands for what was left out, and where a text may be cut. No document is parsed: what lies between two quotes is a
string (or a list of numbers, which is as long), so the two ends of a body can be cut as well as a whole one. Pure. A cut must never leave a part of a
credential, a character or an escape behind.
"""

import re
from typing import Final

# What base64, tokens and keys are made of (RFC 4648, RFC 6750 section 2.1): a word of these is kept as a whole or not at all.
_WORD: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+/="
_STEP: Final = 1024  # bytes that are copied to look at an end: a text may have as many ends as letters
_BETWEEN_QUOTES: Final = re.compile(rb'[^"\\]++(?:\\.[^"\\]*+)*+|(?:\\.[^"\\]*+)++', re.DOTALL)
_LAST_CHARACTER: Final = re.compile(rb"[\xc0-\xff][\x80-\xbf]{0,3}\Z")
_REST_OF_CHARACTER: Final = re.compile(rb"[\x80-\xbf]{1,3}")


def marker(left: int) -> bytes:
    """Return what stands for `left` bytes."""
    return b"<%d bytes>" % left if left else b""


def cut(data: bytes, limit: int) -> bytes:
    """Return a text with each of its strings at most `limit` bytes long, and a marker in it where more was there."""
    if len(data) <= limit:
        return data

    def shorter(found: re.Match[bytes]) -> bytes:
        run = found[0]
        if len(run) <= limit:
            return run
        kept = ending(run[:limit])
        return kept + marker(len(run) - len(kept))

    return _BETWEEN_QUOTES.sub(shorter, data)


def cut_form(data: bytes, boundary: bytes, limit: int) -> bytes:
    """Return a form (RFC 7578) with a marker in the place of each field or file over `limit` bytes: those are no text that could be cut in the middle."""

    def shorter(part: bytes) -> bytes:
        head, empty, content = part.partition(b"\r\n\r\n")
        if not empty:
            head, content = b"", part  # the end of one whose head was not kept
        end = b"\r\n" if content.endswith(b"\r\n") else b""
        size = len(content) - len(end)
        return part if size <= limit else head + empty + marker(size) + end

    return boundary.join(shorter(part) for part in data.split(boundary))


def ending(data: bytes) -> bytes:
    """Return the beginning of a text up to where it may end."""
    end = len(data)
    while True:
        end = _before(data, end, _WORD)
        if (end - _before(data, end, b"\\")) % 2 == 0:
            return _LAST_CHARACTER.sub(b"", data[:end])
        end -= 1


def _before(data: bytes, end: int, letters: bytes) -> int:
    """Return where the run of these letters begins that goes up to `end`."""
    while end:
        begin = max(0, end - _STEP)
        end = begin + len(data[begin:end].rstrip(letters))
        if end > begin:
            break
    return end


def beginning(data: bytes) -> bytes:
    """Return the end of a text from where it may begin."""
    found = _REST_OF_CHARACTER.match(data)
    return data[found.end() if found else 0 :].lstrip(_WORD)
