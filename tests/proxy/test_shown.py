from broker.proxy.catalog import Catalog
from broker.proxy.learnt import Found, Learnt
from broker.proxy.models import Model
from broker.proxy.shown import codex_entries, shown
from broker.proxy.upstreams.table import PROVIDERS
from tests.fakes.broker_socket import account


def found(*names: str, codex: bytes = b"") -> tuple[Found, ...]:
    return tuple(Found(Model(name, name.title(), (), 0, 0, "us"), codex) for name in names)


def test_the_table_first_and_then_what_accounts_said() -> None:
    learnt = Learnt()
    learnt.put("xai/x", "xai", found("grok-4", "grok-5"), 0.0)
    learnt.put("openai-compatible/a", "openai-compatible", found("llama", "old-1"), 0.0)
    learnt.put("codex/gone", "codex", found("gpt-7", codex=b"{}"), 0.0)
    accounts = (
        account("openai-compatible/a", None, excluded_models=("old-*",)),
        account("xai/x", None),
        account("mystery/y", None),
    )
    models = shown(accounts, PROVIDERS, Catalog(), learnt)
    assert [model.id for model in models] == ["grok-4", "grok-5", "grok-code-fast-1", "openai-compatible/llama"]
    assert models[0].title == "Grok 4", "the table knows better"
    assert models[3].title == "Llama"
    assert codex_entries(accounts, learnt) == {}
    assert codex_entries([account("codex/gone", None)], learnt) == {"gpt-7": b"{}"}
