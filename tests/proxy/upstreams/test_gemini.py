import pytest

from broker.ipc.schema import Lease
from broker.model.errors import BrokerError, ErrorCode
from broker.model.secret import Secret
from broker.proxy.upstreams.base import Ask, Offer
from broker.proxy.upstreams.gemini import GeminiApi

LEASE = Lease(account="gemini-api/a", provider="gemini-api", generation=1, access_token=Secret("fake-key-1"))


@pytest.mark.parametrize(
    ("ask", "target"),
    [
        (Ask("m"), b"/v1beta/models/m:generateContent"),
        (Ask("m", stream=True), b"/v1beta/models/m:streamGenerateContent?alt=sse"),
        (Ask("m", stream=True, version="v1", query=""), b"/v1/models/m:streamGenerateContent"),
        (
            Ask("m", stream=True, version="v1", query="alt=sse&x=%20"),
            b"/v1/models/m:streamGenerateContent?alt=sse&x=%20",
        ),
        (Ask("m", count=True, query=""), b"/v1beta/models/m:countTokens"),
        (Ask("m", offer=Offer.EMBEDDINGS), b"/v1beta/models/m:batchEmbedContents"),
        (Ask("tuned/m x?"), b"/v1beta/models/tuned/m%20x%3F:generateContent"),
    ],
)
def test_targets(ask: Ask, target: bytes) -> None:
    assert GeminiApi().request(LEASE, ask, [], b"{}").target == target


@pytest.mark.parametrize("model", ["..", ".", "", "a/../b", "a/./b", "../a", "a/..", "a//b", "/a", "a/"])
def test_a_name_that_would_lead_elsewhere_is_refused(model: str) -> None:
    with pytest.raises(BrokerError) as caught:
        GeminiApi().request(LEASE, Ask(model), [], b"{}")
    assert caught.value.code is ErrorCode.BAD_REQUEST


def test_headers_and_body() -> None:
    sent = GeminiApi().request(LEASE, Ask("m"), [(b"user-agent", b"x")], b"{}")
    assert sent.headers == [
        (b"user-agent", b"x"),
        (b"content-type", b"application/json"),
        (b"x-goog-api-key", b"fake-key-1"),
    ]
    assert sent.body == b"{}"
    kept = GeminiApi().request(LEASE, Ask("m"), [(b"content-type", b"application/json; charset=utf-8")], b"")
    assert [name for name, _ in kept.headers] == [b"content-type", b"x-goog-api-key"]
