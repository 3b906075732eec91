"""data: URLs are taken apart without touching their content."""

import msgspec
import pytest

from broker.model.errors import BrokerError
from broker.translate.blob import LONG, blob_of
from broker.translate.data_url import image_at, is_data_url, join_data_url, split_data_url
from broker.translate.ir import Image, ImageLink


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("data:image/png;base64,AAAA", ("image/png", "AAAA")),
        ("DATA:Image/PNG;charset=utf-8; BASE64,AA,A", ("image/png", "AA,A")),
        ("data:image/jpg;base64,/9j/", ("image/jpeg", "/9j/")),
    ],
)
def test_taking_apart(url, parts):
    assert split_data_url(url, "x") == parts


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("", "expected a data: URL"),
        ("file:///etc/passwd", "expected a data: URL"),
        ("blob:a,b", "expected a data: URL"),
        ("data:image/png;base64", "expected a data: URL"),
        ("data:image/svg+xml,%3Csvg", "must be marked ;base64"),
        ("data:;base64,AAAA", "names no media type"),
        ("data:image/png;base64,", "holds no data"),
    ],
)
def test_refusing(url, why):
    with pytest.raises(BrokerError, match=r"^messages\[0\]: ") as caught:
        split_data_url(url, "messages[0]")
    assert why in caught.value.detail


def test_putting_together():
    assert split_data_url(join_data_url("image/webp", "UklG"), "x") == ("image/webp", "UklG")


@pytest.mark.parametrize("url", ["http://h/a.png", "HTTPS://h/a.png"])
def test_an_image_behind_a_link(url):
    assert image_at(url, "messages[0]") == ImageLink(url, "messages[0]")


def test_an_image_inside_its_url():
    assert image_at("data:image/png;base64,AAAA", "x") == Image("image/png", "AAAA")
    with pytest.raises(BrokerError, match=r"^messages\[0\]: expected a data: URL"):
        image_at("ftp://h/a.png", "messages[0]")


def blob(text):
    return blob_of(msgspec.Raw(f'"{text}"'.encode()))


def test_long_content_stays_where_it_is():
    data = "A" * LONG
    mime, found = split_data_url(blob("data:image/png;base64," + data), "x")
    assert (mime, found) == ("image/png", data)
    assert join_data_url("image/webp", found) == "data:image/webp;base64," + data
    assert image_at(blob("https://x/" + data), "x") == ImageLink("https://x/" + data, "x")
    with pytest.raises(BrokerError, match="expected a data: URL"):
        split_data_url(blob("data:" + data + ",A"), "x")


def test_data_urls_are_known_by_their_scheme():
    assert (is_data_url("DATA:x"), is_data_url(blob("data:" + "A" * LONG)), is_data_url("dat")) == (True, True, False)
