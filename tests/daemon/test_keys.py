import json

import pytest

from broker.ipc.schema import KeyAdd
from broker.model.account import AccountId
from broker.model.errors import BrokerError, ErrorCode
from broker.model.secret import Secret
from tests.fakes.broker import Running

LIKE = "openai-compatible"
URL = "https://llm.example.com/v1"


def file_of(running: Running, name: str) -> dict[str, object]:
    path = running.auth / name
    assert path.stat().st_mode & 0o777 == 0o600
    made = json.loads(path.read_text())
    assert isinstance(made, dict)
    return made


async def test_a_key_becomes_an_account_that_is_leased_with_its_facts(running: Running) -> None:
    view = await running.client.add_key(
        KeyAdd(provider=LIKE, key=Secret("fake-key-1"), base_url=URL + "/", models=("big", "small"))
    )
    assert (view.account, view.renewable, view.expires_at) == (f"{LIKE}/llm.example.com", False, None)
    lease = await running.client.lease(AccountId(LIKE, "llm.example.com"))
    assert lease.access_token == Secret("fake-key-1")
    assert lease.facts == {"base_url": URL, "header": "authorization", "models": "big,small"}
    trail = (running.state / "audit.jsonl").read_text()
    assert '"key_added"' in trail
    assert "fake-key-1" not in trail


async def test_a_second_key_of_the_name_replaces_the_first_and_keeps_the_rest(running: Running) -> None:
    first = KeyAdd(
        provider=LIKE, key=Secret("fake-key-1"), label="team", base_url=URL, header="x-team", models=("big",)
    )
    await running.client.add_key(first)
    path = running.auth / f"{LIKE}-team.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "note": "mine"}))
    await running.client.add_key(KeyAdd(provider=LIKE, key=Secret("fake-key-2"), label="team"))
    assert file_of(running, path.name) == {
        "type": "api-key", "provider": LIKE, "label": "team", "base_url": URL, "header": "x-team", "models": ["big"], "api_key": "fake-key-2",
        "note": "mine",
    }  # fmt: skip
    other = "https://other.example.com"
    await running.client.add_key(
        KeyAdd(provider=LIKE, key=Secret("fake-key-3"), label="team", base_url=other, header="authorization")
    )
    lease = await running.client.lease(AccountId(LIKE, "team"))
    assert lease.access_token == Secret("fake-key-3")
    assert lease.facts == {"base_url": other, "header": "authorization", "models": "big"}
    assert [each.label for each in await running.client.accounts() if each.provider == LIKE] == ["team"]


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        (KeyAdd(provider="nope", key=Secret("fake-key")), ErrorCode.UNKNOWN_PROVIDER),
        (KeyAdd(provider="sandbox", key=Secret("fake-key")), ErrorCode.UNSUPPORTED),
        (KeyAdd(provider=LIKE, key=Secret("fake-key")), ErrorCode.BAD_REQUEST),
        (KeyAdd(provider="openai-api", key=Secret("fake key")), ErrorCode.BAD_REQUEST),
        (KeyAdd(provider="openai-api", key=Secret("fake-key"), label="a/b"), ErrorCode.BAD_REQUEST),
    ],
)
async def test_what_cannot_be_is_refused(running: Running, asked: KeyAdd, code: ErrorCode) -> None:
    before = sorted(path.name for path in running.auth.iterdir())
    with pytest.raises(BrokerError) as caught:
        await running.client.add_key(asked)
    assert caught.value.code is code
    assert sorted(path.name for path in running.auth.iterdir()) == before
