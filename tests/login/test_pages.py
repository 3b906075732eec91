import base64
import hashlib
import re
from html.parser import HTMLParser

import pytest

from broker.login import pages
from broker.login.pages import HEADERS, Page

ALL = [
    pages.succeeded("Gemini CLI", "gemini/<b>x</b>@example.com", ("Project p & q was chosen.",)),
    pages.pending(),
    pages.failed("the access was refused", "Try again."),
    pages.failed("it ended.", "Try again."),
    pages.wrong_state(),
    pages.ended(),
    pages.not_here(),
    pages.not_allowed(),
]


class Checker(HTMLParser):
    """Notes tags and attributes that load, run or lead anywhere."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [name for name, _ in attrs]


@pytest.mark.parametrize("page", ALL)
def test_a_page_is_html_that_loads_and_runs_nothing(page: Page) -> None:
    checker = Checker()
    checker.feed(page.render().decode())
    assert not {"script", "img", "link", "iframe", "a", "form", "b"} & set(checker.tags)
    assert not {"src", "href", "style", "action"} & set(checker.attributes)
    assert not [name for name in checker.attributes if name.startswith("on")]


@pytest.mark.parametrize("page", ALL)
def test_its_style_is_the_one_the_policy_allows(page: Page) -> None:
    style = re.search(r"<style>(.*?)</style>", page.render().decode(), re.DOTALL)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in HEADERS["Content-Security-Policy"]


def test_text_is_escaped_and_sentences_end() -> None:
    shown = ALL[0].render().decode()
    assert "gemini/&lt;b&gt;x&lt;/b&gt;@example.com" in shown
    assert "Project p &amp; q" in shown
    assert "<p>The access was refused.</p>" in ALL[2].render().decode()
    assert "<p>It ended.</p>" in ALL[3].render().decode()


def test_the_headers_keep_the_address_to_this_page() -> None:
    assert HEADERS["Referrer-Policy"] == "no-referrer"
    assert HEADERS["Cache-Control"] == "no-store"
    assert HEADERS["Content-Security-Policy"].startswith("default-src 'none'")


def test_statuses() -> None:
    assert [page.status for page in ALL] == [200, 200, 200, 200, 400, 410, 404, 403]
