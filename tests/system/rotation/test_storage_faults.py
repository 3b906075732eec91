"""Storage that fails under a real daemon: nothing is sent while it lasts, the state says why, and it heals without a restart.

For what a machine can be made to do, the auth directory is a small tmpfs in a mount namespace of the daemon's own; the test reaches it through
/proc/PID/root. What it cannot (a quota, a broken disk), and a folder that may not be written to, which stops no root, are system calls that fail in the
daemon (`launcher`).
"""

import asyncio
import os
import resource
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from broker.model.errors import BrokerError, ErrorCode
from tests.system.rotation.figures import Figure
from tests.system.rotation.homes import FIELDS, Home, Truth, until
from tests.system.rotation.kills import Foundry
from tests.system.rotation.launcher import REFUSED

pytestmark = pytest.mark.figures

LIFETIME = 8.0  # its second half is for the loop to renew in: the fault has to strike in the first
MOUNT = 'mount -t tmpfs -o size=512k,nr_inodes=48,mode=700 none "$1" && cp "$2" "$1/$3" && shift 3 && exec "$@"'


def namespaces() -> str | None:
    """Say why there can be no mount namespace; None where there can."""
    if os.geteuid() != 0:
        return "mounting needs root"
    if shutil.which("unshare") is None or shutil.which("nsenter") is None:
        return "util-linux's unshare and nsenter are not installed"
    tried = subprocess.run(["unshare", "-m", "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True, check=False)
    return None if tried.returncode == 0 else f"no mount namespace: {tried.stderr.decode(errors='replace').strip()}"


Heal = Callable[[], None]


def seen(home: Home) -> Path:
    """The auth directory as the daemon sees it."""
    if home.process is None:  # the launcher's, which has the same view
        return home.auth
    return Path(f"/proc/{home.process.pid}/root{home.auth}")


def fill_bytes(home: Home) -> Heal:
    filler = seen(home) / "filler"
    with suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    return filler.unlink


def fill_inodes(home: Home) -> Heal:
    made: list[Path] = []
    with suppress(OSError):
        while True:
            path = seen(home) / f"filler-{len(made)}"
            path.touch()
            made.append(path)

    def heal() -> None:
        for path in made:
            path.unlink()

    return heal


def read_only(home: Home) -> Heal:
    assert home.process is not None
    enter = ["nsenter", "-t", str(home.process.pid), "-m", "sh", "-c"]
    # A read-only view over it: the file system itself cannot be made so while the daemon's own lock is open for writing.
    cover = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0"'
    subprocess.run([*enter, cover, str(home.auth)], check=True, capture_output=True)

    def heal() -> None:
        subprocess.run([*enter, 'umount "$0"', str(home.auth)], check=True, capture_output=True)

    return heal


def no_descriptors(home: Home) -> Heal:
    assert home.process is not None
    pid = home.process.pid
    # The numbers below the limit are taken for good (the standard streams, the event loop), so that no new one fits, whatever is closed meanwhile.
    free = 6
    assert {int(name) for name in os.listdir(f"/proc/{pid}/fd")} >= set(range(free))  # noqa: PTH208
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE, (free, resource.prlimit(pid, resource.RLIMIT_NOFILE)[1]))

    def heal() -> None:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)

    return heal


def refuse(word: str) -> Callable[[Home], Heal]:
    def strike(home: Home) -> Heal:
        temporary, fault = home.folder / "fault.new", home.folder / "fault"
        temporary.write_text(word)
        temporary.replace(fault)
        return fault.unlink

    return strike


@dataclass(frozen=True)
class Fault:
    """A way to make storage fail, how it is told, and how a daemon that can be struck so is started."""

    name: str
    strike: Callable[[Home], Heal]
    word: str
    started: Callable[..., AbstractAsyncContextManager[Home]]
    copied: bool = True  # into the state directory, which it does not touch


@asynccontextmanager
async def on_tmpfs(truth: Truth, user: str, left: float, config: str = "") -> AsyncIterator[Home]:
    async with Home.made(truth, user, config=config) as home:
        seed = home.folder / "seed.json"
        home.plant(left, seed)
        await home.start(["unshare", "-m", "sh", "-c", MOUNT, "sh", str(home.auth), str(seed), home.file.name])
        yield home


@asynccontextmanager
async def forked(truth: Truth, user: str, left: float, config: str = "") -> AsyncIterator[Home]:
    async with Foundry.open() as foundry, Home.made(truth, user, config=config) as home:
        home.plant(left)
        victim = await foundry.launch(home, None)
        assert await victim.answers(home)
        yield home
        victim.kill()
        await victim.gone()


MOUNTED = (
    Fault("ENOSPC by bytes", fill_bytes, "ENOSPC", on_tmpfs),
    Fault("ENOSPC by inodes", fill_inodes, "ENOSPC", on_tmpfs),
    Fault("EROFS", read_only, "EROFS", on_tmpfs),
    Fault("EMFILE", no_descriptors, "EMFILE", on_tmpfs, copied=False),
)
FAILING_CALLS = tuple(Fault(word, refuse(word), word, forked, copied=False) for word in REFUSED)


