import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.model.secret import Secret
from broker.providers.credentials import Credential, Listed, read

KNOWN = ("gemini", "claude")
CANARY = "fake-canary"


def listed(document: object) -> Listed:
    return read(json.dumps(document).encode(), KNOWN)


def test_everything_a_provider_can_have() -> None:
    entry = {
        "clientId": "me", "clientSecret": "fake-secret", "tokenUrl": "https://id.example/token", "authUrl": "https://id.example/authorize",
        "refreshUrl": "http://127.0.0.1:9/refresh",
    }  # fmt: skip
    assert listed({"gemini": entry}) == Listed(
        {
            "gemini": Credential(
                client_id="me",
                client_secret=Secret("fake-secret"),
                token_url="https://id.example/token",
                authorize_url="https://id.example/authorize",
                refresh_url="http://127.0.0.1:9/refresh",
            )
        }
    )


@pytest.mark.parametrize("nothing", [None, ""])
def test_null_and_empty_say_nothing(nothing: object) -> None:
    assert listed({"gemini": {"clientId": nothing, "clientSecret": nothing}}) == Listed({"gemini": Credential()})


@pytest.mark.parametrize("data", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b'{"gemini": NaN}'])
def test_what_is_not_json_is_told(data: bytes) -> None:
    assert read(data, KNOWN) == Listed({}, ("it is not JSON",))


@pytest.mark.parametrize("document", [[], 1, "x", None])
def test_what_is_no_object_is_told(document: object) -> None:
    assert listed(document) == Listed({}, ("it is not an object with a provider's name for each entry",))


def test_an_unknown_provider_is_left_out_and_told() -> None:
    found = listed({"gemni\n\x1b[31m": {"clientId": "me"}, "claude": {"clientId": "me"}})
    assert found.credentials == {"claude": Credential(client_id="me")}
    assert found.warnings == ("there is no provider 'gemni[31m'",)


def test_an_entry_that_is_no_object_is_left_out() -> None:
    assert listed({"gemini": "me"}) == Listed({}, ("gemini is not an object",))


@pytest.mark.parametrize(
    ("key", "value", "why"),
    [
        ("clientId", 1, "is not text"),
        ("clientSecret", [CANARY], "is not text"),
        ("clientSecret", f"{CANARY} {CANARY}", "cannot be in it"),
        ("clientSecret", f"{CANARY}\n", "cannot be in it"),
        ("clientId", "é" + CANARY, "cannot be in it"),
        ("tokenUrl", f"http://{CANARY}.example/token", "no https address"),
        ("authUrl", f"https://user:{CANARY}@id.example/", "no https address"),
        ("refreshUrl", f"ftp://{CANARY}", "no https address"),
        ("tokenUrl", f"https://id.example/ {CANARY}", "cannot be in it"),
    ],
)
def test_a_value_that_cannot_be_is_left_out_and_not_repeated(key: str, value: object, why: str) -> None:
    found = listed({"gemini": {"clientId": "me", key: value}})
    expected = Credential() if key == "clientId" else Credential(client_id="me")
    assert found.credentials == {"gemini": expected}
    (warning,) = found.warnings
    assert warning.startswith(f"gemini.{key} ")
    assert why in warning
    assert CANARY not in warning


@pytest.mark.parametrize(("extra", "said"), [(("a",), "1 unknown key;"), (("a", "b"), "2 unknown keys;")])
def test_unknown_keys_are_counted_not_repeated(extra: tuple[str, ...], said: str) -> None:
    found = listed({"gemini": {"clientId": "me", **dict.fromkeys(extra, CANARY)}})
    assert found.credentials == {"gemini": Credential(client_id="me")}
    assert said in found.warnings[0]
    assert CANARY not in found.warnings[0]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from([*KNOWN, "clientId", "tokenUrl", "other"]), inner),
    max_leaves=12,
)


@given(JSON)
def test_any_json_is_read(document: object) -> None:
    assert set(listed(document).credentials) <= set(KNOWN)
