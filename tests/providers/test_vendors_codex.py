"""Codex passes the vendor contract against a loopback OpenAI."""

import json

import pytest

from broker.ipc.schema import LoginStart
from broker.login.runner import run_flow
from broker.model.errors import BrokerError, ErrorCode
from broker.model.secret import Secret
from broker.oauth.failures import Misconfigured, Permanent
from broker.providers.base import LoginFlow
from tests.contract.parts import Part
from tests.contract.vendor_contract import Bench, VendorContract
from tests.fakes.vendors.codex import ACCOUNT, EMAIL, CodexVendor
from tests.fakes.vendors.server import Fault


class TestCodex(VendorContract):
    server = CodexVendor
    without = frozenset({Part.COPIED})

    @pytest.mark.parametrize("flow", [LoginFlow.CODE, LoginFlow.DEVICE])
    async def test_a_login_knows_its_account_and_plan(self, bench: Bench, flow: LoginFlow) -> None:
        record = await bench.log_in(flow)
        assert (record.email, record.facts) == (EMAIL, {"account_id": ACCOUNT, "plan": "plus"})
        name, _ = bench.provider.create(record, bench.client, bench.now)
        assert name == "codex-11e594f4-user@example.com-plus.json"

    async def test_a_renewal_keeps_what_the_answer_leaves_out(self, bench: Bench) -> None:
        first = await bench.log_in()
        second = await bench.renew(first)
        assert second.tokens.id_token == first.tokens.id_token
        assert first.tokens.id_token is not None

    async def test_a_device_login_that_is_not_enabled_is_told_in_plain_words(self, bench: Bench) -> None:
        assert isinstance(bench.server, CodexVendor)
        bench.server.device_enabled = False
        with pytest.raises(BrokerError, match="not enabled for the account") as caught:
            await bench.logins.start(LoginStart(provider="codex", flow="device"))
        assert caught.value.code is ErrorCode.LOGIN_DENIED

    async def test_an_account_without_a_right_to_codex_is_told_in_plain_words(self, bench: Bench) -> None:
        view = await bench.logins.start(LoginStart(provider="codex", flow="code", callback=False))
        state = (view.url or "").partition("&state=")[2].partition("&")[0]
        text = f"http://localhost:1455/auth/callback?error=access_denied&error_description=missing_codex_entitlement&state={state}"
        await bench.logins.finish(view.id, Secret(text))
        view = await bench.ended(view)
        assert view.problem is not None
        assert view.problem.code == ErrorCode.LOGIN_DENIED.value
        assert "has no right to use Codex" in view.problem.detail

    @pytest.mark.parametrize("code", ["refresh_token_expired", "refresh_token_reused", "refresh_token_invalidated"])
    @pytest.mark.parametrize("shape", ['{"error":{"code":"%s"}}', '{"error":"%s"}', '{"code":"%s"}'])
    async def test_a_dead_login_is_known_wherever_the_code_stands(self, bench: Bench, code: str, shape: str) -> None:
        record = await bench.log_in()
        bench.server.fail(bench.server.refresh_path, Fault(400, shape % code))
        failure = await bench.failure(record)
        assert isinstance(failure, Permanent)
        assert failure.code == code

    async def test_a_401_ends_a_login_but_for_the_clients_fault(self, bench: Bench) -> None:
        record = await bench.log_in()
        bench.server.fail(bench.server.refresh_path, Fault(401, json.dumps({"detail": "Unauthorized"})))
        assert isinstance(await bench.failure(record), Permanent)
        bench.server.fail(bench.server.refresh_path, Fault(401, '{"error":"invalid_client"}'))
        assert isinstance(await bench.failure(record), Misconfigured)

    async def test_the_limits_of_a_plan(self, bench: Bench) -> None:
        flow = bench.provider.quota(await bench.log_in(), bench.now)
        assert flow is not None
        quota = await run_flow(flow, bench.outbound, bench.clock)
        assert quota.plan == "plus"
        assert [(each.name, each.used, each.resets_at) for each in quota.windows] == [
            ("5 hours", 0.42, 1_777_636_800.0),
            ("7 days", 0.075, 1_777_636_800.0),
        ]
