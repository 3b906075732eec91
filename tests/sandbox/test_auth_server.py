"""The authorization server over real connections."""

import asyncio
import base64
import json
import re
from email.utils import parsedate_to_datetime
from urllib.parse import parse_qs, quote, urlsplit

import aiohttp
import pytest

from broker.model.secret import Secret
from broker.sandbox.auth_server import DEVICE_GRANT
from broker.sandbox.faults import (
    Answer,
    Cut,
    Delay,
    Drop,
    DropAfterGrant,
    ErrorStatus,
    Fault,
    Hang,
    RateLimit,
    Target,
)
from broker.sandbox.grants import s256
from broker.sandbox.server import Sandbox

REDIRECT = "http://127.0.0.1:4321/callback"
VERIFIER = "v" * 43


def wish(sandbox: Sandbox, **changes: str) -> dict[str, str]:
    return {
        "response_type": "code",
        "client_id": sandbox.client_id,
        "redirect_uri": REDIRECT,
        "scope": "openid email",
        "state": "s1",
        "code_challenge": s256(VERIFIER),
        "code_challenge_method": "S256",
    } | changes


async def authorize(http: aiohttp.ClientSession, sandbox: Sandbox, **changes: str) -> dict[str, str]:
    async with http.get(f"{sandbox.url}/authorize", params=wish(sandbox, **changes), allow_redirects=False) as answer:
        assert answer.status == 302, await answer.text()
        location = answer.headers["Location"]
    assert location.startswith(REDIRECT)
    return {name: values[0] for name, values in parse_qs(urlsplit(location).query).items()}


def code_form(sandbox: Sandbox, code: str, **changes: str) -> dict[str, str]:
    return {
        "grant_type": "authorization_code",
        "code": code,
        "client_id": sandbox.client_id,
        "client_secret": sandbox.client_secret.reveal(),
        "redirect_uri": REDIRECT,
        "code_verifier": VERIFIER,
    } | changes


def refresh_form(sandbox: Sandbox, token: str, **changes: str) -> dict[str, str]:
    return {
        "grant_type": "refresh_token",
        "refresh_token": token,
        "client_id": sandbox.client_id,
        "client_secret": sandbox.client_secret.reveal(),
    } | changes


async def post(
    http: aiohttp.ClientSession, sandbox: Sandbox, form: dict[str, str], path: str = "/token"
) -> tuple[int, dict[str, object]]:
    async with http.post(sandbox.url + path, data=form) as answer:
        return answer.status, await answer.json()


async def login(http: aiohttp.ClientSession, sandbox: Sandbox, **changes: str) -> dict[str, str]:
    back = await authorize(http, sandbox, **changes)
    status, tokens = await post(http, sandbox, code_form(sandbox, back["code"]))
    assert status == 200, tokens
    return tokens  # type: ignore[return-value]


