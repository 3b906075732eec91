import base64
import json

import pytest

from broker.model.errors import BrokerError, ErrorCode
from broker.translate.images import Drawing, decode_edit, decode_form, decode_generation, encode_answer, form_head
from broker.translate.ir import (
    Answer,
    Choice,
    Failure,
    Finished,
    FinishReason,
    Image,
    ImageLink,
    ImageOptions,
    Part,
    Text,
    Usage,
)

KIND = "multipart/form-data; boundary=x1"
PNG = b"\x89PNG\r\n\x1a\n..."
AS_TEXT = base64.b64encode(PNG).decode()
URL = f"data:image/png;base64,{AS_TEXT}"


def generation(**fields: object) -> Drawing:
    return decode_generation(json.dumps({"model": "m", "prompt": "a cat", **fields}).encode())


def form(*fields: tuple[str, bytes], kind: str | None = None) -> bytes:
    """Write a form; fields called image are files."""
    out = []
    for name, value in fields:
        file = '; filename="a"' if name.startswith("image") else ""
        line = f"\r\nContent-Type: {kind}" if file and kind else ""
        out.append(
            f'--x1\r\nContent-Disposition: form-data; name="{name}"{file}{line}\r\n\r\n'.encode() + value + b"\r\n"
        )
    return b"".join(out) + b"--x1--\r\n"


MODEL, PROMPT, FILE = ("model", b"m"), ("prompt", b"a hat"), ("image", PNG)


def parts(drawing: Drawing) -> tuple[Part, ...]:
    (message,) = drawing.request.messages
    return message.parts


def test_a_new_image() -> None:
    plain = generation(
        user="me", quality="high", n=1, moderation="low", output_format="webp", background="auto", stream=False
    )
    assert parts(plain) == (Text("a cat"),)
    assert plain.request.image == ImageOptions(("image",))
    assert (plain.request.model, plain.as_url) == ("m", False)
    assert generation(response_format="url").as_url
    assert not generation(response_format="b64_json").as_url


@pytest.mark.parametrize(
    ("size", "ratio", "pixels"),
    [
        ("1024x1024", "1:1", None), ("256x256", "1:1", None), ("1536x1024", "3:2", None), ("1024x1536", "2:3", None), ("1792x1024", "16:9", None),
        ("1024x1792", "9:16", None), ("2048x2048", "1:1", "2K"), ("4096x4096", "1:1", "4K"), ("2752x1536", "16:9", "2K"), ("1280x1024", "5:4", None),
        ("99999x1", "21:9", None), ("auto", None, None),
    ],
)  # fmt: skip
def test_the_shape_that_comes_nearest(size: str, ratio: str | None, pixels: str | None) -> None:
    assert generation(size=size).request.image == ImageOptions(("image",), ratio, pixels)


@pytest.mark.parametrize(
    ("fields", "where"),
    [
        ({"prompt": " "}, "prompt"), ({"prompt": None}, "prompt"), ({"n": 2}, "n"), ({"n": 0}, "n"), ({"stream": True}, "stream"),
        ({"mask": {"image_url": URL}}, "mask"), ({"markup": "x"}, "markup"), ({"background": "transparent"}, "background"),
        ({"response_format": "jpeg"}, "response_format"), ({"output_format": "gif"}, "output_format"),
        ({"size": "big"}, "size"), ({"size": ""}, "size"), ({"size": "0x1"}, "size"), ({"size": "1024x1024px"}, "size"),
    ],
)  # fmt: skip
def test_what_is_refused_names_the_field(fields: dict[str, object], where: str) -> None:
    with pytest.raises(BrokerError) as caught:
        generation(**fields)
    assert caught.value.code is ErrorCode.BAD_REQUEST
    assert caught.value.detail.startswith(f"{where}: ")


def edit(**fields: object) -> Drawing:
    return decode_edit(json.dumps({"model": "m", "prompt": "a hat", **fields}).encode())


def test_edits_in_json() -> None:
    made = edit(images=[{"image_url": URL}, {"image_url": "https://a/b.png"}], size="auto")
    assert parts(made) == (
        Image("image/png", AS_TEXT),
        ImageLink("https://a/b.png", "images[1].image_url"),
        Text("a hat"),
    )


@pytest.mark.parametrize(
    ("fields", "where"),
    [({}, "images"), ({"images": []}, "images"), ({"images": [{"file_id": "f"}]}, "images[0]"), ({"images": [{"image_url": "x"}]}, "images[0].image_url")],
)  # fmt: skip
def test_edits_in_json_that_are_refused(fields: dict[str, object], where: str) -> None:
    with pytest.raises(BrokerError, match=f"^{where.replace('[', '.').replace(']', '.')}: "):
        edit(**fields)


def test_edits_in_a_form() -> None:
    made = decode_form(
        form(
            MODEL,
            PROMPT,
            FILE,
            ("image[]", PNG),
            ("n", b"1"),
            ("size", b"1536x1024"),
            ("images", b"x"),
            ("stream", b"false"),
        ),
        KIND,
    )
    assert parts(made) == (Image("image/png", AS_TEXT), Image("image/png", AS_TEXT), Text("a hat"))
    assert made.request.image.aspect_ratio == "3:2"


