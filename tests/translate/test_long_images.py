"""Long images through every pair of dialects: the same as short ones, however a client wrote them, and not copied from hand to hand."""

import json
import tracemalloc

import pytest

from broker.translate.blob import LONG
from broker.translate.codecs import CLIENTS, UPSTREAMS, Dialect
from broker.translate.envelopes import ENVELOPES
from broker.translate.exchange import Reply, Route, Target
from broker.translate.fold import fold
from broker.translate.ir import Image
from broker.translate.signatures import SignatureMemory
from tests.contract.codec_contract import IDS, reading

MIB = 1 << 20
URL = "data:image/png;base64,"
SENT = {
    Dialect.OPENAI_CHAT: {
        "model": "m",
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "x"}, {"type": "image_url", "image_url": URL}]}
        ],
    },
    Dialect.RESPONSES: {
        "model": "m",
        "input": [
            {
                "role": "user",
                "content": [{"type": "input_text", "text": "x"}, {"type": "input_image", "image_url": URL}],
            }
        ],
    },
    Dialect.CLAUDE: {
        "model": "m",
        "max_tokens": 9,
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "x"},
                    {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": ""}},
                ],
            }
        ],
    },
    Dialect.GEMINI: {
        "contents": [{"role": "user", "parts": [{"text": "x"}, {"inlineData": {"mimeType": "image/png", "data": ""}}]}]
    },
}
ANSWERED = {"candidates": [{"content": {"parts": [{"inlineData": {"data": ""}}]}, "finishReason": "STOP"}]}
PAIRS = [(client, upstream) for client in CLIENTS for upstream in UPSTREAMS if client != upstream]


def filled(told, data, *, escaped=""):
    """The JSON of a request or an answer with an image in it; `escaped` stands for its first character."""
    text = json.dumps(told, separators=(",", ":"))
    place = text.index('"', text.index(URL)) if URL in text else text.index('"data":""') + 8
    return (text[:place] + (escaped + data[1:] if escaped else data) + text[place:]).encode()


def target():
    return Target("gemini-3-pro", SignatureMemory(), project="p", prompt_id="id")


def sent(client, upstream, body):
    return UPSTREAMS[upstream].encode_request(CLIENTS[client].decode_request(body, Route("m", stream=False)), target())


