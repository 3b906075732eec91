"""The registry is complete and sound: what every built-in provider must have, listed by what is missing."""

import ast
import json
import re
from importlib import import_module
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from broker.providers.base import Endpoints, Provider
from broker.providers.registry import BUILT_IN, build
from tests.architecture.imports import ROOT, modules, tree
from tests.contract.provider_contract import ProviderContract
from tests.contract.vendor_contract import VendorContract

REGISTRY = build({})
PROVIDERS = list(REGISTRY)
DOCS = ROOT / "docs"
GOLDEN = ROOT / "tests" / "golden" / "auth"

# Providers of keys share a page and have no login, nor a vendor that could be faked: name -> why.
KEYS = {
    name: "an API key: put down by the user, never renewed"
    for name, (setup, make) in BUILT_IN.items()
    if not make(setup).flows
}
KEYS_PAGE = "api-keys"
# A vendor without flows that is no key would hide from the tests below: name -> what it is instead.
NO_LOGIN = {"vertex": "a service account's key file, imported"}
OF_KEYS = KEYS.keys() - NO_LOGIN.keys()


def name_of(provider: Provider) -> str:
    return provider.name


def test_a_provider_is_called_what_the_table_calls_it() -> None:
    assert {name: make(setup).name for name, (setup, make) in BUILT_IN.items()} == {name: name for name in BUILT_IN}


def test_no_two_providers_listen_on_one_port() -> None:
    taken: dict[int, str] = {}
    for provider in PROVIDERS:
        for port in filter(None, provider.redirect.ports if provider.flows else ()):
            assert port not in taken, f"port {port} is {taken[port]}'s and {provider.name}'s"
            taken[port] = provider.name


def test_no_two_providers_share_a_client_id() -> None:
    seen: dict[str, str] = {}
    for provider in filter(name_of, PROVIDERS):
        if provider.client_id:
            assert provider.client_id not in seen, f"{provider.name} and {seen[provider.client_id]} have one client id"
            seen[provider.client_id] = provider.name


@pytest.mark.parametrize("provider", PROVIDERS, ids=name_of)
def test_endpoints_are_https(provider: Provider) -> None:
    known = {name: getattr(provider.endpoints, name) for name in Endpoints.__dataclass_fields__}
    wrong = {name: url for name, url in known.items() if url is not None and not _sound(url)}
    assert not wrong, f"{provider.name}: {wrong}"


def _sound(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme == "https" and bool(parts.hostname) and not parts.username and not parts.fragment


@pytest.mark.parametrize("module", [name for name in modules() if name.startswith("broker.providers.")])
def test_no_vendor_names_a_plain_http_address(module: str) -> None:
    texts = (
        each.value for each in ast.walk(tree(module)) if isinstance(each, ast.Constant) and isinstance(each.value, str)
    )
    found = {host for text in texts for host in re.findall(r"http://([a-z0-9.\[\]:-]+)", text)}
    assert {host for host in found if not host.startswith(("localhost", "127.0.0.1", "[::1]"))} == set()


@pytest.mark.parametrize("provider", PROVIDERS, ids=name_of)
def test_a_login_has_the_endpoints_it_needs(provider: Provider) -> None:
    flows = {flow.value for flow in provider.flows}
    known = provider.endpoints
    assert "code" not in flows or (known.authorize_url and known.token_url)
    assert "device" not in flows or (known.device_url and known.token_url)


@pytest.mark.parametrize("provider", PROVIDERS, ids=name_of)
def test_every_provider_has_its_page(provider: Provider) -> None:
    page = KEYS_PAGE if provider.name in OF_KEYS else provider.name
    assert (DOCS / "providers" / f"{page}.md").exists(), f"docs/providers/{page}.md is missing"
    overview = (DOCS / "providers.md").read_text()
    assert f"](providers/{page}.md)" in overview, f"docs/providers.md does not link providers/{page}.md"
    text = (DOCS / "providers" / f"{page}.md").read_text()
    named = re.search(rf"`{provider.name}`|ccs-broker (login|import) {provider.name}\b", text)
    assert named, f"{page}.md does not name {provider.name}"


def test_every_page_is_somebody_s() -> None:
    pages = {path.stem for path in (DOCS / "providers").glob("*.md")}
    assert pages == {KEYS_PAGE, *(name for name in REGISTRY.names if name not in OF_KEYS)}


@pytest.mark.parametrize("provider", [each for each in PROVIDERS if each.name not in OF_KEYS], ids=name_of)
def test_every_provider_has_golden_files(provider: Provider) -> None:
    """Each a file as some program left it, with what we read in it and what a renewal makes of it."""
    files = sorted((GOLDEN / provider.name).glob("*.json"))
    assert files, f"tests/golden/auth/{provider.name} has no files"
    for path in files:
        assert provider.claims(json.loads(path.read_text())), f"{path.name} is not {provider.name}'s"
        for kind in ("read", "renewed"):
            assert (path.parent / kind / path.name).exists(), f"{provider.name}/{kind}/{path.name} is missing"


def test_every_golden_folder_is_somebody_s() -> None:
    assert {path.name for path in GOLDEN.iterdir() if path.is_dir()} <= set(REGISTRY.names)


def test_every_provider_has_a_contract_suite() -> None:
    for path in sorted((ROOT / "tests" / "providers").glob("test_vendors*.py")):
        import_module(f"tests.providers.{path.stem}")
    import_module("tests.providers.test_contract")
    covered = {suite.name for suite in ProviderContract.__subclasses__()}
    covered |= {suite.server.name for suite in VendorContract.__subclasses__()}
    missing = {each.name for each in PROVIDERS if each.flows} - covered
    assert not missing, f"no suite against a fake of {sorted(missing)}"


def test_every_vendor_module_is_in_the_table() -> None:
    """A file with `DEFAULTS` that nobody lists is a provider nobody can use."""
    table = [setup for setup, _ in BUILT_IN.values()]
    for path in sorted(Path(ROOT / "broker" / "providers").glob("*.py")):
        made = import_module(f"broker.providers.{path.stem}")
        defaults = getattr(made, "DEFAULTS", None)
        assert defaults is None or any(defaults is each for each in table), (
            f"broker/providers/{path.name} is not in the registry"
        )
