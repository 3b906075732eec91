import pytest

from broker.daemon.refreshes import Ended, Refreshes
from broker.model.account import (
    AccountId,
    Active,
    Ambiguous,
    Backoff,
    Generation,
    NeedsLogin,
    Paused,
    Record,
    Refreshing,
    State,
    Tokens,
    Unsaved,
)
from broker.model.errors import ErrorCode
from broker.model.secret import Digest
from broker.store.base import Entry

ANN = AccountId("acme", "ann")
DIGEST = Digest("0" * 32)
FLYING = Refreshing(0.0)
TROUBLE = Backoff(9.0, "503", 1)


def told(*steps: tuple[State, int]) -> list[Ended | None]:
    """Each step is one second after the one before."""
    watcher = Refreshes()
    return [
        watcher.see(Entry(Record(ANN, Tokens(None)), Generation(generation), "f"), state, float(boot))
        for boot, (state, generation) in enumerate(steps)
    ]


def test_a_refresh_that_renewed_and_its_time() -> None:
    assert told((Active(), 1), (FLYING, 1), (FLYING, 2), (Active(), 2)) == [None, None, None, Ended("renewed", 2.0)]


def test_a_paused_account_is_renewed_too() -> None:
    assert told((Paused(), 1), (FLYING, 1), (Paused(), 2))[-1] == Ended("renewed", 1.0)


def test_a_refresh_that_found_nothing_to_do_is_none() -> None:
    assert told((Active(), 1), (FLYING, 1), (Active(), 1))[-1] is None


def test_a_file_written_by_somebody_else_is_no_refresh() -> None:
    assert told((Active(), 1), (Active(), 2))[-1] is None


@pytest.mark.parametrize(
    ("state", "ended"),
    [
        (TROUBLE, Ended("refresh_failed", 1.0, "503")),
        (Backoff(9.0, "wait", 1, ErrorCode.RATE_LIMITED), Ended("rate_limited", 1.0, "wait")),
        (Ambiguous(5.0, DIGEST), Ended("answer_lost", 1.0)),
        (NeedsLogin("revoked", 5.0, DIGEST), Ended("login_required", 1.0, "revoked")),
        (Unsaved(5.0, "ENOSPC"), Ended("storage_unwritable", 1.0, "ENOSPC")),
    ],
)
def test_a_refresh_that_failed(state: State, ended: Ended) -> None:
    assert told((Active(), 1), (FLYING, 1), (state, 1))[-1] == ended


def test_trouble_is_told_once_and_each_new_try_again() -> None:
    again = Backoff(20.0, "503", 2)
    assert told((TROUBLE, 1), (TROUBLE, 1), (again, 1), (again, 1)) == [
        None,
        None,
        Ended("refresh_failed", None, "503"),
        None,
    ]


def test_a_renewal_out_of_trouble_has_no_time() -> None:
    assert told((TROUBLE, 1), (FLYING, 2), (Active(), 2))[-1] == Ended("renewed", None)


def test_an_unsaved_grant_is_told_once_though_its_retries_move_on() -> None:
    assert told((Active(), 1), (FLYING, 1), (Unsaved(5.0, "ENOSPC", 6.0), 1), (Unsaved(5.0, "EIO", 9.0), 1))[-1] is None


def test_a_dead_login_is_told_once_though_the_store_dates_it_anew() -> None:
    first, second = NeedsLogin("revoked", 5.0, DIGEST), NeedsLogin("revoked", 5.1, DIGEST)
    assert told((Active(), 1), (FLYING, 1), (first, 1), (second, 2))[-1] is None


def test_what_is_seen_first_ends_nothing() -> None:
    assert told((NeedsLogin("x", 0.0, DIGEST), 1)) == [None]
    assert told((FLYING, 1), (Active(), 2)) == [None, Ended("renewed", 1.0)]


def test_a_new_login_is_no_refresh() -> None:
    assert told((NeedsLogin("x", 0.0, DIGEST), 1), (Active(), 2))[-1] is None


def test_a_forgotten_account_starts_anew() -> None:
    watcher, entry = Refreshes(), Entry(Record(ANN, Tokens(None)), Generation(1), "f")
    watcher.see(entry, FLYING, 0.0)
    watcher.forget(ANN)
    watcher.forget(ANN)
    assert watcher.see(entry, TROUBLE, 1.0) is None
