"""Qwen passes the vendor contract against a loopback Qwen."""

from typing import ClassVar

import pytest

from broker.ipc.schema import LoginStart
from broker.model.errors import BrokerError
from broker.oauth.failures import Misconfigured, Permanent
from tests.contract.parts import Part
from tests.contract.vendor_contract import Bench, VendorContract
from tests.fakes.vendors.qwen import QwenVendor
from tests.fakes.vendors.server import Fault


class TestQwen(VendorContract):
    server = QwenVendor
    without = frozenset({Part.CALLBACK, Part.CODE, Part.QUOTA, Part.REVOCATION, Part.COPIED})
    login_options: ClassVar[dict[str, str]] = {"email": "user@example.com"}

    async def test_the_api_s_address_comes_with_each_grant(self, bench: Bench) -> None:
        assert isinstance(bench.server, QwenVendor)
        record = await bench.log_in(**self.login_options)
        assert record.facts == {"resource_url": "portal.example.com", "base_url": "https://portal.example.com/v1"}
        name, document = bench.provider.create(record, bench.client, bench.now)
        assert name == "qwen-user@example.com.json"
        bench.server.resource = "elsewhere.example.com/v1"
        renewed = await bench.renew(record)
        after = bench.provider.write(document, renewed.tokens, bench.now)
        assert bench.provider.read(after, name).facts["base_url"] == "https://elsewhere.example.com/v1"
        bench.server.resource = None
        renewed = await bench.renew(renewed)
        after = bench.provider.write(after, renewed.tokens, bench.now)
        assert bench.provider.read(after, name).facts["resource_url"] == "elsewhere.example.com/v1"

    async def test_any_400_ends_a_login_but_for_the_clients_fault(self, bench: Bench) -> None:
        record = await bench.log_in(**self.login_options)
        for body in ('{"error":"invalid_request"}', '{"error":"something"}', "{}", ""):
            bench.server.fail(bench.server.refresh_path, Fault(400, body))
            assert isinstance(await bench.failure(record), Permanent), body
        bench.server.fail(bench.server.refresh_path, Fault(400, '{"error":"invalid_client"}'))
        assert isinstance(await bench.failure(record), Misconfigured)

    async def test_that_it_ended_is_told_before_a_login_and_where_one_fails(self, bench: Bench) -> None:
        view = await bench.logins.start(LoginStart(provider="qwen"))
        assert view.notes == (bench.provider.notice,)
        await bench.logins.cancel(view.id)
        assert (await bench.logins.cancel(view.id)).notes == ()
        bench.server.fail("/api/v1/oauth2/device/code", Fault(404, "gone", "text/plain"))
        with pytest.raises(BrokerError) as caught:
            await bench.logins.start(LoginStart(provider="qwen"))
        assert "2026-04-15" in caught.value.hint
