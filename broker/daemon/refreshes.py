"""What became of refreshes, read off the states accounts go through.

Owns: telling a refresh's end, outcome and time, for metrics and the audit trail. Pure: `boot` is boot-clock seconds. It must never influence one.
"""

from typing import assert_never

import msgspec

from broker.model.account import (
    AccountId,
    Active,
    Ambiguous,
    Backoff,
    NeedsLogin,
    Paused,
    Refreshing,
    State,
    Unsaved,
)
from broker.model.errors import ErrorCode
from broker.store.base import Entry

Trouble = Backoff | Ambiguous | NeedsLogin | Unsaved
Rest = Active | Paused | Trouble


class Ended(msgspec.Struct, frozen=True):
    """A refresh that ended.

    `outcome` is `renewed` (here, or found renewed in the file) or an error code; `reason` says why it failed. `seconds` is None where the start was not
    seen: a retry out of trouble does not show in the state.
    """

    outcome: str
    seconds: float | None = None
    reason: str | None = None


class _Seen(msgspec.Struct):
    """How an account last rested, and the refresh that may have begun since."""

    state: Rest
    generation: int
    flying: bool = False
    started: float | None = None


class Refreshes:
    """Follows every account's state."""

    def __init__(self) -> None:
        """Start knowing nothing: the first state seen of an account ends no refresh."""
        self._seen: dict[AccountId, _Seen] = {}

    def see(self, entry: Entry, state: State, boot: float) -> Ended | None:
        """Take the state an account is in now; return the refresh that ended with it, if one did."""
        seen = self._seen.get(entry.account)
        if seen is None:
            if not isinstance(state, Refreshing):
                self._seen[entry.account] = _Seen(state, entry.generation)
                return None
            seen = self._seen[entry.account] = _Seen(Active(), entry.generation)
        if isinstance(state, Refreshing):
            if not seen.flying and isinstance(seen.state, Active | Paused):
                seen.started = boot
            seen.flying = True
            return None
        self._seen[entry.account] = _Seen(state, entry.generation)
        return _ended(seen, entry.generation, state, boot)

    def forget(self, account: AccountId) -> None:
        """Drop an account that is gone."""
        self._seen.pop(account, None)


def _ended(seen: _Seen, generation: int, state: Rest, boot: float) -> Ended | None:
    seconds = None if seen.started is None else boot - seen.started
    if isinstance(state, Active | Paused):
        return Ended("renewed", seconds) if seen.flying and generation > seen.generation else None
    if state == seen.state or (isinstance(state, Unsaved | NeedsLogin) and type(state) is type(seen.state)):
        return None  # their details move on: a retry of the write, the verdict as the store keeps it
    code, reason = _failure(state)
    return Ended(code.value, seconds, reason)


def _failure(state: Trouble) -> tuple[ErrorCode, str | None]:
    match state:
        case Backoff(code=code, reason=reason):
            return code, reason
        case NeedsLogin(reason=reason):
            return ErrorCode.LOGIN_REQUIRED, reason
        case Unsaved(reason=reason):
            return ErrorCode.STORAGE_UNWRITABLE, reason
        case Ambiguous():
            return ErrorCode.ANSWER_LOST, None
        case _ as never:
            assert_never(never)
