import pytest

from broker.model.errors import BrokerError
from broker.model.told import ThinkingKind, ThinkingLevel, ToldModel, ToldThinking
from broker.proxy.catalog import Catalog, idle
from broker.proxy.models import TABLE, Model
from broker.proxy.upstreams.table import PROVIDERS
from broker.translate.effort import ThinkingClass, ThinkingLimits
from broker.translate.ir import Effort
from broker.translate.limits import UNTOLD, Limits

LLAMA = ToldModel(providers=("openai-compatible",), title="Llama", owner="us", input_tokens=9, output_tokens=3)


def ids(catalog: Catalog, *present: str) -> list[str]:
    return [model.id for model in catalog.served(present, PROVIDERS)]


def test_without_a_config_it_is_the_table() -> None:
    assert ids(Catalog(), *PROVIDERS) == [model.id for model in TABLE]
    assert ids(Catalog()) == []
    assert Catalog().providers("gpt-5") == ()
    assert Catalog().limits("gpt-5") is UNTOLD


def test_a_model_of_the_config_is_listed_where_there_is_an_account() -> None:
    catalog = Catalog({"llama-4": LLAMA, "x-*": LLAMA})
    assert ids(catalog, "openai-compatible") == ["llama-4"]
    assert ids(catalog, "kimi") == ["kimi-for-coding", "kimi-k2.5"]
    (model,) = catalog.served(["openai-compatible"], PROVIDERS)
    assert (model.title, model.owner, model.input_tokens, model.output_tokens) == ("Llama", "us", 9, 3)
    assert catalog.providers("llama-4") == catalog.providers("x-1") == ("openai-compatible",)


def test_a_model_of_the_table_can_be_said_otherwise() -> None:
    catalog = Catalog({"grok-4": ToldModel(title="Grok"), "kimi-k2.5": LLAMA, "grok-5": ToldModel()})
    assert ids(catalog, "xai", "kimi") == ["grok-4", "grok-5", "grok-code-fast-1", "kimi-for-coding"]
    assert catalog.served(["xai"], PROVIDERS)[0].title == "Grok"
    assert catalog.served(["xai"], PROVIDERS)[0].input_tokens == 256_000
    assert ids(Catalog({"grok-5": ToldModel(), "mystery": ToldModel(title="?")}), "kimi") == ids(Catalog(), "kimi")
    assert catalog.providers("grok-4") == ()


def test_limits() -> None:
    words = ToldThinking(kind=ThinkingKind.LEVEL, levels=(ThinkingLevel.LOW, ThinkingLevel.MAX))
    catalog = Catalog({"a": ToldModel(thinking=words), "b": ToldModel(output_tokens=7), "c": ToldModel(title="C")})
    levels = (Effort.LOW, Effort.MAX)
    assert catalog.limits("a") == Limits(ThinkingLimits(ThinkingClass.LEVEL, levels=levels))
    assert catalog.limits("b") == Limits(None, 7)
    assert catalog.limits("c") is UNTOLD


def test_two_patterns_for_one_name_are_an_error() -> None:
    with pytest.raises(BrokerError, match="equally well"):
        Catalog({"a*": LLAMA, "*b": LLAMA}).providers("ab")
    listed = (Model("ab", "AB"), Model("openai-compatible/x", "X"), Model("gpt-5", "GPT"))
    both = Catalog(
        {"a*": ToldModel(output_tokens=1), "*b": ToldModel(output_tokens=1), "x": ToldModel(output_tokens=2)}
    )
    assert both.known_limits(listed) == {"openai-compatible/x": Limits(None, 2)}


def test_tables_that_do_nothing() -> None:
    told = {"a": ToldModel(), "b": ToldModel(providers=("mystery",)), "c-*": ToldModel(), "gpt-9": ToldModel()}
    assert [name for name, _ in idle({**told, "d": LLAMA}, PROVIDERS)] == ["a", "b"]
