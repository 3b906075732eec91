import msgspec

from broker.translate.responses_wire import WireEcho, WireRequest


def test_unknown_fields_are_skipped():
    body = b'{"model":"m","input":[{"role":"user","content":"x","id":"msg_1"}],"store":false,"client_metadata":{}}'
    wire = msgspec.json.decode(body, type=WireRequest)
    assert (wire.input[0].role, wire.input[0].type) == ("user", None)


def test_what_is_repeated_stays_as_it_was_written():
    echo = msgspec.json.decode(b'{"temperature":1e0,"tools":[ ]}', type=WireEcho)
    assert (bytes(echo.temperature), bytes(echo.tools), bytes(echo.top_p)) == (b"1e0", b"[ ]", b"null")
