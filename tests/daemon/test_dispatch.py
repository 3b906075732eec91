import json
import sys
import threading
from pathlib import Path

import pytest

from broker.daemon import dispatch
from broker.daemon.dispatch import Answer
from broker.ipc.operations import OPERATIONS, Call, Name, resolve
from broker.ipc.schema import LoginStart, LoginView, decode, encode
from broker.model.errors import BrokerError, ErrorCode
from tests.fakes.broker import Running


async def ask(running: Running, method: str, target: str, body: bytes = b"") -> Answer:
    return await running.daemon.dispatch.perform(resolve(method, target, control=True), body)


async def test_every_operation_is_served(running: Running) -> None:
    """Each with real arguments: what comes back is its answer or an error from its list, never a fault."""
    assert set(running.daemon.dispatch._handlers) == set(Name)
    bodies = {
        Name.REPORT: b'{"account":"sandbox/ann@example.com","generation":1,"outcome":"ok"}',
        Name.LOGIN_START: encode(LoginStart(provider="sandbox", callback=False)),
        Name.ADD_KEY: b'{"provider":"openai-api","key":"fake-key"}',
        Name.LOGIN_CALLBACK: b'{"text":"x"}',
        Name.IMPORT: b'{"dry_run":true}',
        Name.RENAME: b'{"label":"ann@example.com"}',
        Name.NETWORK_TEST: b'{"account":"sandbox/ann@example.com"}',
    }
    order = sorted(OPERATIONS, key=lambda each: each.name is Name.LOGOUT)  # last, for what it does
    for operation in order:
        target = operation.path.format(provider="sandbox", label="ann@example.com", id="none")
        call = resolve(operation.method, target, control=True)
        answer = await outcome(running, call, bodies.get(operation.name, b""))
        if isinstance(answer, ErrorCode):
            assert answer in operation.errors, operation.name
            assert operation.name in {Name.LOGIN, Name.LOGIN_CALLBACK, Name.LOGIN_CANCEL, Name.QUOTA}
            continue
        assert answer.status == operation.status
        assert answer.media_type == operation.media_type
        if operation.response is not None:
            decode(answer.body, operation.response)


async def outcome(running: Running, call: Call, body: bytes) -> Answer | ErrorCode:
    try:
        return await running.daemon.dispatch.perform(call, body)
    except BrokerError as error:
        return error.code


async def test_the_library_of_metrics_is_loaded_in_a_thread(
    running: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others are served meanwhile."""
    name = "loaded_late"
    (tmp_path / f"{name}.py").write_text("import threading\nWHERE = threading.current_thread()\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(dispatch, "_METRICS_LIBRARY", name)
    assert (await ask(running, "GET", "/metrics")).body
    assert sys.modules.pop(name).WHERE is not threading.current_thread()


async def test_an_answer_hides_its_body(running: Running) -> None:
    answer = await ask(running, "GET", "/v1/lease/sandbox")
    token = json.loads(answer.body)["access_token"]
    assert token
    assert token not in repr(answer)


async def test_a_login_from_start_to_lease(running: Running) -> None:
    """Started, approved at the sandbox, finished by pasting the address the browser would end on."""
    import aiohttp

    running.sandbox.change(users=("new@example.com",))
    start = await ask(running, "POST", "/v1/logins", encode(LoginStart(provider="sandbox", callback=False)))
    view = decode(start.body, LoginView)
    assert (start.status, view.state) == (201, "waiting")
    assert view.url
    async with aiohttp.ClientSession() as browser, browser.get(view.url, allow_redirects=False) as page:
        landed = page.headers["Location"]
    await ask(running, "POST", f"/v1/logins/{view.id}/callback", json.dumps({"text": landed}).encode())
    done = decode((await ask(running, "GET", f"/v1/logins/{view.id}?wait=5")).body, LoginView)
    assert (done.state, done.account) == ("done", "sandbox/new@example.com"), done.problem
    lease = await running.token_client.lease("sandbox/new@example.com")
    assert running.owns(lease.access_token) == "new@example.com"
    assert '"event": "login"' in (running.state / "audit.jsonl").read_text()


async def test_a_login_with_the_loopback_callback(running: Running) -> None:
    import aiohttp

    running.sandbox.change(users=("new@example.com",))
    view = await running.client.start_login(LoginStart(provider="sandbox"))
    async with aiohttp.ClientSession() as browser, browser.get(str(view.url)) as page:
        assert page.status == 200
        text = await page.text()
    done = await running.client.login(view.id, wait=5)
    assert (done.state, done.account) == ("done", "sandbox/new@example.com")
    assert "new@example.com" in text
    assert (await running.client.cancel_login(view.id)).state == "done"


async def test_a_login_given_up(running: Running) -> None:
    view = await running.client.start_login(LoginStart(provider="sandbox", callback=False))
    ended = await running.client.cancel_login(view.id)
    assert ended.state == "failed"
    assert ended.problem
    assert ended.problem.code == "login_cancelled"


@pytest.mark.parametrize("body", [b"", b"[]", b'{"provider":1}', b'{"provider":"sandbox","nonsense":1}'])
async def test_a_body_of_another_shape_is_refused(running: Running, body: bytes) -> None:
    with pytest.raises(BrokerError) as caught:
        await ask(running, "POST", "/v1/logins", body)
    assert caught.value.code is ErrorCode.BAD_REQUEST
