import base64
import itertools
import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.cli import image_plan
from broker.cli.image_plan import Answer, Picture, Reading, Wish, body, extension, metadata, missing, refusal

PNG = b"\x89PNG fake"
NOW = datetime(2025, 6, 15, 15, 13, 20, tzinfo=UTC)


def url(data: bytes = PNG, mime: str = "image/png") -> str:
    return f"data:{mime};base64,{base64.b64encode(data).decode()}"


def image(at: str) -> dict[str, object]:
    return {"type": "image_url", "index": 0, "image_url": {"url": at}}


def whole(message: dict[str, object], **choice: object) -> Answer:
    reading = Reading()
    reading.whole(
        json.dumps({"choices": [{"index": 0, "message": message, **choice}], "usage": {"total_tokens": 9}}).encode()
    )
    return reading.answer


def test_the_body_is_a_chat_completion_that_wants_an_image() -> None:
    assert body(Wish("a cat", "m", "16:9", "2K", stream=False)) == {
        "model": "m",
        "messages": [{"role": "user", "content": "a cat"}],
        "modalities": ["image", "text"],
        "image_config": {"aspect_ratio": "16:9", "image_size": "2K"},
        "stream": False,
    }


def test_the_defaults_are_square_and_small() -> None:
    wish = Wish("a cat")
    assert (wish.aspect_ratio, wish.size) == ("1:1", "1K")


def test_a_whole_answer() -> None:
    answer = whole({"content": "Here.", "images": [image(url()), image(url(b"j", "image/JPEG"))]}, finish_reason="stop")
    assert answer.pictures == (Picture("image/png", PNG), Picture("image/jpeg", b"j"))
    assert (answer.text, answer.finish, answer.usage) == ("Here.", "stop", {"total_tokens": 9})
    assert missing(answer) is None


def test_a_stream_is_put_together() -> None:
    reading = Reading()
    for delta, more in (
        ({"role": "assistant", "content": "He"}, {}),
        ({"content": "re."}, {}),
        ({"content": None, "images": [image(url())]}, {}),
        ({"images": [image(url(b"two"))]}, {}),
        ({}, {"finish_reason": "stop", "native_finish_reason": "STOP"}),
    ):
        reading.event(b" " + json.dumps({"choices": [{"delta": delta, **more}]}).encode())
    reading.event(b' {"choices": [], "usage": {"total_tokens": 3}}')
    reading.event(b" [DONE]")
    answer = reading.answer
    assert [picture.data for picture in answer.pictures] == [PNG, b"two"]
    assert (answer.text, answer.finish, answer.native_finish, answer.usage) == (
        "Here.",
        "stop",
        "STOP",
        {"total_tokens": 3},
    )


@given(st.lists(st.binary(min_size=1, max_size=50), max_size=4), st.text(max_size=20), st.data())
def test_streamed_and_whole_answers_read_the_same(images: list[bytes], text: str, data: st.DataObject) -> None:
    message = {"content": text, "images": [image(url(each)) for each in images]}
    reading = Reading()
    cut = data.draw(st.integers(0, len(text)))
    parts: list[dict[str, object]] = [
        {"content": text[:cut]},
        {"content": text[cut:]},
        *({"images": [image(url(each))]} for each in images),
    ]
    for delta in parts:
        reading.event(json.dumps({"choices": [{"delta": delta}]}).encode())
    expected = whole(message)
    assert (reading.answer.pictures, reading.answer.text) == (expected.pictures, expected.text)


@pytest.mark.parametrize(
    "at",
    [
        "",
        "https://x/y.png",
        "data:image/png,plain",
        "data:image/png;base64",
        "data:image/png;base64,",
        "data:image/png;base64,@@",
        "data:image/png;base64,AAA",
    ],
)
def test_what_is_no_image_is_left_out(at: str) -> None:
    assert whole({"images": [image(at)]}).pictures == ()


def test_an_image_of_no_type_is_png() -> None:
    assert whole({"images": [image(url(mime=""))]}).pictures == (Picture("image/png", PNG),)


@pytest.mark.parametrize(
    "document",
    [{}, {"choices": None}, {"choices": []}, {"choices": ["x"]}, {"choices": [{"message": 3}]}, {"choices": [{"message": {"images": {}}}]},
     {"choices": [{"message": {"images": ["x", {"image_url": 3}]}}], "usage": []}],
)  # fmt: skip
def test_answers_of_another_shape_hold_nothing(document: dict[str, object]) -> None:
    reading = Reading()
    reading.whole(json.dumps(document).encode())
    assert reading.answer == Answer()


