import pytest

from broker.translate.counting import read_count
from tests.contract.codec_contract import GARBAGE


def test_counts_of_two_vendors():
    assert read_count(b'{"totalTokens":7,"promptTokensDetails":[]}') == 7
    assert read_count(b'{"input_tokens":0}') == 0


@pytest.mark.parametrize("body", [*GARBAGE, b"{}", b'{"totalTokens":"7"}'])
def test_what_tells_no_count(body):
    assert read_count(body) is None
