"""Outbound proxies, seen to carry what real processes send, and to keep back what they cannot carry."""

import base64

import aiohttp

from broker.cli.demo.stage import Stage, headers
from broker.ipc.network_schema import NetworkTest
from tests.fakes.outbound import LOGIN, PASSWORD, USER, ConnectProxy, SocksProxy, running
from tests.system.conftest import staged
from tests.system.settings_table import covers
from tests.system.test_files import drop
from tests.system.test_settings_daemon import eventually

GEMINI = "gemini/alice@example.com"


def key(host: str) -> dict[str, object]:
    url = f"https://{host}/v1"
    return {
        "type": "api-key",
        "provider": "openai-compatible",
        "label": host,
        "base_url": url,
        "api_key": "fake-key",
        "models": [host],
    }


async def chat(stage: Stage, model: str) -> tuple[int, str]:
    body = {"model": model, "messages": [{"role": "user", "content": "hello"}]}
    async with aiohttp.ClientSession() as session:
        async with session.post(f"{stage.proxy_url}/v1/chat/completions", json=body, headers=headers()) as answer:
            return answer.status, await answer.text()


@covers("network.proxy_url", "network.no_proxy", "providers.proxy_url")
async def test_what_goes_out_goes_by_the_way_that_is_set() -> None:
    everybody, of_gemini = ConnectProxy(locked=True, refuses=403), SocksProxy(locked=True)
    async with running(everybody), running(of_gemini) as carrying:
        config = (
            f'[network]\nproxy_url = "{everybody.url("http", LOGIN)}"\nno_proxy = [".excepted.test"]\n\n'
            f'[providers.gemini]\nproxy_url = "{carrying.url("socks5h", LOGIN)}"\n\n[routing]\nrounds = 1'
        )
        async with staged(config=config) as stage, stage.client() as client:
            # The daemon: the login's exchange went by the provider's way, and a renewal does.
            logins = len(of_gemini.targets)
            assert logins > 0
            await client.refresh(GEMINI)
            assert len(of_gemini.targets) > logins
            # The proxy.
            renewals = len(of_gemini.targets)
            assert (await chat(stage, "gemini-2.5-flash"))[0] == 200
            assert len(of_gemini.targets) == renewals + 1
            assert everybody.connections == 0  # what is for all is not for loopback

            for host, asked in (("api.target.test", True), ("api.excepted.test", False)):
                tried = await client.test_network(NetworkTest(target=f"https://{host}"))
                assert (tried.ok, tried.level) == (False, "global" if asked else "none")
                drop(stage.auth_dir, f"{host}.json", key(host))

                async def served(name: str = host, by_proxy: bool = asked) -> bool:
                    status, text = await chat(stage, name)
                    return status == 502 and (f"127.0.0.1:{everybody.port}" in text) is by_proxy

                await eventually(served)
            assert set(everybody.asked) == {"api.target.test"}

            code, shown = await stage.run("config", "show")
            assert (code, "(hidden)" in shown) == (0, True)
            logs = "".join(path.read_text() for path in stage.home.glob("*.log")) + shown
            logs += "".join(path.read_text() for path in (stage.home / "state").rglob("*.jsonl"))
            for secret in (PASSWORD, LOGIN, base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()):
                assert secret not in logs
