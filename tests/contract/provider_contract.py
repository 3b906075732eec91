"""What every provider must do, against a real authorization server on loopback.

A subclass of `ProviderContract` says which provider by its `name`. Written against `broker.providers.base.Provider` only: a login by the code flow, a
renewal, rotation, rejection, malformed answers, and the file's way there and back.
"""

import copy
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import aiohttp
import pytest

from broker.daemon.outbound import Outbound
from broker.login.clients import Clients
from broker.login.runner import run_flow
from broker.model.account import Record, Tokens
from broker.model.clock import Now
from broker.model.secret import Secret
from broker.oauth.code import authorization_url
from broker.oauth.failures import AnswerLost, Failure, FlowFailedError, Misconfigured, Permanent, RateLimited, Transient
from broker.oauth.messages import Flow, HttpRequest
from broker.oauth.pkce import new_state, new_verifier
from broker.oauth.revoke import revoked
from broker.providers.base import Authorization, Client, FormatError, Identity, LoginFlow, Provider
from broker.providers.naming import new_record
from broker.providers.registry import build
from broker.sandbox.faults import Answer, ErrorStatus, RateLimit, Target
from broker.sandbox.server import Sandbox
from broker.sandbox.settings import SandboxSettings
from broker.settings.reading import parse
from broker.system import SystemChance
from tests.fakes.clock import LiveClock

REDIRECT_URI = "http://localhost:54321/callback"


@dataclass
class Bench:
    """A provider, its server, and the way between them."""

    provider: Provider
    client: Client
    sandbox: Sandbox
    outbound: Outbound
    clock: LiveClock

    @property
    def now(self) -> Now:
        return self.clock.now()

    async def log_in(self, label: str | None = None) -> Record:
        """Log in as a person would, without a callback."""
        tokens = await run_flow(await self.exchange(), self.outbound, self.clock)
        identity = await run_flow(self.provider.identify(tokens, self.now), self.outbound, self.clock)
        return new_record(self.provider.name, tokens, identity, label)

    async def exchange(self) -> Flow[Tokens]:
        chance = SystemChance()
        state, verifier = new_state(chance), new_verifier(chance)
        url = authorization_url(
            self.provider.endpoints.authorize_url or "",
            self.client.id,
            REDIRECT_URI,
            self.provider.scopes,
            state,
            verifier,
            self.provider.extra_params,
        )
        async with aiohttp.ClientSession() as browser, browser.get(url, allow_redirects=False) as answer:
            code = parse_qs(urlsplit(answer.headers["Location"]).query)["code"][0]
        authorization = Authorization(url, REDIRECT_URI, state, verifier)
        return self.provider.exchange(authorization, Secret(code), self.client, self.now)

    async def renew(self, record: Record, client: Client | None = None) -> Record:
        """Renew, as the refresh engine does: the one request that spends is sent once."""
        flow = self.provider.refresh(record, client or self.client, self.now)
        spent: list[HttpRequest] = []
        try:
            request = next(flow)
            while True:
                spent += [request] if request.spends else []
                request = flow.send(await self.outbound.send(request))
        except StopIteration as ended:
            assert len(spent) == 1
            return replace(record, tokens=ended.value)

    async def failure(self, record: Record, client: Client | None = None) -> Failure:
        with pytest.raises(FlowFailedError) as caught:
            await self.renew(record, client)
        return caught.value.failure


