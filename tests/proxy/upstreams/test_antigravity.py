import pytest

from broker.ipc.schema import Lease
from broker.model.secret import Secret
from broker.proxy.upstreams.antigravity import Antigravity
from broker.proxy.upstreams.base import Ask

LEASE = Lease(account="antigravity/a", provider="antigravity", generation=1, access_token=Secret("fake-access-1"))


@pytest.mark.parametrize(
    ("ask", "target"),
    [
        (Ask("m"), b"/v1internal:generateContent"),
        (Ask("m", stream=True, query="", version="v1"), b"/v1internal:streamGenerateContent?alt=sse"),
        (Ask("m", count=True), b"/v1internal:countTokens"),
    ],
)
def test_targets(ask: Ask, target: bytes) -> None:
    assert Antigravity().request(LEASE, ask, [], b"{}").target == target


def test_it_looks_like_antigravity_whoever_asks() -> None:
    own = [(b"user-agent", b"GeminiCLI"), (b"x-goog-api-client", b"gl-node")]
    sent = Antigravity().request(LEASE, Ask("m"), own, b"{}")
    assert dict(sent.headers) == {
        b"user-agent": b"antigravity/hub/2.9.1 darwin/arm64",
        b"content-type": b"application/json",
        b"accept": b"*/*",
        b"authorization": b"Bearer fake-access-1",
    }
    assert len(sent.headers) == 4


def test_the_daily_host_comes_first() -> None:
    assert Antigravity().homes(LEASE) == (
        "https://daily-cloudcode-pa.googleapis.com",
        "https://cloudcode-pa.googleapis.com",
    )
