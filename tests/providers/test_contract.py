"""Every provider passes the contract suite."""

from importlib import import_module
from pathlib import Path

from broker.providers.registry import BUILT_IN
from tests.contract.key_contract import KeyContract
from tests.contract.provider_contract import ProviderContract
from tests.contract.vendor_contract import VendorContract


class TestGemini(ProviderContract):
    name = "gemini"


class TestGeneric(ProviderContract):
    name = "sandbox"


def test_every_built_in_provider_is_here() -> None:
    for module in sorted(Path(__file__).parent.glob("test_vendors*.py")):
        import_module(f"tests.providers.{module.stem}")  # its suites count here
    suites = {suite.name for suite in ProviderContract.__subclasses__()}
    suites |= {suite.server.name for suite in VendorContract.__subclasses__()}
    suites |= {suite.name for suite in KeyContract.__subclasses__()}
    assert suites >= set(BUILT_IN)
