import pytest

from broker.ipc.schema import AccountView, Cooldown, Lease, WatchAccount
from broker.model.naming import Strategy
from broker.model.secret import Secret
from broker.proxy.choose import Picking, Why, candidates, cooling, judge, unusable, usable
from broker.proxy.naming import Goal

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


GOALS = (Goal("m", PROVIDERS),)


def order(*accounts: WatchAccount, goals: tuple[Goal, ...] = GOALS, **picking: object) -> list[str]:
    return [each.account for each in candidates(accounts, goals, NOW, Picking(**picking))]  # type: ignore[arg-type]


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


THREE = [account("gemini/a"), account("gemini/b", default=True), account("gemini/c")]


def test_accounts_take_turns() -> None:
    assert [order(*THREE, turn=turn)[0] for turn in range(4)] == ["gemini/a", "gemini/b", "gemini/c", "gemini/a"]
    assert order(*THREE, turn=1) == ["gemini/b", "gemini/c", "gemini/a"]


def test_fill_first_stays_with_the_default_account_then_the_first() -> None:
    for turn in range(3):
        found = order(*THREE, turn=turn, strategy=Strategy.FILL_FIRST)
        assert found == ["gemini/b", "gemini/a", "gemini/c"]


def test_weights_are_shares() -> None:
    accounts = [account("gemini/a", weight=1), account("gemini/b", weight=3)]
    firsts = [order(*accounts, turn=turn, strategy=Strategy.WEIGHTED)[0] for turn in range(2000)]
    assert 0.70 < firsts.count("gemini/b") / 2000 < 0.80


def test_of_two_drawn_the_less_busy_serves() -> None:
    def drawn(one: float, other: float, **busy: int) -> list[str]:
        counts = {f"gemini/{name}": number for name, number in busy.items()}
        return order(*THREE, strategy=Strategy.TWO_CHOICES, draw=(one, other), busy=counts)

    assert drawn(0.0, 0.0, a=5, b=1) == ["gemini/b", "gemini/a", "gemini/c"]
    assert drawn(0.0, 0.99, a=5, c=6) == ["gemini/a", "gemini/c", "gemini/b"]
    assert drawn(0.99, 0.99, a=0, b=1, c=2) == ["gemini/b", "gemini/c", "gemini/a"]
    assert {drawn(one / 10, other / 10)[0] for one in range(10) for other in range(10)} == {
        "gemini/a", "gemini/b", "gemini/c",
    }  # fmt: skip


@pytest.mark.parametrize("strategy", list(Strategy))
def test_a_conversation_stays_with_its_account_while_that_can_serve(strategy: Strategy) -> None:
    homes = {f"s{n}": order(*THREE, turn=n, session=f"s{n}", strategy=strategy) for n in range(300)}
    assert all(order(*THREE, turn=7, session=name, strategy=strategy) == homes[name] for name in homes)
    counts = [sum(found[0] == each.view.account for found in homes.values()) for each in THREE]
    assert min(counts) > 60
    # One account less: only its own conversations move, each to what was its second choice.
    left = [THREE[0], THREE[2]]
    for name, found in homes.items():
        assert order(*left, session=name) == [each for each in found if each != "gemini/b"]


def test_priority_comes_before_turns_providers_and_conversations() -> None:
    accounts = [*THREE, account("gemini-api/x", priority=1, left=None)]
    for picking in ({"turn": 1}, {"session": "s"}):
        assert order(*accounts, **picking)[0] == "gemini-api/x"
    assert order(account("gemini/a", priority=-1), account("gemini/b"), turn=0) == ["gemini/b", "gemini/a"]
    assert order(account("gemini/a"), account("gemini/b", priority=1, held=False)) == ["gemini/b", "gemini/a"]


def test_an_excluded_model_is_not_asked_of_an_account() -> None:
    accounts = [account("gemini/a", excluded_models=("*-image*",)), account("gemini/b")]
    images = (Goal("x-image-1", PROVIDERS),)
    assert order(*accounts, goals=images) == ["gemini/b"]
    assert len(order(*accounts)) == 2
    (told,) = unusable(accounts, images, NOW)
    assert (told.account, told.why) == ("gemini/a", Why.EXCLUDED)
    assert "excluded_models" in told.text