def possible() -> tuple[Sequence[Fault], str]:
    """Return the faults that can be tried here, and why the others cannot."""
    reason = namespaces()
    if reason is None:
        return (*MOUNTED, *FAILING_CALLS), ""
    names = ", ".join(each.name for each in FAILING_CALLS)
    return FAILING_CALLS, f"only {names} were tried, as failing calls: {reason}"


async def suffer(fault: Fault) -> str:
    strike, word = fault.strike, fault.word
    async with (
        Truth.started(access_lifetime=LIFETIME) as truth,
        fault.started(truth, "ann@example.com", LIFETIME) as home,
        home.client() as client,
    ):
        served = await client.lease(home.account, min_validity=0)
        truth.sandbox.change(access_lifetime=3600)
        heal, began = strike(home), time.monotonic()
        with pytest.raises(BrokerError) as told:
            await client.refresh(home.account)
        assert told.value.code is ErrorCode.STORAGE_UNWRITABLE, told.value
        assert word in told.value.detail
        view = await client.account(home.account)
        assert (view.state, word in (view.reason or "")) == ("backoff", True), view
        assert (await client.health()).status == "degraded"
        # What it has is served as long as it lives; then the refusal has a type.
        assert (await client.lease(home.account, min_validity=0)).access_token == served.access_token
        await asyncio.sleep(LIFETIME + 0.2 - (time.monotonic() - began))
        with pytest.raises(BrokerError) as told:
            await client.lease(home.account, min_validity=0, max_wait=0)
        assert told.value.code is ErrorCode.STORAGE_UNWRITABLE, told.value
        posts, lasted = truth.posts, time.monotonic() - began
        assert posts == 0
        heal()
        healed = time.monotonic()

        async def recovered() -> bool:
            return (await client.account(home.account)).state == "active" and truth.posts == 1

        await until(recovered, within=60, step=0.05)
        took = time.monotonic() - healed
        lease = await client.lease(home.account)
        assert truth.accepts(lease.access_token)
        assert (await client.health()).status == "ok"
        home.auth = seen(home)
        assert home.refresh_digest() == truth.witness.current[home.user]
        assert {field: home.document().get(field) for field in FIELDS} == FIELDS
        return f"{fault.name}: {posts} token POSTs in {lasted:.0f} s, renewed {took:.0f} s after it healed, no restart"


@pytest.mark.timeout(180)
async def test_nothing_is_spent_while_storage_fails_and_it_heals_without_a_restart(figure: Figure) -> None:
    faults, missing = possible()
    told = await asyncio.gather(*(suffer(each) for each in faults))
    figure("storage faults: " + "; ".join(told))
    if missing:
        pytest.skip(missing)


SEALED = 'mode = "sealed"\nkey_source = "file"'  # it goes on with the table `store`


def copies(home: Home) -> list[Path]:
    return list((home.folder / "state").rglob("unsaved/*.json"))


async def strand(fault: Fault, *, sealed: bool = False) -> str:
    """Let storage fail between the spending of a refresh token and the write of its answer."""
    strike, word = fault.strike, fault.word
    config = SEALED if sealed else ""
    async with (
        Truth.started() as truth,
        fault.started(truth, "ann@example.com", 3600.0, config) as home,
        home.client() as client,
    ):
        healing: list[Heal] = []
        truth.witness.at_rotation[home.user] = lambda: healing.append(strike(home))
        await client.refresh(home.account)
        view = await client.account(home.account)
        assert (view.state, word in (view.reason or "")) == ("unsaved", True), view
        assert [each for each in (await client.health()).problems if "do not stop the daemon" in each]
        # Served from memory, and nothing more is spent.
        lease = await client.lease(home.account, min_validity=1800)
        assert truth.accepts(lease.access_token)
        with pytest.raises(BrokerError):
            await client.refresh(home.account)
        # The state directory lies on another file system. Without a descriptor, or where all writes fail, nothing can be written there either.
        kept = copies(home)
        assert len(kept) == fault.copied
        for path in kept:
            assert path.stat().st_mode & 0o777 == 0o600
            assert (lease.access_token.reveal() in path.read_text()) is not sealed
        healing.pop()()

        async def saved() -> bool:
            return (await client.account(home.account)).state == "active"

        await until(saved, within=60, step=0.05)
        assert (await client.lease(home.account)).access_token == lease.access_token
        home.auth = seen(home)
        assert sealed or home.refresh_digest() == truth.witness.current[home.user]
        assert copies(home) == []
        assert (truth.posts, truth.witness.replays) == (1, [])
        assert (await client.health()).status == "ok"
        return f"{fault.name}{', sealed' if sealed else ''}: {truth.posts} POST"


@pytest.mark.timeout(180)
async def test_a_grant_that_storage_refuses_is_served_from_memory_and_saved_when_it_heals(figure: Figure) -> None:
    faults, missing = possible()
    sealed = [strand(each, sealed=True) for each in faults if each.word == "EROFS"]
    told = await asyncio.gather(*(strand(each) for each in faults), *sealed)
    kept = ", ".join(each.name for each in faults if each.copied)
    figure(
        f"storage that fails between rotation and write: {'; '.join(told)}; served from memory, "
        f"{f'kept in an emergency copy ({kept}), ' if kept else ''}saved when it healed"
    )
    if missing:
        pytest.skip(missing)
