import pytest

from broker.ipc.schema import Lease
from broker.model.errors import BrokerError, ErrorCode
from broker.model.secret import Secret
from broker.proxy.headers import Headers
from broker.proxy.upstreams.anthropic import Anthropic
from broker.proxy.upstreams.base import Ask


def lease(provider: str, **facts: str) -> Lease:
    return Lease(account=f"{provider}/a", provider=provider, generation=1, access_token=Secret("fake-1"), facts=facts)


def named(made: Lease, headers: Headers | None = None) -> dict[bytes, bytes]:
    return dict(Anthropic().request(made, Ask("m"), headers or [], b"{}").headers)


@pytest.mark.parametrize(
    ("ask", "target"),
    [
        (Ask("m"), b"/v1/messages"),
        (Ask("m", stream=True, query="beta=true"), b"/v1/messages?beta=true"),
        (Ask("m", count=True, query=""), b"/v1/messages/count_tokens"),
    ],
)
def test_targets(ask: Ask, target: bytes) -> None:
    assert Anthropic().request(lease("claude"), ask, [], b"{}").target == target


def test_a_login_is_a_bearer_token_with_its_beta() -> None:
    sent = named(lease("claude"))
    assert (sent[b"authorization"], sent[b"anthropic-beta"]) == (b"Bearer fake-1", b"oauth-2025-04-20")
    assert sent[b"anthropic-version"] == b"2023-06-01"
    assert sent[b"user-agent"].startswith(b"ccs-broker/")
    own: Headers = [
        (b"anthropic-beta", b"a, oauth-2025-04-20"),
        (b"anthropic-beta", b"b,"),
        (b"user-agent", b"claude-cli"),
    ]
    sent = named(lease("claude"), own)
    assert (sent[b"anthropic-beta"], sent[b"user-agent"]) == (b"a,oauth-2025-04-20,b", b"claude-cli")


@pytest.mark.parametrize(
    ("facts", "name", "value"),
    [
        ({}, b"x-api-key", b"fake-1"),
        ({"header": "Authorization"}, b"authorization", b"Bearer fake-1"),
        ({"header": "X-My-Key"}, b"x-my-key", b"fake-1"),
    ],
)
def test_a_key_stands_where_its_account_says(facts: dict[str, str], name: bytes, value: bytes) -> None:
    sent = named(lease("anthropic-compatible", **facts))
    assert sent[name] == value
    assert b"anthropic-beta" not in sent


@pytest.mark.parametrize("header", ["a b", "é", "x:y", "-"])
def test_what_can_be_no_header(header: str) -> None:
    with pytest.raises(BrokerError) as caught:
        named(lease("anthropic-compatible", header=header))
    assert caught.value.code is ErrorCode.MISCONFIGURED
