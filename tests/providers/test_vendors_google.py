"""Gemini CLI and Antigravity pass the vendor contract against a loopback Google."""

from broker.login.runner import run_flow
from broker.oauth.failures import Misconfigured
from tests.contract.vendor_contract import Bench, VendorContract
from tests.fakes.vendors.google import AntigravityVendor, GeminiVendor
from tests.fakes.vendors.server import Fault


class TestGemini(VendorContract):
    server = GeminiVendor


class TestAntigravity(VendorContract):
    server = AntigravityVendor

    async def test_an_account_without_a_tier_is_signed_up_and_gets_its_project(self, bench: Bench) -> None:
        assert isinstance(bench.server, AntigravityVendor)
        bench.server.tier = None
        record = await bench.log_in()
        assert record.facts == {"project_id": "made-by-google"}
        [asked] = bench.server.asked("/v1internal:onboardUser")
        assert asked.fields == {
            "tier_id": "free-tier",
            "metadata": {"ide_type": "ANTIGRAVITY", "ide_version": "2.9.1", "ide_name": "antigravity"},
        }

    async def test_a_refused_client_is_no_dead_login(self, bench: Bench) -> None:
        record = await bench.log_in()
        bench.server.fail("/token", Fault(401, '{"error":"invalid_client","error_description":"Unauthorized"}'))
        assert isinstance(await bench.failure(record), Misconfigured)

    async def test_the_limits_are_those_of_the_models(self, bench: Bench) -> None:
        flow = bench.provider.quota(await bench.log_in(), bench.now)
        assert flow is not None
        [window] = (await run_flow(flow, bench.outbound, bench.clock)).windows
        assert (window.name, window.used, window.resets_at) == ("Gemini 3 Pro", 0.6, 1_777_636_800.0)