def test_a_prefix_means_the_accounts_that_have_it() -> None:
    accounts = [account("gemini/a", prefix="work"), account("gemini/b")]
    assert order(*accounts, goals=(Goal("m", PROVIDERS, "work"),)) == ["gemini/a"]
    assert len(order(*accounts)) == 2
    assert unusable([account("gemini/b", paused=True)], (Goal("m", PROVIDERS, "work"),), NOW) == ()


def test_the_models_of_a_chain_follow_each_other() -> None:
    accounts = [account("gemini/a"), account("gemini/b", cooldowns=(Cooldown("m", NOW + 9, ""),)), account("claude/c")]
    goals = (Goal("m", ("gemini",)), Goal("n", ("claude", "gemini")))
    found = candidates(accounts, goals, NOW, Picking())
    assert [(each.goal, each.model, each.account) for each in found] == [
        (0, "m", "gemini/a"),
        (1, "n", "claude/c"),
        (1, "n", "gemini/a"),
        (1, "n", "gemini/b"),
    ]
    # What can serve one of the models is no account that cannot serve.
    assert unusable(accounts, goals, NOW) == ()
    assert [each.account for each in unusable(accounts, goals[:1], NOW)] == ["gemini/b"]


def test_providers_are_ranked_and_others_left_out() -> None:
    accounts = [account("gemini-api/x", left=None, default=True), account("gemini/a"), account("claude/z")]
    assert order(*accounts) == ["gemini/a", "gemini-api/x"]
    assert order() == []


def test_a_token_at_hand_comes_before_all() -> None:
    accounts = [account("gemini/a", held=False, default=True), account("gemini/b", left=10.0), account("gemini-api/x")]
    found = candidates(accounts, GOALS, NOW, Picking())
    assert [each.account for each in found] == ["gemini-api/x", "gemini/a", "gemini/b"]
    assert [each.lease is None for each in found] == [False, True, True]
    only = candidates(accounts[:1], GOALS, NOW, Picking(turn=5))
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
    found = unusable([held, account("gemini/b"), account("claude/z", paused=True)], GOALS, NOW)
    assert [each.why for each in found] == [why]
    assert pytest.importorskip("re").search(word, found[0].text)


@pytest.mark.parametrize("state", ["active", "refreshing", "backoff", "ambiguous", "unsaved"])
def test_states_that_serve(state: str) -> None:
    assert judge(account("gemini/a", state=state), "m", NOW) is None


def test_cooldowns_end_and_are_for_their_model() -> None:
    ended = account("gemini/a", cooldowns=(Cooldown("other", NOW + 9, ""), Cooldown("m", NOW, "")))
    assert judge(ended, "m", NOW) is None
    longest = account(
        "gemini/a", cooldowns=(Cooldown("m", NOW + 9, ""), Cooldown(None, NOW + 90, ""), Cooldown("m", NOW + 5, ""))
    )
    found = judge(longest, "m", NOW)
    assert found is not None
    assert found.until == NOW + 90


def test_accounts_that_merely_cool_down_are_worth_waiting_for() -> None:
    soon = account("gemini/a", cooldowns=(Cooldown("m", NOW + 3, "busy"),))
    later = account("gemini/b", cooldowns=(Cooldown("m", NOW + 30, "busy"),))
    stale = account("gemini/c", left=29.0, cooldowns=(Cooldown(None, NOW + 5, "busy"),))
    paused = account("gemini/d", state="paused", cooldowns=(Cooldown("m", NOW + 3, "busy"),))
    others = account("claude/e", cooldowns=(Cooldown("m", NOW + 3, "busy"),)), account("gemini/f")
    found = cooling([soon, later, stale, paused, *others], (Goal("m", ("gemini",)),), NOW, 5.0)
    assert [(each.account, each.pause, each.lease is None) for each in found] == [
        ("gemini/a", 3.0, False),
        ("gemini/c", 5.0, True),
    ]
