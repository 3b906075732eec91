import json

import pytest

from broker.ipc.schema import Lease
from broker.model.errors import BrokerError, ErrorCode
from broker.model.secret import Secret
from broker.proxy.upstreams.base import Ask, Offer
from broker.proxy.upstreams.copilot import Copilot

USER = {"role": "user", "content": "hi"}
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}


def lease(**facts: str) -> Lease:
    account = "github-copilot/a"
    return Lease(
        account=account, provider="github-copilot", generation=1, access_token=Secret("fake-access-1"), facts=facts
    )


def named(body: bytes, own: list[tuple[bytes, bytes]] | None = None, request_id: str = "r-1") -> dict[bytes, bytes]:
    sent = Copilot().request(lease(), Ask("m", request_id=request_id), own or [], body)
    assert len(dict(sent.headers)) == len(sent.headers)
    return dict(sent.headers)


def said(*messages: object) -> dict[bytes, bytes]:
    return named(json.dumps({"messages": messages}).encode())


@pytest.mark.parametrize(
    ("ask", "target"),
    [
        (Ask("m"), b"/chat/completions"),
        (Ask("m", query="a=b"), b"/chat/completions?a=b"),
        (Ask("m", offer=Offer.EMBEDDINGS), b"/embeddings"),
    ],
)
def test_targets(ask: Ask, target: bytes) -> None:
    assert Copilot().request(lease(), ask, [], b"{}").target == target


def test_an_editor_asks() -> None:
    headers = said(USER)
    assert headers[b"authorization"] == b"Bearer fake-access-1"
    assert headers[b"editor-version"] == b"vscode/1.100.0"
    assert headers[b"editor-plugin-version"] == b"copilot/1.300.0"
    assert headers[b"copilot-integration-id"] == b"vscode-chat"
    assert headers[b"openai-intent"] == b"conversation-panel"
    assert len(headers[b"x-request-id"]) == 36
    assert headers[b"x-request-id"] != named(b"{}", request_id="r-2")[b"x-request-id"]


def test_an_editor_s_own_headers_stay() -> None:
    own = [(b"editor-version", b"zed/1"), (b"x-initiator", b"agent"), (b"copilot-integration-id", b"zed-chat")]
    headers = named(b"{}", own)
    assert (headers[b"editor-version"], headers[b"x-initiator"]) == (b"zed/1", b"agent")
    assert headers[b"copilot-integration-id"] == b"zed-chat"


@pytest.mark.parametrize(
    ("messages", "initiator"),
    [
        ([USER], b"user"),
        ([USER, {"role": "assistant", "content": None}], b"agent"),
        ([USER, {"role": "tool", "content": "1"}], b"agent"),
        ([{"role": "assistant", "content": "a"}, USER], b"user"),
        ([], b"user"),
        ([7], b"user"),
        ([{"role": 5}], b"user"),
    ],
)
def test_who_asks(messages: list[object], initiator: bytes) -> None:
    assert said(*messages)[b"x-initiator"] == initiator


def test_images_are_told() -> None:
    assert said({"role": "user", "content": [{"type": "text"}, IMAGE]}, USER)[b"copilot-vision-request"] == b"true"
    assert b"copilot-vision-request" not in said({"role": "user", "content": [{"type": "text"}]})
    assert b"copilot-vision-request" not in said({"role": "user", "content": [7]})
    assert b"copilot-vision-request" not in named(b"nonsense")


def test_another_host_of_github_has_an_api_of_its_own() -> None:
    assert Copilot().homes(lease()) == ("https://api.githubcopilot.com",)
    assert Copilot().homes(lease(host="github.com")) == ("https://api.githubcopilot.com",)
    with pytest.raises(BrokerError) as caught:
        Copilot().homes(lease(host="acme.ghe.com"))
    assert caught.value.code is ErrorCode.MISCONFIGURED
