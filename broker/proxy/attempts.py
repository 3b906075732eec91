"""What to do after each answer of an upstream: the state machine of one request's attempts.

Owns: which answers move on to another account, which are the client's to see, what is reported, and when it is over. Pure: `begin` and `step` take an
event and return the next state and what to do.

The rules, in the order they are looked at:
- nothing is retried once a byte of an answer went out, or the time for the whole is up;
- 401: report the token; once per account, replay with the lease the report answers; then the next account;
- 429: cool the account down for this model, next account;
- 402, 403: the account's fault: set it aside for a while if there is another, next account;
- 404: another account may have the model: next account;
- 408, 5xx and a broken connection: next account; so is an answer that did not come in time;
- when all were tried, those with passing faults, and those limited for a moment only, are tried again after a pause, as often and as long as `Patience` has it;
- anything else is the request's own fault: straight back, no cool-down;
- an upstream with several hosts is asked at the next one before 404, 408, 429, 5xx and a broken connection count, with the same account.
"""

from typing import Final, assert_never

import msgspec

from broker.ipc.schema import Lease
from broker.proxy.choose import Candidate
from broker.translate.ir import Failure

MAX_SENDS: Final = 8
"""Requests sent upstream for one of a client's and one model of a chain, with replays, without an API's further hosts: it bounds what a bad minute costs."""

MAX_SENDS_OF_CHAIN: Final = 24

ROUND_SECONDS: Final = 0.5
"""Before the second round; doubled before each further one."""

MAX_COOLDOWN_SECONDS: Final = 3600.0
"""Providers were seen to hint 18 days; what they mean is a daily quota, and an hour later one may look again."""

FORBIDDEN_COOLDOWN_SECONDS: Final = 300.0
_BACKOFF_SECONDS: Final = 1.0
_MAX_BACKOFF_SECONDS: Final = 1800.0


class Patience(msgspec.Struct, frozen=True):
    """How often accounts are gone through before a request is given up, and for how many seconds a round may wait for an account that asks for time."""

    rounds: int = 3
    seconds: float = 5.0


# --- events ---


class Answered(msgspec.Struct, frozen=True):
    """An upstream answered. `failure` is None for 2xx; for the rest it is the error, read to its end. `elsewhere`: the upstream has a further host."""

    status: int
    failure: Failure | None = None
    elsewhere: bool = False


class Broken(msgspec.Struct, frozen=True):
    """An upstream could not be reached, did not answer in time (`slow`), or stopped in the middle. `elsewhere` as for Answered."""

    failure: Failure
    elsewhere: bool = False
    slow: bool = False


class Leased(msgspec.Struct, frozen=True):
    """What the report of a rejected token, or the request for one, gave: the lease to use, or why there is none.

    `login` says that a person must log in.
    """

    lease: Lease | None
    text: str = ""
    login: bool = False


class ClientGone(msgspec.Struct, frozen=True):
    """The client left."""


class Overdue(msgspec.Struct, frozen=True):
    """The request has taken longer than any may."""

    failure: Failure


Event = Answered | Broken | Leased | ClientGone | Overdue


# --- actions ---


class Send(msgspec.Struct, frozen=True):
    """Send the request for this model with this lease, after `delay` seconds, to the upstream's host number `home`."""

    account: str
    lease: Lease
    delay: float = 0.0
    home: int = 0
    model: str = ""


class Borrow(msgspec.Struct, frozen=True):
    """Ask for a token of this account; `Leased` follows. `delay` as for Send."""

    account: str
    delay: float = 0.0


class Reject(msgspec.Struct, frozen=True):
    """Report the token as rejected; `Leased` follows."""

    account: str
    generation: int


class Limit(msgspec.Struct, frozen=True):
    """Report the account as limited for this model. `seconds` None: no hint, see `cooldown_seconds`."""

    account: str
    generation: int
    seconds: float | None
    reason: str
    model: str = ""


class Relay(msgspec.Struct, frozen=True):
    """Give the answer to the client as it comes."""


class PassBack(msgspec.Struct, frozen=True):
    """Give this error of the upstream to the client."""

    failure: Failure


class GiveUp(msgspec.Struct, frozen=True):
    """No account is left; `tried` says what became of each."""

    tried: tuple["Tried", ...]


class Cut(msgspec.Struct, frozen=True):
    """Tell the client in its stream that the answer has no end, or cut the connection."""

    failure: Failure


class Close(msgspec.Struct, frozen=True):
    """Close the upstream, report nothing."""


