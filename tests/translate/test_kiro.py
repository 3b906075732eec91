"""The Kiro codec as a whole; the contract runs in test_kiro_upstream_answer.py."""

import json

import pytest

from broker.model.errors import BrokerError, ErrorCode
from broker.translate.exchange import Target
from broker.translate.fold import fold
from broker.translate.ir import Message, Request, Role, Text
from broker.translate.kiro import Kiro
from broker.translate.signatures import SignatureMemory
from tests.contract.codec_contract import read_stream, reading
from tests.fakes.kiro import talk

TARGET = Target("auto", SignatureMemory())
REQUEST = Request("m", (Message(Role.USER, (Text("hi"),)),), "m")


def test_a_request():
    state = json.loads(Kiro().encode_request(REQUEST, TARGET).body)["conversationState"]
    assert state["currentMessage"]["userInputMessage"]["modelId"] == "auto"


def test_tokens_cannot_be_counted():
    with pytest.raises(BrokerError) as caught:
        Kiro().encode_count(REQUEST, TARGET)
    assert caught.value.code is ErrorCode.BAD_REQUEST
    assert Kiro().decode_count(b'{"totalTokens":7}') is None


def test_answers_and_errors():
    data = b"".join(talk("hi"))
    streamed = read_stream(Kiro().stream_decoder(reading()), [data[:30], data[30:]])
    assert fold(streamed) == fold(Kiro().decode_answer(data, reading()))
    assert Kiro().decode_error(400, b'{"reason":"INVALID_MODEL_ID"}').status == 404
