"""xAI passes the vendor contract, by device and by code."""

from dataclasses import replace

from broker.model.account import Record
from broker.oauth.failures import Permanent, Transient
from broker.providers.base import LoginFlow
from tests.contract.parts import Part
from tests.contract.vendor_contract import Bench, VendorContract
from tests.fakes.vendors.server import Fault
from tests.fakes.vendors.xai import EMAIL, SUBJECT, XaiVendor


class TestXai(VendorContract):
    server = XaiVendor
    without = frozenset({Part.QUOTA, Part.COPIED})

    async def test_the_device_login_comes_first(self, bench: Bench) -> None:
        assert bench.provider.flows == (LoginFlow.DEVICE, LoginFlow.CODE)
        record = await bench.log_in()
        assert (record.email, record.subject) == (EMAIL, SUBJECT)
        assert not bench.server.asked("/oauth2/userinfo")

    async def test_userinfo_fills_what_the_id_token_leaves_out(self, bench: Bench) -> None:
        assert isinstance(bench.server, XaiVendor)
        bench.server.names = False
        assert (await bench.log_in()).email == EMAIL

    async def test_a_spent_refresh_token_is_final(self, bench: Bench) -> None:
        record = await bench.log_in()
        await bench.renew(record)
        assert isinstance(await bench.failure(record), Permanent)

    async def test_a_wall_against_robots_is_not(self, bench: Bench) -> None:
        record = await bench.log_in()
        for fault in (
            Fault(403, "<!DOCTYPE html><title>Just a moment...</title>", "text/html"),
            Fault(403, "Access denied", "text/plain"),
            Fault(401, '{"message":"blocked"}'),
            Fault(400, "", "text/plain"),
        ):
            bench.server.fail("/oauth2/token", fault)
            assert isinstance(await bench.failure(record), Transient)
        assert (await bench.renew(record)).tokens.access_token

    async def test_a_refresh_token_goes_to_no_host_that_a_file_names(self, bench: Bench) -> None:
        """A second vendor plays the stranger a tampered file points to."""
        async with XaiVendor() as stranger:
            name, document = bench.provider.create(await bench.log_in(), bench.client, bench.now)
            tampered = {**document, "token_endpoint": f"{stranger.url}/oauth2/token"}
            record: Record = bench.provider.read(tampered, name)
            assert "token_endpoint" not in record.facts
            first = await bench.renew(record)
            # Nor where a record came from somewhere else with the fact in it.
            await bench.renew(replace(first, facts={"token_endpoint": f"{stranger.url}/oauth2/token"}))
            assert stranger.seen == []