Action = Send | Borrow | Reject | Limit | Relay | PassBack | GiveUp | Cut | Close


class Tried(msgspec.Struct, frozen=True):
    """How an account failed this request. `failure` None: it had no token to give, `text` says why, `login` as in `Leased`."""

    account: str
    text: str
    failure: Failure | None = None
    login: bool = False


class State(msgspec.Struct, frozen=True):
    """Where a request's attempts stand.

    `lease` is the one in use; `sends` counts those of the goal in hand, `sent` all; `round` counts from 0, and `again` are the candidates worth a further
    one, with the pause each needs; `home` is the host in use, and `limited` the 429 of one before it.
    """

    candidates: tuple[Candidate, ...]
    at: int = 0
    goal: int = 0
    lease: Lease | None = None
    sends: int = 0
    sent: int = 0
    replayed: bool = False
    patience: Patience = Patience()
    round: int = 0
    again: tuple[Candidate, ...] = ()
    tried: tuple[Tried, ...] = ()
    relaying: bool = False
    over: bool = False
    home: int = 0
    limited: Failure | None = None


Step = tuple[State, tuple[Action, ...]]


def begin(candidates: tuple[Candidate, ...], patience: Patience) -> Step:
    """Start with the accounts to try, in order; those with a pause are waited for when the others have failed."""
    waiting = tuple([each for each in candidates if each.pause])
    ready = tuple([each for each in candidates if not each.pause]) if waiting else candidates
    if ready and (lease := ready[0].lease) is not None:
        # What `_go` comes to at the first account, made at once: every request begins here.
        first = ready[0]
        state = State(ready, goal=first.goal, lease=lease, sends=1, sent=1, patience=patience, again=waiting)
        return state, (Send(first.account, lease, model=first.model),)
    return _go(State(ready, patience=patience, again=waiting), 0)


def step(state: State, event: Event) -> Step:
    """Return what follows from an event."""
    if state.over:
        return state, ()
    match event:
        case ClientGone():
            return _replace(state, over=True), (Close(),)
        case Overdue():
            return _end(state, event.failure)
        case Leased():
            return _leased(state, event)
        case Broken():
            return _broken(state, event)
        case Answered():
            return _answered(state, event)
        case _:
            assert_never(event)


def cooldown_seconds(hint: float | None, strikes: int) -> float:
    """Return how long to leave a limited account alone: the provider's hint, capped, else doubling from a second with each strike in a row."""
    if hint is not None:
        return min(max(hint, 1.0), MAX_COOLDOWN_SECONDS)
    return min(_BACKOFF_SECONDS * 2.0 ** min(strikes, 16), _MAX_BACKOFF_SECONDS)


def _end(state: State, failure: Failure) -> Step:
    """Say that it failed, at once."""
    return _replace(state, over=True), (Cut(failure) if state.relaying else PassBack(failure),)


def _broken(state: State, event: Broken) -> Step:
    if state.relaying:
        return _end(state, event.failure)
    if event.slow:
        # It had minutes: whoever waited them is not made to wait them again for the same account.
        return _next_home(state, event) or _next(_failed(state, event.failure))
    return _next_home(state, event) or _transient(state, event.failure)


def _answered(state: State, event: Answered) -> Step:
    failure = event.failure
    if failure is None:
        return _replace(state, relaying=True), (Relay(),)
    if event.status == 401 and not state.replayed:
        return _replace(state, replayed=True), (Reject(_account(state), _generation(state)),)
    return (_next_home(state, event) if _by_host(event.status) else None) or _failing(state, event.status, failure)


def _failing(state: State, status: int, failure: Failure) -> Step:
    if status in (401, 404):
        return _next(_failed(state, failure))
    if status == 429:
        return _limited(state, failure)
    if status in (402, 403):
        return _next(_failed(state, failure), *_set_aside(state, failure))
    if status == 408 or status >= 500:
        return _transient(state, failure)
    return _replace(state, over=True), (PassBack(failure),)


def _by_host(status: int) -> bool:
    return status in (404, 408, 429) or status >= 500


def _next_home(state: State, event: Answered | Broken) -> Step | None:
    """Ask the upstream's next host, or make of several hosts' failures the one that counts; None where the event counts as it is."""
    failure, lease = event.failure, state.lease
    limited = failure if isinstance(event, Answered) and event.status == 429 else state.limited
    if event.elsewhere and lease is not None and state.sent < MAX_SENDS_OF_CHAIN:
        # Not among those of the model: an API's hosts must not use up the turns of accounts that could serve.
        state, sent = _send(_replace(state, home=state.home + 1, limited=limited), lease, 0.0)
        return _replace(state, sends=state.sends - 1), sent
    if limited is None or limited is failure:
        return None
    # One host says that the account is limited; that another fails does not lift it.
    return _limited(state, limited)