@pytest.mark.parametrize("text", [b"", b"<html>", b"[]", b"\xff"])
def test_what_is_no_json_object_is_told(text: bytes) -> None:
    with pytest.raises(ValueError):
        Reading().whole(text)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (whole({"content": "I cannot."}, finish_reason="stop", native_finish_reason="STOP"), "the model answered with text only (STOP)"),
        (whole({"content": "I cannot."}), "the model answered with text only"),
        (whole({"refusal": "I will not."}), "the model answered with text only"),
        (
            whole({"content": None}, finish_reason="content_filter", native_finish_reason="IMAGE_SAFETY"),
            "the request or its image was blocked by the provider's safety rules (IMAGE_SAFETY)",
        ),
        (whole({}, finish_reason="content_filter"), "the request or its image was blocked by the provider's safety rules"),
        (whole({}, finish_reason="length"), "the model sent neither image nor text (length)"),
        (whole({}, finish_reason="stop", native_finish_reason="NO_IMAGE"), "the model sent neither image nor text (NO_IMAGE)"),
        (whole({}), "the model sent neither image nor text"),
        (Answer(pictures=(Picture("image/png", PNG),), error="cut off"), "the model's answer broke off: cut off"),
    ],
)  # fmt: skip
def test_why_there_is_no_image(answer: Answer, why: str) -> None:
    assert missing(answer) == why


def test_an_error_inside_a_stream_is_kept() -> None:
    reading = Reading()
    reading.event(json.dumps({"error": {"message": "upstream went away", "type": "server_error"}}).encode())
    reading.event(json.dumps({"choices": []}).encode())
    assert missing(reading.answer) == "the model's answer broke off: upstream went away"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b'{"error": {"message": "no account can serve this"}}', "no account can serve this"),
        (b'{"error": "wrong key"}', "wrong key"),
        (b'{"error": {"code": 5}}', "an error without a message"),
        (b'{"detail": "x"}', '{"detail": "x"}'),
        (b"Bad Gateway\n", "Bad Gateway"),
        (b"\xff\xfe", "\ufffd\ufffd"),
        (b"", "no reason given"),
    ],
)
def test_an_error_answer_is_told_whatever_it_is(text: bytes, told: str) -> None:
    assert refusal(text, 503) == f"the proxy answered 503: {told}"


def test_names_count_up() -> None:
    names = list(itertools.islice(image_plan.picture_names(NOW, 2, "image/webp"), 2))
    assert names == ["image_20250615_151320_2.webp", "image_20250615_151320_3.webp"]
    names = list(itertools.islice(image_plan.metadata_names(NOW), 3))
    assert names == [
        "metadata_20250615_151320.json",
        "metadata_20250615_151320_2.json",
        "metadata_20250615_151320_3.json",
    ]


@pytest.mark.parametrize(
    ("mime", "end"),
    [
        ("image/png", ".png"), ("image/jpeg", ".jpg"), ("image/webp", ".webp"), ("image/gif", ".gif"), ("image/svg+xml", ".png"),
        ("image/../../x", ".png"), ("text/plain", ".png"), ("", ".png"),
    ],
)  # fmt: skip
def test_extensions(mime: str, end: str) -> None:
    assert extension(mime) == end


def test_the_metadata_says_what_was_asked_and_what_came() -> None:
    wish = Wish("a cat", "m", "16:9", "2K")
    answer = Answer((Picture("image/png", PNG),), "Here.", "stop", usage={"total_tokens": 9})
    assert metadata(wish, answer, ("a.png",), NOW, 1.23456) == {
        "version": 1,
        "created": "2025-06-15T15:13:20+00:00",
        "prompt": "a cat",
        "model": "m",
        "options": {"aspect_ratio": "16:9", "image_size": "2K"},
        "files": ["a.png"],
        "mime_types": ["image/png"],
        "text": "Here.",
        "finish_reason": "stop",
        "usage": {"total_tokens": 9},
        "seconds": 1.235,
    }
    assert metadata(wish, Answer(), (), NOW, 0)["usage"] is None


def test_an_image_is_not_printed_by_accident() -> None:
    assert "fake" not in repr(Picture("image/png", PNG))
