import json

import pytest

from broker.ipc.schema import Lease
from broker.model.errors import BrokerError, ErrorCode
from broker.model.secret import Secret
from broker.proxy.upstreams.base import Ask, StreamsOnly
from broker.proxy.upstreams.kiro import Kiro
from broker.proxy.upstreams.places import Places

ARN = "arn:aws:codewhisperer:{}:123456789012:profile/ABC-1"
US, EU = ARN.format("us-east-1"), ARN.format("eu-central-1")
BODY = b'{"conversationState":{}}'


def lease(**facts: str) -> Lease:
    return Lease(account="kiro/a", provider="kiro", generation=1, access_token=Secret("fake-access-1"), facts=facts)


def sent(**facts: str) -> dict[str, object]:
    body = Kiro().request(lease(**facts), Ask("m", request_id="r-1"), [], BODY).body
    found = json.loads(body)
    assert isinstance(found, dict)
    return found


def test_headers_and_target() -> None:
    request = Kiro().request(lease(), Ask("m", request_id="r-1"), [], BODY)
    headers = dict(request.headers)
    assert len(headers) == len(request.headers)
    assert request.target == b"/generateAssistantResponse"
    assert headers[b"authorization"] == b"Bearer fake-access-1"
    assert headers[b"content-type"] == b"application/x-amz-json-1.0"
    assert headers[b"accept"] == b"application/vnd.amazon.eventstream"
    assert headers[b"x-amz-target"] == b"AmazonCodeWhispererStreamingService.GenerateAssistantResponse"
    assert headers[b"x-amz-user-agent"] == headers[b"user-agent"]
    assert headers[b"user-agent"].startswith(b"ccs-broker/")
    assert headers[b"amz-sdk-request"] == b"attempt=1; max=1"
    assert len(headers[b"amz-sdk-invocation-id"]) == 36
    other = Kiro().request(lease(), Ask("m", request_id="r-2"), [], BODY)
    assert dict(other.headers)[b"amz-sdk-invocation-id"] != headers[b"amz-sdk-invocation-id"]


@pytest.mark.parametrize("method", ["social", "idc", ""])
def test_the_profile_goes_along(method: str) -> None:
    assert sent(profile_arn=US, auth_method=method) == {"conversationState": {}, "profileArn": US}


def test_a_builder_id_s_does_not() -> None:
    assert sent(profile_arn=US, auth_method="builder-id") == {"conversationState": {}}
    assert sent() == {"conversationState": {}}


def test_a_profile_is_json() -> None:
    assert sent(profile_arn='"},"x":{"')["profileArn"] == '"},"x":{"'


@pytest.mark.parametrize(
    ("facts", "homes"),
    [
        ({}, ("https://codewhisperer.us-east-1.amazonaws.com", "https://q.us-east-1.amazonaws.com")),
        ({"profile_arn": US}, ("https://codewhisperer.us-east-1.amazonaws.com", "https://q.us-east-1.amazonaws.com")),
        ({"profile_arn": EU, "region": "us-west-2"}, ("https://q.eu-central-1.amazonaws.com",)),
        (
            {"region": "eu-north-1"},
            ("https://codewhisperer.us-east-1.amazonaws.com", "https://q.us-east-1.amazonaws.com"),
        ),
        ({"profile_arn": ARN.format("us-gov-west-1")}, ("https://q.us-gov-west-1.amazonaws.com",)),
    ],
)
def test_homes(facts: dict[str, str], homes: tuple[str, ...]) -> None:
    assert Places({}, {}).of(Kiro(), lease(**facts)) == homes


@pytest.mark.parametrize(
    "region", ["evil.example/", "x", "us-east-1.evil.example#", "", "us-east-1\n", "us_east_1", "ÜS-east-1"]
)
def test_a_profile_that_is_none_makes_no_address(region: str) -> None:
    with pytest.raises(BrokerError) as caught:
        Places({}, {}).of(Kiro(), lease(profile_arn=ARN.format(region)))
    assert caught.value.code is ErrorCode.MISCONFIGURED


def test_its_file_may_name_no_address() -> None:
    with pytest.raises(BrokerError) as caught:
        Places({}, {}).of(Kiro(), lease(base_url="https://q.us-east-1.amazonaws.com.evil.example"))
    assert caught.value.code is ErrorCode.MISCONFIGURED


def test_a_configured_address_counts() -> None:
    own = "https://runtime.us-east-1.kiro.dev"
    assert Places({"kiro": (own,)}, {}).of(Kiro(), lease(profile_arn=EU)) == (own,)


def test_its_codec_reads_whole_answers_itself() -> None:
    assert not isinstance(Kiro(), StreamsOnly)
