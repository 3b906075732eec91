import json

import pytest

from broker.providers.elsewhere import elsewhere
from broker.providers.registry import build
from tests.providers.test_golden import CASES, name_of

ALL = build({})
QWEN, COPILOT = ALL.get("qwen"), ALL.get("github-copilot")


def test_addresses_of_the_provider_are_nothing_to_tell() -> None:
    assert elsewhere(QWEN, {}) == ()
    for address in (
        "portal.qwen.ai",
        "https://portal.qwen.ai/v1",
        "https://chat.qwen.ai.",
        "HTTPS://PORTAL.QWEN.AI:443/x",
    ):
        assert elsewhere(QWEN, {"resource_url": address}) == (), address


@pytest.mark.parametrize(
    ("address", "host"),
    [
        ("https://evil.example/v1", "evil.example"),
        ("evil.example", "evil.example"),
        ("https://portal.qwen.ai@evil.example/", "evil.example"),
        ("https://portal.qwen.ai.evil.example", "portal.qwen.ai.evil.example"),
        ("notqwen.ai", "notqwen.ai"),
        ("http://127.0.0.1:8000", "127.0.0.1"),
        ("https://[", "https://["),
        ("https://", "https://"),
        ("a\x1b[31mb.example", "a\\x1b[31mb.example"),
    ],
)
def test_others_are_told(address: str, host: str) -> None:
    (sentence,) = elsewhere(QWEN, {"resource_url": address, "base_url": address})
    assert f"go to {host} (base_url)" in sentence
    assert sentence.isprintable()


@pytest.mark.parametrize(
    ("name", "address"),
    [
        ("github-copilot", "https://api.business.githubcopilot.com"), ("codex", "https://chatgpt.com/backend-api/codex"),
        ("xai", "https://cli-chat-proxy.grok.com/v1"), ("xai", "https://api.x.ai/v1"), ("claude", "https://api.anthropic.com"),
        ("kimi", "https://api.kimi.com/coding/v1"), ("antigravity", "https://daily-cloudcode-pa.sandbox.googleapis.com"),
        ("iflow", "https://apis.iflow.cn/v1"),
    ],
)  # fmt: skip
def test_addresses_of_a_vendors_api_are_its_own(name: str, address: str) -> None:
    assert elsewhere(ALL.get(name), {"base_url": address}) == ()


def test_each_host_is_told() -> None:
    told = elsewhere(COPILOT, {"host": "ghe.example.com", "api_url": "https://copilot.example.org", "base_url": "x"})
    assert [each.split(" go to ")[1].split(" ")[0] for each in told] == ["x", "copilot.example.org", "ghe.example.com"]


def test_a_domain_that_many_share_is_not_the_providers() -> None:
    own = build_own("https://id.co.uk/token")
    assert elsewhere(own, {"base_url": "https://api.id.co.uk"}) == ()
    assert elsewhere(own, {"base_url": "https://evil.co.uk"})
    own = build_own("https://example/token")
    assert elsewhere(own, {"base_url": "https://example"}) == ()
    assert elsewhere(own, {"base_url": "https://evil.example"}) == ()


def build_own(token_url: str):  # a provider
    from broker.settings.reading import parse

    text = f'[providers.own]\nkind = "oauth2"\ntoken_url = "{token_url}"\nclient_id = "fake"\n'
    return build(parse(text.encode()).providers).get("own")


@pytest.mark.parametrize("path", [each for each in CASES if each.parent.name in ALL.names], ids=name_of)
def test_files_as_their_programs_left_them_are_nothing_to_tell(path) -> None:
    document = json.loads(path.read_text())
    [provider] = [each for each in ALL if each.claims(document)]
    told = elsewhere(provider, provider.read(document, path.name).facts)
    if not provider.endpoints.token_url:
        return  # a key, for whatever host its file names
    # Nothing but hosts that are made up, and a company's own GitHub, which has to be told too.
    assert all(
        ".example" in each or " acme.ghe.com" in each or "-api.acme.ghe.com" in each or "example.com" in each
        for each in told
    )