def basic(user: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


def plant(sandbox: Sandbox, user: str = "alice@example.com") -> str:
    issued = sandbox.grants.issue(sandbox.client_id, user, ("openid",), sandbox.world.clock.now())
    assert issued.refresh_token is not None
    return issued.refresh_token.reveal()


async def test_code_flow_with_pkce(sandbox, http):
    back = await authorize(http, sandbox)
    assert back["state"] == "s1"
    assert back["iss"] == sandbox.url
    status, tokens = await post(http, sandbox, code_form(sandbox, back["code"]))
    assert status == 200
    assert tokens["token_type"] == "Bearer"
    assert tokens["expires_in"] == 3599 or tokens["expires_in"] == 3600
    assert tokens["scope"] == "openid email"
    header, claims, signature = tokens["id_token"].split(".")
    assert json.loads(base64.urlsafe_b64decode(claims + "=="))["email"] == "alice@example.com"
    assert header
    assert signature
    async with http.get(
        f"{sandbox.url}/userinfo", headers={"Authorization": f"Bearer {tokens['access_token']}"}
    ) as answer:
        info = await answer.json()
    assert info["email"] == "alice@example.com"
    assert info["verified_email"] is True
    assert info["id"] == json.loads(base64.urlsafe_b64decode(claims + "=="))["sub"]


async def test_a_code_works_once_and_its_reuse_revokes(sandbox, http):
    back = await authorize(http, sandbox)
    _, tokens = await post(http, sandbox, code_form(sandbox, back["code"]))
    status, error = await post(http, sandbox, code_form(sandbox, back["code"]))
    assert (status, error["error"]) == (400, "invalid_grant")
    assert sandbox.stats.reuse_detections == 1
    status, error = await post(http, sandbox, refresh_form(sandbox, tokens["refresh_token"]))
    assert (status, error["error"]) == (400, "invalid_grant")


@pytest.mark.parametrize(
    ("change", "status", "error"),
    [
        ({"code_verifier": "w" * 43}, 400, "invalid_grant"),
        ({"redirect_uri": "http://127.0.0.1:1/other"}, 400, "invalid_grant"),
        ({"client_secret": "wrong"}, 401, "invalid_client"),
        ({"client_id": "nobody"}, 401, "invalid_client"),
        ({"grant_type": "password"}, 400, "unsupported_grant_type"),
        ({"code": ""}, 400, "invalid_request"),
    ],
)
async def test_a_wrong_exchange_is_refused_and_does_not_spend_the_code(sandbox, http, change, status, error):
    back = await authorize(http, sandbox)
    form = code_form(sandbox, back["code"])
    got, body = await post(http, sandbox, form | change)
    assert (got, body["error"]) == (status, error)
    got, _ = await post(http, sandbox, form)
    assert got == 200


async def test_json_bodies_and_basic_authentication(sandbox, http):
    token = plant(sandbox)
    async with http.post(f"{sandbox.url}/token", json=refresh_form(sandbox, token)) as answer:
        assert answer.status == 200
        second = (await answer.json())["refresh_token"]
    auth = basic(quote(sandbox.client_id), quote(sandbox.client_secret.reveal()))
    form = {"grant_type": "refresh_token", "refresh_token": second}
    async with http.post(f"{sandbox.url}/token", data=form, headers=auth) as answer:
        assert answer.status == 200
    async with http.post(f"{sandbox.url}/token", data=form, headers=basic(sandbox.client_id, "no")) as answer:
        assert answer.status == 401
        assert answer.headers["WWW-Authenticate"].startswith("Basic")
    both = form | {"client_secret": "x"}
    async with http.post(f"{sandbox.url}/token", data=both, headers=auth) as answer:
        assert (await answer.json())["error"] == "invalid_request"
    async with http.post(f"{sandbox.url}/token", data=form, headers={"Authorization": "Basic %%%"}) as answer:
        assert (answer.status, (await answer.json())["error"]) == (401, "invalid_client")


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"{", "application/json"),
        (b'{"grant_type": 3}', "application/json"),
        (b"grant_type=refresh_token&grant_type=x", "application/x-www-form-urlencoded"),
        (b"hello", "text/plain"),
        (b"a=b", "application/x-www-form-urlencoded"),
    ],
)
async def test_malformed_token_requests(sandbox, http, body, content_type):
    async with http.post(f"{sandbox.url}/token", data=body, headers={"Content-Type": content_type}) as answer:
        assert answer.status == 400
        assert (await answer.json())["error"] == "invalid_request"
    assert sandbox.stats.posts("", "invalid_request") == 1


async def test_strict_rotation_reuse_kills_the_family_access_tokens_too(sandbox, http):
    first = plant(sandbox)
    status, tokens = await post(http, sandbox, refresh_form(sandbox, first))
    assert status == 200
    status, error = await post(http, sandbox, refresh_form(sandbox, first))
    assert (status, error["error"]) == (400, "invalid_grant")
    status, _ = await post(http, sandbox, refresh_form(sandbox, tokens["refresh_token"]))
    assert status == 400
    async with http.get(
        f"{sandbox.url}/userinfo", headers={"Authorization": f"Bearer {tokens['access_token']}"}
    ) as answer:
        assert answer.status == 401
    assert sandbox.stats.reuse_detections == 2 - 1
    assert sandbox.stats.posts("refresh_token", "ok") == 1
    assert sandbox.stats.posts("refresh_token", "invalid_grant") == 2


async def test_parallel_refreshes_have_one_winner(sandbox, http):
    token = plant(sandbox)
    answers = await asyncio.gather(*(post(http, sandbox, refresh_form(sandbox, token)) for _ in range(8)))
    assert sorted(status for status, _ in answers) == [200] + [400] * 7
    assert sandbox.stats.refresh_posts == 8


