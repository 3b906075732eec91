from broker.proxy.meters import CONTENT_TYPE, Meters


def test_numbers() -> None:
    meters = Meters(3, {"leases": lambda: 7.0})
    meters.answered("Generate", 200, 0.2)
    meters.answered("Generate", 499, 0.2)
    meters.attempted("gemini", "ok")
    text = meters.text().decode()
    assert 'ccs_proxy_requests_total{route="Generate",status="200",worker="3"} 1.0' in text
    assert 'ccs_proxy_requests_total{route="Generate",status="499",worker="3"} 1.0' in text
    assert 'ccs_proxy_request_seconds_bucket{le="0.25",route="Generate",worker="3"} 2.0' in text
    assert 'ccs_proxy_upstream_total{kind="gemini",outcome="ok",worker="3"} 1.0' in text
    assert 'ccs_proxy_leases{worker="3"} 7.0' in text
    assert CONTENT_TYPE.startswith("text/plain")


def test_registries_are_apart() -> None:
    Meters(0, {})
    assert "Generate" not in Meters(0, {}).text().decode()
