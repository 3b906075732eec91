"""Points in time as auth files write them.

Owns: every notation that CLIProxyAPI reads (RFC 3339 with any fraction, two civil notations, Unix seconds and milliseconds as number or
text), and writing a new time in the notation of the old one. It must never read a clock.
"""

import math
import re
from datetime import UTC, datetime, timedelta, timezone

import msgspec

_MILLISECONDS_FROM = 1e12  # CLIProxyAPI's border: in seconds it would be the year 33658
_LATEST = 253_402_214_400.0  # 9999-12-31: a day before civil notations end, so that every offset fits
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CIVIL = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)([Tt ])(\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,9}))?)?([Zz]|[+-]\d\d:\d\d)?",
    re.ASCII,
)
_DIGITS = re.compile(r"\d{1,18}(?:\.\d{1,9})?", re.ASCII)


class Unix(msgspec.Struct, frozen=True):
    """Seconds or milliseconds since the epoch; `text` where they stand in quotes, `fraction` where they have decimals."""

    milliseconds: bool = False
    text: bool = False
    fraction: bool = False


class Civil(msgspec.Struct, frozen=True):
    """A date and time of day. `offset` is minutes east of UTC, None for `Z`, and with `zoned` false for no zone at all (then it is UTC)."""

    separator: str = "T"
    digits: int = 0
    offset: int | None = None
    zoned: bool = True


Notation = Unix | Civil
RFC3339 = Civil()
"""What new files get: `2026-05-01T08:20:30Z`."""


class Stamp(msgspec.Struct, frozen=True):
    """A time read from a file, in seconds since the epoch, and how it was written."""

    seconds: float
    notation: Notation


def read(value: object) -> Stamp | None:
    """Read a time. None where there is none: empty, null, zero (Go writes the year 1 for "not set"), or not a time at all."""
    stamp = _read_text(value.strip()) if isinstance(value, str) else _read_number(value)
    return stamp if stamp is not None and 0 < stamp.seconds <= _LATEST else None


def read_seconds(value: object) -> float | None:
    """Return the seconds that `read` finds. The two forms that nearly every file has are read in C."""
    if isinstance(value, str) and len(value) in (20, 25):
        usual = value[4] == value[7] == "-" and value[10] == "T" and value[13] == value[16] == ":"
        zone = value[19:]
        if usual and value[11:13] < "24" and (zone == "Z" or (zone[0] in "+-" and zone[3:4] == ":")):
            try:
                moment = datetime.fromisoformat(value)
            except ValueError:
                pass  # judged below
            else:
                found = moment.timestamp()  # the same, as the moment has a zone
                return found if 0 < found <= _LATEST else None
    stamp = read(value)
    return stamp.seconds if stamp is not None else None


def write(seconds: float, notation: Notation = RFC3339) -> str | int | float:
    """Write a time (seconds since the epoch, of the years 1970 to 9999), rounded down so that nothing seems to live longer than it does."""
    seconds = min(max(seconds, 0.0), _LATEST)
    return _write_unix(seconds, notation) if isinstance(notation, Unix) else _write_civil(seconds, notation)


def _read_number(value: object, *, text: bool = False) -> Stamp | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    milliseconds = value > _MILLISECONDS_FROM
    seconds = value / 1000 if milliseconds else float(value)
    return Stamp(seconds, Unix(milliseconds, text, isinstance(value, float)))


def _read_text(text: str) -> Stamp | None:
    if _DIGITS.fullmatch(text):
        return _read_number(float(text) if "." in text else int(text), text=True)
    parts = _CIVIL.fullmatch(text)
    if parts is None:
        return None
    year, month, day, separator, hour, minute, second, fraction, zone = parts.groups()
    offset = _offset(zone)
    # RFC 3339 section 5.6 needs seconds and a zone; the two zone-less notations are CLIProxyAPI's and have a space.
    if zone is None and separator != " ":
        return None
    try:
        moment = datetime(
            int(year), int(month), int(day), int(hour), int(minute), int(second or 0), tzinfo=timezone(timedelta(minutes=offset or 0))
        )  # fmt: skip
    except ValueError:
        return None
    seconds = (moment - _EPOCH).total_seconds() + float(f"0.{fraction or 0}")
    return Stamp(seconds, Civil(separator, len(fraction or ""), offset, zone is not None))


def _offset(zone: str | None) -> int | None:
    if zone is None or zone in "Zz":
        return None
    minutes = int(zone[1:3]) * 60 + int(zone[4:6])
    return -minutes if zone[0] == "-" else minutes


def _write_unix(seconds: float, notation: Unix) -> str | int | float:
    scaled = seconds * 1000 if notation.milliseconds else seconds
    number = scaled if notation.fraction else math.floor(scaled)
    return str(number) if notation.text else number


def _write_civil(seconds: float, notation: Civil) -> str:
    whole = math.floor(seconds)
    moment = (_EPOCH + timedelta(seconds=whole)).astimezone(timezone(timedelta(minutes=notation.offset or 0)))
    # The notation without seconds gets them: both readers accept it, and a minute less of validity helps nobody.
    text = moment.strftime(f"%Y-%m-%d{notation.separator}%H:%M:%S")
    if notation.digits:
        text += "." + f"{seconds - whole:.9f}"[2 : 2 + notation.digits]
    if not notation.zoned:
        return text
    if notation.offset is None:
        return text + "Z"
    hours, minutes = divmod(abs(notation.offset), 60)
    return f"{text}{'-' if notation.offset < 0 else '+'}{hours:02}:{minutes:02}"
