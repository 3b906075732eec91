"""Looking for short strings in large files.

Owns: reading what stands around them, and nothing else, a piece at a time: a compiled program has a hundred megabytes and more.
"""

import re
from collections.abc import Iterator
from pathlib import Path

_PIECE = 4 << 20
_FILE_MAX = 1 << 30
_REACH = 256  # bytes kept on either side of an anchor
_WINDOWS_MAX = 4096  # a program with more is not the one we look for
_GAP = "\n" * 128  # what lay apart in the file must not seem close in the text


def around(path: Path, anchors: tuple[str, ...]) -> str:
    """Return the text around every anchor in a file, in its order; empty where there is none.

    Bytes that are no ASCII become other characters one by one, so that distances are those of the file. Raises OSError.
    """
    if not path.is_file() or path.stat().st_size > _FILE_MAX:
        return ""
    pattern = re.compile(b"|".join(re.escape(anchor.encode()) for anchor in anchors))
    merged: list[tuple[int, bytes]] = []
    for start, window in _windows(path, pattern, max(len(anchor) for anchor in anchors)):
        if merged and start <= merged[-1][0] + len(merged[-1][1]):
            begin, text = merged[-1]
            merged[-1] = (begin, text[: start - begin] + window)
        elif len(merged) == _WINDOWS_MAX:
            return ""
        else:
            merged.append((start, window))
    return _GAP.join(text.decode("latin-1") for _, text in merged)


def _windows(path: Path, pattern: re.Pattern[bytes], longest: int) -> Iterator[tuple[int, bytes]]:
    """Yield the surroundings of each match and where they begin. Pieces overlap, so that each match is whole in one, with its surroundings."""
    with path.open("rb") as source:
        base, first, data = 0, 0, source.read(_PIECE)
        while data:
            more = source.read(_PIECE)
            end = max(len(data) - _REACH - longest, first) if more else len(data)
            for found in pattern.finditer(data, first):
                if found.start() >= end:
                    break
                begin = max(found.start() - _REACH, 0)
                yield base + begin, data[begin : found.end() + _REACH]
            if not more:
                return
            cut = max(end - _REACH, 0)
            base, first, data = base + cut, end - cut, data[cut:] + more
