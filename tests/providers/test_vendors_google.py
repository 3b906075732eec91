"""Gemini CLI and Antigravity pass the vendor contract against a loopback Google."""

from urllib.parse import parse_qs, urlsplit

from broker.ipc.schema import LoginStart
from broker.login.runner import run_flow
from broker.model.account import Record
from broker.model.secret import Secret
from broker.oauth.failures import Misconfigured
from tests.contract.parts import Part
from tests.contract.vendor_contract import Bench, VendorContract
from tests.fakes.vendors.google import EMAIL, AntigravityVendor, GeminiVendor, GoogleVendor
from tests.fakes.vendors.server import Fault


async def log_in_by_page(bench: Bench) -> Record:
    """Log in with `paste=true`, pasting the bare code that the page shows."""
    assert isinstance(bench.server, GoogleVendor)
    view = await bench.logins.start(LoginStart(provider=bench.server.name, options={"paste": "true"}))
    assert view.redirect_uri == bench.server.page
    shown = parse_qs(urlsplit(await bench.server.approve(str(view.url))).query)["code"][0]
    view = await bench.ended(await bench.logins.finish(view.id, Secret(shown)))
    assert view.state == "done", view.problem
    return bench.kept[-1][0]


class TestGemini(VendorContract):
    server = GeminiVendor
    without = frozenset({Part.DEVICE, Part.ROTATION, Part.COPIED})

    async def test_with_the_option_google_s_page_shows_the_code_and_nothing_listens(self, bench: Bench) -> None:
        assert (await log_in_by_page(bench)).email == EMAIL


class TestAntigravity(VendorContract):
    server = AntigravityVendor
    without = frozenset({Part.DEVICE, Part.ROTATION})

    async def test_with_the_option_a_page_shows_the_code_and_nothing_listens(self, bench: Bench) -> None:
        assert (await log_in_by_page(bench)).email == EMAIL

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
