"""iFlow passes the vendor contract against a loopback iFlow."""

import json
from pathlib import Path

import pytest

from broker.login.clients import Clients
from broker.model.errors import BrokerError, ErrorCode
from broker.model.secret import Secret
from broker.oauth.failures import Permanent, Transient
from tests.contract.parts import Part
from tests.contract.vendor_contract import Bench, VendorContract
from tests.fakes.vendors.iflow import EMAIL, IFlowVendor
from tests.fakes.vendors.server import Fault

USERINFO = "/api/oauth/getUserInfo"


class TestIFlow(VendorContract):
    server = IFlowVendor
    without = frozenset({Part.DEVICE, Part.QUOTA, Part.REVOCATION, Part.LINKED, Part.COPIED})

    async def test_what_is_leased_is_the_api_key_and_the_file_keeps_both(self, bench: Bench) -> None:
        assert isinstance(bench.server, IFlowVendor)
        record = await bench.log_in()
        assert record.tokens.access_token == Secret(bench.server.key)
        assert (record.email, record.facts) == (EMAIL, {"base_url": "https://apis.iflow.cn/v1"})
        name, document = bench.provider.create(record, bench.client, bench.now)
        assert name == f"iflow-user@example.com-{int(bench.now.wall)}.json"
        assert document["api_key"] == bench.server.key
        assert document["access_token"] in bench.server.access
        renewed = await bench.renew(record)
        after = bench.provider.write(document, renewed.tokens, bench.now)
        assert after["api_key"] == bench.server.key != document["api_key"]
        assert after["access_token"] in bench.server.access
        assert after["access_token"] != document["access_token"]

    async def test_a_key_that_stays_is_a_renewal_all_the_same(self, bench: Bench) -> None:
        assert isinstance(bench.server, IFlowVendor)
        record = await bench.log_in()
        bench.server.new_keys = False
        renewed = await bench.renew(record)
        assert renewed.tokens.access_token == record.tokens.access_token
        assert not renewed.tokens.same_grant(record.tokens)

    async def test_an_account_without_an_address_is_its_phone_number(self, bench: Bench) -> None:
        assert isinstance(bench.server, IFlowVendor)
        bench.server.email = None
        assert (await bench.log_in()).email == "1380000"

    @pytest.mark.parametrize("fault", [Fault(500), Fault(200, '{"success":false}'), Fault(200, '{"data":{}}')])
    async def test_a_grant_without_a_key_is_kept_with_the_key_there_is_and_soon_renewed(
        self, bench: Bench, fault: Fault
    ) -> None:
        record = await bench.log_in()
        bench.server.fail(USERINFO, fault)
        renewed = await bench.renew(record)
        assert renewed.tokens.access_token == record.tokens.access_token
        assert renewed.tokens.refresh_token != record.tokens.refresh_token
        assert renewed.tokens.expires_at == pytest.approx(bench.now.wall + 600, abs=5)
        again = await bench.renew(renewed)
        assert again.tokens.access_token != record.tokens.access_token

    async def test_a_failure_with_status_200_is_a_failure(self, bench: Bench) -> None:
        record = await bench.log_in()
        told = {"success": False, "code": "invalid_grant", "message": "it is no more"}
        bench.server.fail(bench.server.refresh_path, Fault(200, json.dumps(told)), Fault(200, '{"success":false}'))
        assert isinstance(await bench.failure(record), Permanent)
        assert isinstance(await bench.failure(record), Transient)
        bench.server.fail(bench.server.refresh_path, Fault(200, '{"code":"40001","msg":"no"}'))
        assert isinstance(await bench.failure(record), Transient)

    async def test_without_a_secret_in_the_config_a_login_says_where_to_put_it(
        self, bench: Bench, tmp_path: Path
    ) -> None:
        clients = Clients({}, [tmp_path], bench.outbound, bench.clock, {"HOME": str(tmp_path), "PATH": ""})
        with pytest.raises(BrokerError) as caught:
            await clients.find(bench.provider)
        assert caught.value.code is ErrorCode.MISCONFIGURED
        assert "client_secret_file or client_secret_env in [providers.iflow]" in caught.value.hint
