"""What every provider must do, against a loopback server that speaks its vendor's shapes.

A subclass of `VendorContract` names its `server`, a `VendorServer`. Logins go through `broker.login.sessions`, as in the program; renewals as the refresh
engine sends them.
"""

import copy
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar
from urllib.parse import parse_qs, urlsplit

import aiohttp
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from broker.daemon.outbound import Outbound
from broker.ipc.schema import LoginStart, LoginView, Problem
from broker.login.clients import Clients
from broker.login.runner import run_flow
from broker.login.sessions import Kept, Logins
from broker.model.account import Record, Tokens
from broker.model.clock import Now
from broker.model.errors import ErrorCode
from broker.model.secret import Secret
from broker.oauth.failures import AnswerLost, Failure, FlowFailedError, Permanent, RateLimited, Transient
from broker.oauth.messages import PAUSED, HttpRequest, Pause
from broker.oauth.revoke import revoked
from broker.providers.base import Client, FormatError, LoginFlow, Provider, Quota
from broker.providers.registry import build
from broker.settings.reading import parse
from broker.system import SystemChance
from tests.contract.parts import Part, about
from tests.contract.taking_over import TakingOver
from tests.fakes.clock import HastyClock
from tests.fakes.vendors.server import Fault, VendorServer

USER_AGENT = "contract-agent/1.0"

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=12), inner, max_size=3),
    max_leaves=8,
)
NO_ANSWERS = [
    Fault(500, "oops", "text/plain"),
    Fault(200, "{}"),
    Fault(200, '{"access_token":"fake-acc'),
    Fault(200, "[]"),
    Fault(403, "<html>wait</html>", "text/html"),
]
KEYS = st.sampled_from(
    (
        "access_token", "refresh_token", "id_token", "token", "expired", "expires_at", "expiry", "expires_in", "email", "label", "sub", "scope", "scopes",
        "last_refresh", "project_id", "account_id", "base_url", "region", "service_account", "api_key", "username", "disabled", "timestamp", "device_id",
        "clientId", "clientSecret", "accessToken", "refreshToken", "expiresAt", "resource_url",
    )
)  # fmt: skip


@dataclass
class Bench:
    """A provider, its vendor, and the way between them."""

    provider: Provider
    client: Client
    server: VendorServer
    outbound: Outbound
    clock: HastyClock
    logins: Logins
    anywhere: Logins
    """The logins of the provider with `redirect_port = 0`."""
    kept: list[tuple[Record, Client]]
    clients: Clients

    @property
    def now(self) -> Now:
        return self.clock.now()

    async def log_in(self, flow: LoginFlow | None = None, **options: str) -> Record:
        """Log in as a person would, pasting what their browser ends on; where there is no way to, take the file that is imported and renew it."""
        if not self.provider.flows:
            name, document = self.server.imported()
            return await self.renew(self.provider.read(document, name))
        asked = LoginStart(provider=self.server.name, flow=flow, callback=False, timeout=60.0, options=options)
        view = await self.logins.start(asked)
        if view.user_code:
            await self.server.approve_device(view.user_code)
        elif view.url:
            await self.logins.finish(view.id, Secret(await self.server.approve(view.url)))
        view = await self.ended(view)
        assert view.state == "done", view.problem
        record, self.client = self.kept[-1]
        return record

    async def come_back(self, **options: str) -> LoginView:
        """Log in by code with a browser that follows the vendor's last step to the callback here."""
        # Any free port: suites run beside each other, and beside the programs the ports belong to.
        self.server.any_port = True
        redirect = self.provider.redirect
        asked = LoginStart(provider=self.server.name, flow=LoginFlow.CODE, timeout=60.0, options=options)
        view = await self.anywhere.start(asked)
        back = urlsplit(str(view.redirect_uri))
        assert (back.scheme, back.hostname, back.path) == ("http", redirect.host, redirect.path)
        final = await self.server.approve(str(view.url))
        for wrong in (f"{view.redirect_uri}?code=fake-code", f"{view.redirect_uri}?code=fake-code&state=fake-state"):
            assert await _visited(wrong) == 400
        assert await _visited(final) == 200
        view = await self.ended(view, self.anywhere)
        with pytest.raises(aiohttp.ClientConnectorError):
            await _visited(final)
        return view

    async def ended(self, view: LoginView, logins: Logins | None = None) -> LoginView:
        while view.state in {"waiting", "finishing"}:
            view = await (logins or self.logins).follow(view.id, 30.0)
        return view

    async def fails(self, flow: LoginFlow, text: str | None = None, **options: str) -> Problem:
        """Log in until it fails: with what the vendor's page gives, or with `text` and the state that belongs there. Nothing may be kept."""
        before = len(self.kept)
        asked = LoginStart(provider=self.server.name, flow=flow, callback=False, timeout=60.0, options=options)
        view = await self.logins.start(asked)
        if view.user_code:
            await self.server.approve_device(view.user_code)
        elif text is None:
            await self.logins.finish(view.id, Secret(await self.server.approve(str(view.url))))
        else:
            state = parse_qs(urlsplit(str(view.url)).query)["state"][0]
            await self.logins.finish(view.id, Secret(f"{text}&state={state}"))
        view = await self.ended(view)
        assert (view.state, len(self.kept)) == ("failed", before)
        assert view.problem is not None
        assert view.problem.hint
        return view.problem

    async def renew(self, record: Record) -> Record:
        """Renew, as the refresh engine does: the one request that spends is sent once."""
        flow = self.provider.refresh(record, self.client, self.now)
        spent = 0
        try:
            step = next(flow)
            while True:
                if isinstance(step, Pause):
                    step = flow.send(PAUSED)
                    continue
                spent += step.spends
                step = flow.send(await self.outbound.send(step))
        except StopIteration as ended:
            assert spent == 1
            return replace(record, tokens=ended.value)

    async def failure(self, record: Record) -> Failure:
        with pytest.raises(FlowFailedError) as caught:
            await self.renew(record)
        return caught.value.failure


