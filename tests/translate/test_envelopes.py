import json

import pytest

from broker.translate.codecs import UPSTREAMS, Dialect
from broker.translate.envelopes import ENVELOPES
from broker.translate.exchange import Target
from broker.translate.signatures import SignatureMemory

BODY = b'{"contents":[{"role":"user","parts":[{"text":"hi"}]}]}'


@pytest.mark.parametrize("dialect", list(ENVELOPES))
def test_each_holds_the_request(dialect: Dialect) -> None:
    target = Target("m", SignatureMemory(), "p", "r")
    assert json.loads(ENVELOPES[dialect].request(BODY, target))["request"]["contents"] == json.loads(BODY)["contents"]
    assert json.loads(ENVELOPES[dialect].count(BODY, target))["request"]["model"] == "models/m"
    assert dialect in UPSTREAMS
