"""Pure modules import nothing that acts; only broker.system reads clocks and randomness."""

import ast

import pytest

from tests.architecture.imports import PURE, imports, is_pure, modules, tree

IMPURE_STDLIB = {
    "asyncio", "socket", "ssl", "select", "selectors", "threading", "multiprocessing", "subprocess", "os", "shutil", "tempfile", "io",
    "time", "random", "secrets", "logging", "sqlite3", "fcntl", "signal", "http.client", "http.server", "urllib.request",
}  # fmt: skip
IMPURE_PACKAGES = {"aiohttp", "watchdog", "keyring", "uvloop", "requests", "google_auth_oauthlib", "click", "rich"}

# Readings that only broker.system may make. `time.strftime` and the like, given a value, are not readings.
READINGS = {
    ("time", "time"), ("time", "time_ns"), ("time", "monotonic"), ("time", "monotonic_ns"), ("time", "perf_counter"), ("time", "clock_gettime"),
    ("datetime", "now"), ("datetime", "utcnow"), ("datetime", "today"), ("date", "today"), ("os", "urandom"), ("uuid", "uuid4"), ("uuid", "uuid1"),
}  # fmt: skip


# module -> (reading, why it may)
MAY_READ = {
    "broker.ipc.sync_client": (
        {("time", "perf_counter")},
        "a socket's deadline; importing broker.system would import asyncio",
    ),
}


@pytest.mark.parametrize("module", [name for name in sorted(modules()) if is_pure(name)])
def test_pure_modules_import_nothing_that_acts(module: str) -> None:
    for name in imports(module):
        root = name.split(".")[0]
        assert not {root, name} & (IMPURE_STDLIB | IMPURE_PACKAGES), f"{module} imports {name}"
        if root == "broker" and name != "broker":
            assert is_pure(name) or name in PACKAGES_OF_PURE or name == "broker.config", (
                f"{module} imports {name}, which is not pure"
            )


PACKAGES_OF_PURE = {pure.rsplit(".", 1)[0] for pure in PURE}


@pytest.mark.parametrize("module", [name for name in sorted(modules()) if name != "broker.system"])
def test_one_clock_and_one_source_of_chance(module: str) -> None:
    assert not imports(module) & {"random", "secrets"}, (
        f"{module} draws its own randomness; use broker.system.SystemChance"
    )
    allowed, _why = MAY_READ.get(module, (set(), ""))
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            reading = (node.value.id, node.attr)
            assert reading not in READINGS - allowed, (
                f"{module}:{node.lineno} reads {'.'.join(reading)}; use broker.system.SystemClock"
            )


def test_pure_names_exist() -> None:
    for pure in PURE:
        assert pure in modules(), f"{pure} is listed as pure and does not exist"