@pytest.mark.parametrize(
    ("data", "kind", "mime"),
    [
        (PNG, "application/octet-stream", "image/png"), (b"\xff\xd8\xff..", None, "image/jpeg"), (b"RIFF\n\n\n\nWEBP", "text/plain", "image/webp"),
        (b"??", "image/heic", "image/heic"),
    ],
)  # fmt: skip
def test_an_uploaded_image_says_what_it_is(data: bytes, kind: str | None, mime: str) -> None:
    made = decode_form(form(MODEL, PROMPT, ("image", data), kind=kind), KIND)
    assert parts(made)[0] == Image(mime, base64.b64encode(data).decode())


@pytest.mark.parametrize(
    ("body", "where"),
    [
        (form(MODEL, PROMPT), "image"), (form(MODEL, PROMPT, ("image", b"??")), "image"), (form(MODEL, PROMPT, ("image", b""), kind="image/png"), "image"),
        (form(MODEL, PROMPT, PROMPT, FILE), "prompt"), (form(MODEL, FILE), "prompt"), (form(MODEL, ("prompt", b"\xff"), FILE), "prompt"),
        (form(MODEL, PROMPT, FILE, ("n", b"two")), "n"), (form(MODEL, PROMPT, FILE, ("n", b"2")), "n"),
        (form(MODEL, PROMPT, FILE, ("mask", b"a mask")), "mask"),
        (b"", "body"),
    ],
)  # fmt: skip
def test_forms_that_are_refused(body: bytes, where: str) -> None:
    with pytest.raises(BrokerError, match=f"^{where}: "):
        decode_form(body, KIND)


def test_a_file_in_the_place_of_a_text() -> None:
    body = form(MODEL, FILE).replace(b'name="image"; filename', b'name="prompt"; filename')
    with pytest.raises(BrokerError, match=r"^image: "):
        decode_form(body, KIND)
    with pytest.raises(BrokerError, match=r"^prompt: "):
        decode_form(body.replace(b"--x1--\r\n", form(FILE)), KIND)


def test_what_must_be_known_of_a_form() -> None:
    body = form(PROMPT, ("model", b"gpt-image-2"), FILE, ("stream", b"True"))
    head = form_head(body, KIND)
    assert (head.model, head.stream) == ("gpt-image-2", True)
    assert body[head.place.start : head.place.end] == b"gpt-image-2"
    assert not form_head(form(MODEL, ("stream", b"false")), KIND).stream
    assert not form_head(form(MODEL), KIND).stream


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (form(FILE), "is required"), (form(MODEL, MODEL), "is there twice"), (form(("model", b" ")), "must not be empty"),
        (form(("model", b"\xff")), "is no UTF-8"),
    ],
)  # fmt: skip
def test_a_form_names_one_model(body: bytes, why: str) -> None:
    with pytest.raises(BrokerError, match=f"^model: {why}"):
        form_head(body, KIND)


def answer(*parts: Text | Image, finished: Finished | None = None, usage: Usage | None = None) -> Answer:
    return Answer(choices=(Choice(0, parts, finished),), usage=usage)


def test_answers() -> None:
    made = answer(Text("here"), Image("image/jpeg", "QUJD"), usage=Usage(prompt=3, completion=1290, reasoning=10))
    whole = encode_answer(made, 5, as_url=False)
    assert isinstance(whole, bytes)
    assert json.loads(whole) == {
        "created": 5,
        "data": [{"b64_json": "QUJD"}],
        "output_format": "jpeg",
        "usage": {"input_tokens": 3, "output_tokens": 1290, "total_tokens": 1293},
    }
    linked = encode_answer(answer(Image("image/tiff", "QUJD"), Image("image/png", "QQ==")), 5, as_url=True)
    assert isinstance(linked, bytes)
    assert json.loads(linked) == {
        "created": 5, "data": [{"url": "data:image/tiff;base64,QUJD"}, {"url": "data:image/png;base64,QQ=="}],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("told", "reason", "message"),
    [
        (
            answer(finished=Finished(FinishReason.CONTENT_FILTER, "IMAGE_SAFETY")),
            "content_policy_violation",
            "no image was made (IMAGE_SAFETY)",
        ),
        (
            answer(Text("I would rather not."), finished=Finished(FinishReason.STOP, "STOP")),
            "no_image",
            "no image was made (STOP): I would rather not.",
        ),
        (answer(Text("x" * 999)), "no_image", f"no image was made: {'x' * 500}"),
        (Answer(), "no_image", "no image was made"),
    ],
)
def test_an_answer_without_an_image_is_none(told: Answer, reason: str, message: str) -> None:
    failed = encode_answer(told, 5, as_url=False)
    assert isinstance(failed, Failure)
    assert (failed.status, failed.reason, failed.message) == (400, reason, message)
