import pytest

from broker.ipc.schema import Lease
from broker.model.secret import Secret
from broker.proxy.headers import Headers
from broker.proxy.upstreams.base import Ask, Offer
from broker.proxy.upstreams.openai import OpenAI, OpenAICompatible, OpenAIResponses


def lease(**facts: str) -> Lease:
    account = "openai-compatible/a"
    return Lease(
        account=account, provider="openai-compatible", generation=1, access_token=Secret("fake-1"), facts=facts
    )


@pytest.mark.parametrize(
    ("ask", "query"), [(Ask("m"), b""), (Ask("m", query=""), b""), (Ask("m", query="a=b"), b"?a=b")]
)
def test_targets(ask: Ask, query: bytes) -> None:
    assert OpenAI().request(lease(), ask, [], b"{}").target == b"/chat/completions" + query
    assert OpenAICompatible().request(lease(), ask, [], b"{}").target == b"/chat/completions" + query
    assert OpenAIResponses().request(lease(), ask, [], b"{}").target == b"/responses" + query


@pytest.mark.parametrize("offer", list(Offer))
def test_every_offer_has_openai_s_path(offer: Offer) -> None:
    sent = OpenAI().request(lease(), Ask("m", query="a=b", offer=offer), [], b"{}")
    assert sent.target == f"/{offer.value}?a=b".encode()
    assert (offer in OpenAICompatible().offers) is (offer is not Offer.COMPACT)


def test_headers() -> None:
    named = dict(OpenAI().request(lease(), Ask("m"), [], b"{}").headers)
    assert named[b"authorization"] == b"Bearer fake-1"
    assert named[b"user-agent"].startswith(b"ccs-broker/")
    own: Headers = [(b"user-agent", b"opencode"), (b"content-type", b"application/json; charset=utf-8")]
    named = dict(OpenAI().request(lease(header="api-key"), Ask("m"), own, b"{}").headers)
    assert (named[b"user-agent"], named[b"api-key"]) == (b"opencode", b"fake-1")
    assert named[b"content-type"] == b"application/json; charset=utf-8"
    assert b"authorization" not in named