def _limited(state: State, failure: Failure) -> Step:
    limit = _limit(state, failure, failure.retry_after)
    return _next(_again(_failed(state, failure), cooldown_seconds(failure.retry_after, state.round)), limit)


def _set_aside(state: State, failure: Failure) -> tuple[Limit, ...]:
    # Where it is the only account, a cool-down would hide the provider's reason from the next request.
    last = state.at + 1 >= len(state.candidates)
    return () if last else (_limit(state, failure, FORBIDDEN_COOLDOWN_SECONDS),)


def _limit(state: State, failure: Failure, seconds: float | None) -> Limit:
    reason = failure.reason or failure.message[:200]
    return Limit(_account(state), _generation(state), seconds, reason, _model(state))


def _leased(state: State, event: Leased) -> Step:
    lease = event.lease
    if lease is None or (state.lease is not None and lease.generation == state.lease.generation):
        return _next(_failed(state, None, event.text or "the provider rejects its token", login=event.login))
    return _send(state, lease, 0.0)


def _transient(state: State, failure: Failure) -> Step:
    return _next(_again(_failed(state, failure), max(_round_seconds(state), failure.retry_after or 0.0)))


def _again(state: State, pause: float) -> State:
    """Note that the account in hand is worth another try after a pause, unless that is too long to wait for."""
    if pause > max(state.patience.seconds, _round_seconds(state)):
        return state
    candidate = msgspec.structs.replace(state.candidates[state.at], pause=pause)
    if state.lease is not None:
        candidate = msgspec.structs.replace(candidate, lease=state.lease)
    return _replace(state, again=(*state.again, candidate))


def _round_seconds(state: State) -> float:
    return ROUND_SECONDS * 2.0**state.round


def _failed(state: State, failure: Failure | None, text: str = "", *, login: bool = False) -> State:
    told = Tried(_account(state), text or (failure.message if failure else ""), failure, login)
    kept = tuple(tried for tried in state.tried if tried.account != told.account)
    return _replace(state, tried=(*kept, told))


def _next(state: State, *actions: Action) -> Step:
    state, more = _go(state, state.at + 1)
    return state, (*actions, *more)


def _go(state: State, at: int) -> Step:
    delay = 0.0
    if at >= len(state.candidates) and state.again and state.round + 1 < state.patience.rounds:
        state, delay = _next_round(state)
        at = 0
    if _spent(state):
        at = _next_goal(state, at)
    if at >= len(state.candidates) or state.sent >= MAX_SENDS_OF_CHAIN:
        return _replace(state, over=True), (GiveUp(state.tried),)
    goal = state.candidates[at].goal
    sends = state.sends if goal == state.goal else 0
    state = _replace(state, at=at, goal=goal, sends=sends, lease=None, replayed=False, home=0, limited=None)
    lease = state.candidates[at].lease
    if lease is None:
        return state, (Borrow(_account(state), delay),)
    return _send(state, lease, delay)


def _next_round(state: State) -> tuple[State, float]:
    """Wait for whoever is ready first; the others need so much less then."""
    delay = min(each.pause for each in state.again)
    ready = tuple(each for each in state.again if each.pause <= delay)
    later = tuple(msgspec.structs.replace(each, pause=each.pause - delay) for each in state.again if each.pause > delay)
    return _replace(state, candidates=ready, again=later, round=state.round + 1), delay


def _send(state: State, lease: Lease, delay: float) -> Step:
    sent = _replace(state, lease=lease, sends=state.sends + 1, sent=state.sent + 1)
    return sent, (Send(_account(state), lease, delay, state.home, _model(state)),)


def _spent(state: State) -> bool:
    return state.sends >= MAX_SENDS or state.sent >= MAX_SENDS_OF_CHAIN


def _next_goal(state: State, at: int) -> int:
    """Return where another model of a chain begins, at `at` or after it."""
    places = range(at, len(state.candidates))
    return next((place for place in places if state.candidates[place].goal != state.goal), len(state.candidates))


def _account(state: State) -> str:
    return state.candidates[state.at].account


def _model(state: State) -> str:
    return state.candidates[state.at].model


def _generation(state: State) -> int:
    return state.lease.generation if state.lease is not None else 0


def _replace(state: State, **changes: object) -> State:
    return msgspec.structs.replace(state, **changes)