async def _visited(url: str) -> int:
    async with aiohttp.ClientSession() as browser, browser.get(url) as answer:
        await answer.read()
        return answer.status


class VendorContract(TakingOver):
    """The suite."""

    server: ClassVar[type[VendorServer]]
    login_options: ClassVar[dict[str, str]] = {}

    @classmethod
    def at_rest(cls) -> Provider:
        """The provider without a server."""
        return build({}).get(cls.server.name)

    @pytest.fixture
    async def bench(self, tmp_path: Path) -> AsyncIterator[Bench]:
        async with self.server() as server, Outbound(timeout=10) as outbound:
            text = server.config(tmp_path).replace(
                f"[providers.{server.name}]\n", f'[providers.{server.name}]\nuser_agent = "{USER_AGENT}"\n', 1
            )
            assert USER_AGENT in text
            config = parse(text.encode())
            clock, chance = HastyClock(), SystemChance()
            clients = Clients(config.providers, [tmp_path], outbound, clock, {"HOME": str(tmp_path), "PATH": ""})
            registry = build(config.providers)
            kept: list[tuple[Record, Client]] = []

            async def keep(record: Record, client: Client, _notes: tuple[str, ...]) -> Kept:
                kept.append((record, client))
                return Kept(record.account, "x.json")

            logins = Logins(registry, clients, outbound, clock, chance, keep)
            free = parse(text.replace("user_agent", "redirect_port = 0\nuser_agent", 1).encode())
            anywhere = Logins(build(free.providers), clients, outbound, clock, chance, keep)
            provider = await clients.resolve(registry.get(server.name))
            try:
                carried = None if provider.flows else provider.client_of(server.imported()[1])
                client = await clients.find(provider, carried)
                yield Bench(provider, client, server, outbound, clock, logins, anywhere, kept, clients)
            finally:
                await logins.close()
                await anywhere.close()

    async def test_it_is_without_what_it_says(self, bench: Bench) -> None:
        record = await bench.log_in(**self.login_options)
        provider, flows = bench.provider, bench.provider.flows
        renews = record.tokens.refresh_token is not None
        has = {
            Part.LOGIN: bool(flows),
            Part.CALLBACK: LoginFlow.CODE in flows and provider.redirect.loopback,
            Part.CODE: LoginFlow.CODE in flows,
            Part.DEVICE: LoginFlow.DEVICE in flows,
            Part.RENEWAL: renews,
            Part.ROTATION: renews and bench.server.rotates,
            Part.QUOTA: provider.quota(record, bench.now) is not None,
            Part.REVOCATION: provider.revoke(record, bench.client) is not None,
            Part.LINKED: renews and self.has_linked(),
            Part.COPIED: renews and self.has_copied(record),
        }
        assert {part for part, held in has.items() if not held} == self.without
        assert has.keys() == set(Part)

    # --- logging in ---

    async def test_every_way_to_log_in_brings_a_grant_and_a_name(self, bench: Bench) -> None:
        for flow in bench.provider.flows or (None,):
            record = await bench.log_in(flow, **self.login_options)
            assert record.tokens.access_token
            assert record.account.provider == bench.server.name
            assert record.account.label
            assert not record.account.label.startswith("login-"), "nobody knows whose it is"

    @about(Part.CALLBACK)
    async def test_the_browser_comes_back_to_the_callback_once(self, bench: Bench) -> None:
        view = await bench.come_back(**self.login_options)
        assert view.state == "done", view.problem
        [(record, _)] = bench.kept
        assert record.tokens.access_token

    @about(Part.LOGIN)
    async def test_a_person_may_say_no(self, bench: Bench) -> None:
        if LoginFlow.CODE in bench.provider.flows:
            problem = await bench.fails(
                LoginFlow.CODE, "error=access_denied&error_description=No.", **self.login_options
            )
            assert problem.code == ErrorCode.LOGIN_DENIED.value
        if LoginFlow.DEVICE in bench.provider.flows and bench.server.denial is not None:
            for error, code in (("access_denied", ErrorCode.LOGIN_DENIED), ("expired_token", ErrorCode.LOGIN_EXPIRED)):
                bench.server.stop_poll(Fault(bench.server.denial, json.dumps({"error": error})))
                assert (await bench.fails(LoginFlow.DEVICE, **self.login_options)).code == code.value
        assert (await bench.log_in(**self.login_options)).tokens.access_token

    @about(Part.CODE)
    async def test_a_code_that_brings_no_grant_keeps_nothing(self, bench: Bench) -> None:
        for fault in NO_ANSWERS:
            bench.server.stop_exchange(fault)
            problem = await bench.fails(LoginFlow.CODE, **self.login_options)
            assert "fake-acc" not in problem.detail
        assert (await bench.log_in(LoginFlow.CODE, **self.login_options)).tokens.access_token

    @about(Part.DEVICE)
    async def test_polling_outlasts_answers_that_are_none(self, bench: Bench) -> None:
        for fault in NO_ANSWERS:
            bench.server.stop_poll(fault, fault)  # in a row of more, pauses would grow to real ones
            assert (await bench.log_in(LoginFlow.DEVICE, **self.login_options)).tokens.access_token

    async def test_every_request_calls_itself_what_the_config_says(self, bench: Bench) -> None:
        record = await bench.log_in(**self.login_options)
        if Part.RENEWAL not in self.without:
            await bench.renew(record)
        quota = bench.provider.quota(record, bench.now)
        if quota is not None:
            await run_flow(quota, bench.outbound, bench.clock)
        browser = [each for each in bench.server.seen if "Mozilla" in each.headers.get("User-Agent", "")]
        ours = [
            each for each in bench.server.seen if each.headers.get("User-Agent", "").startswith(("contract", "ccs"))
        ]
        assert ours
        assert {each.headers["User-Agent"] for each in ours if each not in browser} == {USER_AGENT}

    # --- the file ---

    async def test_a_new_file_reads_back_as_the_login(self, bench: Bench) -> None:
        record = await bench.log_in(**self.login_options)
        name, document = bench.provider.create(record, bench.client, bench.now)
        assert name.endswith(".json")
        assert "/" not in name
        document = json.loads(json.dumps(document))
        assert bench.provider.claims(document)
        again = bench.provider.read(document, name)
        assert again.account == record.account
        assert again.email == record.email
        assert again.tokens.access_token == record.tokens.access_token
        assert again.tokens.refresh_token == record.tokens.refresh_token
        assert again.tokens.expires_at == pytest.approx(record.tokens.expires_at, abs=1)
        assert dict(again.facts) == dict(record.facts)

    @about(Part.RENEWAL)
    async def test_a_renewal_keeps_every_field_it_does_not_own(self, bench: Bench) -> None:
        record = await bench.log_in(**self.login_options)
        name, document = bench.provider.create(record, bench.client, bench.now)
        before = {"note": "mine", **document, "priority": 7, "x-unknown": {"deep": [1, None, "é"]}}
        kept = copy.deepcopy(before)
        renewed = await bench.renew(bench.provider.read(before, name))
        after = bench.provider.write(before, renewed.tokens, bench.now)
        assert before == kept
        assert list(after)[: len(before)] == list(before)
        assert {key: after[key] for key in ("note", "priority", "x-unknown", "type")} == {
            key: before[key] for key in ("note", "priority", "x-unknown", "type")
        }
        again = bench.provider.read(after, name)
        assert again.tokens.access_token == renewed.tokens.access_token
        assert again.tokens.refresh_token == renewed.tokens.refresh_token
        assert bench.provider.write(after, renewed.tokens, bench.now) == after

    async def test_a_write_with_less_never_blanks_what_there_is(self, bench: Bench) -> None:
        record = await bench.log_in(**self.login_options)
        name, document = bench.provider.create(record, bench.client, bench.now)
        after = bench.provider.write(document, replace(record.tokens, refresh_token=None), bench.now)
        assert bench.provider.read(after, name).tokens.refresh_token == record.tokens.refresh_token

    @given(noise=st.dictionaries(KEYS | st.text(max_size=12), JSON, max_size=8), data=st.data())
    @settings(max_examples=60, suppress_health_check=list(HealthCheck))
    def test_any_document_is_read_or_refused_and_keeps_what_is_not_ours(
        self, noise: dict[str, object], data: st.DataObject
    ) -> None:
        provider = self.at_rest()
        document = {**noise, "type": self.server.name, "x-mine": data.draw(JSON)}
        try:
            record = provider.read(document, "file.json")
        except FormatError:
            return
        assert record.account.label
        after = provider.write(document, Tokens(Secret("fake-a"), Secret("fake-r"), expires_at=2e9), Now(1.9e9, 1.0))
        assert after["x-mine"] == document["x-mine"]
        assert set(document) <= set(after)

    async def test_nothing_shown_holds_a_secret(self, bench: Bench) -> None:
        record = await bench.log_in(**self.login_options)
        shown = f"{record!r} {bench.client!r} {record.account} {dict(record.facts)}"
        for secret in (record.tokens.access_token, record.tokens.refresh_token, bench.client.secret):
            assert secret is None or secret.reveal() not in shown

    # --- renewing ---

    @about(Part.RENEWAL)
    async def test_a_renewal_brings_a_new_grant(self, bench: Bench) -> None:
        first = await bench.log_in(**self.login_options)
        second = await bench.renew(first)
        assert second.tokens.access_token
        assert second.tokens.access_token != first.tokens.access_token
        assert second.tokens.expires_at == pytest.approx(bench.now.wall + bench.server.lifetime, abs=10)
        assert (second.tokens.refresh_token != first.tokens.refresh_token) is bench.server.rotates
        await bench.renew(second)

    @about(Part.ROTATION)
    async def test_a_spent_refresh_token_ends_nothing_but_itself(self, bench: Bench) -> None:
        first = await bench.log_in(**self.login_options)
        second = await bench.renew(first)
        assert isinstance(await bench.failure(first), Permanent)
        assert (await bench.renew(second)).tokens.refresh_token not in {
            first.tokens.refresh_token,
            second.tokens.refresh_token,
        }

    @about(Part.RENEWAL)
    async def test_a_dead_login_is_told_from_a_bad_day(self, bench: Bench) -> None:
        record = await bench.log_in(**self.login_options)
        bench.server.reject()
        failure = await bench.failure(record)
        assert isinstance(failure, Permanent), failure
        assert (await bench.renew(record)).tokens.access_token

    @pytest.mark.parametrize(
        ("fault", "kinds"),
        [
            (Fault(500, "oops", "text/plain"), (Transient,)),
            (Fault(503, '{"error":"temporarily_unavailable"}'), (Transient,)),
            (Fault(429, "{}", headers={"Retry-After": "7"}), (RateLimited,)),
            (Fault(200, "{}"), (AnswerLost, Transient)),
            (Fault(200, '{"access_token":"fake-acc'), (AnswerLost, Transient)),
            (Fault(200, "[]"), (AnswerLost, Transient)),
            (Fault(403, "<html>wait</html>", "text/html"), (Transient,)),
        ],
    )
    @about(Part.RENEWAL)
    async def test_answers_that_are_none(self, bench: Bench, fault: Fault, kinds: tuple[type, ...]) -> None:
        record = await bench.log_in(**self.login_options)
        bench.server.fail(bench.server.refresh_path, fault)
        failure = await bench.failure(record)
        assert isinstance(failure, kinds), failure
        assert not isinstance(failure, RateLimited) or failure.retry_after == 7
        assert (await bench.renew(record)).tokens.access_token

    # --- around it ---

    @about(Part.QUOTA)
    async def test_quota_is_read_or_said_to_be_unreadable(self, bench: Bench) -> None:
        record = await bench.log_in(**self.login_options)
        flow = bench.provider.quota(record, bench.now)
        assert flow is not None
        quota = await run_flow(flow, bench.outbound, bench.clock)
        assert quota.plan or quota.windows
        for window in quota.windows:
            assert window.used is None or 0 <= window.used <= 1
        path = bench.server.seen[-1].path
        for body in ("{}", "[]", "nothing", '{"a":{"b":[]}}'):
            bench.server.fail(path, Fault(200, body))
            unread = bench.provider.quota(record, bench.now)
            assert unread is not None
            told = await run_flow(unread, bench.outbound, bench.clock)
            assert isinstance(told, Quota)

    @about(Part.REVOCATION)
    async def test_revoking_is_understood(self, bench: Bench) -> None:
        record = await bench.log_in(**self.login_options)
        request = bench.provider.revoke(record, bench.client)
        assert isinstance(request, HttpRequest)
        assert not request.spends
        assert revoked(await bench.outbound.send(request))
