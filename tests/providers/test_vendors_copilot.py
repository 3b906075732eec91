"""GitHub Copilot passes the vendor contract against a loopback GitHub, github.com's shape and that of a server of one's own."""

import json

import pytest

from broker.ipc.schema import LoginStart
from broker.model.secret import Secret
from broker.oauth.failures import Misconfigured, RateLimited
from tests.contract.parts import Part
from tests.contract.vendor_contract import Bench, VendorContract
from tests.fakes.vendors.copilot import NO_LICENCE, CopilotVendor, OwnServer
from tests.fakes.vendors.server import Fault


async def attempt(bench: Bench, **options: str) -> str:
    """Log in; return why it failed."""
    view = await bench.logins.start(
        LoginStart(provider="github-copilot", callback=False, timeout=60.0, options=options)
    )
    await bench.server.approve_device(str(view.user_code))
    view = await bench.ended(view)
    assert view.state == "failed"
    assert view.problem is not None
    return f"{view.problem.code}: {view.problem.detail}"


class TestCopilot(VendorContract):
    server = CopilotVendor
    without = frozenset({Part.CALLBACK, Part.CODE, Part.ROTATION, Part.REVOCATION, Part.LINKED})

    async def test_a_login_is_named_and_says_where_its_api_is(self, bench: Bench) -> None:
        assert isinstance(bench.server, CopilotVendor)
        record = await bench.log_in()
        assert str(record.account) == "github-copilot/octocat"
        assert record.facts == {
            "host": "github.com",
            "api_url": "https://api.individual.githubcopilot.com",
            "plan": "individual",
        }
        assert {record.tokens.refresh_token} == {Secret(each) for each in bench.server.github}

    async def test_polling_goes_on_while_the_answer_is_200_and_an_error(self, bench: Bench) -> None:
        assert isinstance(bench.server, CopilotVendor)
        bench.server.fail("/login/oauth/access_token", Fault(200, '{"error":"authorization_pending"}'))
        assert (await bench.log_in()).tokens.access_token
        assert len(bench.server.asked("/login/oauth/access_token")) == 2

    @pytest.mark.parametrize(("error", "code"), [("access_denied", "login_denied"), ("expired_token", "login_expired")])
    async def test_the_persons_decision_comes_with_status_200(self, bench: Bench, error: str, code: str) -> None:
        bench.server.fail("/login/oauth/access_token", Fault(200, json.dumps({"error": error})))
        assert (await attempt(bench)).startswith(f"{code}: ")

    async def test_an_account_without_a_licence_is_told_at_login_and_not_stored(self, bench: Bench) -> None:
        bench.server.fail(bench.server.refresh_path, Fault(403, NO_LICENCE))
        told = await attempt(bench)
        assert told.startswith("login_denied: ")
        assert "No access to Copilot found" in told
        assert "https://github.com/settings/copilot" in told
        assert not bench.kept

    async def test_a_bad_day_of_the_second_endpoint_does_not_cost_the_login(self, bench: Bench) -> None:
        bench.server.fail(bench.server.refresh_path, *[Fault(502, "<html>")] * 3)
        record = await bench.log_in()
        assert record.tokens.access_token is None
        name, document = bench.provider.create(record, bench.client, bench.now)
        assert "ccs_broker" not in document
        assert (await bench.renew(bench.provider.read(document, name))).tokens.access_token

    async def test_a_licence_that_ends_is_no_dead_login(self, bench: Bench) -> None:
        record = await bench.log_in()
        bench.server.fail(bench.server.refresh_path, Fault(403, NO_LICENCE))
        failure = await bench.failure(record)
        assert isinstance(failure, Misconfigured)
        assert "No access to Copilot found" in failure.reason

    async def test_a_rate_limit_of_github_is_waited_for(self, bench: Bench) -> None:
        record = await bench.log_in()
        body = '{"message":"API rate limit exceeded for user ID 583231."}'
        bench.server.fail(
            bench.server.refresh_path, Fault(403, body, headers={"x-ratelimit-remaining": "0", "Retry-After": "60"})
        )
        failure = await bench.failure(record)
        assert isinstance(failure, RateLimited)
        assert failure.retry_after == 60

    async def test_the_github_token_stays_where_plus_has_it(self, bench: Bench) -> None:
        record = await bench.renew(await bench.log_in())
        _, document = bench.provider.create(record, bench.client, bench.now)
        assert record.tokens.refresh_token
        assert record.tokens.access_token
        assert document["access_token"] == record.tokens.refresh_token.reveal()
        assert record.tokens.access_token.reveal() not in json.dumps({**document, "ccs_broker": None})


class TestCopilotOnAnOwnServer(VendorContract):
    """The same through `host`, which names the fake; nothing in the config does."""

    server = OwnServer
    without = frozenset({Part.CALLBACK, Part.CODE, Part.ROTATION, Part.REVOCATION, Part.LINKED, Part.COPIED})

    @pytest.fixture(autouse=True)
    def host(self, bench: Bench) -> None:
        type(self).login_options = {"host": bench.server.url}

    async def test_the_host_is_remembered_and_used_for_renewals(self, bench: Bench) -> None:
        record = await bench.log_in(**self.login_options)
        assert record.facts["host"] == bench.server.url
        assert str(record.account).startswith("github-copilot/octocat@127.0.0.1")
        name, document = bench.provider.create(record, bench.client, bench.now)
        await bench.renew(bench.provider.read(document, name))
        assert len(bench.server.asked("/api/v3/copilot_internal/v2/token")) == 2
