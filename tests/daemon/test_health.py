import os
import resource
import socket
from pathlib import Path

from broker import __version__
from broker.daemon.health import socket_protections
from tests.fakes.broker import ANN, Running, running_daemon


async def test_a_healthy_daemon(running: Running) -> None:
    health = await running.token_client.health()
    assert (health.status, health.version, health.problems) == ("ok", __version__, ())
    assert health.accounts == {"active": 2}
    assert {"gemini", "sandbox"} <= {each.name for each in health.providers}
    assert health.directories == (str(running.auth),)
    assert health.uptime < 60
    for name in ("peer-uid", "private-sockets", "private-socket-folder"):
        assert health.protections[name] is True


async def test_states_are_counted() -> None:
    async with running_daemon(ANN) as running:
        await running.client.pause(ANN)
        assert (await running.client.health()).accounts == {"paused": 1}


async def test_what_is_wrong_is_told(running: Running) -> None:
    (running.auth / "sandbox-broken.json").write_text('{"type": "sandbox", "refresh_token": 7}')
    while (health := await running.client.health()).status == "ok":
        pass
    assert health.status == "degraded"
    assert any("sandbox-broken.json" in each for each in health.problems)


def test_protections_are_tried_not_assumed(tmp_path: Path) -> None:
    folder, path = tmp_path / "run", tmp_path / "run" / "s.sock"
    folder.mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        path.chmod(0o600)
        assert socket_protections([path]) == {"peer-uid": True, "private-sockets": True, "private-socket-folder": True}
        path.chmod(0o660)
        folder.chmod(0o750)
        assert socket_protections([path]) == {
            "peer-uid": True,
            "private-sockets": False,
            "private-socket-folder": False,
        }
    path.unlink()
    assert socket_protections([path])["private-sockets"] is False
    assert socket_protections([]) == {"peer-uid": True}


def test_a_protection_that_cannot_be_tried_is_not_claimed() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.open(os.devnull, os.O_RDONLY)
    os.close(free)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (free, before[1]))
        found = socket_protections([])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert found == {"peer-uid": False}


async def test_clocks_that_differ_are_told(running: Running) -> None:
    skews = running.daemon.engine._cells
    skews.learn_skew("sandbox", 59.0)
    assert (await running.client.health()).clock_skew == {}
    skews.learn_skew("sandbox", -180.4)
    assert (await running.client.health()).clock_skew == {"sandbox": -180.0}
