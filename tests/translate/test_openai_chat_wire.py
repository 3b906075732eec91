"""Field names of a chat completions request, as documented."""

import msgspec
import pytest

from broker.translate.openai_chat_wire import WireRequest

MESSAGES = '"model":"m","messages":[{"role":"user","content":{"any":1}}]'


def test_content_is_left_for_later():
    request = msgspec.json.decode(f"{{{MESSAGES}}}", type=WireRequest)
    assert bytes(request.messages[0].content) == b'{"any":1}'
    assert (
        bytes(msgspec.json.decode('{"model":"m","messages":[{"role":"user"}]}', type=WireRequest).messages[0].content)
        == b"null"
    )


@pytest.mark.parametrize("name", ["generationConfig", "safetySettings"])
def test_settings_of_gemini_keep_their_spelling(name):
    value = "{}" if name == "generationConfig" else "[]"
    request = msgspec.json.decode(f'{{{MESSAGES},"{name}":{value}}}', type=WireRequest)
    assert [request.generation_config, request.safety_settings].count(None) == 1


def test_every_optional_field_may_be_null():
    required = {"model", "messages"}
    names = [field.encode_name for field in msgspec.structs.fields(WireRequest) if field.encode_name not in required]
    nulls = "".join(f',"{name}":null' for name in names)
    assert msgspec.json.decode(f"{{{MESSAGES}{nulls}}}", type=WireRequest) == msgspec.json.decode(
        f"{{{MESSAGES}}}", type=WireRequest
    )
    assert len(names) > 25
