"""Answers of token endpoints, as they come, and what each is taken for."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.model.clock import Now
from broker.oauth.failures import AnswerLost, Failure, Misconfigured, Permanent, RateLimited, Transient
from broker.oauth.messages import HttpResponse
from broker.oauth.sorting import Words, clean, error_codes, final_by_status, sort_failure

NOW = Now(1_750_000_000.0, 5.0)
HTML = "<!DOCTYPE html><html><head><title>Just a moment...</title></head><body>invalid_grant</body></html>"
WORDS = Words(
    permanent=frozenset({"refresh_token_reused", "invalidgrantexception", "bad credentials"}),
    misconfigured=frozenset({"invalid token provided"}),
    limited=frozenset({"throttlingexception"}),
    passing=frozenset({"try_later"}),
)

QUOTA = {
    "error": {
        "code": 429,
        "status": "RESOURCE_EXHAUSTED",
        "message": "You have exhausted your capacity on this model. Your quota will reset after 2h7m23s.",
        "details": [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "43.4s"}],
    }
}


def sort(status: int, body: object, headers: dict[str, str] | None = None, words: Words = WORDS) -> Failure:
    raw = body if isinstance(body, str) else json.dumps(body)
    return sort_failure(HttpResponse(status, headers or {}, raw.encode()), NOW, words)


DEAD = [
    (400, {"error": "invalid_grant"}),
    (400, {"error": "invalid_grant", "error_description": "Token has been expired or revoked."}),
    (400, {"error": "invalid_grant", "error_description": "Bad Request", "error_subtype": "invalid_rapt"}),
    (401, {"error": "invalid_grant"}),
    (403, {"error": "invalid_grant"}),
    (200, {"error": "invalid_grant"}),
    (200, {"error": "invalid_grant", "access_token": ""}),
    (400, {"error": "INVALID_GRANT"}),
    (400, {"error": {"code": "invalid_grant", "message": "Token revoked"}}),
    (400, {"error": {"type": "invalid_grant"}}),
    (400, {"error": {"code": 400, "status": "INVALID_ARGUMENT", "message": "invalid_grant: the token is gone"}}),
    (400, {"type": "error", "error": {"type": "invalid_grant", "message": "Refresh token not found"}}),
    (400, {"error": '{"error":"invalid_grant","error_description":"gone"}'}),
    (400, {"message": '{"error":{"code":"invalid_grant"}}'}),
    (400, '"{\\"error\\":\\"invalid_grant\\"}"'),
    (400, [{"error": "invalid_grant"}]),
    (400, [{"error": {"status": "invalid_grant"}}]),
    (400, {"errors": [{"code": "invalid_grant"}]}),
    (400, {"detail": "Token refresh failed: invalid_grant (revoked)."}),
    (400, {"error": "unexpected", "error_description": "upstream said invalid_grant"}),
    (400, "invalid_grant"),
    (400, "the server said: invalid_grant."),
    (400, "error=invalid_grant&error_description=gone"),
    (401, {"error": {"code": "refresh_token_reused", "message": "Your refresh token was already used."}}),
    (400, {"__type": "com.amazonaws.sso#InvalidGrantException"}),
    (401, {"message": "Bad credentials", "status": "401"}),
]

OUR_FAULT = [
    (401, {"error": "invalid_client"}),
    (401, {"error": "invalid_client", "error_description": "The OAuth client was not found."}),
    (400, {"error": "invalid_client"}),
    (200, {"error": "invalid_client"}),
    (401, {"error": "unauthorized_client"}),
    (400, {"error": "unsupported_grant_type"}),
    (400, {"error": "invalid_request", "error_description": "client_secret is missing."}),
    (400, {"error": "invalid_scope"}),
    (401, {"error": "deleted_client"}),
    (400, {"error": {"message": "client failed: invalid_client"}}),
    (401, [{"error": {"code": "unauthorized_client"}}]),
    (400, {"message": "Invalid token provided"}),
]

MAY_PASS = [
    (400, {}),
    (400, {"error": "something_new"}),
    (403, {"error": "something_new"}),
    (403, {"error": {"code": 403, "status": "PERMISSION_DENIED", "message": "no"}}),
    (400, ""),
    (401, ""),
    (404, "Not Found"),
    (400, HTML),
    (403, HTML),
    (200, {"error": "something_new"}),
    (200, {"errors": ["odd"]}),
    (408, {"error": "invalid_grant"}),
    (425, ""),
    (500, ""),
    (500, {"error": "invalid_grant"}),
    (502, HTML),
    (503, {"error": "temporarily_unavailable"}),
    (504, "upstream timed out"),
    (520, ""),
    (500, {"error": "x"}),
    (400, {"error": "temporarily_unavailable"}),
    (400, {"error": "server_error", "error_description": "store says invalid_grant"}),
    (400, {"error": "try_later"}),
    (302, ""),
    (400, "[" * 3000),
    (400, '{"error": {"error": {"error": {"error": {"error": {"error": {"error": {"error": "invalid_grant"}}}}}}}}'),
    (400, "\ud83d".encode("utf-8", "surrogatepass").decode("latin-1")),
    (400, {"error": None, "message": None}),
    (400, {"error": ["a", 5, {"code": " "}]}),
]

LOST = [
    (200, ""),
    (200, {}),
    (200, {"status": "ok"}),
    (200, {"token": "fake"}),
    (200, []),
    (200, HTML),
    (200, '{"access_token": "fake-acc'),
    (204, ""),
    (200, {"error": ""}),
]

LIMITED = [
    (429, "", {}, None),
    (429, {"error": "invalid_grant"}, {}, None),
    (429, HTML, {"retry-after": "7"}, 7.0),
    (429, "", {"retry-after": "Sun, 15 Jun 2025 15:07:40 GMT"}, 60.0),
    (429, "", {"x-ratelimit-reset": "1750000012"}, 12.0),
    (429, QUOTA, {}, 43.4),
    (429, [QUOTA], {}, 43.4),
    (429, {"error": {"message": "reset after 2h7m23s"}}, {}, 3600.0),
    (429, {"error": {"message": "Please retry in 12.3s"}}, {}, 12.3),
    (429, "Please retry in 12.3s", {}, 12.3),
    (400, {"error": "slow_down"}, {}, None),
    (403, {"error": {"status": "RESOURCE_EXHAUSTED", "message": "retry in 3s"}}, {}, 3.0),
    (400, {"error": {"type": "rate_limit_error"}}, {}, None),
    (400, {"__type": "ThrottlingException"}, {"retry-after": "4"}, 4.0),
    (503, "", {"retry-after": "9"}, 9.0),
    (500, HTML, {"retry-after": "9"}, 9.0),
    (408, "", {"retry-after": "2"}, 2.0),
]


@pytest.mark.parametrize(("status", "body"), DEAD)
def test_dead_grants(status: int, body: object) -> None:
    found = sort(status, body)
    assert isinstance(found, Permanent), found
    assert str(status) in found.reason


@pytest.mark.parametrize(("status", "body"), OUR_FAULT)
def test_wrong_registrations_are_never_blamed_on_the_login(status: int, body: object) -> None:
    assert isinstance(sort(status, body), Misconfigured)


@pytest.mark.parametrize(("status", "body"), MAY_PASS)
def test_what_may_pass(status: int, body: object) -> None:
    assert isinstance(sort(status, body), Transient)


@pytest.mark.parametrize(("status", "body"), LOST)
def test_success_without_a_token_is_a_lost_answer(status: int, body: object) -> None:
    assert isinstance(sort(status, body), AnswerLost)


@pytest.mark.parametrize(("status", "body", "headers", "wait"), LIMITED)
def test_limits_and_how_long(status: int, body: object, headers: dict[str, str], wait: float | None) -> None:
    found = sort(status, body, headers)
    assert isinstance(found, RateLimited)
    assert found.retry_after == wait


def test_there_are_enough_of_them() -> None:
    assert len(DEAD) + len(OUR_FAULT) + len(MAY_PASS) + len(LOST) + len(LIMITED) >= 60


def test_a_reset_header_on_a_server_error_does_not_make_us_wait_for_it() -> None:
    assert isinstance(sort(500, "", {"x-ratelimit-reset": "3000"}), Transient)


def test_vendor_words_mean_nothing_to_others() -> None:
    plain = Words()
    assert isinstance(sort(401, {"error": {"code": "refresh_token_reused"}}, words=plain), Transient)
    assert isinstance(sort(401, {"message": "Bad credentials"}, words=plain), Transient)


def test_the_code_is_the_provider_s_word() -> None:
    assert sort(400, {"error": "invalid_grant"}) == Permanent(
        "invalid_grant", "the provider answered 400 (invalid_grant)"
    )
    assert sort(400, {"error": "invalid_grant", "error_description": "Token has been revoked."}) == Permanent(
        "invalid_grant", "the provider answered 400 (invalid_grant: Token has been revoked.)"
    )


@pytest.mark.parametrize(
    ("body", "codes"),
    [
        ('{"error":"Slow_Down"}', ("slow_down",)),
        ('{"error":{"code":429,"status":"RESOURCE_EXHAUSTED"}}', ("resource_exhausted",)),
        ('{"__type":"com.amazon#AuthorizationPendingException"}', ("authorizationpendingexception",)),
        ("error=access_denied&error_description=no", ("access_denied",)),
        ('{"access_token":"fake-access"}', ()),
        ("<html>slow_down</html>", ()),
    ],
)
def test_the_codes_of_an_answer_in_any_shape(body: str, codes: tuple[str, ...]) -> None:
    assert error_codes(HttpResponse(400, body=body.encode())) == codes


@pytest.mark.parametrize(
    ("status", "body", "headers", "final"),
    [
        (401, {"error": "odd"}, {}, "odd"),
        (401, {"detail": "Unauthorized"}, {}, "http_401"),
        (401, "", {}, "http_401"),
        (403, {"error": "odd"}, {}, None),
        (401, {"error": "server_error"}, {}, None),
        (401, {"error": "try_later"}, {}, None),
        (401, {"error": "invalid_client"}, {}, None),
        (401, {"error": "slow_down"}, {}, None),
        (401, "<html>", {}, None),
        (401, "wait", {"content-type": "text/html"}, None),
    ],
)
def test_a_status_may_be_final_where_nothing_says_otherwise(
    status: int, body: object, headers: dict[str, str], final: str | None
) -> None:
    raw = body if isinstance(body, str) else json.dumps(body)
    answer = HttpResponse(status, headers, raw.encode())
    before = sort_failure(answer, NOW, WORDS)
    after = final_by_status(before, answer, frozenset({401}), WORDS)
    assert after == (before if final is None else Permanent(final, getattr(before, "reason", "")))


def test_a_web_page_is_told_as_one_whatever_announces_it() -> None:
    assert sort(403, HTML) == Transient("the provider answered 403 with a web page")
    assert sort(403, "go away", {"content-type": "text/html; charset=utf-8"}) == Transient(
        "the provider answered 403 with a web page"
    )


@pytest.mark.parametrize(
    "token",
    ["ya29" + ".a0AfFake0123456789abcdef", "1//0fakeRefresh0123456789-abc", "eyJhbGciOi" + "J9.eyJzdWIiOiIxIn0.c2ln"],
)
def test_a_token_in_an_answer_is_not_repeated(token: str) -> None:
    for body in (
        {"error": "invalid_grant", "error_description": f"token {token} is dead"},
        f"bad {token}",
        {"error": token},
    ):
        assert token not in repr(sort(400, body))


def test_sentences_are_made_fit_to_show() -> None:
    assert clean("a\x1b[31m b\n c\u202e") == "a [31m b c"
    assert (
        clean("refresh_token_invalidated type.googleapis.com/google.rpc")
        == "refresh_token_invalidated type.googleapis.com/google.rpc"
    )
    assert len(clean("word " * 100)) == 200
    assert clean("word " * 100).endswith("…")


def test_a_long_body_is_judged_by_its_beginning() -> None:
    assert isinstance(sort(400, "error invalid_grant " + "x" * 1_000_000), Permanent)


@given(st.integers(100, 599), st.binary(max_size=300))
def test_any_answer_is_sorted(status: int, body: bytes) -> None:
    found = sort_failure(HttpResponse(status, {}, body), NOW)
    assert found.reason.isprintable()
    assert len(found.reason) < 500


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.text(max_size=20)
        | st.sampled_from(["invalid_grant", "invalid_client"]),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["error", "code", "message", "details", "errors"]), inner, max_size=3)
        ),
        max_leaves=12,
    )
)
def test_any_json_is_sorted_and_overload_never_kills_a_login(body: object) -> None:
    assert isinstance(sort(503, body), Transient | RateLimited)
    assert isinstance(sort(429, body), RateLimited)
    assert not isinstance(sort(400, body), AnswerLost)
