import pytest

from broker.daemon.cooldowns import DEFAULT_SECONDS, MAX_SECONDS, Cooldowns
from broker.ipc.schema import Cooldown
from broker.model.account import AccountId

ANN, BOB = AccountId("acme", "ann"), AccountId("acme", "bob")
NOW = 1000.0


@pytest.fixture
def table() -> Cooldowns:
    return Cooldowns()


def test_a_limit_lasts_as_long_as_told(table: Cooldowns) -> None:
    made = table.limit(ANN, "m", 30, "quota", NOW)
    assert made == Cooldown("m", NOW + 30, "quota")
    assert table.of(ANN, NOW + 29.9) == (made,)
    assert table.of(ANN, NOW + 30) == ()
    assert table.of(BOB, NOW) == ()


@pytest.mark.parametrize(
    ("asked", "given"), [(None, DEFAULT_SECONDS), (0, 1.0), (-5, 1.0), (7200, MAX_SECONDS), (1e300, MAX_SECONDS)]
)
def test_the_length_has_a_floor_a_ceiling_and_a_default(table: Cooldowns, asked: float | None, given: float) -> None:
    assert table.limit(ANN, None, asked, "", NOW).until == NOW + given


def test_a_late_report_never_shortens(table: Cooldowns) -> None:
    first = table.limit(ANN, "m", 100, "first", NOW)
    assert table.limit(ANN, "m", 10, "second", NOW + 1) == first
    assert table.limit(ANN, "m", 200, "third", NOW + 1).until == NOW + 201


def test_the_whole_account_comes_first_then_models_by_name(table: Cooldowns) -> None:
    for model in ("b", None, "a"):
        table.limit(ANN, model, 10, "", NOW)
    assert [each.model for each in table.of(ANN, NOW)] == [None, "a", "b"]


def test_a_success_ends_its_model_and_the_whole_account_only(table: Cooldowns) -> None:
    for model in ("a", "b", None):
        table.limit(ANN, model, 10, "", NOW)
    assert table.succeeded(ANN, "a", NOW)
    assert [each.model for each in table.of(ANN, NOW)] == ["b"]
    assert not table.succeeded(ANN, "a", NOW)
    assert not table.succeeded(BOB, None, NOW)


def test_clearing_forgets_everything_of_one_account(table: Cooldowns) -> None:
    table.limit(ANN, "a", 10, "", NOW)
    table.limit(BOB, "a", 10, "", NOW)
    assert table.clear(ANN)
    assert not table.clear(ANN)
    assert table.of(ANN, NOW) == ()
    assert len(table.of(BOB, NOW)) == 1


def test_made_up_models_do_not_fill_the_memory(table: Cooldowns) -> None:
    for number in range(300):
        table.limit(ANN, f"m{number}", 10 + number, "", NOW)
    left = table.of(ANN, NOW)
    assert len(left) == 100
    assert {each.model for each in left} == {f"m{number}" for number in range(200, 300)}


def test_cooldowns_follow_an_account_to_its_new_name(table: Cooldowns) -> None:
    made = table.limit(ANN, "a", 10, "", NOW)
    kept = table.of(ANN, NOW)
    table.clear(ANN)
    table.move(kept, BOB)
    assert table.of(BOB, NOW) == (made,)
    table.move((), ANN)
    assert table.of(ANN, NOW) == ()
