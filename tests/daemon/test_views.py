from dataclasses import replace

import pytest

from broker.daemon.views import account_view, explain, kept_notes, lease_of
from broker.ipc.schema import Cooldown, encode
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
    Routing,
    State,
    Tokens,
    Unsaved,
)
from broker.model.errors import ErrorCode
from broker.model.network import PROXY_HINT
from broker.model.secret import Digest, Secret
from broker.store.base import Entry

ANN = AccountId("acme", "ann@example.com")
DIGEST = Digest("0" * 32)
TOKENS = Tokens(
    Secret("fake-access-1"), Secret("fake-refresh-1"), Secret("fake-id-1"), expires_at=50.0, last_refresh=10.0
)


def entry(*, disabled: bool = False, paused: bool = False, tokens: Tokens = TOKENS) -> Entry:
    record = Record(ANN, tokens, email="ann@example.com", facts={"project_id": "p"}, disabled=disabled)
    return Entry(record, Generation(4), "acme-ann.json", paused=paused)


def test_a_view_shows_everything_but_secrets() -> None:
    cool = (Cooldown(None, 60.0, "quota"),)
    view = account_view(entry(), Active(), TOKENS, last_refresh=30.0, next_refresh=40.0, cooldowns=cool, default=True)
    assert (view.account, view.provider, view.label, view.state, view.generation) == (
        str(ANN),
        "acme",
        "ann@example.com",
        "active",
        4,
    )
    assert (view.expires_at, view.last_refresh, view.next_refresh, view.default, view.renewable) == (
        50.0,
        30.0,
        40.0,
        True,
        True,
    )
    assert (view.file, view.cooldowns, view.facts, view.email) == (
        "acme-ann.json",
        cool,
        {"project_id": "p"},
        "ann@example.com",
    )
    assert b"fake-" not in encode(view)


def test_a_login_without_refresh_token_is_not_renewable() -> None:
    plain = Tokens(Secret("fake-key-1"))
    view = account_view(
        entry(tokens=plain), Active(), plain, last_refresh=None, next_refresh=None, cooldowns=(), default=False
    )
    assert (view.renewable, view.expires_at) == (False, None)


@pytest.mark.parametrize(
    ("state", "reason", "hint", "since"),
    [
        (Active(), None, None, None),
        (Refreshing(5.0), "being renewed", None, None),
        (Paused(), "paused", "resume acme/ann@example.com", None),
        (Backoff(9.0, "503", 2, ErrorCode.MISCONFIGURED), "503", "config check", None),
        (Ambiguous(7.0, DIGEST), "answer lost", "tried once more", 7.0),
        (NeedsLogin("revoked", 8.0, DIGEST), "revoked", "login acme", 8.0),
        (Unsaved(6.0, "ENOSPC"), "ENOSPC", "Free space", 6.0),
    ],
)
def test_every_state_says_why_and_what_to_do(
    state: State, reason: str | None, hint: str | None, since: float | None
) -> None:
    told = explain(entry(), state)
    assert told.since == since
    assert (reason or "") in (told.reason or "")
    assert (hint or "") in (told.hint or "")
    assert (told.reason is None) == (reason is None)


def test_an_account_whose_way_out_cannot_be_says_so() -> None:
    made = entry()
    routing = Routing(proxy_url=Secret("socks4://me:fake-pass@a.example"), proxy_fault="is no URL")
    made = replace(made, record=replace(made.record, routing=routing))
    told = explain(made, Active())
    assert (told.reason, told.hint) == ("not served: proxy_url in its file is no URL", PROXY_HINT)


def test_a_lease_has_the_way_out_and_a_view_has_not() -> None:
    made = entry()
    way = Secret("socks5h://me:fake-pass@a.example")
    made = replace(made, record=replace(made.record, routing=Routing(proxy_url=way)))
    assert lease_of(made, TOKENS, short=False).proxy_url == way
    assert lease_of(entry(), TOKENS, short=False).proxy_url is None
    shown = account_view(made, Active(), TOKENS, last_refresh=None, next_refresh=None, cooldowns=(), default=True)
    assert b"fake-pass" not in encode(shown)
    assert b"a.example" not in encode(shown)


def test_an_account_disabled_in_its_file_says_so() -> None:
    told = explain(entry(disabled=True), Active())
    assert told.reason == "disabled in its file"
    assert '"disabled"' in str(told.hint)


def test_a_lease_is_the_access_token_and_what_goes_with_it() -> None:
    lease = lease_of(entry(), TOKENS, short=True)
    assert (lease.access_token, lease.generation, lease.expires_at, lease.short) == (
        Secret("fake-access-1"),
        4,
        50.0,
        True,
    )
    assert lease.facts == {"project_id": "p"}
    assert b"fake-refresh" not in encode(lease)
    assert b"fake-id" not in encode(lease)


WORK = AccountId("acme", "work")


@pytest.mark.parametrize(
    ("wanted", "changes", "before", "said"),
    [
        (ANN, {}, (), ()),
        (ANN, {}, (ANN,), ("replaces this account's former login",)),
        (WORK, {}, (ANN,), (f"known already, as {ANN}",)),
        (WORK, {}, (), (f"another login called {WORK}",)),
        (ANN, {"paused": True}, (), (f"ccs-broker resume {ANN}",)),
        (ANN, {"disabled": True}, (), ("disabled in its file",)),
    ],
)
def test_what_became_of_a_login_is_told(
    wanted: AccountId, changes: dict[str, bool], before: tuple[AccountId, ...], said: tuple[str, ...]
) -> None:
    made = entry(disabled=changes.get("disabled", False))
    notes = kept_notes(wanted, replace(made, paused=changes.get("paused", False)), before)
    assert len(notes) == len(said)
    assert all(part in note for part, note in zip(said, notes, strict=True))
