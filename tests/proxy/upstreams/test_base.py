import tomllib

import pytest

from broker.proxy.upstreams.base import Ask, Kind
from broker.proxy.upstreams.table import UPSTREAMS


@pytest.mark.parametrize("kind", list(Kind))
def test_a_kind_is_a_name_the_config_can_hold(kind: Kind) -> None:
    assert tomllib.loads(f'[upstreams.{kind}]\nbase_url = ""') == {"upstreams": {kind.value: {"base_url": ""}}}
    assert UPSTREAMS[kind].kind is kind


def test_what_is_asked_for_by_default_is_a_whole_answer() -> None:
    ask = Ask("m")
    assert (ask.stream, ask.count, ask.query) == (False, False, None)
