"""Service accounts of Vertex AI pass the vendor contract against a loopback Google."""

from dataclasses import replace

from broker.model.secret import Secret
from broker.oauth.failures import Misconfigured, Permanent
from tests.contract.parts import Part
from tests.contract.vendor_contract import Bench, VendorContract
from tests.fakes.vendors.server import Fault
from tests.fakes.vendors.vertex import EMAIL, VertexVendor, key_file, pem


class TestVertex(VendorContract):
    server = VertexVendor
    without = frozenset(
        {Part.LOGIN, Part.CALLBACK, Part.CODE, Part.DEVICE, Part.ROTATION, Part.QUOTA, Part.REVOCATION, Part.LINKED}
    )

    async def test_an_imported_key_is_an_account(self, bench: Bench) -> None:
        record = await bench.log_in()
        assert str(record.account) == f"vertex/{EMAIL}"
        assert dict(record.facts) == {
            "project_id": "my-project-123456",
            "location": "europe-west4",
            "client_email": EMAIL,
        }

    async def test_the_key_stays_as_it_was_and_the_token_stands_apart(self, bench: Bench) -> None:
        name, document = bench.server.imported()
        record = await bench.renew(bench.provider.read(document, name))
        after = bench.provider.write(document, record.tokens, bench.now)
        assert {**after, "ccs_broker": None} == {**document, "ccs_broker": None}
        assert after["service_account"] == key_file()
        assert bench.provider.read(after, name).tokens.access_token == record.tokens.access_token

    async def test_the_form_cliproxyapi_gives_a_key_is_taken(self, bench: Bench) -> None:
        assert "RSA PRIVATE KEY" in pem(traditional=True)
        document = {"type": "vertex", "service_account": key_file(private_key=pem(traditional=True))}
        assert (await bench.renew(bench.provider.read(document, "vertex-x.json"))).tokens.access_token

    async def test_another_key_is_refused_for_good_where_the_clock_is_right(self, bench: Bench) -> None:
        record = await bench.log_in()
        bench.server.reject()
        assert isinstance(await bench.failure(record), Permanent)

    async def test_a_wrong_clock_does_not_end_a_login(self, bench: Bench) -> None:
        record = await bench.log_in()
        body = '{"error":"invalid_grant","error_description":"Invalid JWT: Token must be a short-lived token and in a reasonable timeframe."}'
        # The fake answers with the date of today, and the bench's clock stands in the past.
        bench.server.fail("/token", Fault(400, body))
        failure = await bench.failure(record)
        assert isinstance(failure, Misconfigured)
        assert "minutes behind" in failure.reason

    async def test_a_key_that_is_none_is_told_without_a_request(self, bench: Bench) -> None:
        record = await bench.log_in()
        asked = len(bench.server.seen)
        broken = replace(record, tokens=replace(record.tokens, refresh_token=Secret("fake")))
        assert isinstance(await bench.failure(broken), Misconfigured)
        assert len(bench.server.seen) == asked
