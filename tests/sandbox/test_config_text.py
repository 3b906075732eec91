"""The configuration text is TOML that says what it should."""

import tomllib

from hypothesis import given
from hypothesis import strategies as st

from broker.sandbox.config_text import config_toml


def test_it_points_everything_at_the_sandbox():
    read = tomllib.loads(config_toml("http://127.0.0.1:5", "id", "/tmp/secret"))
    assert read["providers"]["gemini"] == {
        "authorize_url": "http://127.0.0.1:5/authorize",
        "token_url": "http://127.0.0.1:5/token",
        "revoke_url": "http://127.0.0.1:5/revoke",
        "userinfo_url": "http://127.0.0.1:5/userinfo",
        "api_url": "http://127.0.0.1:5",
        "redirect_port": 0,
        "client_id": "id",
        "client_secret_file": "/tmp/secret",
    }
    assert read["providers"]["sandbox"] == {
        "kind": "oauth2",
        "issuer": "http://127.0.0.1:5",
        "client_id": "id",
        "client_secret_file": "/tmp/secret",
        "scopes": ["openid", "email"],
        "redirect_port": 0,
    }
    assert read["upstreams"] == {name: {"base_url": "http://127.0.0.1:5"} for name in ("codeassist", "gemini")}


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_path_survives(path):
    assert tomllib.loads(config_toml("u", "id", path))["providers"]["gemini"]["client_secret_file"] == path