async def test_without_rotation_the_google_shape_leaves_the_token_out(sandbox, http):
    sandbox.change(rotate="off")
    token = plant(sandbox)
    for _ in range(2):
        status, tokens = await post(http, sandbox, refresh_form(sandbox, token))
        assert status == 200
        assert "refresh_token" not in tokens
    sandbox.change(shape="standard")
    _, tokens = await post(http, sandbox, refresh_form(sandbox, token))
    assert tokens["refresh_token"] == token


async def test_grace_repeats_the_answer(sandbox, http):
    sandbox.change(grace_seconds=30)
    token = plant(sandbox)
    _, one = await post(http, sandbox, refresh_form(sandbox, token))
    status, two = await post(http, sandbox, refresh_form(sandbox, token))
    assert status == 200
    assert (one["access_token"], one["refresh_token"]) == (two["access_token"], two["refresh_token"])


async def test_public_client_needs_pkce_and_no_secret(sandbox, http):
    back = await authorize(http, sandbox, client_id=sandbox.public_client_id)
    form = code_form(sandbox, back["code"], client_id=sandbox.public_client_id)
    status, error = await post(http, sandbox, form)
    assert (status, error["error"]) == (401, "invalid_client")
    del form["client_secret"]
    status, _ = await post(http, sandbox, form)
    assert status == 200
    query = wish(sandbox, client_id=sandbox.public_client_id)
    del query["code_challenge"]
    async with http.get(f"{sandbox.url}/authorize", params=query, allow_redirects=False) as answer:
        assert "error=invalid_request" in answer.headers["Location"]


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"code_challenge": "short"}, "invalid_request"),
    ],
)
async def test_authorization_errors_go_back_to_the_client(sandbox, http, change, error):
    back = await authorize(http, sandbox, **change)
    assert back["error"] == error
    assert back["state"] == "s1"
    assert "code" not in back


@pytest.mark.parametrize(
    "change",
    [
        {"redirect_uri": "https://evil.example/cb"},
        {"redirect_uri": "http://127.0.0.1.evil.example/cb"},
        {"redirect_uri": "http://127.0.0.1:99999/cb"},
        {"redirect_uri": "http://user@127.0.0.1/cb"},
        {"client_id": "<script>"},
    ],
)
async def test_nothing_is_ever_sent_to_a_foreign_redirect_uri(sandbox, http, change):
    async with http.get(f"{sandbox.url}/authorize", params=wish(sandbox, **change), allow_redirects=False) as answer:
        assert answer.status == 400
        assert "Location" not in answer.headers
        assert "<script>" not in await answer.text()


async def test_a_registered_redirect_uri_is_accepted(sandbox, http):
    sandbox.change(redirect_uris=["https://app.example/cb?x=1"])
    query = wish(sandbox, redirect_uri="https://app.example/cb?x=1")
    async with http.get(f"{sandbox.url}/authorize", params=query, allow_redirects=False) as answer:
        assert answer.headers["Location"].startswith("https://app.example/cb?x=1&code=")


async def test_denial(sandbox, http):
    sandbox.change(deny=True)
    back = await authorize(http, sandbox)
    assert back["error"] == "access_denied"
    assert "code" not in back


async def test_users_take_turns_or_are_named(sandbox, http):
    sandbox.change(users=["a@example.com", "b@example.com"])
    owners = []
    for extra in ({}, {}, {}, {"sandbox_user": "c@example.com"}):
        tokens = await login(http, sandbox, **extra)
        async with http.get(
            f"{sandbox.url}/userinfo", headers={"Authorization": f"Bearer {tokens['access_token']}"}
        ) as answer:
            owners.append((await answer.json())["email"])
    assert owners == ["a@example.com", "b@example.com", "a@example.com", "c@example.com"]


