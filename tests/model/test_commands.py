import pytest

from broker.model.commands import way_in
from broker.providers.registry import BUILT_IN, build


@pytest.mark.parametrize(
    ("provider", "command"),
    [
        ("gemini", "ccs-broker login gemini"),
        ("acme", "ccs-broker login acme"),
        ("openai-compatible", "ccs-broker add-key openai-compatible"),
        ("vertex", "ccs-broker import vertex --file KEY.json"),
    ],
)
def test_each_provider_has_its_way_in(provider: str, command: str) -> None:
    assert way_in(provider) == command


@pytest.mark.parametrize("name", sorted(BUILT_IN))
def test_only_who_can_be_logged_in_to_is(name: str) -> None:
    assert (way_in(name) == f"ccs-broker login {name}") is bool(build({}).get(name).flows)
