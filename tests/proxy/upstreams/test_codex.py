import json

import pytest

from broker.ipc.schema import Lease
from broker.model.errors import BrokerError, ErrorCode
from broker.model.secret import Secret
from broker.proxy.headers import Headers
from broker.proxy.upstreams.base import Ask, Kind, StreamsOnly
from broker.proxy.upstreams.codex import LEFT_OUT, Codex
from broker.proxy.upstreams.table import UPSTREAMS

OWN = b'{ "model":"gpt-5-codex", "store" : false,"stream":true , "input":[ ], "odd":1e0 }'


def lease(**facts: str) -> Lease:
    return Lease(account="codex/a", provider="codex", generation=1, access_token=Secret("fake-1"), facts=facts)


def sent(body: bytes) -> bytes:
    return Codex().request(lease(), Ask("m"), [], body).body


def test_headers() -> None:
    made = Codex().request(lease(account_id="acc-1"), Ask("m"), [], OWN)
    named = dict(made.headers)
    assert made.target == b"/responses"
    assert named[b"authorization"] == b"Bearer fake-1"
    assert named[b"chatgpt-account-id"] == b"acc-1"
    assert named[b"accept"] == b"text/event-stream"
    assert named[b"originator"] == b"ccs-broker"
    assert named[b"user-agent"].startswith(b"ccs-broker/")


def test_a_client_s_own_headers_stay_but_not_its_account() -> None:
    own: Headers = [
        (b"user-agent", b"codex_exec/1"), (b"originator", b"codex_exec"), (b"session-id", b"s"), (b"accept", b"*/*"), (b"chatgpt-account-id", b"other"),
    ]  # fmt: skip
    made = Codex().request(lease(), Ask("m", query="a=b"), own, OWN)
    named = dict(made.headers)
    assert made.target == b"/responses?a=b"
    assert (named[b"user-agent"], named[b"originator"], named[b"session-id"]) == (b"codex_exec/1", b"codex_exec", b"s")
    assert [value for name, value in made.headers if name == b"accept"] == [b"text/event-stream"]
    assert b"chatgpt-account-id" not in named


def test_what_codex_itself_sends_stays_byte_for_byte() -> None:
    assert sent(OWN) == OWN


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (
            b'{"model":"m","input":[1 ]}',
            b'{"model":"m","input":[1 ],"store":false,"stream":true,"instructions":"","include":["reasoning.encrypted_content"]}',
        ),
        (
            b'{"store":true,"instructions":"be kind","stream":false,"include":["reasoning.encrypted_content"]}',
            b'{"store":false,"instructions":"be kind","stream":true,"include":["reasoning.encrypted_content"]}',
        ),
        (
            b'{"instructions":"x","include":["other"]}',
            b'{"instructions":"x","include":["other","reasoning.encrypted_content"],"store":false,"stream":true}',
        ),
        (
            b'{"store":false,"stream":true,"input" : "x \\u00e9" }',
            b'{"store":false,"stream":true,"input" : [{"type":"message","role":"user","content":[{"type":"input_text","text":"x \\u00e9"}]}] }',
        ),
        (b'{"store":false,"stream":null}', b'{"store":false,"stream":true,"instructions":""}'),
        (b'{"store":false,"stream":true,"top_p":1,"x":1}', b'{"store":false,"stream":true,"x":1}'),
    ],
)
def test_what_it_insists_on(body: bytes, told: bytes) -> None:
    assert sent(body) == told


def test_what_it_refuses_is_left_out() -> None:
    body = {"store": False, "stream": True, **dict.fromkeys(LEFT_OUT, 1), "kept": 1}
    assert json.loads(sent(json.dumps(body).encode())) == {"store": False, "stream": True, "kept": 1}


@pytest.mark.parametrize(
    ("field", "value"), [("previous_response_id", "resp_1"), ("conversation", {"id": "c"}), ("background", True)]
)
def test_what_cannot_be_done_without_memory_is_refused(field: str, value: object) -> None:
    with pytest.raises(BrokerError, match=f"^{field}: ") as caught:
        sent(json.dumps({"model": "m", field: value}).encode())
    assert caught.value.code is ErrorCode.BAD_REQUEST
    assert b"gpt" in sent(json.dumps({"model": "gpt", field: None}).encode())


def test_it_answers_with_a_stream_only() -> None:
    upstream = UPSTREAMS[Kind.CODEX]
    assert isinstance(upstream, StreamsOnly)
    stream = b'data: {"type":"response.completed","response":{"id":"r", "output":[]}}\n\n'
    assert upstream.whole(stream) == b'{"id":"r", "output":[]}'
    assert not isinstance(UPSTREAMS[Kind.OPENAI], StreamsOnly)
