import pytest

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
from broker.model.secret import Digest, Secret
from broker.refresh.incidents import LASTING_SECONDS, Later, Nothing, Over, Tell, Told, judge

ALICE = AccountId("fake", "alice@example.com")
OLD, NEW = Secret("fake-refresh-1").digest(), Secret("fake-refresh-2").digest()
NOW = 1000.0


def told_of(state: State, digest: Digest | None = OLD, told: Told | None = None, now: float = NOW) -> Told:
    verdict = judge(ALICE, state, digest, told, now)
    assert isinstance(verdict, Tell), verdict
    return verdict.incident.told


def test_a_dead_login_is_told_once_and_again_for_another_token() -> None:
    told = told_of(NeedsLogin("revoked", 900.0, OLD))
    assert told == Told(StateName.NEEDS_LOGIN, OLD.text)
    assert judge(ALICE, NeedsLogin("revoked", 950.0, OLD), OLD, told, NOW) == Nothing()
    assert told_of(NeedsLogin("revoked", 950.0, NEW), NEW, told).key == NEW.text
    assert told_of(NeedsLogin("revoked", 950.0, None), None).key == ""


def test_what_is_told_names_account_reason_hint_and_time() -> None:
    verdict = judge(ALICE, NeedsLogin("revoked", 900.0, OLD), OLD, None, NOW)
    assert isinstance(verdict, Tell)
    incident = verdict.incident
    assert (incident.account, incident.reason, incident.since) == (ALICE, "revoked", 900.0)
    assert incident.hint == "Run: ccs-broker login fake"


def test_an_unsaved_grant_is_told_once_for_the_grant_it_replaces() -> None:
    told = told_of(Unsaved(900.0, "ENOSPC"))
    assert told == Told(StateName.UNSAVED, OLD.text)
    assert judge(ALICE, Unsaved(900.0, "EIO", 5.0), OLD, told, NOW) == Nothing()
    assert told_of(Unsaved(900.0, "ENOSPC"), NEW, told).key == NEW.text


def test_a_lost_answer_is_told_only_when_it_lasts() -> None:
    state = Ambiguous(NOW, OLD)
    assert judge(ALICE, state, OLD, None, NOW) == Later(LASTING_SECONDS)
    assert judge(ALICE, state, OLD, None, NOW + 100) == Later(LASTING_SECONDS - 100)
    assert judge(ALICE, state, OLD, None, NOW - 3600) == Later(LASTING_SECONDS)
    told = told_of(state, now=NOW + LASTING_SECONDS)
    assert told == Told(StateName.AMBIGUOUS, OLD.text)
    assert judge(ALICE, state, OLD, told, NOW + 500) == Nothing()


def test_a_lost_answer_that_ends_in_a_dead_login_is_told_again() -> None:
    told = Told(StateName.AMBIGUOUS, OLD.text)
    assert told_of(NeedsLogin("revoked", 900.0, OLD), OLD, told).kind is StateName.NEEDS_LOGIN


@pytest.mark.parametrize("state", [Refreshing(1.0), Backoff(5.0, "503", 1)])
@pytest.mark.parametrize("told", [None, Told(StateName.UNSAVED, OLD.text)])
def test_what_may_pass_is_neither_told_nor_the_end_of_an_incident(state: State, told: Told | None) -> None:
    assert judge(ALICE, state, OLD, told, NOW) == Nothing()


@pytest.mark.parametrize("state", [Active(), Paused()])
def test_an_account_that_is_well_again_ends_its_incident(state: State) -> None:
    assert judge(ALICE, state, NEW, Told(StateName.NEEDS_LOGIN, OLD.text), NOW) == Over()
    assert judge(ALICE, state, NEW, Told(StateName.UNSAVED, OLD.text), NOW) == Over()
    assert judge(ALICE, state, OLD, Told(StateName.AMBIGUOUS, OLD.text), NOW) == Over()
    assert judge(ALICE, state, OLD, None, NOW) == Nothing()


def test_a_dead_token_that_looks_well_for_a_moment_is_still_the_same_incident() -> None:
    assert judge(ALICE, Active(), OLD, Told(StateName.NEEDS_LOGIN, OLD.text), NOW) == Nothing()
    assert judge(ALICE, Active(), None, Told(StateName.NEEDS_LOGIN, ""), NOW) == Nothing()
