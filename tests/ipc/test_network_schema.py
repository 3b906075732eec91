import pytest

from broker.ipc.network_schema import NetworkRoute, NetworkTest, NetworkTestAnswer, NetworkView
from broker.ipc.schema import decode, encode
from broker.model.errors import BrokerError
from broker.model.secret import Secret


def test_a_url_goes_out_in_clear_and_is_hidden_here() -> None:
    test = NetworkTest(proxy_url=Secret("http://me:fake@out.example"), target="https://api.example")
    assert b"http://me:fake@out.example" in encode(test)
    assert decode(encode(test), NetworkTest) == test
    assert "fake" not in repr(test)


def test_a_test_with_unknown_fields_is_refused() -> None:
    with pytest.raises(BrokerError, match="proxy_urls"):
        decode(b'{"proxy_urls": "x"}', NetworkTest)


def test_answers_come_back_as_what_they_were() -> None:
    view = NetworkView((NetworkRoute(level="account", source="x", provider="a", account="a/b", proxy="http://p:1"),))
    assert decode(encode(view), NetworkView) == view
    answer = NetworkTestAnswer(target="a:443", level="none", source="x", ok=True, seconds=0.1)
    assert decode(encode(answer), NetworkTestAnswer) == answer
