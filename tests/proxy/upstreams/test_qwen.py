import pytest

from broker.ipc.schema import Lease
from broker.model.secret import Secret
from broker.proxy.upstreams.base import Ask
from broker.proxy.upstreams.qwen import Qwen

LEASE = Lease(account="qwen/a", provider="qwen", generation=1, access_token=Secret("fake-access-1"))


@pytest.mark.parametrize(
    ("ask", "target"), [(Ask("m"), b"/chat/completions"), (Ask("m", query="a=b"), b"/chat/completions?a=b")]
)
def test_targets(ask: Ask, target: bytes) -> None:
    assert Qwen().request(LEASE, ask, [], b"{}").target == target


def test_headers() -> None:
    named = dict(Qwen().request(LEASE, Ask("m"), [], b"{}").headers)
    assert named[b"authorization"] == b"Bearer fake-access-1"
    assert named[b"x-dashscope-authtype"] == b"qwen-oauth"
    assert named[b"x-dashscope-cachecontrol"] == b"enable"
    assert named[b"x-dashscope-useragent"] == named[b"user-agent"]
    own = [(b"user-agent", b"QwenCode/0.14.2 (linux; x64)"), (b"content-type", b"application/json; charset=utf-8")]
    sent = Qwen().request(LEASE, Ask("m"), own, b"{}")
    assert dict(sent.headers)[b"user-agent"] == b"QwenCode/0.14.2 (linux; x64)"
    assert len(dict(sent.headers)) == len(sent.headers)
