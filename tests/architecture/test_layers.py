"""Who may import whom. The map is docs/architecture.md; these are its walls, each with its reason."""

import subprocess
import sys

import pytest

from tests.architecture.imports import imports, modules, reach, room

EVERYWHERE = {"model", "system", "paths", "config"}

# Room -> rooms it may import besides itself and EVERYWHERE.
MAY_IMPORT = {
    "": set(),
    "model": set(),
    "system": {"model"},
    "socket_places": {"model"},
    "paths": {"model", "socket_places"},
    "config": {"model", "paths", "settings"},
    "settings": {"model", "observe"},  # its checks and lines lie below config, what a new text changes above
    "oauth": {"model"},
    "providers": {"oauth", "model"},
    "observe": set(),
    "store": {"providers", "oauth", "observe"},
    "login": {"providers", "oauth", "ipc", "observe"},  # a session's view is a message of the contract
    "refresh": {"store", "login", "providers", "oauth", "observe"},
    "ipc": {"model"},
    "daemon": {"network", "settings", "refresh", "store", "login", "providers", "oauth", "ipc", "observe", "service"},
    "translate": {"model"},
    "network": {"model"},
    "proxy": {"network", "settings", "translate", "ipc", "observe", "service"},
    "sandbox": {"observe"},
    "service": set(),
    # It looks at everything and is looked at by nobody: a room of its own keeps the store out of the command line's reach.
    "doctor": {"network", "settings", "store", "login", "providers", "oauth", "ipc", "service"},
    "cli": {
        "network",
        "settings",
        "daemon",
        "proxy",
        "sandbox",
        "service",
        "ipc",
        "login",
        "providers",
        "observe",
        "doctor",
        "socket_places",
    },
    "__main__": {"cli", "observe"},
}

# Rooms for which even the shared top-level modules are too much.
ONLY_MODEL = {"model", "oauth", "translate", "ipc"}

# (who, must never reach, why)
WALLS = [
    ("broker.proxy", "broker.store", "traffic code must not be able to open the safe"),
    ("broker.proxy", "broker.refresh", "traffic code must not be able to spend a refresh token"),
    ("broker.proxy", "broker.login", "traffic code must not be able to start a login"),
    ("broker.proxy", "broker.daemon", "the two programs share the socket contract and nothing else"),
    ("broker.proxy", "broker.oauth", "refresh tokens have no business in the proxy"),
    ("broker.proxy", "broker.providers", "vendor facts of the API side live in broker.proxy.upstreams"),
    ("broker.translate", "broker.store", "formats are values in, values out"),
    ("broker.translate", "broker.providers", "formats know payloads, not vendors' logins"),
    ("broker.translate", "broker.oauth", "formats know payloads, not logins"),
    ("broker.ipc", "broker.store", "both sides load the contract"),
    ("broker.ipc", "broker.providers", "both sides load the contract"),
    ("broker.ipc", "broker.config", "both sides load the contract"),
    ("broker.login", "broker.store", "a login returns a record; the daemon puts it away"),
    ("broker.store", "broker.refresh", "the store keeps; it never decides when to renew"),
    ("broker.doctor", "broker.refresh", "who looks for faults must not be able to spend a refresh token"),
    ("broker.doctor", "broker.daemon", "who looks for faults must not be able to spend a refresh token"),
    ("broker.daemon", "broker.proxy", "request load never enters the daemon (promise P1)"),
    ("broker.daemon", "broker.translate", "request load never enters the daemon (promise P1)"),
    ("broker.daemon", "broker.sandbox", "the sandbox is for demos and tests"),
    ("broker.proxy", "broker.sandbox", "the sandbox is for demos and tests"),
]


@pytest.mark.parametrize("module", sorted(modules()))
def test_a_room_imports_only_what_lies_below(module: str) -> None:
    mine = room(module)
    assert mine in MAY_IMPORT, f"{mine} is a room nobody has placed; add it to MAY_IMPORT with the arrows it needs"
    shared = {"model"} if mine in ONLY_MODEL else EVERYWHERE
    allowed = MAY_IMPORT[mine] | shared | {mine, ""}
    wrong = {name for name in imports(module) if name.split(".")[0] == "broker" and room(name) not in allowed}
    assert not wrong, f"{module} imports sideways or up: {sorted(wrong)}"


@pytest.mark.parametrize(("who", "never", "why"), WALLS)
def test_walls(who: str, never: str, why: str) -> None:
    assert any(name == never or name.startswith(never + ".") for name in modules()), (
        f"{never} no longer exists: drop the wall"
    )
    for module in modules():
        if module == who or module.startswith(who + "."):
            for reached, chain in reach(module).items():
                assert not f"{reached}.".startswith(f"{never}."), f"{' -> '.join(chain)}: {why}"


# The walk above misses importlib; a fresh process does not. (program, modules that must not be loaded, why)
DAEMON_SIDE = ("broker.store", "broker.refresh", "broker.login", "broker.daemon", "broker.oauth", "broker.providers")
LOADED = [
    ("broker.proxy.assembly", (*DAEMON_SIDE, "aiohttp", "keyring", "google"), "the proxy cannot open the safe"),
    (
        "broker.cli.app",
        (*DAEMON_SIDE, "broker.proxy", "broker.doctor", "aiohttp", "rich", "cryptography"),
        "the command line starts quickly",
    ),
    ("broker.ipc.client", (*DAEMON_SIDE, "broker.config", "aiohttp"), "both sides load the contract"),
    ("broker.ipc.sync_client", (*DAEMON_SIDE, "broker.config", "aiohttp", "asyncio", "msgspec"), "it starts quickly"),
    ("broker.daemon.assembly", ("broker.proxy", "broker.translate", "broker.sandbox", "click"), "promise P1"),
    ("broker.daemon.assembly", ("aiohttp", "cryptography", "broker.ipc.openapi"), "it starts quickly, and small"),
    ("broker.login.sessions", ("broker.store",), "a login returns a record"),
]


@pytest.mark.parametrize(("program", "never", "why"), LOADED)
def test_what_a_fresh_process_loads(program: str, never: tuple[str, ...], why: str) -> None:
    code = f"import {program}, sys\nprint('\\n'.join(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    loaded = set(run.stdout.split())
    wrong = {name for name in loaded for banned in never if name == banned or name.startswith(banned + ".")}
    assert not wrong, f"{program} loads {sorted(wrong)}: {why}"


def test_every_room_is_on_the_map() -> None:
    assert {room(module) for module in modules()} <= set(MAY_IMPORT)
