import json

import pytest

from broker.translate.exchange import Ids, Reading
from broker.translate.fold import fold
from broker.translate.ir import Failure, FailureKind
from broker.translate.names import ToolNames
from broker.translate.responses import Responses
from broker.translate.responses_whole import whole
from broker.translate.signatures import SignatureMemory

CREATED = b'data: {"type":"response.created","response":{"id":"r","output":[]}}\n\n'
ITEM = b'{"type":"message", "content":[{"type":"output_text","text":"hi"}]}'
CALL = b'{"type":"function_call","call_id":"c","name":"f","arguments":"{}" }'


def done(number, item):
    return b'data: {"type":"response.output_item.done","output_index":%d,"item":%s}\n\n' % (number, item)


def completed(response, kind=b"completed"):
    return b'event: response.x\ndata: {"type":"response.' + kind + b'","response":' + response + b"}\n\n"


def test_the_last_event_s_response_is_kept_byte_for_byte():
    response = b'{ "id":"r" , "output":[ ' + ITEM + b' ], "odd":1e0}'
    assert whole(CREATED + done(0, ITEM) + completed(response) + b"data: [DONE]\n\n") == response
    assert whole(b"data: [DONE]\n\n" + completed(response, b"incomplete")) == response


@pytest.mark.parametrize("output", [b"[]", b"null"])
def test_an_output_left_empty_is_filled(output):
    made = whole(CREATED + done(1, CALL) + done(0, ITEM) + completed(b'{"id":"r","output":' + output + b',"odd":1e0}'))
    assert made == b'{"id":"r","output":[' + ITEM + b"," + CALL + b'],"odd":1e0}'
    reading = Reading(Ids("i", 1), ToolNames(), SignatureMemory())
    assert len(fold(Responses().decode_answer(made, reading)).choices[0].parts) == 2


def test_an_answer_of_nothing_stays_so():
    assert whole(completed(b'{"output":[]}')) == b'{"output":[]}'


@pytest.mark.parametrize(
    ("stream", "kind", "word"),
    [
        (b"", FailureKind.SERVER, "cut short"),
        (CREATED + done(0, ITEM), FailureKind.SERVER, "cut short"),
        (b"data: {]\n\n", FailureKind.SERVER, "none"),
        (b"data: []\n\n", FailureKind.SERVER, "none"),
        (completed(b"[]") + b"", FailureKind.SERVER, "none"),
        (b"data: " + b"x" * (65 << 20), FailureKind.SERVER, "none"),
        (CREATED + b'data: {"type":"response.failed"}\n\n', FailureKind.SERVER, "gave up"),
        (
            b'data: {"type":"response.failed","response":{"error":{"code":"rate_limit_exceeded","message":"slow"}}}\n\n',
            FailureKind.RATE_LIMITED,
            "slow",
        ),
        (b'data: {"type":"error","code":"invalid_prompt","message":"no"}\n\n', FailureKind.BAD_REQUEST, "no"),
    ],
)
def test_what_is_no_answer(stream, kind, word):
    told = whole(done(0, ITEM) + stream if stream.startswith(b"event") else stream)
    assert isinstance(told, Failure)
    assert told.kind is kind
    assert word in told.message


def test_it_is_json():
    assert json.loads(whole(done(0, ITEM) + completed(b'{"id":"r"}'))) == {"id": "r", "output": [json.loads(ITEM)]}
