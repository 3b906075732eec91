import asyncio
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest

from broker.login import pages
from broker.login.callback import CallbackListener, Returned
from broker.login.pages import HEADERS, Page
from broker.login.ports import bind_loopback
from broker.model.errors import BrokerError, ErrorCode
from broker.model.secret import Secret
from broker.oauth.code import Approved, Denied
from broker.observe.tasks import spawn
from broker.providers.base import Redirect

STATE = Secret("fake-state")
ANY = Redirect("localhost", 0, "/oauth2callback")


class Browser:
    """A listener, what it let through, and a way to call it."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self.session = session
        self.told: list[Returned] = []
        self.listener: CallbackListener

    async def answer(self, callback: Returned) -> Page:
        self.told.append(callback)
        return pages.succeeded("Acme", "acme/a@example.com", ())

    async def get(
        self, path: str, method: str = "GET", host: str | None = None, address: str = "127.0.0.1"
    ) -> tuple[int, str, aiohttp.typedefs.LooseHeaders]:
        url = f"http://{address}:{self.listener.port}{path}"
        async with self.session.request(method, url, headers={"Host": host} if host else {}) as answer:
            return answer.status, await answer.text(), dict(answer.headers)


@asynccontextmanager
async def browsing(redirect: Redirect = ANY) -> AsyncIterator[Browser]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session:
        browser = Browser(session)
        browser.listener = await CallbackListener.open(redirect, STATE, browser.answer)
        try:
            yield browser
        finally:
            await browser.listener.close()


async def test_a_code_with_our_state_is_let_through_once() -> None:
    async with browsing() as browser:
        assert browser.listener.redirect_uri == f"http://localhost:{browser.listener.port}/oauth2callback"
        status, text, _ = await browser.get("/oauth2callback?code=fake-code-1&state=fake-state&scope=x")
        assert status == 200
        assert "acme/a@example.com" in text
        assert browser.told == [Approved(Secret("fake-code-1"), STATE)]
        status, _, _ = await browser.get("/oauth2callback?code=fake-code-2&state=fake-state")
        assert status == 410
        assert len(browser.told) == 1


async def test_a_refusal_with_our_state_is_let_through() -> None:
    async with browsing() as browser:
        await browser.get("/oauth2callback?error=access_denied&state=fake-state")
        assert browser.told == [Denied("access_denied", "the access was refused on the provider's page", STATE)]


@pytest.mark.parametrize(
    "query",
    [
        "code=fake-code&state=wrong",
        "code=fake-code",
        "error=access_denied&state=wrong",
        "error=access_denied",
        "state=fake-state",
        "",
        "code=&state=",
    ],
)
async def test_anything_without_our_state_changes_nothing(query: str) -> None:
    async with browsing() as browser:
        status, _, _ = await browser.get(f"/oauth2callback?{query}")
        assert status == 400
        assert browser.told == []
        status, _, _ = await browser.get("/oauth2callback?code=fake-code&state=fake-state")
        assert status == 200


@pytest.mark.parametrize("path", ["/favicon.ico", "/", "/oauth2callback/", "/other?code=fake-code&state=fake-state"])
async def test_other_addresses_do_no_harm(path: str) -> None:
    async with browsing() as browser:
        status, _, _ = await browser.get(path)
        assert status == 404
        assert browser.told == []


@pytest.mark.parametrize("method", ["POST", "HEAD", "PUT", "OPTIONS"])
async def test_only_a_get_is_a_callback(method: str) -> None:
    async with browsing() as browser:
        status, _, _ = await browser.get("/oauth2callback?code=fake-code&state=fake-state", method)
        assert status == 403
        assert browser.told == []


@pytest.mark.parametrize("host", ["evil.example", "localhost", "localhost:1", "127.0.0.1.evil.example", "[::2]:80"])
async def test_another_host_name_is_refused(host: str) -> None:
    async with browsing() as browser:
        status, _, _ = await browser.get("/oauth2callback?code=fake-code&state=fake-state", host=host)
        assert status == 403
        assert browser.told == []


async def test_our_names_for_this_host_are_all_accepted() -> None:
    async with browsing() as browser:
        for name in ("localhost", "LOCALHOST", "127.0.0.1", "[::1]"):
            status, _, _ = await browser.get("/", host=f"{name}:{browser.listener.port}")
            assert status == 404


async def test_it_listens_on_both_loopback_addresses_and_no_other() -> None:
    async with browsing() as browser:
        reached = {}
        for address in ("[::1]", f"[{socket.gethostbyname('localhost')}]".strip("[]"), "127.0.0.2"):
            try:
                reached[address] = (await browser.get("/", address=address))[0]
            except aiohttp.ClientConnectorError:
                reached[address] = 0
        assert reached["127.0.0.1"] == 404
        assert reached["127.0.0.2"] == 0
        assert reached["[::1]"] in {404, 0}  # 0 on a machine without IPv6


async def test_no_page_repeats_what_came_and_all_have_the_headers() -> None:
    async with browsing() as browser:
        here = "/oauth2callback?code=fake-code-1&state="
        for path in ("/x?code=fake-code-1&state=wrong-1", here + "wrong-1", here + "fake-state"):
            _, text, headers = await browser.get(path)
            assert not [word for word in ("fake-code-1", "wrong-1", "fake-state") if word in text]
            assert dict(HEADERS).items() <= dict(headers).items()


async def test_nothing_of_a_request_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with browsing() as browser:
        await browser.get("/oauth2callback?code=fake-code-1&state=fake-state")
        reader, writer = await asyncio.open_connection("127.0.0.1", browser.listener.port)
        writer.write(b"GET /oauth2callback?code=fake-code-2 NONSENSE\r\n\r\n")
        await reader.read()
        writer.close()
        with pytest.raises(aiohttp.ClientError):
            async with browser.session.get(f"http://127.0.0.1:{browser.listener.port}/?{'a' * 20_000}") as answer:
                answer.raise_for_status()
    assert "fake-code" not in caplog.text


async def test_a_query_too_long_for_a_code_is_not_taken() -> None:
    async with browsing() as browser:
        status, _, _ = await browser.get(f"/oauth2callback?state=fake-state&code={'a' * 8000}")
        assert status in {400, 404}
        assert browser.told == []


async def test_a_taken_port_is_told_with_its_holder() -> None:
    port, sockets = bind_loopback(0)
    try:
        with pytest.raises(BrokerError) as caught:
            await CallbackListener.open(Redirect("localhost", port, "/cb"), STATE, Browser(None).answer)  # type: ignore[arg-type]
    finally:
        for one in sockets:
            one.close()
    assert caught.value.code is ErrorCode.LOGIN_FAILED
    assert f"port {port} on loopback is taken" in caught.value.detail
    assert "--no-browser" in caught.value.hint
    assert "redirect_port" in caught.value.hint


async def test_closing_frees_the_port_after_the_page_was_sent() -> None:
    release = asyncio.Event()

    async def slow(_: Returned) -> Page:
        await release.wait()
        return pages.pending()

    async with aiohttp.ClientSession() as session:
        listener = await CallbackListener.open(ANY, STATE, slow)
        url = f"http://127.0.0.1:{listener.port}/oauth2callback?code=fake-code&state=fake-state"

        async def visit() -> int:
            async with session.get(url) as answer:
                await answer.read()
                return answer.status

        visiting = spawn(visit(), name="visit")
        await asyncio.sleep(0.05)
        closing = spawn(listener.close(), name="close")
        await asyncio.sleep(0.05)
        release.set()
        assert await visiting == 200
        await closing
        await listener.close()
        port, sockets = bind_loopback(listener.port)
        assert port == listener.port
        for one in sockets:
            one.close()


async def test_a_port_with_a_name_of_its_own_needs_no_number_in_the_host() -> None:
    from broker.login.callback import _Gate

    assert "localhost" in _Gate(80, "/cb", STATE, Browser(None).answer)._hosts  # type: ignore[arg-type]


async def test_a_fallback_port_is_taken_where_the_first_is_not_free() -> None:
    first, held = bind_loopback(0)
    second, free = bind_loopback(0)
    for one in free:
        one.close()
    redirect = Redirect("localhost", first, "/cb", fallback_ports=(second,))
    try:
        async with browsing(redirect) as browser:
            assert browser.listener.redirect_uri == f"http://localhost:{second}/cb"
            with pytest.raises(BrokerError) as caught:
                await CallbackListener.open(redirect, STATE, browser.answer)
    finally:
        for one in held:
            one.close()
    assert f"port {first} on loopback is taken" in caught.value.detail
    assert caught.value.detail.endswith(f"and so is {second}")
    assert "redirect_port" not in caught.value.hint, "the provider takes no other port"
