"""Kimi passes the vendor contract."""

from dataclasses import replace

from broker.oauth.failures import Permanent
from tests.contract.parts import Part
from tests.contract.vendor_contract import Bench, VendorContract
from tests.fakes.vendors.kimi import KimiVendor
from tests.fakes.vendors.server import Fault


class TestKimi(VendorContract):
    server = KimiVendor
    without = frozenset({Part.CALLBACK, Part.CODE, Part.REVOCATION, Part.COPIED})

    async def test_one_device_id_from_the_first_request_to_the_last(self, bench: Bench) -> None:
        record = await bench.log_in()
        name, document = bench.provider.create(record, bench.client, bench.now)
        first = await bench.renew(bench.provider.read(document, name))
        await bench.renew(first)
        sent = {each.headers["X-Msh-Device-Id"] for each in bench.server.seen}
        assert sent == {document["device_id"]}

    async def test_each_login_is_a_device_of_its_own(self, bench: Bench) -> None:
        one, other = await bench.log_in(), await bench.log_in()
        assert one.facts["device_id"] != other.facts["device_id"]

    async def test_a_login_on_another_device_is_refused(self, bench: Bench) -> None:
        record = await bench.log_in()
        moved = replace(record, facts={**record.facts, "device_id": "another"})
        assert isinstance(await bench.failure(moved), Permanent)

    async def test_who_it_is_may_stay_unknown(self, bench: Bench) -> None:
        bench.server.fail("/coding/v1/me", Fault(404, '{"error":{"type":"resource_not_found_error"}}'))
        record = await bench.log_in()
        assert record.account.label == f"device-{record.facts['device_id'][:8]}"

    async def test_the_region_is_kept(self, bench: Bench) -> None:
        record = await bench.log_in(region="global")
        assert record.facts["region"] == "global"
        assert (await bench.renew(record)).tokens.access_token
