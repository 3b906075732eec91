"""A real daemon behind real outbound proxies: renewals, what the socket shows of it, and connections on trial."""

import contextlib
import json
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from broker.ipc.network_schema import NetworkTest
from broker.ipc.schema import KeyAdd, LoginStart
from broker.model.account import AccountId
from broker.model.errors import BrokerError, ErrorCode
from broker.model.network import Network, read
from broker.model.secret import Secret
from tests.fakes.broker import ANN, BOB, PROVIDER, Running, running_daemon
from tests.fakes.outbound import LOGIN, PASSWORD, ConnectProxy, OutboundProxy, SocksProxy, listening
from tests.fakes.outbound import running as out_there

CANARY = "canary-0c4b19"


def say(path: Path, url: object) -> None:
    """Write an account's way into its file, as another program would."""
    path.write_text(json.dumps({**json.loads(path.read_text()), "proxy_url": url}))


@contextlib.asynccontextmanager
async def daemon(url: object, *accounts: AccountId, config: str = "") -> AsyncIterator[Running]:
    """A daemon whose accounts go by this way, begun anew with it."""
    async with running_daemon(*accounts, config=config) as made:
        await made.stop()
        for path in made.auth.glob("*.json"):
            say(path, url)
        await made.start()
        yield made


@pytest.mark.parametrize(("kind", "scheme"), [(ConnectProxy, "http"), (SocksProxy, "socks5h")])
async def test_a_renewal_goes_by_its_accounts_way(
    kind: type[OutboundProxy], scheme: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with out_there(kind(locked=True)) as out, daemon(out.url(scheme, LOGIN), ANN) as made:
        before = await made.client.lease(ANN)
        after = await made.client.refresh(ANN)
        assert after.generation > before.generation
        lease = await made.token_client.lease(ANN)
        assert made.owns(lease.access_token) == ANN.label
        assert out.connections > 0
        assert {port for _, port in out.targets} == {int(made.sandbox.url.rpartition(":")[2])}
        # The way travels with the token, and is shown to nobody else.
        assert lease.proxy_url == Secret(out.url(scheme, LOGIN))
        assert PASSWORD not in str(await made.client.accounts()) + str(await made.client.network())
        trail = (made.state / "audit.jsonl").read_text()
    assert not any(word in text for word in (PASSWORD, LOGIN) for text in (caplog.text, trail))


async def test_a_proxy_that_is_down_keeps_a_renewal_back_and_the_refresh_token_too(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    async with out_there(ConnectProxy()) as out:
        url = out.url("http", f"me:{CANARY}")
    async with daemon(url, ANN) as made:
        with pytest.raises(BrokerError, match=rf"the proxy 127\.0\.0\.1:{out.port}") as caught:
            await made.client.refresh(ANN)
        assert caught.value.code is ErrorCode.REFRESH_FAILED
        view = await made.client.account(ANN)
        assert view.state == "backoff"  # not in doubt: nothing was sent
        assert CANARY not in caplog.text + str(caught.value) + str(view)
        assert made.sandbox.stats.refresh_posts == 0
        say(next(made.auth.glob("*.json")), "direct")
        await made.stop()
        await made.start()
        assert (await made.client.refresh(ANN)).state == "active"


async def test_an_account_whose_way_cannot_be_is_not_served_and_says_why() -> None:
    async with daemon(f"socks4://me:{CANARY}@out.example", ANN) as made:
        view = await made.client.account(ANN)
        assert view.reason is not None
        assert view.reason.startswith("not served: proxy_url in its file is neither http://")
        assert view.hint is not None
        with pytest.raises(BrokerError, match="proxy_url in its file") as caught:
            await made.token_client.lease(ANN)
        assert caught.value.code is ErrorCode.MISCONFIGURED
        with pytest.raises(BrokerError, match="proxy_url in the account's file"):
            await made.client.refresh(ANN)
        route = (await made.client.network()).routes[-1]
        assert (route.account, route.level, route.proxy) == (str(ANN), "account", None)
        assert route.fault is not None
        assert route.fault.startswith("is neither http://")
        assert CANARY not in str(view) + str(caught.value) + str(route)


async def test_a_changed_way_is_a_new_generation() -> None:
    async with running_daemon(ANN) as made:
        before = (await made.client.account(ANN)).generation
        await made.stop()
        say(next(made.auth.glob("*.json")), "direct")
        await made.start()
        assert (await made.client.account(ANN)).generation > before


async def test_the_ways_of_all() -> None:
    config = (
        '[network]\nproxy_url = "https://me:fake@all.example"\n'
        '[providers.codex]\nproxy_url = "socks5h://me:fake@codex.example"\n'
    )
    async with running_daemon(ANN, BOB, config=config) as made:
        await made.stop()
        say(min(made.auth.glob("*.json")), "http://me:fake@ann.example")
        await made.start()
        routes = (await made.client.network()).routes
    assert [(each.provider, each.account, each.proxy, each.level) for each in routes] == [
        (None, None, "https://all.example:443", "global"),
        ("codex", None, "socks5h://codex.example:1080", "provider"),
        (PROVIDER, None, None, "none"),  # the sandbox is on loopback
        (PROVIDER, str(ANN), "http://ann.example:80", "account"),
        (PROVIDER, str(BOB), None, "none"),
    ]
    assert "fake" not in str(routes)


async def test_a_connection_on_trial() -> None:
    async with out_there(SocksProxy(locked=True)) as out, daemon(out.url("socks5h", LOGIN), ANN) as made:
        port = int(made.sandbox.url.rpartition(":")[2])
        said = await made.client.test_network(NetworkTest(account=str(ANN)))
        assert (said.ok, said.error, said.level) == (True, None, "account")
        assert (said.target, said.proxy) == (f"127.0.0.1:{port}", f"socks5h://127.0.0.1:{out.port}")
        assert 0 <= said.seconds < 30
        assert len(out.targets) == 1
        direct = await made.client.test_network(NetworkTest(provider=PROVIDER))
        assert (direct.ok, direct.level, direct.proxy) == (True, "none", None)
        assert len(out.targets) == 1
        given = NetworkTest(proxy_url=Secret(out.url("socks5h", "me:wrong")), target=made.sandbox.url)
        refused = await made.client.test_network(given)
        assert (refused.ok, refused.level) == (False, "given")
        assert refused.error is not None
        assert f"the proxy 127.0.0.1:{out.port}" in refused.error
        assert "wrong" not in str(refused)


async def test_a_trial_sends_nothing() -> None:
    heard: list[bytes] = []

    async def serve(reader, writer) -> None:  # type: ignore[no-untyped-def]
        heard.append(await reader.read())

    async with running_daemon(ANN) as made, listening(serve) as port:
        said = await made.client.test_network(NetworkTest(target=f"http://127.0.0.1:{port}/path"))
        assert said.ok
    assert heard == [b""]


@pytest.mark.parametrize(
    ("asked", "code", "word"),
    [
        (NetworkTest(), ErrorCode.BAD_REQUEST, "target is missing"),
        (NetworkTest(proxy_url=Secret("http://x.example")), ErrorCode.BAD_REQUEST, "target is missing"),
        (NetworkTest(provider="openai-api"), ErrorCode.BAD_REQUEST, "target is missing"),
        (NetworkTest(provider="a", account="a/b"), ErrorCode.BAD_REQUEST, "exclude one another"),
        (NetworkTest(provider="nope"), ErrorCode.UNKNOWN_PROVIDER, "nope"),
        (NetworkTest(account="nope/x"), ErrorCode.UNKNOWN_PROVIDER, "nope"),
        (NetworkTest(account=f"{PROVIDER}/nobody"), ErrorCode.UNKNOWN_ACCOUNT, "nobody"),
        (NetworkTest(account="gemini"), ErrorCode.BAD_REQUEST, "provider/label"),
        (
            NetworkTest(proxy_url=Secret("ftp://me:canary@x"), target="https://a.example"),
            ErrorCode.BAD_REQUEST,
            "is nei",
        ),
        (NetworkTest(target="ftp://a.example"), ErrorCode.BAD_REQUEST, "no https URL"),
        (NetworkTest(target="http://a.example"), ErrorCode.BAD_REQUEST, "loopback"),
    ],
)
async def test_what_cannot_be_tried(running: Running, asked: NetworkTest, code: ErrorCode, word: str) -> None:
    with pytest.raises(BrokerError, match=word) as caught:
        await running.client.test_network(asked)
    assert caught.value.code is code
    assert "canary" not in str(caught.value)
    assert ("--to URL" in caught.value.hint) is (word == "target is missing")


async def test_a_login_too_goes_by_its_providers_way_and_never_past_it() -> None:
    async with running_daemon() as made, out_there(ConnectProxy(locked=True)) as out:
        made.daemon.outbound.network = Network({PROVIDER: read(Secret(out.url("http", LOGIN)))})
        view = await made.client.start_login(LoginStart(provider=PROVIDER, callback=False))
        assert view.state == "waiting"
        assert len(out.targets) == 1  # discovery
        made.daemon.outbound.network = Network({PROVIDER: read(Secret(out.url("http")))})
        paths = len(made.sandbox.stats.requests)
        callback = f"{view.redirect_uri}?code=fake-code&state={parse_qs(urlsplit(str(view.url)).query)['state'][0]}"
        view = await made.client.finish_login(view.id, Secret(callback))
        while view.state in {"waiting", "finishing"}:
            view = await made.client.login(view.id, wait=10)
        assert view.state == "failed"
        assert view.problem is not None
        assert f"the proxy 127.0.0.1:{out.port} refused" in view.problem.detail
        assert len(made.sandbox.stats.requests) == paths


async def test_a_logout_is_revoked_by_its_accounts_way() -> None:
    async with out_there(ConnectProxy()) as out, daemon(out.url("http"), ANN) as made:
        assert (await made.client.logout(ANN)).revoked
        assert out.connections > 0
        assert all(host == "127.0.0.1" for host in out.asked)


async def test_who_logs_in_again_goes_by_the_accounts_way() -> None:
    async with out_there(ConnectProxy()) as out, daemon(out.url("http"), ANN) as made:
        view = await made.client.start_login(LoginStart(provider=PROVIDER, label=ANN.label, callback=False))
        before = len(out.targets)
        state = parse_qs(urlsplit(str(view.url)).query)["state"][0]
        await made.client.finish_login(view.id, Secret(f"{view.redirect_uri}?code=fake-code&state={state}"))
        while view.state in {"waiting", "finishing"}:
            view = await made.client.login(view.id, wait=10)
        assert view.state == "failed"  # the code is none, says the provider
        assert len(out.targets) == before + 1
        new = await made.client.start_login(LoginStart(provider=PROVIDER, label="new", callback=False))
        state = parse_qs(urlsplit(str(new.url)).query)["state"][0]
        await made.client.finish_login(new.id, Secret(f"{new.redirect_uri}?code=fake-code&state={state}"))
        while new.state in {"waiting", "finishing"}:
            new = await made.client.login(new.id, wait=10)
        assert len(out.targets) == before + 1


async def test_a_way_outlives_a_new_key_a_renewal_and_a_new_name() -> None:
    way = "socks5h://me:fake@out.example"
    async with daemon("direct", ANN) as made:
        asked = KeyAdd(provider="openai-api", key=Secret("fake-key-1"), label="team")
        await made.client.add_key(asked)
        say(made.auth / "openai-api-team.json", way)
        await made.stop()
        await made.start()
        team = AccountId("openai-api", "team")
        assert (await made.client.lease(team)).proxy_url == Secret(way)
        await made.client.add_key(KeyAdd(provider="openai-api", key=Secret("fake-key-2"), label="team"))
        lease = await made.client.lease(team)
        assert (lease.access_token, lease.proxy_url) == (Secret("fake-key-2"), Secret(way))
        await made.client.rename(team, "squad")
        assert (await made.client.lease(AccountId("openai-api", "squad"))).proxy_url == Secret(way)
        await made.client.refresh(ANN)
        assert (await made.client.lease(ANN)).proxy_url == Secret("direct")
        await made.client.pause(ANN)
        await made.client.resume(ANN)
        assert (await made.client.lease(ANN)).proxy_url == Secret("direct")
