import pytest

from broker.ipc.schema import Lease
from broker.model.secret import Secret
from broker.proxy.headers import Headers
from broker.proxy.upstreams.base import Ask
from broker.proxy.upstreams.kimi import Kimi, KimiMessages, model_name
from broker.translate.codecs import Dialect


def lease(**facts: str) -> Lease:
    return Lease(account="kimi/a", provider="kimi", generation=1, access_token=Secret("fake-access-1"), facts=facts)


@pytest.mark.parametrize(
    ("upstream", "ask", "target"),
    [
        (Kimi(), Ask("m"), b"/v1/chat/completions"),
        (Kimi(), Ask("m", query="a=b"), b"/v1/chat/completions?a=b"),
        (KimiMessages(), Ask("m"), b"/v1/messages"),
        (KimiMessages(), Ask("m", count=True, query="beta=true"), b"/v1/messages/count_tokens?beta=true"),
    ],
)
def test_targets(upstream: Kimi, ask: Ask, target: bytes) -> None:
    assert upstream.request(lease(), ask, [], b"{}").target == target


def test_both_are_one_api() -> None:
    assert Kimi().dialect is Dialect.OPENAI_CHAT
    assert KimiMessages().dialect is Dialect.CLAUDE
    assert KimiMessages().kind is Kimi().kind
    named = dict(KimiMessages().request(lease(), Ask("m"), [], b"{}").headers)
    assert named[b"anthropic-version"] == b"2023-06-01"


@pytest.mark.parametrize(
    ("region", "home"),
    [
        ({}, "https://api.kimi.com/coding"),
        ({"region": "cn"}, "https://api.kimi.com/coding"),
        ({"region": "global"}, "https://api.kimi.ai/coding"),
        ({"region": "evil.example"}, "https://api.kimi.com/coding"),
    ],
)
def test_a_token_stays_in_its_region(region: dict[str, str], home: str) -> None:
    assert Kimi().homes(lease(**region)) == (home,)


def test_requests_come_from_the_login_s_device() -> None:
    own: Headers = [(b"x-msh-device-id", b"another"), (b"x-msh-os-version", b"x"), (b"user-agent", b"opencode")]
    sent = Kimi().request(lease(device_id="d-1"), Ask("m"), own, b"{}")
    named = dict(sent.headers)
    assert named[b"x-msh-device-id"] == b"d-1"
    assert named[b"user-agent"] == b"opencode"
    assert named[b"authorization"] == b"Bearer fake-access-1"
    assert b"x-msh-os-version" not in named
    assert len(named) == len(sent.headers)
    assert dict(Kimi().request(lease(), Ask("m"), [], b"{}").headers)[b"user-agent"].startswith(b"ccs-broker/")


@pytest.mark.parametrize("told", ["", "a\r\nb", "ä", "x" * 200])
def test_what_can_be_no_header_is_no_device(told: str) -> None:
    assert dict(Kimi().request(lease(device_id=told), Ask("m"), [], b"{}").headers)[b"x-msh-device-id"] == (
        b"cli-proxy-api-device"
    )


@pytest.mark.parametrize(
    ("name", "told"),
    [("kimi-k2.5", "k2.5"), ("kimi-k2-thinking", "k2-thinking"), ("kimi-for-coding", "kimi-for-coding"), ("m", "m")],
)
def test_models_by_the_api_s_own_names(name: str, told: str) -> None:
    assert model_name(name) == told
    body = b'{"odd": 1e0, "model": "%s"}' % name.encode()
    sent = Kimi().request(lease(), Ask(name), [], body)
    assert sent.body == b'{"odd": 1e0, "model": "%s"}' % told.encode()
