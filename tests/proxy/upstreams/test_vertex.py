import json

import pytest

from broker.ipc.schema import Lease
from broker.model.errors import BrokerError, ErrorCode
from broker.model.secret import Secret
from broker.proxy.upstreams.base import Ask, Offer
from broker.proxy.upstreams.vertex import Vertex

WHERE = b"/v1/projects/p-1/locations/us-central1/publishers/google/models/"


def lease(**facts: str) -> Lease:
    given = {"project_id": "p-1", **facts}
    return Lease(account="vertex/a", provider="vertex", generation=1, access_token=Secret("fake-access-1"), facts=given)


@pytest.mark.parametrize(
    ("ask", "target"),
    [
        (Ask("m"), b"m:generateContent"),
        (Ask("models/m", version="v1beta"), b"m:generateContent"),
        (Ask("a/b:c"), b"a%2Fb%3Ac:generateContent"),
        (Ask("m", stream=True), b"m:streamGenerateContent?alt=sse"),
        (Ask("m", stream=True, query=""), b"m:streamGenerateContent"),
        (Ask("m", stream=True, query="alt=sse&x=1"), b"m:streamGenerateContent?alt=sse&x=1"),
        (Ask("m", count=True), b"m:countTokens"),
        (Ask("m", offer=Offer.EMBEDDINGS), b"m:predict"),
    ],
)
def test_targets(ask: Ask, target: bytes) -> None:
    assert Vertex().request(lease(), ask, [], b"{}").target == WHERE + target


def test_project_and_location_are_the_account_s() -> None:
    sent = Vertex().request(lease(project_id="a/b c", location="europe-west4"), Ask("m"), [], b"{}")
    assert sent.target.startswith(b"/v1/projects/a%2Fb%20c/locations/europe-west4/")
    for facts in ({"project_id": ""}, {"location": "evil.example/"}):
        with pytest.raises(BrokerError) as caught:
            Vertex().request(lease(**facts), Ask("m"), [], b"{}")
        assert caught.value.code is ErrorCode.MISCONFIGURED


@pytest.mark.parametrize(
    ("location", "home"),
    [
        ("us-central1", "https://us-central1-aiplatform.googleapis.com"),
        ("europe-west4", "https://europe-west4-aiplatform.googleapis.com"),
        ("global", "https://aiplatform.googleapis.com"),
    ],
)
def test_homes(location: str, home: str) -> None:
    assert Vertex().homes(lease(location=location)) == (home,)


@pytest.mark.parametrize("location", ["evil.example/", "a.b", "", "@evil", "evil.example#", "US", "x" * 60, "eu\n"])
def test_a_location_is_no_host(location: str) -> None:
    with pytest.raises(BrokerError) as caught:
        Vertex().homes(lease(location=location))
    assert caught.value.code is ErrorCode.MISCONFIGURED


def test_headers() -> None:
    named = dict(Vertex().request(lease(), Ask("m"), [], b"{}").headers)
    assert named == {b"content-type": b"application/json", b"authorization": b"Bearer fake-access-1"}
    own = [(b"content-type", b"application/json; charset=utf-8"), (b"user-agent", b"genai")]
    named = dict(Vertex().request(lease(), Ask("m"), own, b"{}").headers)
    assert (named[b"content-type"], named[b"user-agent"]) == (b"application/json; charset=utf-8", b"genai")


@pytest.mark.parametrize("name", ["generateContentRequest", "generate_content_request"])
def test_tokens_are_counted_of_what_vertex_takes(name: str) -> None:
    inner = {"model": "models/m", "contents": [{"a": 1}], "systemInstruction": {}, "tools": [], "safetySettings": []}
    body = json.dumps({name: inner}).encode()
    sent = json.loads(Vertex().request(lease(), Ask("m", count=True), [], body).body)
    assert sent == {"contents": [{"a": 1}], "systemInstruction": {}, "tools": []}
    assert Vertex().request(lease(), Ask("m"), [], body).body is body


@pytest.mark.parametrize("body", [b'{ "contents" : [] }', b"nonsense", b"[]", b'{"generateContentRequest": 7}'])
def test_other_bodies_are_vertex_s_to_judge(body: bytes) -> None:
    assert Vertex().request(lease(), Ask("m", count=True), [], body).body is body
