import pytest

from broker.ipc.schema import AccountView, Cooldown, Lease, WatchAccount
from broker.model.secret import Secret
from broker.proxy.choose import Why, candidates, judge, unusable, usable

NOW = 1_750_000_000.0
PROVIDERS = ("gemini", "gemini-api")


def lease(account: str, left: float | None = 3600.0, *, short: bool = False, generation: int = 1) -> Lease:
    return Lease(
        account=account,
        provider=account.partition("/")[0],
        generation=generation,
        access_token=Secret("fake-access-1"),
        expires_at=None if left is None else NOW + left,
        short=short,
    )


def account(
    name: str, *, left: float | None = 3600.0, held: bool = True, short: bool = False, **fields: object
) -> WatchAccount:
    provider, _, label = name.partition("/")
    view = AccountView(account=name, provider=provider, label=label, **{"state": "active", "generation": 1, **fields})  # type: ignore[arg-type]
    return WatchAccount(view, lease(name, left, short=short) if held else None)


def order(*accounts: WatchAccount, turn: int = 0, model: str = "m") -> list[str]:
    return [each.account for each in candidates(accounts, PROVIDERS, model, NOW, turn)]


@pytest.mark.parametrize(
    ("left", "short", "good"),
    [
        (None, False, True),
        (30.0, False, True),
        (29.9, False, False),
        (29.9, True, True),
        (1.0, True, True),
        (0.9, True, False),
        (-5.0, True, False),
    ],
)
def test_when_a_lease_is_good_for_a_new_request(left: float | None, short: bool, good: bool) -> None:
    assert usable(lease("gemini/a", left, short=short), NOW) is good
    assert not usable(None, NOW)


def test_the_default_account_comes_first_and_the_others_take_turns() -> None:
    accounts = [account("gemini/a"), account("gemini/b", default=True), account("gemini/c"), account("gemini/d")]
    assert order(*accounts) == ["gemini/b", "gemini/a", "gemini/c", "gemini/d"]
    assert order(*accounts, turn=1) == ["gemini/b", "gemini/c", "gemini/d", "gemini/a"]
    assert order(*accounts, turn=2) == ["gemini/b", "gemini/d", "gemini/a", "gemini/c"]
    assert order(*accounts, turn=3) == order(*accounts)


def test_providers_are_ranked_and_others_left_out() -> None:
    accounts = [account("gemini-api/x", left=None, default=True), account("gemini/a"), account("claude/z")]
    assert order(*accounts) == ["gemini/a", "gemini-api/x"]
    assert order() == []


def test_a_token_at_hand_comes_before_all() -> None:
    accounts = [account("gemini/a", held=False, default=True), account("gemini/b", left=10.0), account("gemini-api/x")]
    found = candidates(accounts, PROVIDERS, "m", NOW, 0)
    assert [each.account for each in found] == ["gemini-api/x", "gemini/a", "gemini/b"]
    assert [each.lease is None for each in found] == [False, True, True]
    only = candidates(accounts[:1], PROVIDERS, "m", NOW, 5)
    assert [each.lease for each in only] == [None]


@pytest.mark.parametrize(
    ("fields", "why", "word"),
    [
        ({"disabled": True}, Why.DISABLED, "disabled"),
        ({"paused": True}, Why.PAUSED, "ccs-broker resume gemini/a"),
        ({"state": "paused"}, Why.PAUSED, "paused"),
        ({"state": "needs_login", "reason": "revoked"}, Why.NEEDS_LOGIN, r"\(revoked\); run: ccs-broker login gemini"),
        ({"state": "needs_login"}, Why.NEEDS_LOGIN, "needs a login; run"),
        ({"cooldowns": (Cooldown(None, NOW + 90, "quota"),)}, Why.COOLING, r"90 s more \(quota\)"),
        ({"cooldowns": (Cooldown("m", NOW + 90, ""),)}, Why.COOLING, "limited by the provider"),
    ],
)
def test_why_an_account_cannot_serve(fields: dict[str, object], why: Why, word: str) -> None:
    held = account("gemini/a", **fields)
    assert order(held) == []
    found = unusable([held, account("gemini/b"), account("claude/z", paused=True)], PROVIDERS, "m", NOW)
    assert [each.why for each in found] == [why]
    assert pytest.importorskip("re").search(word, found[0].text)


@pytest.mark.parametrize("state", ["active", "refreshing", "backoff", "ambiguous", "unsaved"])
def test_states_that_serve(state: str) -> None:
    assert judge(account("gemini/a", state=state), "m", NOW) is None


def test_cooldowns_end_and_are_for_their_model() -> None:
    cooling = account("gemini/a", cooldowns=(Cooldown("other", NOW + 9, ""), Cooldown("m", NOW, "")))
    assert judge(cooling, "m", NOW) is None
    longest = account(
        "gemini/a", cooldowns=(Cooldown("m", NOW + 9, ""), Cooldown(None, NOW + 90, ""), Cooldown("m", NOW + 5, ""))
    )
    found = judge(longest, "m", NOW)
    assert found is not None
    assert found.until == NOW + 90