@pytest.mark.parametrize(("decision", "expected"), [("approve", "code"), ("deny", "error")])
async def test_the_consent_page_when_approval_is_not_automatic(sandbox, http, decision, expected):
    sandbox.change(auto_approve=False)
    async with http.get(f"{sandbox.url}/authorize", params=wish(sandbox, scope='a"<b>')) as answer:
        text = await answer.text()
    assert answer.status == 200
    assert "<b>a" not in text
    hidden = dict(re.findall(r'name="([a-z_]+)" value="([^"]*)"', text))
    assert hidden["state"] == "s1"
    form = wish(sandbox) | {"decision": decision, "sandbox_user": "carol@example.com"}
    async with http.post(f"{sandbox.url}/authorize", data=form, allow_redirects=False) as answer:
        query = parse_qs(urlsplit(answer.headers["Location"]).query)
    assert expected in query
    form["redirect_uri"] = "https://evil.example/"
    async with http.post(f"{sandbox.url}/authorize", data=form, allow_redirects=False) as answer:
        assert answer.status == 400
    async with http.post(f"{sandbox.url}/authorize", data=b"x", allow_redirects=False) as answer:
        assert answer.status == 400


async def test_offline_rule_of_google(sandbox, http):
    sandbox.change(refresh_given="offline")
    assert "refresh_token" not in await login(http, sandbox)
    assert "refresh_token" not in await login(http, sandbox, access_type="offline")
    assert "refresh_token" in await login(http, sandbox, access_type="offline", prompt="consent")


async def test_revocation(sandbox, http):
    token = plant(sandbox)
    _, tokens = await post(http, sandbox, refresh_form(sandbox, token))
    async with http.post(f"{sandbox.url}/revoke", data={"token": tokens["refresh_token"]}) as answer:
        assert answer.status == 200
    status, _ = await post(http, sandbox, refresh_form(sandbox, tokens["refresh_token"]))
    assert status == 400
    async with http.post(f"{sandbox.url}/revoke", data={"token": "unknown"}) as answer:
        assert answer.status == 200
    async with http.post(f"{sandbox.url}/revoke", data={"x": "y"}) as answer:
        assert answer.status == 400
    async with http.post(f"{sandbox.url}/revoke", data=b"x") as answer:
        assert answer.status == 400
    wrong = {"token": "t", "client_id": sandbox.client_id, "client_secret": "no"}
    async with http.post(f"{sandbox.url}/revoke", data=wrong) as answer:
        assert answer.status == 401
    sandbox.faults.add(Target.REVOKE, ErrorStatus(500))
    async with http.post(f"{sandbox.url}/revoke", data={"token": "t"}) as answer:
        assert (answer.status, (await answer.json())["error"]) == (500, "server_error")


async def test_device_flow(sandbox, http):
    sandbox.change(device_interval=0)
    client = {"client_id": sandbox.public_client_id}
    status, start = await post(http, sandbox, client | {"scope": "openid"}, "/device_authorization")
    assert status == 200
    poll = client | {"grant_type": DEVICE_GRANT, "device_code": start["device_code"]}
    status, error = await post(http, sandbox, poll)
    assert (status, error["error"]) == (400, "authorization_pending")
    async with http.get(start["verification_uri_complete"]) as answer:
        assert answer.status == 200
    status, tokens = await post(http, sandbox, poll)
    assert status == 200
    assert tokens["refresh_token"]
    async with http.get(start["verification_uri_complete"]) as answer:
        assert answer.status == 400


async def test_device_page_decision_and_denial(sandbox, http):
    sandbox.change(auto_approve=False, device_interval=0)
    client = {"client_id": sandbox.public_client_id}
    _, start = await post(http, sandbox, client, "/device_authorization")
    async with http.get(start["verification_uri_complete"]) as answer:
        assert start["user_code"] in await answer.text()
    form = {"user_code": start["user_code"].lower(), "decision": "deny"}
    async with http.post(f"{sandbox.url}/device", data=form) as answer:
        assert answer.status == 200
    status, error = await post(
        http, sandbox, client | {"grant_type": DEVICE_GRANT, "device_code": start["device_code"]}
    )
    assert (status, error["error"]) == (400, "access_denied")
    async with http.post(f"{sandbox.url}/device", data=b"?") as answer:
        assert answer.status == 400


async def test_device_authorization_refusals(sandbox, http):
    status, error = await post(http, sandbox, {"client_id": "nobody"}, "/device_authorization")
    assert (status, error["error"]) == (401, "invalid_client")
    async with http.post(f"{sandbox.url}/device_authorization", data=b"?") as answer:
        assert answer.status == 400


async def test_metadata(sandbox, http):
    for name in ("oauth-authorization-server", "openid-configuration"):
        async with http.get(f"{sandbox.url}/.well-known/{name}") as answer:
            found = await answer.json()
        assert found["issuer"] == sandbox.url
        assert found["token_endpoint"] == f"{sandbox.url}/token"
        assert found["code_challenge_methods_supported"] == ["S256"]


