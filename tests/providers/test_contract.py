"""Every provider passes the contract suite."""

from broker.providers.registry import BUILT_IN
from tests.contract.provider_contract import ProviderContract


class TestGemini(ProviderContract):
    name = "gemini"


class TestGeneric(ProviderContract):
    name = "sandbox"


def test_every_built_in_provider_is_here() -> None:
    assert {suite.name for suite in ProviderContract.__subclasses__()} >= {
        name for name, (setup, make) in BUILT_IN.items() if make(setup).flows
    }
