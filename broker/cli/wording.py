"""Times, sizes and foreign text as a person reads them.

Pure: callers pass `now` in.
"""

import unicodedata

_UNITS = ((86400.0, "d"), (3600.0, "h"), (60.0, "min"), (1.0, "s"))


def span(seconds: float) -> str:
    """Return a length of time in its largest fitting unit: `42 min`, `3 h`, `0 s`; negative ones count as nothing."""
    left = max(seconds, 0.0)
    for length, name in _UNITS:
        if left >= length:
            return f"{int(left // length)} {name}"
    return "0 s"


def moment(at: float | None, now: float, *, never: str = "-") -> str:
    """Return where a wall-clock time lies: `in 42 min`, `3 h ago`, `now`; `never` for None."""
    if at is None:
        return never
    if abs(at - now) < 1:
        return "now"
    return f"in {span(at - now)}" if at > now else f"{span(now - at)} ago"


def percent(share: float) -> str:
    """Return a share of 1 in percent; what is nearly nothing or nearly all is not rounded to it."""
    if 0 < share < 0.01:
        return "<1 %"
    return f"{int(share * 100 + 1e-9)} %"


def size(count: int) -> str:
    """Return a number of bytes: `512 B`, `1.5 KiB`, `20.0 MiB`."""
    if count < 1024:
        return f"{count} B"
    value, names = count / 1024, ["KiB", "MiB", "GiB"]
    while value >= 1024 and len(names) > 1:
        value /= 1024
        names.pop(0)
    return f"{value:.1f} {names[0]}"


def clean(text: str) -> str:
    """Return foreign text without what could steer a terminal: control and format characters become `?`, line breaks spaces."""
    flat = " ".join(text.split())
    return "".join("?" if unicodedata.category(each) in {"Cc", "Cf", "Cs", "Co"} else each for each in flat)


def count(number: int, one: str, many: str | None = None) -> str:
    """Return a number with its noun: `1 account`, `2 accounts`."""
    return f"{number} {one if number == 1 else many or one + 's'}"


def progress_line(what: str, elapsed: float, received: int | None = None) -> str:
    """Return the line shown while something takes its time; `elapsed` is seconds, `received` bytes."""
    got = f", {size(received)}" if received is not None else ""
    return f"{what} ({span(elapsed)}{got})"


def url(host: str, port: int) -> str:
    """Return the base URL of a plain-HTTP server; an IPv6 address gets its brackets."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