class ProviderContract:
    """The suite. `name` is the provider's; the sandbox's configuration text must describe it."""

    name: str

    @pytest.fixture
    async def bench(self, tmp_path: Path) -> AsyncIterator[Bench]:
        settings = SandboxSettings(onboarded=True, require_pkce=True)
        async with await Sandbox.start(settings) as sandbox, Outbound(timeout=10) as outbound:
            secret = tmp_path / "client-secret"
            secret.write_text(sandbox.client_secret.reveal())
            secret.chmod(0o600)
            config = parse(sandbox.config_toml(secret).encode())
            clock = LiveClock()
            clients = Clients(config.providers, [tmp_path], outbound, clock, {"HOME": str(tmp_path), "PATH": ""})
            provider = await clients.resolve(build(config.providers).get(self.name))
            yield Bench(provider, await clients.find(provider), sandbox, outbound, clock)

    # --- what it says of itself ---

    async def test_it_is_complete(self, bench: Bench) -> None:
        provider = bench.provider
        assert provider.name == self.name
        assert provider.title
        assert provider.client_id
        assert LoginFlow.CODE in provider.flows
        assert provider.endpoints.authorize_url
        assert provider.endpoints.token_url
        assert provider.endpoints_needed() is None
        assert provider.redirect.path.startswith("/")
        assert 0 < provider.policy.lead_share <= 1
        assert provider.policy.lead_seconds > 0

    # --- login ---

    async def test_a_login_brings_a_grant_and_a_name(self, bench: Bench) -> None:
        record = await bench.log_in()
        assert record.tokens.access_token
        assert record.tokens.refresh_token
        assert record.tokens.expires_at == pytest.approx(bench.now.wall + 3600, abs=5)
        assert record.email == "alice@example.com"
        assert record.account.provider == self.name

    async def test_a_code_works_once_and_with_its_verifier_only(self, bench: Bench) -> None:
        flow = await bench.exchange()
        request = next(flow)
        assert request.form is not None
        wrong = replace(request, form={**request.form, "code_verifier": "w" * 64})
        with pytest.raises(FlowFailedError) as caught:
            flow.send(await bench.outbound.send(wrong))
        assert isinstance(caught.value.failure, Permanent)

    # --- the file ---

    async def test_a_new_file_reads_back_as_the_login(self, bench: Bench) -> None:
        for label in (None, "work"):
            record = await bench.log_in(label)
            name, document = bench.provider.create(record, bench.client, bench.now)
            assert name.startswith(self.name)
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

    async def test_a_renewal_keeps_every_field_it_does_not_own(self, bench: Bench) -> None:
        record = await bench.log_in()
        name, document = bench.provider.create(record, bench.client, bench.now)
        before = {"note": "mine", **document, "priority": 7, "x-unknown": {"deep": [1, None, "é"]}}
        kept = copy.deepcopy(before)
        renewed = await bench.renew(record)
        after = bench.provider.write(before, renewed.tokens, bench.now)
        assert before == kept
        assert list(after) == list(before)
        assert {key: after[key] for key in ("note", "priority", "x-unknown", "type")} == {
            key: before[key] for key in ("note", "priority", "x-unknown", "type")
        }
        again = bench.provider.read(after, name)
        assert again.tokens.access_token == renewed.tokens.access_token
        assert again.tokens.refresh_token == renewed.tokens.refresh_token
        assert bench.provider.write(after, renewed.tokens, bench.now) == after

    async def test_an_answer_without_a_refresh_token_never_blanks_the_one_there_is(self, bench: Bench) -> None:
        record = await bench.log_in()
        name, document = bench.provider.create(record, bench.client, bench.now)
        after = bench.provider.write(document, replace(record.tokens, refresh_token=None), bench.now)
        assert bench.provider.read(after, name).tokens.refresh_token == record.tokens.refresh_token

    async def test_a_file_without_a_grant_is_refused_without_its_content(self, bench: Bench) -> None:
        with pytest.raises(FormatError) as caught:
            bench.provider.read({"type": self.name, "email": "hidden@example.com"}, "x.json")
        assert "hidden" not in str(caught.value)

    async def test_nothing_shown_holds_a_secret(self, bench: Bench) -> None:
        record = await bench.log_in()
        for secret in (record.tokens.access_token, record.tokens.refresh_token, bench.client.secret):
            assert secret is not None
            assert secret.reveal() not in f"{record!r} {bench.client!r} {record.account} {dict(record.facts)}"

    # --- renewing ---

    async def test_a_rotating_server_gives_a_new_refresh_token(self, bench: Bench) -> None:
        first = await bench.log_in()
        second = await bench.renew(first)
        assert second.tokens.access_token != first.tokens.access_token
        assert second.tokens.refresh_token != first.tokens.refresh_token
        third = await bench.renew(second)
        assert third.tokens.refresh_token != second.tokens.refresh_token

    async def test_a_server_that_does_not_rotate_keeps_the_old_one(self, bench: Bench) -> None:
        bench.sandbox.change(rotate="off")
        first = await bench.log_in()
        second = await bench.renew(first)
        assert second.tokens.access_token != first.tokens.access_token
        assert second.tokens.refresh_token == first.tokens.refresh_token

    async def test_a_spent_refresh_token_is_final(self, bench: Bench) -> None:
        first = await bench.log_in()
        await bench.renew(first)
        failure = await bench.failure(first)
        assert isinstance(failure, Permanent)
        assert failure.code == "invalid_grant"

    async def test_a_wrong_client_is_not_blamed_on_the_login(self, bench: Bench) -> None:
        record = await bench.log_in()
        wrong = replace(bench.client, secret=Secret("fake-wrong-secret"))
        assert isinstance(await bench.failure(record, wrong), Misconfigured)
        assert (await bench.renew(record)).tokens.access_token

    @pytest.mark.parametrize(
        ("fault", "kind"),
        [
            (ErrorStatus(status=500), Transient),
            (ErrorStatus(status=503), Transient),
            (RateLimit(seconds=7), RateLimited),
            (Answer(status=200, body="{}"), AnswerLost),
            (Answer(status=200, body='{"access_token":"fake-acc'), AnswerLost),
            (Answer(status=200, body='{"error":"invalid_grant"}'), Permanent),
            (Answer(status=403, body="<html>wait</html>", content_type="text/html"), Transient),
            (Answer(status=400, body='{"error":"something_new"}'), Transient),
        ],
    )
    async def test_answers_that_are_none(
        self, bench: Bench, fault: Answer | ErrorStatus | RateLimit, kind: type
    ) -> None:
        record = await bench.log_in()
        bench.sandbox.faults.add(Target.TOKEN, fault)
        failure = await bench.failure(record)
        assert isinstance(failure, kind), failure
        assert not isinstance(failure, RateLimited) or failure.retry_after == 7

    async def test_a_login_with_no_refresh_token_is_told_without_a_request(self, bench: Bench) -> None:
        record = new_record(self.name, Tokens(Secret("fake-access")), Identity(), None)
        flow = bench.provider.refresh(record, bench.client, bench.now)
        with pytest.raises(FlowFailedError) as caught:
            next(flow)
        assert isinstance(caught.value.failure, Permanent)

    # --- ending ---

    async def test_revoking_ends_the_grant_at_the_server(self, bench: Bench) -> None:
        record = await bench.log_in()
        request = bench.provider.revoke(record, bench.client)
        assert request is not None
        assert not request.spends
        assert revoked(await bench.outbound.send(request))
        assert isinstance(await bench.failure(record), Permanent)
