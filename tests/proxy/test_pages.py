import re

from broker.proxy import pages


def test_the_page_is_self_contained_and_escapes_what_it_is_given() -> None:
    text = pages.docs("127.0.0.1:8317", "1.2.3").decode()
    assert "ccs-broker 1.2.3" in text
    assert "http://127.0.0.1:8317/v1/chat/completions" in text
    assert 'OPENAI_BASE_URL="http://127.0.0.1:8317/v1"'.replace('"', "&quot;") in text
    assert not re.search(r"<script|<link|<img|src=|@import|url\(", text)
    assert "{" not in re.sub(r"<style>.*?</style>|<pre>.*?</pre>", "", text, flags=re.DOTALL)
    assert "<b>" not in pages.docs("<b>evil</b>", "1").decode()


def test_nothing_may_be_loaded_or_framed() -> None:
    policy = dict(pages.HEADERS)[b"content-security-policy"]
    assert b"default-src 'none'" in policy
    assert b"frame-ancestors 'none'" in policy
