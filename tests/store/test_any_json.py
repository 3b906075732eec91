"""Any JSON, and much that is none, in an auth directory, with the `type` of every vendor: it is read or refused, and never changed.

Through the real store with the real vendors' readers, and once through a whole daemon.
"""

import asyncio
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from broker.daemon.outbound import Outbound
from broker.model.account import AccountId, Tokens
from broker.model.clock import Now
from broker.model.secret import Secret
from broker.oauth.messages import HttpRequest, HttpResponse
from broker.oauth.transport import NotSentError
from broker.providers.registry import build
from broker.store.follow import Follower
from broker.store.store import FileStore
from tests.fakes.broker import ANN, running_daemon
from tests.fakes.clock import FakeChance, LiveClock

REGISTRY = build({})
GOLDEN = sorted((Path(__file__).parents[1] / "golden" / "auth").glob("*/*.json"))
ALIASES = ("gemini-cli", "anthropic", "openai", "copilot", "codewhisperer", "aws", "google", "GEMINI", " claude ")
HEADS = [
    {"type": kind, "provider": provider}
    for kind in (*REGISTRY.names, "api-key", *ALIASES)
    for provider in (REGISTRY.names if kind == "api-key" else (kind,))
]

# --- texts ---

# What vendors' readers look for, so that every one of them meets what it does not expect.
FIELDS = (
    "access_token", "refresh_token", "id_token", "accessToken", "refresh-token", "token", "Token", "token_type", "scope", "scopes",
    "expired", "expire", "expires_at", "expiresAt", "expiry", "expires", "expiry_date", "expires_in", "timestamp", "last_refresh",
    "email", "sub", "label", "disabled", "project_id", "project_ids", "account_id", "account_uuid", "organization", "base_url", "api_key",
    "resource_url", "client_id", "client_secret", "clientId", "region", "start_url", "profile_arn", "auth_method", "device_id", "host",
    "service_account", "private_key", "location", "models", "header", "cookie", "headers", "ccs_broker", "ccs_broker_sealed",
    "token_uri", "token_endpoint", "using_api", "username", "github_token", "copilot_token", "plan", "provider", "type",
)  # fmt: skip

Raw = str
"""A JSON value as text, which `json.dumps` could not always write."""


def pairs(members: Sequence[tuple[Raw, Raw]]) -> Raw:
    return "{" + ",".join(f"{key}: {value}" for key, value in members) + "}"


texts = st.text(st.characters(codec=None), max_size=12).map(json.dumps)  # lone surrogates as \ud800
tokens = st.sampled_from(
    [
        '"fake-access-1"',
        '"fake-refresh-1"',
        '"a.b.c"',
        '"eyJhbGciOiJub25lIn0.e30.x"',
        '""',
        '"alice@example.com"',
        '"a,b,all"',
    ]
)
numbers = st.sampled_from(
    ["0", "-0", "-0.0", "1e999", "-1e999", "1e-999", "9" * 400, "1" + "0" * 5000, "NaN", "Infinity", "1750000000", "1750000000000", "1e18", "0.1"]
) | st.integers().map(str)  # fmt: skip
times = st.sampled_from(
    ['"2026-05-01T12:00:00Z"', '"2026-05-01"', '"9999-12-31T23:59:59+14:00"', '"0000-00-00"', '"1750000000"', '"99999999999999999999"', '"-1"']
)  # fmt: skip
leaves = texts | tokens | numbers | times | st.sampled_from(["null", "true", "false"])
keys = (st.sampled_from(FIELDS).map(json.dumps)) | texts
values = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda each: "[" + ",".join(each) + "]")
        | st.lists(st.tuples(keys, inner), max_size=4).map(pairs)
    ),
    max_leaves=8,
)
members = st.lists(st.tuples(keys, values), max_size=6)


@st.composite
def documents(draw: st.DrawFn) -> bytes:
    """A file with a vendor's type and anything beside it; keys may stand twice, the type too."""
    head = [(json.dumps(key), json.dumps(value)) for key, value in draw(st.sampled_from(HEADS)).items()]
    usual = draw(
        st.sampled_from([[], [('"access_token"', '"fake-access-1"'), ('"refresh_token"', '"fake-refresh-1"')]])
    )
    return pairs(draw(st.permutations([*head, *usual, *draw(members)]))).encode("utf-8", "surrogatepass")


def deep(levels: int) -> bytes:
    return b'{"type": "claude", "x": ' + b'{"x":[' * levels + b"1" + b"]}" * levels + b"}"


@st.composite
def files(draw: st.DrawFn) -> bytes:
    """What may lie there: a document; one cut off, with a mark in front, in another encoding, with bytes that are no text; or nonsense."""
    made = draw(documents())
    match draw(st.integers(0, 9)):
        case 0:
            return made[: draw(st.integers(0, len(made)))]
        case 1:
            return b"\xef\xbb\xbf" + made
        case 2:
            return made.decode("utf-8", "replace").encode(
                draw(st.sampled_from(["utf-16", "utf-16-le", "utf-32", "utf-7"]))
            )
        case 3:
            at = draw(st.integers(0, len(made)))
            return made[:at] + draw(st.binary(min_size=1, max_size=4)) + made[at:]
        case 4:
            return deep(draw(st.sampled_from([20, 49, 50, 5_000, 100_000])))
        case 5:
            return draw(st.binary(max_size=40))
        case 6:
            return draw(values).encode("utf-8", "surrogatepass")
        case _:
            return made


# --- the store ---


def make(root: Path, seed: str = "1") -> FileStore:
    return FileStore([root / "auth"], REGISTRY, root / "state", LiveClock(), FakeChance(seed=seed))


