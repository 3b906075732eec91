from dataclasses import replace

from broker.model.account import Tokens
from broker.model.clock import Now
from broker.model.secret import Secret
from broker.refresh import life

NOW = Now(wall=1_000_000.0, boot=500.0)
OAUTH = Tokens(Secret("fake-access"), Secret("fake-refresh"), expires_at=NOW.wall + 3600)
KEY = Tokens(Secret("fake-key"))


def later(seconds: float, *, wall_step: float = 0.0) -> Now:
    return Now(NOW.wall + seconds + wall_step, NOW.boot + seconds)


def test_own_token_ends_by_the_boot_clock_whatever_the_wall_clock_does() -> None:
    own = life.of_own(OAUTH, NOW)
    assert life.remaining(own, later(600)) == 3000
    assert life.remaining(own, later(600, wall_step=3600)) == 3000
    assert life.remaining(own, later(600, wall_step=-3600)) == 3000
    assert own.lifetime == 3600


def test_own_token_ignores_the_providers_clock() -> None:
    assert life.remaining(life.of_own(OAUTH, NOW), NOW, skew=3600) == 3600


def test_own_token_without_expiry_is_assumed_to_live_half_an_hour() -> None:
    own = life.of_own(replace(OAUTH, expires_at=None), NOW)
    assert life.remaining(own, NOW) == life.UNKNOWN_LIFETIME_SECONDS


def test_a_key_without_refresh_token_lives_for_ever() -> None:
    assert life.of_own(KEY, NOW) == life.of_file(KEY, NOW) == life.FOREVER
    assert life.remaining(life.FOREVER, NOW) == float("inf")
    assert life.shown(KEY, life.FOREVER, NOW) is KEY


def test_file_token_is_dead_when_either_clock_says_so() -> None:
    found = life.of_file(OAUTH, NOW)
    assert life.remaining(found, later(600)) == 3000
    assert life.remaining(found, later(600, wall_step=3600)) == -600
    assert life.remaining(found, later(3700, wall_step=-3600)) == -100
    assert life.remaining(found, NOW, skew=3000) == 600


def test_file_token_without_expiry_counts_from_its_last_refresh_or_is_dead() -> None:
    unknown = replace(OAUTH, expires_at=None)
    assert life.remaining(life.of_file(unknown, NOW), NOW) == 0
    counted = life.of_file(replace(unknown, last_refresh=NOW.wall - 600), NOW)
    assert life.remaining(counted, NOW) == 1200


def test_lifetime_of_a_file_token_is_known_only_with_a_believable_last_refresh() -> None:
    assert life.of_file(replace(OAUTH, last_refresh=NOW.wall - 100), NOW).lifetime == 3700
    assert life.of_file(replace(OAUTH, last_refresh=NOW.wall + 9999), NOW).lifetime is None
    assert life.of_file(OAUTH, NOW).lifetime is None


def test_need_is_bounded_by_what_the_provider_gives() -> None:
    short = life.Life(ends_boot=0, lifetime=10)
    assert life.need(short, 60) == 8
    assert life.need(short, 5) == 5
    assert life.need(life.Life(ends_boot=0), 60) == 60


def test_shown_expiry_follows_a_stepped_wall_clock() -> None:
    own = life.of_own(OAUTH, NOW)
    assert life.shown(OAUTH, own, later(10)) is OAUTH
    stepped = later(10, wall_step=-3600)
    assert life.shown(OAUTH, own, stepped).expires_at == stepped.wall + 3590
    unknown = replace(OAUTH, expires_at=None)
    assert life.shown(unknown, life.of_own(unknown, NOW), NOW).expires_at == NOW.wall + 1800


def test_a_grant_that_another_process_received_is_as_old_as_the_wall_clock_says() -> None:
    tokens = Tokens(access_token=Secret("fake-access-1"), expires_at=1100.0)
    assert life.received(tokens, 500.0, Now(wall=600.0, boot=50.0)) == Now(wall=500.0, boot=-50.0)


def test_where_the_wall_clock_was_set_back_it_has_ended() -> None:
    now = Now(wall=400.0, boot=50.0)
    for ends in (1100.0, 300.0, None):
        tokens = Tokens(access_token=Secret("fake-access-1"), expires_at=ends)
        received = life.received(tokens, 500.0, now)
        assert received.wall == 500.0
        assert ends is None or life.remaining(life.of_own(tokens, received), now) <= 0
