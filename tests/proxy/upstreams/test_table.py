from urllib.parse import urlsplit

from broker.proxy.upstreams.base import Kind
from broker.proxy.upstreams.table import PROVIDERS, UPSTREAMS


def test_every_kind_has_an_upstream_and_every_provider_a_kind() -> None:
    assert set(UPSTREAMS) == set(Kind)
    assert set(PROVIDERS.values()) <= set(Kind)
    for kind, upstream in UPSTREAMS.items():
        assert upstream.kind is kind
        url = urlsplit(upstream.default_url)
        assert url.scheme == "https"
        assert not upstream.default_url.endswith("/")
        assert not url.query
