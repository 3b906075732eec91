import msgspec

from broker.model.naming import Combo, Names, Order
from broker.proxy.asking import Meanings
from broker.proxy.upstreams.base import Offer
from tests.fakes.works import context


def test_a_name_is_read_once_as_long_as_nothing_changes() -> None:
    plain = context()
    assert plain.wanted("gemini-2.5-pro") is not plain.wanted("gemini-2.5-pro")
    known = msgspec.structs.replace(plain, meanings=Meanings())
    first = known.wanted("gemini-2.5-pro")
    assert first == plain.wanted("gemini-2.5-pro")
    assert known.wanted("gemini-2.5-pro") is first
    assert known.wanted("gpt-image-1", Offer.IMAGES) is known.wanted("gpt-image-1", Offer.IMAGES)


def test_a_path_s_provider_is_part_of_what_a_name_means() -> None:
    shared = Meanings()
    everywhere = msgspec.structs.replace(context(), meanings=shared)
    within = msgspec.structs.replace(everywhere, provider="openai-compatible")
    assert everywhere.wanted("gpt-5").providers != within.wanted("gpt-5").providers == ("openai-compatible",)


def test_a_chain_is_read_anew_each_time() -> None:
    turns = iter(range(9))
    names = Names({}, {"both": Combo(("gpt-5", "gemini-2.5-pro"), strategy=Order.ROUND_ROBIN)})
    given = msgspec.structs.replace(context(names=names), meanings=Meanings(), turn=lambda _: next(turns))
    assert [given.wanted("both").goals[0].model for _ in range(3)] == ["gpt-5", "gemini-2.5-pro", "gpt-5"]
