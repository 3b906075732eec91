"""The control paths over real connections."""

import json

import pytest


async def test_faults_can_be_queued_listed_and_cleared(sandbox, http):
    url = f"{sandbox.url}/sandbox/faults"
    one = {"target": "token", "fault": {"kind": "answer", "status": 502, "body": "<html>"}}
    two = {"target": "generate", "fault": {"kind": "slow", "seconds": 0.1}, "times": None, "user": "a@example.com"}
    async with http.post(url, json=one) as answer:
        assert len(await answer.json()) == 1
    async with http.post(url, json=[two, two]) as answer:
        assert len(await answer.json()) == 3
    async with http.post(f"{sandbox.url}/token", data={"grant_type": "refresh_token"}) as answer:
        assert (answer.status, await answer.text()) == (502, "<html>")
    async with http.get(url) as answer:
        waiting = await answer.json()
    assert [entry["fault"]["kind"] for entry in waiting] == ["slow", "slow"]
    async with http.delete(url) as answer:
        assert await answer.json() == {"cleared": 2}
    assert sandbox.faults.waiting() == ()


@pytest.mark.parametrize(
    "body",
    [
        {"target": "moon", "fault": {"kind": "drop"}},
        {"target": "token", "fault": {"kind": "earthquake"}},
        {"target": "token", "fault": {"kind": "delay"}},
        {"target": "token", "fault": {"kind": "drop"}, "times": 0},
        {"target": "token", "fault": {"kind": "drop", "surplus": 1}},
        [1],
    ],
)
async def test_malformed_faults_are_refused(sandbox, http, body):
    async with http.post(f"{sandbox.url}/sandbox/faults", json=body) as answer:
        assert answer.status == 400
        assert (await answer.json())["error"] == "bad_request"
    assert sandbox.faults.waiting() == ()


async def test_settings_change_what_is_named_and_nothing_else(sandbox, http):
    url = f"{sandbox.url}/sandbox/settings"
    async with http.post(url, json={"access_lifetime": 2, "rotate": "off", "users": ["b@example.com"]}) as answer:
        changed = await answer.json()
    assert (changed["access_lifetime"], changed["rotate"], changed["users"]) == (2, "off", ["b@example.com"])
    assert changed["onboarded"] is True
    async with http.get(url) as answer:
        assert await answer.json() == changed
    for bad in ({"access_lifetime": 0}, {"surplus": 1}, {"users": []}, {"rotate": "sometimes"}):
        async with http.post(url, json=bad) as answer:
            assert answer.status == 400
    async with http.post(url, data=b"{}", headers={"Content-Type": "text/plain"}) as answer:
        assert answer.status == 400
    assert sandbox.settings.access_lifetime == 2


async def test_stats_and_requests_hold_no_secret(sandbox, http):
    issued = sandbox.grants.issue(sandbox.client_id, "alice@example.com", ("openid",), sandbox.world.clock.now())
    form = {
        "grant_type": "refresh_token",
        "refresh_token": issued.refresh_token.reveal(),
        "client_id": sandbox.client_id,
        "client_secret": sandbox.client_secret.reveal(),
    }
    async with http.post(f"{sandbox.url}/token", data=form) as answer:
        access = (await answer.json())["access_token"]
    async with http.post(f"{sandbox.url}/token", data=form) as answer:
        assert answer.status == 400
    body = {"contents": [{"parts": [{"text": "hi"}]}]}
    url = f"{sandbox.url}/v1/models/gemini-2.5-pro:generateContent"
    async with http.post(url, json=body, headers={"Authorization": f"Bearer {access}"}) as answer:
        assert answer.status == 401
    async with http.post(url, params={"key": sandbox.api_key.reveal()}, json=body) as answer:
        assert answer.status == 200
    async with http.get(f"{sandbox.url}/sandbox/stats") as answer:
        stats = await answer.json()
    assert stats["token"]["by_grant_type"] == {"refresh_token": {"ok": 1, "invalid_grant": 1}}
    assert stats["token"]["refresh_posts"] == 2
    assert stats["token"]["reuse_detections"] == 1
    assert [event["outcome"] for event in stats["token"]["events"]] == ["ok", "invalid_grant"]
    assert stats["token"]["events"][0]["user"] == "alice@example.com"
    assert stats["upstream"]["by_endpoint"] == {"gemini:generateContent": {"401": 1, "200": 1}}
    async with http.get(f"{sandbox.url}/sandbox/requests") as answer:
        requests = await answer.json()
    assert requests[0]["body"]["refresh_token"] == requests[1]["body"]["refresh_token"]
    assert requests[0]["body"]["refresh_token"].startswith("sha256:")
    assert requests[2]["body"] == body
    text = json.dumps([stats, requests])
    for secret in (*form.values(), access, sandbox.api_key.reveal()):
        assert secret not in text or secret in {"refresh_token", sandbox.client_id}
    async with http.get(f"{sandbox.url}/sandbox/requests?last=1") as answer:
        assert len(await answer.json()) == 1
    async with http.get(f"{sandbox.url}/sandbox/requests?last=x") as answer:
        assert answer.status == 400
    async with http.delete(f"{sandbox.url}/sandbox/stats") as answer:
        assert answer.status == 204
    assert sandbox.stats.refresh_posts == 0
    assert not sandbox.stats.requests


async def test_a_user_can_be_revoked(sandbox, http):
    issued = sandbox.grants.issue(sandbox.client_id, "alice@example.com", (), sandbox.world.clock.now())
    for expected in (1, 0):
        async with http.post(f"{sandbox.url}/sandbox/users/alice@example.com/revoke") as answer:
            assert await answer.json() == {"revoked": expected}
    assert not sandbox.grants.accepts(issued.refresh_token)


@pytest.mark.parametrize("header", ["Origin", "Referer"])
async def test_browsers_are_kept_out(sandbox, http, header):
    async with http.get(f"{sandbox.url}/sandbox/stats", headers={header: "http://127.0.0.1:1"}) as answer:
        assert answer.status == 403
