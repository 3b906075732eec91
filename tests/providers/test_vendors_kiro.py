"""Kiro passes the vendor contract against a loopback AWS, with a Builder ID, through an IAM Identity Center, and with a social login."""

import json
from dataclasses import replace

from broker.ipc.schema import LoginStart
from broker.model.secret import Secret
from broker.oauth.failures import Misconfigured, Permanent
from tests.contract.parts import Part
from tests.contract.vendor_contract import Bench, VendorContract
from tests.fakes.vendors.kiro import PROFILE, START_URL, KiroCenter, KiroSocial, KiroVendor
from tests.fakes.vendors.server import Fault


class TestKiro(VendorContract):
    server = KiroVendor
    without = frozenset({Part.CALLBACK, Part.REVOCATION})
    native_names = ("kiro-auth-token.json", "client-id.json")

    async def test_the_registration_is_made_once_a_login_and_goes_into_the_file(self, bench: Bench) -> None:
        assert isinstance(bench.server, KiroVendor)
        record = await bench.log_in()
        name, document = bench.provider.create(record, bench.client, bench.now)
        assert name == "kiro-aws-user@example.com.json"
        assert {str(document["client_id"]): document["client_secret"]} == bench.server.clients
        assert document["client_secret_expires_at"] == 1_757_776_000
        carried = bench.provider.client_of(json.loads(json.dumps(document)))
        assert carried == bench.client
        assert await bench.clients.find(bench.provider, carried) == carried
        assert len(bench.server.asked("/client/register")) == 1

    async def test_a_login_knows_where_it_was_made(self, bench: Bench) -> None:
        assert dict((await bench.log_in()).facts) == {
            "region": "us-east-1",
            "start_url": START_URL,
            "auth_method": "builder-id",
            "provider": "AWS",
            "profile_arn": PROFILE,
        }

    async def test_a_wrong_region_is_told_from_a_dead_login(self, bench: Bench) -> None:
        record = await bench.log_in()
        bench.server.fail(
            "/token", Fault(400, '{"error":"invalid_request","error_description":"Invalid token provided"}')
        )
        failure = await bench.failure(record)
        assert isinstance(failure, Misconfigured)
        assert failure.code == "wrong_region"
        assert (await bench.renew(record)).tokens.access_token

    async def test_a_registration_that_is_not_the_logins_is_no_dead_login(self, bench: Bench) -> None:
        record = await bench.log_in()
        ours, bench.client = bench.client, replace(bench.client, secret=Secret("fake-other"))
        failure = await bench.failure(record)
        assert isinstance(failure, Misconfigured)
        assert "ccs-broker login kiro" in failure.reason
        bench.client = ours
        assert (await bench.renew(record)).tokens.access_token

    async def test_a_spent_token_is_final(self, bench: Bench) -> None:
        record = await bench.log_in()
        await bench.renew(record)
        assert isinstance(await bench.failure(record), Permanent)

    async def test_without_an_address_the_id_names_the_account(self, bench: Bench) -> None:
        assert isinstance(bench.server, KiroVendor)
        bench.server.email = None
        assert (await bench.log_in()).account.label == "d-0123456789.fake-user"


class TestKiroCenter(VendorContract):
    server = KiroCenter
    without = frozenset({Part.CALLBACK, Part.CODE, Part.REVOCATION})
    native_names = ("client-id.json",)

    async def test_the_organisations_address_and_region_are_kept(self, bench: Bench) -> None:
        facts = (await bench.log_in()).facts
        assert (facts["auth_method"], facts["region"]) == ("idc", "eu-central-1")
        assert facts["start_url"] == KiroCenter.start_url


class TestKiroSocial(VendorContract):
    server = KiroSocial
    without = frozenset({Part.CALLBACK, Part.DEVICE, Part.REVOCATION})
    native_names = ("social.json",)

    async def test_the_address_is_pasted_whether_a_browser_opens_or_not(self, bench: Bench) -> None:
        view = await bench.logins.start(LoginStart(provider="kiro", callback=True, timeout=60.0))
        assert view.redirect_uri == "kiro://kiro.kiroAgent/authenticate-success"
        pasted = await bench.server.approve(str(view.url))
        assert pasted.startswith("kiro://")
        await bench.logins.finish(view.id, Secret(pasted))
        assert (await bench.ended(view)).state == "done"

    async def test_the_file_says_with_whom_and_holds_no_registration(self, bench: Bench) -> None:
        record = await bench.log_in()
        name, document = bench.provider.create(record, bench.client, bench.now)
        assert name == "kiro-github-user@example.com.json"
        assert (document["auth_method"], document["provider"], document["profile_arn"]) == ("social", "Github", PROFILE)
        assert "client_id" not in document
