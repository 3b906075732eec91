"""`ccs-broker token`: the one command that must start fast, as other programs run it before each of their requests.

Owns: the short way from argv to a token, and how a token is printed. It imports the synchronous socket client and nothing heavier; a test looks at
`sys.modules` in a fresh interpreter. Whatever it does not understand at a glance it leaves to click (`broker.cli.commands.accounts`).

The token is plain text here, as it goes straight from the socket to stdout.
"""

from broker.cli import output
from broker.ipc.sync_client import exchange, parsed
from broker.socket_places import TOKEN_SOCKET, runtime_folder, socket_file

TYPE_CHECKING = False  # typing takes as long as all else here
if TYPE_CHECKING:
    from collections.abc import Sequence

    from broker.model.errors import BrokerError

FORMATS = ("raw", "json", "header", "env")
DEFAULT_MIN_VALIDITY = 60.0
DEFAULT_MAX_WAIT = 10.0

# The daemon answers by `max_wait`; this is for its answer to arrive.
_GRACE_SECONDS = 5.0
_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_SHELL_SAFE = _UNRESERVED | frozenset(b"/+=:@%,")


def run(arguments: "Sequence[str]") -> int | None:
    """Print a token the short way and return the exit code; None where click has to read the arguments."""
    asked = plain(arguments)
    if asked is None:
        return None
    account, form, min_validity, max_wait = asked
    try:
        output.line(_wanted(_lease(account, min_validity, max_wait), form))
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        output.give_up()
        return 1
    except Exception as error:
        from broker.model.errors import BrokerError

        if not isinstance(error, BrokerError):
            raise
        from broker.cli.exits import EXIT_OF

        output.failure(error, as_json=form == "json")
        return int(EXIT_OF[error.code])
    return 0


def plain(arguments: "Sequence[str]") -> "tuple[str, str, float, float] | None":
    """Read `ACCOUNT [--format F] [--json] [--min-validity S] [--max-wait S]`; None for anything else, which click then explains.

    Returns account, format, min_validity and max_wait (seconds).
    """
    account, form = None, "raw"
    seconds = {"--min-validity": DEFAULT_MIN_VALIDITY, "--max-wait": DEFAULT_MAX_WAIT}
    words = iter(arguments)
    for word in words:
        name, equals, value = word.partition("=")
        given = value if equals else None
        if word == "--json":
            form = "json"
        elif name == "--format":
            form = next(words, "") if given is None else given
        elif name in seconds:
            seconds[name] = _seconds(next(words, "") if given is None else given)
        elif word.startswith("-") or account is not None or not all(word.split("/", 1)):
            return None
        else:
            account = word
    if account is None or form not in FORMATS or min(seconds.values()) < 0:
        return None
    return account, form, seconds["--min-validity"], seconds["--max-wait"]


def fetch(account: str, min_validity: float, max_wait: float) -> dict[str, object]:
    """Ask the daemon for a token of `account` (`provider` or `provider/label`) and return its lease.

    Raises:
        BrokerError: what the daemon says, or that it is not there.
    """
    return parsed(200, _lease(account, min_validity, max_wait))


def _lease(account: str, min_validity: float, max_wait: float) -> bytes:
    where = "/".join(quote(part) for part in account.split("/", 1))
    target = f"/v1/lease/{where}?min_validity={min_validity:g}&max_wait={max_wait:g}"
    path = socket_file(TOKEN_SOCKET, runtime_folder())
    status, answer = exchange(path, "GET", target, timeout=max_wait + _GRACE_SECONDS)
    if status >= 400:
        raise _refusal(status, parsed(status, answer))
    return answer


def _wanted(lease: bytes, form: str) -> str:
    """Write a lease in one of `FORMATS`, reading as little of it as that takes: loading `json` takes longer than the daemon does."""
    if form in {"raw", "env"}:
        # No quotation mark stands inside a JSON string without a backslash before it, so these bytes are the member's name and the ends of its value.
        value, end, _ = lease.partition(b'"access_token":"')[2].partition(b'"')
        if end and b"\\" not in value:
            return render({"access_token": value.decode()}, form)
    return render(parsed(200, lease), form)


def render(answer: dict[str, object], form: str) -> str:
    """Write a lease in one of `FORMATS`, without the final line break."""
    token = str(answer["access_token"])
    if form == "header":
        return f"Authorization: {answer.get('token_type') or 'Bearer'} {token}"
    if form == "env":
        return f"export CCS_BROKER_TOKEN={_shell(token)}"
    if form == "json":
        import json

        return json.dumps({"version": 1, **answer})
    return token


def quote(text: str) -> str:
    """Percent-encode one part of a path; urllib.parse would cost more to import than the whole request."""
    return "".join(chr(byte) if byte in _UNRESERVED else f"%{byte:02X}" for byte in text.encode("utf-8", "replace"))


def _seconds(text: str) -> float:
    """Read a number of seconds; -1 for what is none."""
    try:
        number = float(text)
    except ValueError:
        return -1.0
    return number if 0 <= number < 1e9 else -1.0


def _shell(text: str) -> str:
    if text and all(byte in _SHELL_SAFE for byte in text.encode()):
        return text
    return "'" + text.replace("'", "'\\''") + "'"


def _refusal(status: int, problem: dict[str, object]) -> "BrokerError":
    from broker.model.errors import BrokerError, ErrorCode

    code, detail, hint, account = (problem.get(name) for name in ("code", "detail", "hint", "account"))
    return BrokerError(
        next((known for known in ErrorCode if known == code), ErrorCode.INTERNAL),
        detail if isinstance(detail, str) else f"the daemon answered {status} without saying why",
        hint=hint if isinstance(hint, str) else None,
        account=account if isinstance(account, str) else None,
    )