async def test_userinfo_without_a_good_token(sandbox, http):
    for headers in ({}, {"Authorization": "Bearer nonsense"}, {"Authorization": "Bearer "}):
        async with http.get(f"{sandbox.url}/userinfo", headers=headers) as answer:
            assert answer.status == 401
            assert "invalid_token" in answer.headers["WWW-Authenticate"]


async def test_the_date_header_can_be_wrong(sandbox, http):
    sandbox.change(date_offset=-7200)
    async with http.get(f"{sandbox.url}/.well-known/openid-configuration") as answer:
        date = parsedate_to_datetime(answer.headers["Date"]).timestamp()
    assert 7190 < sandbox.world.clock.now().wall - date < 7210


@pytest.mark.parametrize(
    ("fault", "status", "text", "still_current"),
    [
        (Answer(500, "<html>oops</html>", "text/html"), 500, "<html>oops</html>", True),
        (Answer(200, '{"error":"invalid_grant"}'), 200, '{"error":"invalid_grant"}', True),
        (ErrorStatus(503), 503, "temporarily_unavailable", True),
        (ErrorStatus(401), 401, "invalid_client", True),
        (ErrorStatus(400), 400, "invalid_request", True),
        (RateLimit(7), 429, "rate_limit_exceeded", True),
        (Delay(0.01), 200, "access_token", False),
        (Delay(0.01, after_grant=False), 200, "access_token", False),
    ],
)
async def test_faults_that_answer(sandbox, http, fault: Fault, status, text, still_current):
    token = plant(sandbox)
    sandbox.faults.add(Target.TOKEN, fault, grant_type="refresh_token")
    async with http.post(f"{sandbox.url}/token", data=refresh_form(sandbox, token)) as answer:
        assert answer.status == status
        assert text in await answer.text()
        if isinstance(fault, RateLimit):
            assert answer.headers["Retry-After"] == "7"
    assert sandbox.grants.accepts(Secret(token)) is still_current
    assert sandbox.faults.waiting() == ()
    assert sandbox.stats.refresh_posts == 1
    assert sandbox.stats.token_posts[-1].fault is not None


@pytest.mark.parametrize(
    ("fault", "still_current"),
    [
        (Drop(), True),
        (Drop(after_grant=True), False),
        (DropAfterGrant(), False),
        (Cut(), False),
        (Cut(5), False),
    ],
)
async def test_faults_that_lose_the_answer(sandbox, http, fault: Fault, still_current):
    token = plant(sandbox)
    sandbox.faults.add(Target.TOKEN, fault)
    with pytest.raises(aiohttp.ClientError):
        await post(http, sandbox, refresh_form(sandbox, token))
    assert sandbox.grants.accepts(Secret(token)) is still_current
    assert sandbox.stats.refresh_posts == 1


@pytest.mark.parametrize(
    ("fault", "still_current"),
    [
        (Hang(), True),
        (Hang(after_grant=True), False),
        (Delay(60), False),
        (Delay(60, after_grant=False), True),
    ],
)
async def test_faults_that_outlast_the_client(sandbox, http, fault: Fault, still_current):
    token = plant(sandbox)
    sandbox.faults.add(Target.TOKEN, fault)
    with pytest.raises(TimeoutError):
        async with http.post(
            f"{sandbox.url}/token", data=refresh_form(sandbox, token), timeout=aiohttp.ClientTimeout(total=0.1)
        ):
            pytest.fail("answered")
    assert sandbox.grants.accepts(Secret(token)) is still_current
    async with asyncio.timeout(5):
        while sandbox.stats.refresh_posts == 0:
            await asyncio.sleep(0.01)
    assert sandbox.stats.refresh_posts == 1


async def test_a_fault_for_one_user_leaves_others_alone(sandbox, http):
    alice, bob = plant(sandbox), plant(sandbox, "bob@example.com")
    sandbox.faults.add(Target.TOKEN, ErrorStatus(503), None, user="bob@example.com")
    assert (await post(http, sandbox, refresh_form(sandbox, alice)))[0] == 200
    for _ in range(2):
        assert (await post(http, sandbox, refresh_form(sandbox, bob)))[0] == 503
