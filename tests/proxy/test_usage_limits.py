from hypothesis import given
from hypothesis import strategies as st

from broker.proxy.usage_limits import Window, limits_in, windows

NOW = 1_750_000_000.0


def test_only_headers_on_limits_are_taken() -> None:
    headers = [
        (b"anthropic-ratelimit-unified-5h-utilization", b"0.25"), (b"x-ratelimit-limit-requests", b"60"), (b"x-codex-plan-type", b"plus"),
        (b"retry-after", b"7"), (b"set-cookie", b"a=b"), (b"authorization", b"no"), (b"x-codex-odd", b"\xe9"), (b"x-codex-odd", b"a\x1bb"),
        (b"x-codex-\xff", b"1"), (b"x-codex-" + b"n" * 300, b"1"), (b"x-codex-long", b"v" * 300),
    ]  # fmt: skip
    assert limits_in(headers) == {
        "anthropic-ratelimit-unified-5h-utilization": "0.25", "x-ratelimit-limit-requests": "60", "x-codex-plan-type": "plus", "retry-after": "7",
        "x-codex-long": "v" * 200,
    }  # fmt: skip
    assert len(limits_in([(b"x-codex-%d" % number, b"1") for number in range(100)])) == 64


def test_a_claude_plan() -> None:
    told = {
        "anthropic-ratelimit-unified-status": "allowed_warning", "anthropic-ratelimit-unified-reset": "1750003600",
        "anthropic-ratelimit-unified-5h-status": "allowed", "anthropic-ratelimit-unified-5h-reset": "1750003600",
        "anthropic-ratelimit-unified-5h-utilization": "0.25", "anthropic-ratelimit-unified-representative-claim": "five_hour",
    }  # fmt: skip
    assert windows(told, NOW) == (
        (
            Window("unified", resets_at=NOW + 3600, status="allowed_warning"),
            Window("unified-5h", used=0.25, resets_at=NOW + 3600, status="allowed"),
        ),
        {"anthropic-ratelimit-unified-representative-claim": "five_hour"},
    )


def test_keys_of_anthropic_and_openai() -> None:
    told = {
        "anthropic-ratelimit-requests-limit": "50", "anthropic-ratelimit-requests-remaining": "40",
        "anthropic-ratelimit-requests-reset": "2025-06-15T15:07:00Z",
    }  # fmt: skip
    assert windows(told, NOW)[0] == (Window("requests", 50, 40, 1 - 40 / 50, NOW + 20),)
    told = {
        "x-ratelimit-limit-tokens": "100",
        "x-ratelimit-remaining-tokens": "100",
        "x-ratelimit-reset-tokens": "6m0.5s",
    }
    assert windows(told, NOW)[0] == (Window("tokens", 100, 100, 0, NOW + 360.5),)
    told = {
        "x-ratelimit-limit": "0",
        "x-ratelimit-remaining": "5",
        "x-ratelimit-reset": "1750000060",
        "x-ratelimit-resource": "core",
    }
    assert windows(told, NOW) == ((Window("requests", 0, 5, None, NOW + 60),), {"x-ratelimit-resource": "core"})


def test_a_chatgpt_plan_and_a_wait() -> None:
    told = {
        "x-codex-primary-used-percent": "12.5", "x-codex-primary-reset-after-seconds": "90", "x-codex-secondary-used-percent": "3",
        "x-codex-secondary-reset-at": "1750000500", "x-codex-plan-type": "plus", "retry-after": "7",
    }  # fmt: skip
    assert windows(told, NOW) == (
        (
            Window("primary", used=0.125, resets_at=NOW + 90),
            Window("secondary", used=0.03, resets_at=NOW + 500),
            Window("retry-after", resets_at=NOW + 7),
        ),
        {"x-codex-plan-type": "plus"},
    )


def test_what_makes_no_sense_is_shown_as_it_came_or_not_told() -> None:
    assert windows({"retry-after": "Fri, 31 Dec 1999 23:59:59 GMT"}, NOW) == (
        (),
        {"retry-after": "Fri, 31 Dec 1999 23:59:59 GMT"},
    )
    told = {
        "x-ratelimit-limit-x": "many",
        "x-ratelimit-remaining-x": "-1",
        "x-ratelimit-reset-x": "2025-06-15T15:07:00",
    }
    assert windows(told, NOW)[0] == (Window("x"),)
    assert windows({"x-ratelimit-reset-x": ""}, NOW)[0] == (Window("x"),)


NAMES = st.sampled_from(
    [
        "retry-after",
        "x-ratelimit-reset",
        "x-codex-a-reset-at",
        "anthropic-ratelimit-unified-utilization",
        "x-ratelimit-limit-a",
    ]
)
VALUES = st.one_of(
    st.text(max_size=12),
    st.sampled_from(["nan", "inf", "-inf", "1e400", "9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00+14:00", "1h2h"]),
)


@given(st.dictionaries(NAMES, VALUES))
def test_any_text_is_read_without_a_fault(told: dict[str, str]) -> None:
    found, rest = windows(told, NOW)
    assert len(found) + len(rest) <= len(told)
