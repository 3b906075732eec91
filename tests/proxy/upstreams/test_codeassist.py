import pytest

from broker.ipc.schema import Lease
from broker.model.errors import BrokerError, ErrorCode
from broker.model.secret import Secret
from broker.proxy.upstreams.base import Ask
from broker.proxy.upstreams.codeassist import CodeAssist, project_of


def lease(**facts: str) -> Lease:
    return Lease(account="gemini/a", provider="gemini", generation=1, access_token=Secret("fake-access-1"), facts=facts)


@pytest.mark.parametrize(
    ("ask", "target"),
    [
        (Ask("m"), b"/v1internal:generateContent"),
        (Ask("m", stream=True, query="", version="v1"), b"/v1internal:streamGenerateContent?alt=sse"),
        (Ask("m", count=True), b"/v1internal:countTokens"),
    ],
)
def test_targets(ask: Ask, target: bytes) -> None:
    assert CodeAssist().request(lease(), ask, [], b"{}").target == target


def test_headers() -> None:
    named = dict(CodeAssist().request(lease(), Ask("m"), [], b"{}").headers)
    assert named[b"authorization"] == b"Bearer fake-access-1"
    assert named[b"user-agent"].startswith(b"ccs-broker/")
    assert named[b"content-type"] == b"application/json"
    own = [(b"user-agent", b"GeminiCLI"), (b"content-type", b"text/plain")]
    named = dict(CodeAssist().request(lease(), Ask("m"), own, b"{}").headers)
    assert named[b"user-agent"] == b"GeminiCLI"
    assert named[b"content-type"] == b"application/json"


def test_the_project_is_needed() -> None:
    assert project_of(lease(project_id="p-1")) == "p-1"
    with pytest.raises(BrokerError) as caught:
        project_of(lease())
    assert caught.value.code is ErrorCode.MISCONFIGURED
