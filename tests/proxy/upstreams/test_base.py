from broker.proxy.upstreams.base import base_url
from broker.proxy.upstreams.gemini import GeminiApi


def test_an_account_s_own_url_beats_the_config_beats_the_vendor_s() -> None:
    api = GeminiApi()
    assert base_url(api, {}, {}) == api.default_url
    assert base_url(api, {"gemini": "http://127.0.0.1:1/", "codeassist": "http://x"}, {}) == "http://127.0.0.1:1"
    assert base_url(api, {"gemini": "http://127.0.0.1:1"}, {"base_url": "https://a.example/"}) == "https://a.example"
