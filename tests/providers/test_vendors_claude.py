"""Claude passes the vendor contract: full logins, and setup tokens."""

from pathlib import Path
from typing import ClassVar

from broker.ipc.schema import LoginStart
from broker.model.account import AccountId
from broker.model.secret import Secret
from broker.oauth.failures import Permanent
from broker.providers.base import Provider
from broker.providers.registry import build
from broker.settings.reading import parse
from broker.store.store import FileStore
from tests.contract.parts import Part
from tests.contract.vendor_contract import Bench, VendorContract
from tests.fakes.clock import FakeChance
from tests.fakes.vendors.claude import ACCOUNT, MANUAL_URI, ORGANIZATION, YEAR, ClaudeVendor
from tests.fakes.vendors.server import Fault


class TestClaude(VendorContract):
    server = ClaudeVendor
    without = frozenset({Part.DEVICE, Part.COPIED})

    async def test_the_profile_names_the_account_its_organisation_and_its_plan(self, bench: Bench) -> None:
        record = await bench.log_in()
        assert record.email == ACCOUNT["email"]
        assert dict(record.facts) == {
            "account_uuid": ACCOUNT["uuid"],
            "organization_uuid": ORGANIZATION["uuid"],
            "organization_name": "Acme",
            "plan": "max",
            "rate_limit_tier": "default_claude_max_20x",
            "scope_kind": "full",
        }

    async def test_with_the_option_the_page_shows_the_code_and_nothing_listens(self, bench: Bench) -> None:
        started = await bench.logins.start(LoginStart(provider="claude", options={"paste": "true"}))
        assert started.redirect_uri == MANUAL_URI
        assert started.url is not None
        shown = await bench.server.approve(started.url)
        assert shown.partition("#")[1] == "#"
        view = await bench.ended(await bench.logins.finish(started.id, Secret(shown)))
        assert view.state == "done", view.problem

    async def test_a_profile_that_is_away_does_not_undo_the_login(self, bench: Bench) -> None:
        bench.server.fail("/api/oauth/profile", Fault(529, '{"type":"error","error":{"type":"overloaded_error"}}'))
        record = await bench.log_in()
        assert (record.email, record.facts["organization_name"]) == (ACCOUNT["email"], "Acme")
        assert "plan" not in record.facts

    async def test_a_spent_refresh_token_is_final(self, bench: Bench) -> None:
        record = await bench.log_in()
        await bench.renew(record)
        failure = await bench.failure(record)
        assert isinstance(failure, Permanent)
        assert "not found" in failure.reason

    async def test_a_revoked_login_cannot_be_renewed(self, bench: Bench) -> None:
        record = await bench.log_in()
        request = bench.provider.revoke(record, bench.client)
        assert request is not None
        assert (await bench.outbound.send(request)).status == 200
        assert isinstance(await bench.failure(record), Permanent)

    async def test_a_setup_token_lives_beside_the_full_login_of_the_same_person(
        self, bench: Bench, tmp_path: Path
    ) -> None:
        auth = tmp_path / "auth"
        auth.mkdir(mode=0o700)
        store = FileStore([auth], build({}), tmp_path / "state", bench.clock, FakeChance())
        await store.open()
        try:
            full = await store.add(await bench.log_in(), bench.client, bench.now)
            year = await store.add(await bench.log_in(**{"setup-token": "true"}), bench.client, bench.now)
            again = await store.add(await bench.log_in(), bench.client, bench.now)
            assert full.account == again.account == AccountId("claude", "user@example.com")
            assert year.account != full.account
            assert {path.name for path in auth.glob("*.json")} == {
                "claude-user@example.com.json",
                "claude-user@example.com-setup-token.json",
            }
            assert again.record.tokens.refresh_token != full.record.tokens.refresh_token
            kept = store.get(year.account)
            assert kept is not None
            assert (kept.record.tokens.refresh_token, kept.record.facts["scope_kind"]) == (None, "setup-token")
        finally:
            await store.close()


class TestSetupToken(VendorContract):
    """A login with `setup-token=true`."""

    server = ClaudeVendor
    without = frozenset({Part.DEVICE, Part.RENEWAL, Part.ROTATION, Part.QUOTA, Part.LINKED, Part.COPIED})
    login_options: ClassVar = {"setup-token": "true"}

    async def test_it_lives_a_year_and_has_nothing_to_renew_it_with(self, bench: Bench) -> None:
        record = await bench.log_in(**self.login_options)
        assert record.tokens.refresh_token is None
        assert record.tokens.expires_at is not None
        assert abs(record.tokens.expires_at - bench.now.wall - YEAR) < 60
        assert record.tokens.scopes == ("user:inference",)
        assert (record.email, record.facts["scope_kind"]) == (ACCOUNT["email"], "setup-token")
        assert not bench.server.asked("/api/oauth/profile")

    async def test_its_file_says_so(self, bench: Bench) -> None:
        record = await bench.log_in(**self.login_options)
        name, document = bench.provider.create(record, bench.client, bench.now)
        assert name == "claude-user@example.com-setup-token.json"
        assert document["is_setup_token"] is True
        assert "refresh_token" not in document


def test_the_option_may_stand_in_the_config() -> None:
    config = parse(b'[providers.claude]\noptions = { setup-token = "true" }\n')
    provider: Provider = build(config.providers).get("claude")
    assert provider.scopes != ("user:inference",)
    assert provider.for_login({}, Secret("s" * 43)).scopes == ("user:inference",)
    assert provider.for_login({"setup-token": "false"}, Secret("s" * 43)).scopes == provider.scopes
