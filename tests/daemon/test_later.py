import asyncio
import subprocess
import sys

from broker.daemon.later import Formats, Later
from broker.providers.native.table import FORMATS


async def test_a_part_is_made_once_however_many_ask() -> None:
    made: list[object] = []

    def make() -> object:
        made.append(object())
        return made[-1]

    part = Later("broker.login.sessions", make)
    assert part.made is None
    got = await asyncio.gather(part.get(), part.get(), part.get())
    assert len(made) == 1
    assert all(each is made[0] for each in (*got, part.made, await part.get()))


def test_the_formats_are_those_of_the_table() -> None:
    assert dict(Formats()) == dict(FORMATS)
    assert len(Formats()) == len(FORMATS)
    assert Formats().get("no-such") is None


def test_a_daemon_starts_without_what_logins_need() -> None:
    code = "import broker.daemon.assembly, sys; print('\\n'.join(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    late = {
        "broker.login.sessions",
        "broker.login.adopt",
        "broker.providers.native.table",
        "prometheus_client",
        "python_socks",
    }
    assert not late & set(run.stdout.split())