def image_of(length):
    """Base64 with all its characters in it."""
    return ("+/Az09==" * (length // 8 + 1))[:length]


@pytest.mark.parametrize("escaped", ["", "\\u002b", "\\u002B"])
@pytest.mark.parametrize("length", [LONG - 25, LONG, LONG + 1, 3 * LONG + 5])
@pytest.mark.parametrize(("client", "upstream"), PAIRS)
def test_a_long_image_is_sent_as_a_short_one(client, upstream, length, escaped):
    data, mark = image_of(length), "+AAA"
    long = sent(client, upstream, filled(SENT[client], data, escaped=escaped)).body
    short = sent(client, upstream, filled(SENT[client], mark)).body
    assert short.count(mark.encode()) == 1
    if client is Dialect.GEMINI:
        data += "=" * (-length % 4)
    told = json.loads(long)
    expected = json.loads(short.replace(mark.encode(), data.encode()))
    if upstream is Dialect.ANTIGRAVITY:  # told by what was said first
        told["request"].pop("sessionId")
        expected["request"].pop("sessionId")
    assert told == expected


@pytest.mark.parametrize("client", list(SENT))
def test_slashes_as_php_writes_them_are_slashes(client):
    data = image_of(2 * LONG)
    body = filled(SENT[client], data.replace("/", "\\/"))
    (message,) = CLIENTS[client].decode_request(body, Route("m", stream=False)).messages
    assert message.parts[-1] == Image("image/png", data)


@pytest.mark.parametrize("upstream", [Dialect.GEMINI, Dialect.CODE_ASSIST])
@pytest.mark.parametrize("client", list(CLIENTS))
@pytest.mark.parametrize("written", ["{}", "/{}", "\\/{}", "\\u002b{}"])
def test_a_long_image_is_answered_as_a_short_one(upstream, client, written):
    data = image_of(2 * LONG + 3)
    long, told = streamed(upstream, client, written.format(data))
    short, _ = streamed(upstream, client, written.format("AAAA"))
    plain = json.loads(f'"{written.format(data)}"')
    assert long == short.replace(json.loads(f'"{written.format("AAAA")}"').encode(), plain.encode())
    assert told.choices[0].parts[0].data == plain
    whole = CLIENTS[client].encode_answer(told, Reply(IDS, "asked"))
    assert plain in whole.decode()


def streamed(upstream, client, data):
    """What a client is sent of a stream that holds an image, and the whole answer."""
    chunk = json.dumps(ANSWERED).replace('"data": ""', f'"data": "{data}"').encode()
    body = chunk if upstream is Dialect.GEMINI else b'{"response": ' + chunk + b"}"
    decoder, encoder = UPSTREAMS[upstream].stream_decoder(reading()), CLIENTS[client].stream_encoder(Reply(IDS, "a"))
    stream = b"data: " + body + b"\r\n\r\n"
    pieces = (stream[at : at + 65_521] for at in range(0, len(stream), 65_521))
    out = [encoder.encode(decoder.feed(piece)) for piece in pieces]
    out += [encoder.encode(decoder.close()), encoder.close()]
    return b"".join(out), fold(UPSTREAMS[upstream].decode_answer(body, reading()))


@pytest.mark.parametrize("data", ["5", "[]", '"\\ud800"', '"' + "A" * LONG + '\udcff"'])
def test_an_answer_whose_image_is_none_has_failed(data):
    body = json.dumps(ANSWERED).replace('"data": ""', f'"data": {data}').encode(errors="surrogateescape")
    answer = fold(UPSTREAMS[Dialect.GEMINI].decode_answer(body, reading()))
    assert answer.failure is not None
    assert answer.failure.message.startswith("the upstream's answer cannot be read")


def peak(step):
    """Memory a step takes at its highest."""
    tracemalloc.start()
    try:
        step()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(("client", "upstream"), PAIRS)
def test_a_request_takes_the_memory_of_what_is_sent_and_little_more(client, upstream):
    body = filled(SENT[client], image_of(4 * MIB))
    # Of Google's clients it is decoded, since their names come in two spellings; Antigravity's envelope is made of what was written before.
    bodies = 1 + (upstream is Dialect.ANTIGRAVITY) + 1.5 * (client is Dialect.GEMINI)
    assert peak(lambda: sent(client, upstream, body)) < (bodies + 0.2) * len(body)


@pytest.mark.parametrize("client", list(CLIENTS))
@pytest.mark.parametrize("upstream", [Dialect.GEMINI, Dialect.CODE_ASSIST])
def test_a_stream_takes_the_memory_of_two_images_or_three(client, upstream):
    stream = b"data: " + filled(ANSWERED, image_of(4 * MIB)) + b"\n\n"
    if upstream is Dialect.CODE_ASSIST:
        stream = b'data: {"response":' + stream[6:-2] + b"}\n\n"
    pieces = [stream[at : at + 65_536] for at in range(0, len(stream), 65_536)]

    def read():
        decoder, encoder = (
            UPSTREAMS[upstream].stream_decoder(reading()),
            CLIENTS[client].stream_encoder(Reply(IDS, "a")),
        )
        out = [encoder.encode(decoder.feed(piece)) for piece in pieces]
        return [*out, encoder.encode(decoder.close()), encoder.close()]

    # Responses tells an image twice, and Anthropic's opens a block and closes it in one breath.
    bodies = 3 if client in (Dialect.RESPONSES, Dialect.CLAUDE) else 2
    assert peak(read) < (bodies + 0.2) * len(stream)


@pytest.mark.parametrize("upstream", list(ENVELOPES))
def test_an_envelope_is_put_around_without_another_copy(upstream):
    body = filled(SENT[Dialect.GEMINI], image_of(4 * MIB))
    assert peak(lambda: ENVELOPES[upstream].request(body, target())) < 1.2 * len(body)
