"""Exit codes: the one table.

Owns: what each failure means to a script. Pure. docs/cli.md repeats the list of codes; a test holds the two together.
"""

from enum import IntEnum
from typing import Final

from broker.model.errors import ErrorCode


class Exit(IntEnum):
    """How the program ends."""

    OK = 0
    FAILURE = 1
    USAGE = 2
    LOGIN_NEEDED = 3
    UNREACHABLE = 4
    NOT_FOUND = 5
    TIMED_OUT = 6
    INTERRUPTED = 130


MEANING: Final = {
    Exit.OK: "done",
    Exit.FAILURE: "it failed; the sentence says why",
    Exit.USAGE: "the command line or the config is not valid",
    Exit.LOGIN_NEEDED: "a person must log in",
    Exit.UNREACHABLE: "the daemon (or, for `image`, the proxy) is not reachable",
    Exit.NOT_FOUND: "no such account, provider or login",
    Exit.TIMED_OUT: "not done in time",
    Exit.INTERRUPTED: "stopped with Ctrl-C",
}

EXIT_OF: Final = {
    ErrorCode.BAD_REQUEST: Exit.USAGE,
    ErrorCode.FORBIDDEN_PEER: Exit.FAILURE,
    ErrorCode.NOT_FOUND: Exit.FAILURE,  # a path an older daemon does not have
    ErrorCode.METHOD_NOT_ALLOWED: Exit.FAILURE,
    ErrorCode.TOO_LARGE: Exit.FAILURE,
    ErrorCode.TOO_SLOW: Exit.FAILURE,
    ErrorCode.TOO_MANY: Exit.FAILURE,
    ErrorCode.UNKNOWN_PROVIDER: Exit.NOT_FOUND,
    ErrorCode.UNKNOWN_ACCOUNT: Exit.NOT_FOUND,
    ErrorCode.UNKNOWN_LOGIN: Exit.NOT_FOUND,
    ErrorCode.NO_ACCOUNT: Exit.LOGIN_NEEDED,  # the provider is known: what is missing is a login
    ErrorCode.LOGIN_REQUIRED: Exit.LOGIN_NEEDED,
    ErrorCode.ACCOUNT_PAUSED: Exit.FAILURE,
    ErrorCode.SUPERSEDED: Exit.FAILURE,
    ErrorCode.DEADLINE_EXCEEDED: Exit.TIMED_OUT,
    ErrorCode.VALIDITY_UNAVAILABLE: Exit.FAILURE,
    ErrorCode.REFRESH_FAILED: Exit.FAILURE,
    ErrorCode.ANSWER_LOST: Exit.FAILURE,
    ErrorCode.RATE_LIMITED: Exit.FAILURE,
    ErrorCode.MISCONFIGURED: Exit.FAILURE,
    ErrorCode.STORAGE_UNWRITABLE: Exit.FAILURE,
    ErrorCode.QUOTA_UNAVAILABLE: Exit.FAILURE,
    ErrorCode.LOGIN_DENIED: Exit.FAILURE,
    ErrorCode.LOGIN_EXPIRED: Exit.TIMED_OUT,
    ErrorCode.LOGIN_FAILED: Exit.FAILURE,
    ErrorCode.LOGIN_CANCELLED: Exit.FAILURE,
    ErrorCode.UNSUPPORTED: Exit.FAILURE,
    ErrorCode.DAEMON_UNREACHABLE: Exit.UNREACHABLE,
    ErrorCode.STOPPING: Exit.UNREACHABLE,
    ErrorCode.INTERNAL: Exit.FAILURE,
}
