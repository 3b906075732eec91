"""When a person must be told about an account, and when the telling is over.

Owns: what counts as an incident, and when one is new. Pure. Who tells, and how, is `broker.daemon.incidents`.

An incident is told once. It is known by its account, its kind and the fingerprint of the refresh token it is about, so that the same trouble found again
after a restart is not told again, and new trouble is.
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
    StateName,
    Unsaved,
)
from broker.model.commands import way_in
from broker.model.secret import Digest

LASTING_SECONDS = 120.0
"""A lost answer is told when it lasts this long: most are settled sooner, by the end of the access token or by another program."""


class Told(msgspec.Struct, frozen=True):
    """An incident somebody was told of. `key` is the fingerprint of the refresh token it is about; empty where there is none."""

    kind: StateName
    key: str


class Incident(msgspec.Struct, frozen=True):
    """What to tell. `since` is wall-clock seconds; `hint` is what the person can do."""

    account: AccountId
    told: Told
    reason: str
    hint: str
    since: float


class Tell(msgspec.Struct, frozen=True):
    """It is new."""

    incident: Incident


class Later(msgspec.Struct, frozen=True):
    """It is one if it is still there in so many seconds."""

    seconds: float


class Over(msgspec.Struct, frozen=True):
    """Nothing is wrong any more: the next incident is new whatever it is."""


class Nothing(msgspec.Struct, frozen=True):
    """There is nothing to tell, and nothing to forget."""


Verdict = Tell | Later | Over | Nothing


def judge(account: AccountId, state: State, digest: Digest | None, told: Told | None, now_wall: float) -> Verdict:
    """Say what to do about an account in `state`; `digest` is of the refresh token in its file, `told` what was told last."""
    match state:
        case NeedsLogin() | Unsaved():
            return _new(_incident(account, state, digest), told)
        case Ambiguous(since=since):
            # Clamped: the wall clock may have been set since.
            left = min(LASTING_SECONDS, since + LASTING_SECONDS - now_wall)
            return Later(left) if left > 0 else _new(_incident(account, state, digest), told)
        case Active() | Paused():
            return _over(digest, told)
        case Refreshing() | Backoff():
            return Nothing()
        case _ as never:
            assert_never(never)


def _new(incident: Incident, told: Told | None) -> Verdict:
    return Nothing() if incident.told == told else Tell(incident)


def _over(digest: Digest | None, told: Told | None) -> Verdict:
    # A dead login comes back to life only with another refresh token: until then, whatever it looks like, it is the same incident.
    if told is None or (told.kind is StateName.NEEDS_LOGIN and told.key == _text(digest)):
        return Nothing()
    return Over()


def _incident(account: AccountId, state: NeedsLogin | Unsaved | Ambiguous, digest: Digest | None) -> Incident:
    login = way_in(account.provider)
    match state:
        case NeedsLogin(reason=reason, since=since, digest=about):
            told = Told(StateName.NEEDS_LOGIN, _text(about))
            return Incident(account, told, reason, f"Run: {login}", since)
        case Unsaved(reason=reason, since=since):
            hint = "Make its storage writable again, and leave the daemon running until it has saved the login."
            return Incident(account, Told(StateName.UNSAVED, _text(digest)), reason, hint, since)
        case Ambiguous(since=since, digest=about):
            hint = f"It may mend itself when the access token ends; if not, run: {login}"
            reason = "a renewal was sent and its answer lost"
            return Incident(account, Told(StateName.AMBIGUOUS, about.text), reason, hint, since)
        case _ as never:
            assert_never(never)


def _text(digest: Digest | None) -> str:
    return digest.text if digest is not None else ""
