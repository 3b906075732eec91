"""Logs on stderr: one event a line, as text or JSON.

Owns: setting logging up, the request id that ties lines together, the short name of an account, and the last look at every line before it is written. It must
never write to a file or over the network: the service manager does that.
"""

import hashlib
import json
import logging
import sys
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import IO, Literal

from broker.model.account import AccountId
from broker.model.secret import Secret
from broker.observe.redact import MASK, redact, secret_name

request_id: ContextVar[str] = ContextVar("request_id", default="")
"""The id of the request being served; every line written meanwhile carries it."""

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}

Format = Literal["text", "json"]


def configure(level: str, form: Format, stream: IO[str] | None = None) -> None:
    """Send the log to `stream` (stderr), ours from `level` on, other libraries' from `warning` on. Replaces what was set up before."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(_Json() if form == "json" else _Text())
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    logging.getLogger("broker").setLevel(_LEVELS[level])
    logging.captureWarnings(capture=True)


def log_id(account: AccountId) -> str:
    """Return what an account is called in logs: its provider and a fingerprint of its label, which is often an e-mail address."""
    return f"{account.provider}/{hashlib.sha256(account.label.encode()).hexdigest()[:8]}"


class _Line(logging.Formatter):
    """What both formats share."""

    def _fields(self, record: logging.LogRecord) -> dict[str, object]:
        fields = {name: _value(name, value) for name, value in vars(record).items() if name not in _STANDARD}
        if current := request_id.get():
            fields["request"] = current
        return fields

    def _trace(self, record: logging.LogRecord) -> str:
        return redact(self.formatException(record.exc_info)) if record.exc_info else ""


class _Text(_Line):
    def format(self, record: logging.LogRecord) -> str:
        """Write `time level logger: message key=value ...`, a traceback below."""
        message = redact(_printable(record.getMessage()))
        fields = "".join(f" {name}={_quoted(value)}" for name, value in self._fields(record).items())
        trace = self._trace(record)
        line = f"{_moment(record)} {record.levelname.lower()} {record.name}: {message}{fields}"
        return f"{line}\n{trace}" if trace else line


class _Json(_Line):
    def format(self, record: logging.LogRecord) -> str:
        """Write one JSON object."""
        line: dict[str, object] = {
            "time": _moment(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": redact(record.getMessage()),
            **self._fields(record),
        }
        if trace := self._trace(record):
            line["trace"] = trace
        return json.dumps(line, ensure_ascii=False)


def _moment(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _value(name: str, value: object) -> object:
    if isinstance(value, Secret) or secret_name(name):
        return MASK
    if value is None or isinstance(value, bool | int | float):
        return value
    return redact(str(value))


def _quoted(value: object) -> str:
    text = str(value)
    return text if text and text.isprintable() and not set(text) & set(' "=') else json.dumps(text, ensure_ascii=False)


def _printable(text: str) -> str:
    # A name with a line break in it must not forge a second line.
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
