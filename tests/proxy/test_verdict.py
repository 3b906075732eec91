import pytest

from broker.proxy.attempts import Tried
from broker.proxy.choose import Unusable, Why
from broker.proxy.failures import failure
from broker.proxy.naming import Goal
from broker.proxy.verdict import Asked, given_up, verdict
from tests.fakes.broker_socket import account, lease

NOW = 1_750_000_000.0
ASKED = Asked("gemini-2.5-pro", ("gemini", "gemini-api"))
CLAUDE = Asked("gemini-2.5-pro", ("gemini", "gemini-api"), repeats_on_error=True)

LOGIN = Unusable("gemini/a", "gemini", Why.NEEDS_LOGIN, "needs a login; run: ccs-broker login gemini")
PAUSED = Unusable("gemini/p", "gemini", Why.PAUSED, "is paused")


def cooling(account: str, left: float) -> Unusable:
    return Unusable(account, "gemini", Why.COOLING, f"cools down for {left:.0f} s more", NOW + left)


def tried(account: str, status: int | None, *, retry_after: float | None = None, login: bool = False) -> Tried:
    told = None if status is None else failure(status, f"says {status}", retry_after=retry_after)
    return Tried(account, f"says {status}" if status else "has no token", told, login)


def test_the_upstream_s_own_error_comes_first() -> None:
    alone = tried("gemini/a", 503)
    assert verdict(ASKED, [alone], [], NOW) is alone.failure
    both = verdict(ASKED, [tried("gemini/a", 429), tried("gemini/b", 500)], [LOGIN], NOW)
    assert both.status == 500
    assert both.message == (
        "says 500 [gemini/a: says 429; gemini/b: says 500; gemini/a needs a login; run: ccs-broker login gemini]"
    )


def test_the_last_status_comes_back() -> None:
    failed, limited = tried("gemini/a", 500), tried("gemini/b", 429, retry_after=30)
    told = verdict(ASKED, [failed, limited], [], NOW)
    assert (told.status, told.retry_after) == (429, 30)
    assert "gemini/a: says 500" in told.message
    assert verdict(ASKED, [limited, failed], [], NOW).status == 500
    assert verdict(ASKED, [failed, tried("gemini/b", 401)], [], NOW).status == 500


def test_a_model_one_does_not_have_hides_nobody_who_has_it() -> None:
    missing = tried("antigravity/a", 404)
    assert verdict(ASKED, [missing], [PAUSED], NOW).status == 404
    assert verdict(ASKED, [tried("gemini/a", 503), missing], [], NOW).status == 503
    told = verdict(ASKED, [tried("gemini/a", 429, retry_after=30), missing], [], NOW)
    assert (told.status, told.retry_after) == (429, 30)
    assert "antigravity/a: says 404" in told.message
    assert verdict(ASKED, [missing], [cooling("gemini/a", 40)], NOW).retry_after == 40


def test_all_cooling() -> None:
    told = verdict(ASKED, [], [cooling("gemini/a", 90), cooling("gemini/b", 40)], NOW)
    assert (told.status, told.reason, told.retry_after) == (429, "model_cooldown", 40)
    assert "gemini/a cools down for 90 s more" in told.message
    assert (
        verdict(ASKED, [tried("gemini/a", 429, retry_after=30)], [cooling("gemini/b", 90), PAUSED], NOW).retry_after
        == 30
    )


def test_a_single_limited_account_tells_in_the_provider_s_words() -> None:
    told = verdict(ASKED, [tried("gemini/a", 429, retry_after=18 * 86400)], [], NOW)
    assert (told.message, told.retry_after) == ("says 429", 3600)
    assert verdict(ASKED, [tried("gemini/a", 429)], [], NOW).retry_after == 1


@pytest.mark.parametrize(("asked", "status"), [(ASKED, 503), (CLAUDE, 403)])
def test_a_person_must_log_in(asked: Asked, status: int) -> None:
    told = verdict(asked, [], [LOGIN, PAUSED], NOW)
    assert (told.status, told.reason) == (status, "auth_unavailable")
    assert "ccs-broker login gemini" in told.message
    assert "gemini/p is paused" in told.message
    assert verdict(asked, [tried("gemini/a", None, login=True)], [], NOW).status == status


@pytest.mark.parametrize(("asked", "status"), [(ASKED, 503), (CLAUDE, 403)])
def test_nobody_has_ever_logged_in(asked: Asked, status: int) -> None:
    told = verdict(asked, [], [], NOW)
    assert (told.status, told.reason) == (status, "auth_not_found")
    assert told.message == "no account of gemini or gemini-api is logged in; run: ccs-broker login gemini"


def test_other_reasons_are_not_the_person_s() -> None:
    told = verdict(CLAUDE, [tried("gemini/a", 401), tried("gemini/b", None)], [PAUSED], NOW)
    assert (told.status, told.reason) == (503, "auth_unavailable")
    assert told.message.startswith(
        "no account can serve gemini-2.5-pro: gemini/a: says 401; gemini/b: has no token; gemini/p"
    )


def test_a_daemon_that_was_never_there() -> None:
    away = Asked("m", ("gemini",), repeats_on_error=True, away="no socket")
    assert verdict(away, [], [], NOW).reason == "daemon_unreachable"
    assert "ccs-broker serve" in verdict(away, [], [], NOW).message
    assert verdict(away, [], [PAUSED], NOW).reason == "auth_unavailable"


def test_long_lists_are_cut() -> None:
    told = verdict(ASKED, [], [cooling(f"gemini/{number}", 60) for number in range(25)], NOW)
    assert told.message.endswith("; and 5 more")


@pytest.mark.parametrize(
    ("provider", "way"),
    [
        ("claude", "login claude"),
        ("openai-api", "add-key openai-api"),
        ("openai-compatible", "add-key openai-compatible"),
    ],
)
def test_a_key_is_added_and_a_login_is_made(provider: str, way: str) -> None:
    told = verdict(Asked("m", (provider,)), [], [], 0.0)
    assert told.message.endswith(f"run: ccs-broker {way}")


def test_who_has_accounts_that_are_not_meant_is_not_sent_to_log_in() -> None:
    told = verdict(Asked("work/m", ("claude", "kiro"), there=frozenset({"kiro", "xai"})), [], [], 0.0)
    assert (told.status, told.reason) == (503, "auth_not_found")
    assert told.message == "no account of claude or kiro has the prefix or the model of work/m; run: ccs-broker list"


def test_who_was_tried_is_told_once() -> None:
    goals = (Goal("gemini-2.5-pro", ("gemini", "gemini-api")),)
    accounts = [
        account("gemini/a", None, state="needs_login"),
        account("gemini/b", lease("gemini/b")),
        account("gemini/c", None, paused=True),
    ]
    failed = [tried("gemini/a", None, login=True), tried("gemini/b", 500)]
    told = given_up(ASKED, failed, accounts, goals, NOW)
    paused = "is paused; run: ccs-broker resume gemini/c"
    assert told.message == f"says 500 [gemini/a: has no token; gemini/b: says 500; gemini/c {paused}]"
