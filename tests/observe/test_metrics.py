from broker.observe.metrics import Metrics


def samples(metrics: Metrics) -> dict[str, float]:
    lines = [line for line in metrics.render().decode().splitlines() if not line.startswith("#")]
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}


def test_everything_counted_is_shown() -> None:
    metrics = Metrics(lambda: {("acme", "active"): 2, ("acme", "paused"): 1})
    metrics.leased("acme", "served")
    metrics.leased("acme", "served")
    metrics.leased("acme", "login_required")
    metrics.reported("acme", "limited")
    metrics.refreshed("acme", "renewed", 0.2)
    metrics.refreshed("acme", "renewed", None)
    metrics.connections("token", 3)
    metrics.refused("control", "forbidden_peer")
    metrics.watchers(4)
    metrics.cut()
    shown = samples(metrics)
    assert shown['ccs_broker_accounts{provider="acme",state="active"}'] == 2
    assert shown['ccs_broker_accounts{provider="acme",state="paused"}'] == 1
    assert shown['ccs_broker_leases_total{outcome="served",provider="acme"}'] == 2
    assert shown['ccs_broker_leases_total{outcome="login_required",provider="acme"}'] == 1
    assert shown['ccs_broker_reports_total{outcome="limited",provider="acme"}'] == 1
    assert shown['ccs_broker_refreshes_total{outcome="renewed",provider="acme"}'] == 2
    assert shown['ccs_broker_refresh_seconds_bucket{le="0.1",provider="acme"}'] == 0
    assert shown['ccs_broker_refresh_seconds_bucket{le="0.25",provider="acme"}'] == 1
    assert shown['ccs_broker_socket_connections{socket="token"}'] == 3
    assert shown['ccs_broker_socket_refused_total{code="forbidden_peer",socket="control"}'] == 1
    assert shown["ccs_broker_watch_subscribers"] == 4
    assert shown["ccs_broker_watch_cut_total"] == 1


def test_two_daemons_in_one_process_do_not_share() -> None:
    one, two = Metrics(dict), Metrics(dict)
    one.leased("acme", "served")
    assert "ccs_broker_leases_total{" not in two.render().decode()
