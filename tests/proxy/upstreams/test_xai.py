import json
from contextlib import nullcontext

import pytest

from broker.ipc.schema import Lease
from broker.model.errors import BrokerError
from broker.model.secret import Secret
from broker.proxy.upstreams.base import Ask, Offer
from broker.proxy.upstreams.xai import XAI, XAIResponses

LEASE = Lease(account="xai/a", provider="xai", generation=1, access_token=Secret("fake-1"), facts={})
BODY = b'{"model":"m", "reasoning_effort":"high"}'


@pytest.mark.parametrize(("upstream", "path"), [(XAI(), b"/chat/completions"), (XAIResponses(), b"/responses")])
def test_a_client_of_the_dialect_is_passed_on_as_it_is(upstream: XAI, path: bytes) -> None:
    sent = upstream.request(LEASE, Ask("grok-4", query=""), [(b"user-agent", b"opencode")], BODY)
    named = dict(sent.headers)
    assert (sent.target, sent.body) == (path, BODY)
    assert (named[b"authorization"], named[b"user-agent"]) == (b"Bearer fake-1", b"opencode")
    assert upstream.request(LEASE, Ask("grok-4", query="a=b"), [], BODY).target == path + b"?a=b"


@pytest.mark.parametrize(("model", "kept"), [("grok-4", False), ("grok-code-fast-1", False), ("grok-3-mini", True)])
def test_an_effort_is_told_to_models_that_take_one(model: str, kept: bool) -> None:
    sent = XAI().request(LEASE, Ask(model), [], BODY)
    assert ("reasoning_effort" in json.loads(sent.body)) is kept
    assert dict(sent.headers)[b"user-agent"].startswith(b"ccs-broker/")


@pytest.mark.parametrize("offer", [Offer.IMAGES, Offer.IMAGE_EDITS])
def test_images_are_asked_for_in_json(offer: Offer) -> None:
    assert Offer.EMBEDDINGS not in XAI.offers
    json_only = nullcontext(), pytest.raises(BrokerError, match=r"^content-type: ")
    for kind, expected in zip((b"application/json", b"multipart/form-data; boundary=x"), json_only, strict=True):
        with expected:
            sent = XAI().request(
                LEASE, Ask("grok-imagine-image", query="", offer=offer), [(b"content-type", kind)], BODY
            )
            assert (sent.target, sent.body) == (f"/{offer.value}".encode(), BODY)
