"""Files of vendors through the real daemon: one of each put into the auth directory, as another program leaves it, and a lease comes out."""

import json
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from broker.ipc.client import BrokerClient
from broker.ipc.schema import Lease
from broker.model.errors import BrokerError, ErrorCode
from tests.fakes.vendors.copilot import CopilotVendor
from tests.fakes.vendors.kiro import START_URL, KiroVendor
from tests.fakes.vendors.vertex import EMAIL, VertexVendor, key_file
from tests.system.conftest import staged

NOT_YET = {ErrorCode.NO_ACCOUNT, ErrorCode.UNKNOWN_ACCOUNT}


def leave(folder: Path, name: str, document: dict[str, object]) -> Path:
    """Put a file there in one step, closed to others."""
    path, made = folder / name, folder / f".{name}.new"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    made.touch(mode=0o600)
    made.write_text(json.dumps(document))
    return made.replace(path)


async def leased(client: BrokerClient, provider: str) -> Lease:
    """Return a lease once the daemon has seen the file; the client's own limit ends a wait that is of no use."""
    while True:
        try:
            return await client.lease(provider, max_wait=20)
        except BrokerError as error:
            if error.code not in NOT_YET:
                raise


async def test_a_file_of_each_vendor_is_renewed_once_and_leased() -> None:
    async with AsyncExitStack() as stack:
        copilot = await stack.enter_async_context(CopilotVendor())
        kiro = await stack.enter_async_context(KiroVendor())
        vertex = await stack.enter_async_context(VertexVendor())
        config = "\n".join(each.config(Path()) + "\n" for each in (copilot, kiro, vertex))
        stage = await stack.enter_async_context(staged(config=config, logged_in=False, proxy=False))
        client = await stack.enter_async_context(stage.client())
        copilot.github.add("fake-github")
        kiro.clients["fake-client"] = "fake-client-key"
        kiro.live["fake-refresh"] = "fake-client"
        github = leave(
            stage.auth_dir,
            "github-copilot-octocat.json",
            {"access_token": "fake-github", "token_type": "bearer", "username": "octocat", "type": "github-copilot"},
        )
        amazon = leave(
            stage.auth_dir,
            "kiro-aws-x.json",
            {
                "type": "kiro", "access_token": "fake-old", "refresh_token": "fake-refresh", "expires_at": "2026-01-01T00:00:00Z",
                "auth_method": "builder-id", "client_id": "fake-client", "client_secret": "fake-client-key", "email": "user@example.com",
            },
        )  # fmt: skip
        google = leave(
            stage.auth_dir,
            "vertex-p.json",
            {"service_account": key_file(), "project_id": "p", "location": "global", "type": "vertex"},
        )

        lease = await leased(client, "github-copilot")
        assert (lease.account, lease.facts["host"]) == ("github-copilot/octocat", "github.com")
        assert lease.access_token.reveal().startswith("fake-github-copilot-copilot-")
        kept = json.loads(github.read_text())
        assert kept["access_token"] == "fake-github"
        assert kept["ccs_broker"]["access_token"] == lease.access_token.reveal()
        # What GitHub says with the token goes out with leases, and is put down for the next start.
        assert lease.facts["api_url"] == kept["api_url"] == "https://api.individual.githubcopilot.com"

        lease = await leased(client, "kiro")
        assert (lease.account, lease.facts["auth_method"]) == ("kiro/user@example.com", "builder-id")
        kept = json.loads(amazon.read_text())
        assert kept["access_token"] == lease.access_token.reveal()
        assert list(kiro.live) == [kept["refresh_token"]]
        assert kiro.start_url == START_URL

        lease = await leased(client, "vertex")
        assert (lease.account, lease.facts["location"]) == (f"vertex/{EMAIL}", "global")
        kept = json.loads(google.read_text())
        assert kept["service_account"] == key_file()
        assert kept["ccs_broker"]["access_token"] == lease.access_token.reveal()

        for vendor in (copilot, kiro, vertex):
            assert len(vendor.asked(vendor.refresh_path)) == 1, vendor.name


async def test_a_vertex_key_that_sends_elsewhere_gets_no_token() -> None:
    async with VertexVendor() as vertex, staged(logged_in=False, proxy=False) as stage, stage.client() as client:
        key = key_file(token_uri=f"{vertex.url}/token")
        leave(stage.auth_dir, "vertex-p.json", {"service_account": key, "type": "vertex"})
        with pytest.raises(BrokerError, match="token_uri") as refused:
            await leased(client, "vertex")
        assert refused.value.code is ErrorCode.MISCONFIGURED
        assert not vertex.seen
