"""What the proxy and a codec hand each other."""

import pytest

from broker.translate.exchange import Encoded, Ids, Reading, Reply, Route, Target
from broker.translate.names import ToolNames
from broker.translate.signatures import SignatureMemory


def test_defaults_are_the_plain_case():
    target = Target("m", SignatureMemory())
    assert (target.project, target.prompt_id, target.safety_off) == (None, None, True)
    assert (Route().model, Route().stream) == (None, None)
    assert Reply(Ids("i", 1), "m").include_usage is False


@pytest.mark.parametrize(
    "value",
    [
        Route(),
        Reply(Ids("i", 1), "m"),
        Target("m", SignatureMemory()),
        Encoded(b"", ToolNames()),
        Reading(Ids("i", 1), ToolNames(), SignatureMemory()),
    ],
)
def test_nothing_of_it_can_be_changed(value):
    with pytest.raises(AttributeError):
        setattr(value, value.__struct_fields__[0], "other")


def test_call_ids_are_the_same_on_every_run_and_short_enough():
    ids = Ids("x" * 200, 1)
    assert ids.call(0) == Ids("x" * 200, 9).call(0) != ids.call(1)
    assert len(ids.call(999)) <= 64