def put_down(folder: Path, contents: Sequence[bytes]) -> dict[Path, bytes]:
    folder.mkdir(exist_ok=True)
    made = {folder / f"x{number}.json": data for number, data in enumerate(contents)}
    for path, data in made.items():
        path.write_bytes(data)
        path.chmod(0o600)
    return made


def unchanged(made: dict[Path, bytes]) -> bool:
    return all(path.read_bytes() == data for path, data in made.items())


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.lists(files(), min_size=4, max_size=20), st.lists(files(), max_size=8), st.lists(files(), max_size=8))
@example([deep(100_000)], [b"\xef\xbb\xbf{}"], [])
def test_nothing_in_the_directory_stops_the_store_or_is_changed_by_it(
    tmp_path_factory: pytest.TempPathFactory, there: list[bytes], paused: list[bytes], later: list[bytes]
) -> None:
    root = tmp_path_factory.mktemp("any")

    async def scenario() -> None:
        made = put_down(root / "auth", there) | put_down(root / "auth-paused", paused)
        store = make(root)
        await store.open()
        look(store)
        made |= put_down(root / "auth", later)  # some over those that are there: the last good state of each goes on
        await store._follower.rescan()
        await settled(store._follower)
        look(store)
        await store.close()
        assert unchanged(made)
        again = make(root, "2")  # with what was remembered of them
        await again.open()
        look(again)
        await again.close()
        assert unchanged(made)

    asyncio.run(scenario())


def look(store: FileStore) -> None:
    for account, entry in store.entries().items():
        assert store.get(account) is entry
        assert str(AccountId.parse(str(account))) == str(account)
        str(account).encode()  # it can be sent and shown
        assert store.default_of(account.provider) is not None
    for sentence in store.health().problems:
        sentence.encode()
        assert "fake-" not in sentence


async def settled(follower: Follower) -> None:
    async with asyncio.timeout(60):
        while follower._running:
            await asyncio.sleep(0.01)


# --- what a renewal may change ---

KNOWN = {name.lower().replace("-", "").replace("_", "") for name in FIELDS}


def foreign(raw: Raw) -> bool:
    return str(json.loads(raw)).lower().replace("-", "").replace("_", "") not in KNOWN


others = st.lists(
    st.tuples(texts.filter(foreign), values.filter(lambda raw: "NaN" not in raw and "Infinity" not in raw)), max_size=4
)


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: f"{path.parent.name}-{path.stem}")
@settings(max_examples=3, deadline=None, suppress_health_check=list(HealthCheck))
@given(extra=others)
def test_a_renewal_of_any_vendors_file_keeps_every_byte_that_is_not_ours(
    tmp_path_factory: pytest.TempPathFactory, path: Path, extra: list[tuple[Raw, Raw]]
) -> None:
    """Fields of others are put before and after the vendor's own; their bytes come back as they were."""
    text = path.read_text().strip()
    front = "".join(f"{key} :  {value} ,\n" for key, value in extra)
    told = "{" + front + text[1:-1].rstrip() + "".join(f",\t{key} :  {value}" for key, value in extra) + "}\n"
    root = tmp_path_factory.mktemp("kept")

    async def scenario() -> str | None:
        target = root / "auth" / path.name
        target.parent.mkdir()
        target.write_bytes(told.encode("utf-8", "surrogatepass"))
        store = make(root)
        await store.open()
        made = None
        if store.entries():  # else a lone surrogate, say, which no label can hold
            (account,) = store.entries()
            entry = store.entries()[account]
            grant = Tokens(Secret("fake-access-9"), entry.record.tokens.refresh_token, expires_at=1_900_000_000.0)
            async with store.lock(account, 5.0) as lock:
                await store.put(lock, grant, entry.generation, Now(1_850_000_000.0, 1.0))
            made = target.read_bytes().decode("utf-8", "surrogatepass")
        assert store.health().problems == () or "more than once" in "".join(store.health().problems) or made is None
        await store.close()
        return made

    made = asyncio.run(scenario())
    if made is None:
        return
    assert made.startswith("{" + front)
    assert made.endswith("}\n")
    for key, value in extra:
        assert f"\t{key} :  {value}" in made
    assert "fake-access-9" in made


# --- the daemon ---


async def nowhere(_self: Outbound, request: HttpRequest) -> HttpResponse:
    raise NotSentError(f"no test leaves this machine: {request.method}")


def batches() -> Iterator[list[bytes]]:
    """Files of each vendor's type, all at once: the same each time, so that a fault can be found again."""
    drawn: list[list[bytes]] = []

    @settings(max_examples=6, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(st.lists(files(), min_size=40, max_size=60))
    def draw(contents: list[bytes]) -> None:
        drawn.append(contents)

    draw()
    yield from drawn[-3:]


async def test_a_daemon_serves_on_whatever_lies_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Outbound, "send", nowhere)
    async with running_daemon(ANN, config="[refresh]\nahead = false\n") as running:
        for contents in batches():
            made = put_down(running.auth, contents)
            store = getattr(running.daemon.store, "_inner", running.daemon.store)
            await store._follower.rescan()
            await settled(store._follower)
            views = await running.client.accounts()
            assert str(ANN) in {each.account for each in views}
            for view in views:
                assert (await running.client.account(view.account)).account == view.account
            health = await running.client.health()
            assert sum(health.accounts.values()) == len(views)
            stream = running.token_client.watch()
            _, snapshot = await anext(stream)
            assert len(snapshot.accounts) == len(views)  # type: ignore[union-attr]
            await stream.aclose()
            assert (await running.token_client.lease(ANN)).account == str(ANN)
            assert unchanged(made)
