import time

import pytest

from broker.observe.redact import MASK, redact, redact_traffic, secret_name

# Built at run time: nothing in this file looks like a credential.
SHAPES = [
    "eyJ" + "hbGciOiJub25l." + "eyJzdWIiOiJmYWtl." + "c2ln",
    "ya29" + "." + "a0fake" * 4,
    "1/" + "/0" + "fakefake" * 3,
    "4/" + "0" + "fakefake" * 3,
    "GOCSPX" + "-" + "fake" * 4,
    "AI" + "za" + "fake" * 9,
    "sk" + "-ant-" + "fake" * 6,
    "gh" + "o_" + "fake" * 6,
    "github" + "_pat_" + "fake" * 6,
    "xox" + "b-" + "fake" * 4,
]


@pytest.mark.parametrize("secret", SHAPES)
def test_known_shapes_are_masked_anywhere(secret: str) -> None:
    assert redact(f"before {secret} after") == f"before {MASK} after"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Authorization: Bearer fake-access-1", f"Authorization: Bearer {MASK}"),
        ("authorization=basic ZmFrZTpmYWtl", f"authorization=basic {MASK}"),
        ('{"refresh_token": "fake-refresh", "n": 1}', f'{{"refresh_token": "{MASK}", "n": 1}}'),
        (r'{"token":"a\"b","x":"y"}', f'{{"token":"{MASK}","x":"y"}}'),
        ("{'client_secret': 'fake'}", f"{{'client_secret': '{MASK}'}}"),
        (
            "GET /cb?code=fake-code&state=fake-state&scope=a HTTP/1.1",
            f"GET /cb?code={MASK}&state={MASK}&scope=a HTTP/1.1",
        ),
        ("grant_type=refresh_token&refresh_token=fake", f"grant_type=refresh_token&refresh_token={MASK}"),
        ("https://user:fake@host/x", f"https://{MASK}@host/x"),
        ("x-goog-api-key=fake", f"x-goog-api-key={MASK}"),
    ],
)
def test_named_values_are_masked(text: str, shown: str) -> None:
    assert redact(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "refresh started",
        "the token endpoint answered 503",
        "unicode=1 decode=2 monkey=3",
        "http://127.0.0.1:8317/v1/models",
        "gemini-alice@example.com-project.json: not JSON at byte 7",
        "the bearer of this",
    ],
)
def test_plain_sentences_stay(text: str) -> None:
    assert redact(text) == text


@pytest.mark.parametrize(
    "name", ["token", "access_token", "Authorization", "client_secret", "my_refresh_token", "cookie", "api_key"]
)
def test_names_that_promise_a_credential(name: str) -> None:
    assert secret_name(name)


@pytest.mark.parametrize("name", ["code", "provider", "tokens_left", "task", "keyring"])
def test_names_that_do_not(name: str) -> None:
    assert not secret_name(name)


@pytest.mark.parametrize("secret", SHAPES)
def test_known_shapes_are_masked_in_traffic_too(secret: str) -> None:
    assert redact_traffic(f"before {secret} after") == f"before {MASK} after"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ('{"code": "rate_limited", "status": "X"}', '{"code": "rate_limited", "status": "X"}'),
        ('{"accessToken":"fake-1","max_tokens":1}', f'{{"accessToken":"{MASK}","max_tokens":1}}'),
        ('{"my_api_key" : "fake\\"2"}', f'{{"my_api_key" : "{MASK}"}}'),
        (
            r'{"text": "{\"refresh_token\": \"fake-3\", \"n\": 1}"}',
            rf'{{"text": "{{\"refresh_token\": \"{MASK}\", \"n\": 1}}"}}',
        ),
        (
            r'"{\\\"private_key\\\":\n \\\"fake-4\\\"}"',
            rf'"{{\\\"private_key\\\":\n \\\"{MASK}\\\"}}"',
        ),
        (
            f"-----BEGIN {'RSA'} PRIVATE KEY-----\nfake\n-----END RSA PRIVATE KEY-----",
            f"{MASK}-----END RSA PRIVATE KEY-----",
        ),
        (r'{"x": "{\"password\": \"fake\\\"5\", \"n\": 1}"}', rf'{{"x": "{{\"password\": \"{MASK}\", \"n\": 1}}"}}'),
        ('{"password": "fake words that have no', f'{{"password": "{MASK}"'),
        (r'{"x": "{\"password\": \"fake words that have no', rf'{{"x": "{{\"password\": \"{MASK}\"'),
        ("Bearer fake-access-1", f"Bearer {MASK}"),
        ("the tokens of a key are counted", "the tokens of a key are counted"),
    ],
)
def test_what_is_masked_in_traffic(text: str, shown: str) -> None:
    assert redact_traffic(text) == shown


@pytest.mark.parametrize("part", ["a-", "a.b+", "ey" + "J", "\\", '"', '\\"key'])
def test_no_text_is_looked_through_again_and_again(part: str) -> None:
    text = part * (65_536 // len(part))
    begun = time.process_time()
    redact(text)
    redact_traffic(text)
    # It takes a tenth; where it grew with the square of the length it would be 10 and more, and no other thread runs meanwhile.
    assert time.process_time() - begun < 2


def test_what_begins_like_a_token_hides_nothing_behind_it() -> None:
    long = "ey" + "J" + "a" * 20
    assert redact(f"{long} sk{'-ant-'}{'fake' * 6} {long}.b") == f"{long} {MASK} {long}.b"
    assert redact(f"x{long}.{'b' * 8}.c") == f"x{MASK}"
