from broker.daemon.known_quotas import KnownQuotas
from broker.ipc.schema import AccountQuota, QuotaWindow
from broker.model.account import AccountId

ANN = AccountId("acme", "ann")
SHORT = QuotaWindow(name="5 hours", used=0.5, resets_at=100.0)
LONG = QuotaWindow(name="week", used=0.25, resets_at=1000.0)
PLAIN = QuotaWindow(name="credits")


def test_what_was_read_is_known_until_it_is_forgotten() -> None:
    table = KnownQuotas()
    assert table.of(ANN, 0.0) is None
    told = AccountQuota(account=str(ANN), read_at=1.0, windows=(SHORT, LONG, PLAIN))
    table.remember(ANN, told)
    assert table.of(ANN, 99.0) is told
    table.forget(ANN)
    table.forget(ANN)
    assert table.of(ANN, 99.0) is None


def test_a_provider_that_did_not_tell_takes_nothing_away() -> None:
    table = KnownQuotas()
    table.failed(ANN, "overloaded", 5.0)
    assert table.of(ANN, 6.0) == AccountQuota(account=str(ANN), read_at=5.0, notes=("overloaded",))
    table.remember(ANN, AccountQuota(account=str(ANN), read_at=7.0, plan="pro", windows=(PLAIN,)))
    table.failed(ANN, "gone", 8.0)
    assert table.of(ANN, 9.0) == AccountQuota(
        account=str(ANN), read_at=7.0, plan="pro", windows=(PLAIN,), notes=("gone",)
    )


def test_a_window_that_began_anew_is_no_longer_known() -> None:
    table = KnownQuotas()
    table.remember(ANN, AccountQuota(account=str(ANN), read_at=1.0, plan="pro", windows=(SHORT, LONG, PLAIN)))
    left = table.of(ANN, 100.0)
    assert left is not None
    assert (left.plan, left.windows) == ("pro", (LONG, PLAIN))
