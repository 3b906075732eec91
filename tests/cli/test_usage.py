import json
import time
from pathlib import Path

import pytest

from broker.ipc.schema import AccountList, AccountView, Cooldown
from broker.proxy.keys import LocalKey, digest_of, encode
from broker.proxy.usage_store import Batch, Bucket, UsageStore
from broker.proxy.usage_table import Counts, Seen
from tests.fakes.socket_desk import SocketDesk

FILE = Path(".local/state/ccs-broker-proxy/usage.db")


def write(home: Path, usage: dict[tuple[int, str, str, str], Counts] | None = None, **more: object) -> None:
    given: dict[str, object] = {"sessions": {}, "limits": {}, "buckets": {}, **more}
    store = UsageStore(home / FILE)
    store.write(Batch(time.time(), usage or {}, **given))  # type: ignore[arg-type]
    store.close()


def hours_ago(number: int) -> int:
    return int(time.time() // 3600) - number


@pytest.fixture
def filled(home: Path) -> Path:
    one = Counts(requests=1, prompt=10, completion=5, seconds=2.0, answered=1, first_seconds=0.5)
    write(
        home,
        {
            (hours_ago(0), "ci", "gemini/alice", "gemini-2.5-pro"): one,
            (hours_ago(0), "ci", "claude/alice", "claude-sonnet-4-5"): one,
            (hours_ago(0), "config", "none", "gpt-5"): Counts(requests=3, failed=3),
            (hours_ago(30), "laptop", "gemini/bob", "gemini-2.5-pro"): one,
            (hours_ago(24 * 40), "laptop", "gemini/bob", "gemini-2.5-pro"): one,
        },
    )
    return home


def lines(run, *arguments: str) -> dict[tuple[str, ...], int]:
    ended = run("usage", "--json", *arguments)
    assert ended.code == 0
    found = json.loads(ended.out)
    names = found["by"]
    return {tuple(line[name] for name in names): line["used"]["requests"] for line in found["lines"]}


def test_nothing_yet(run, home: Path) -> None:
    assert run("usage").out.startswith("Nothing was counted from ")
    assert run("sessions").out == "No conversation was seen within a day.\n"
    assert not (home / FILE).parent.exists(), "who only looks makes nothing"


def test_groups(run, filled: Path) -> None:
    assert lines(run) == {
        ("none", "gpt-5"): 3, ("claude/alice", "claude-sonnet-4-5"): 1, ("gemini/alice", "gemini-2.5-pro"): 1, ("gemini/bob", "gemini-2.5-pro"): 1,
    }  # fmt: skip
    assert lines(run, "--by", "key") == {("config",): 3, ("ci",): 2, ("laptop",): 1}
    assert lines(run, "--by", "model", "--by", "key", "--by", "model")["gpt-5", "config"] == 3
    days = lines(run, "--by", "day")
    assert list(days.values()) in ([1, 5], [5, 1], [6])
    assert list(days) == sorted(days)


def test_times(run, filled: Path) -> None:
    assert sum(lines(run, "--since", "400d").values()) == 7
    assert sum(lines(run, "--since", "12h").values()) == 5
    assert sum(lines(run, "--since", "999999w", "--until", "12h").values()) == 2
    assert sum(lines(run, "--since", "2001-01-01").values()) == 7
    assert sum(lines(run, "--since", "2001-01-01", "--until", "2002-01-01").values()) == 0
    assert sum(lines(run, "--since", "2001-01-01T10:00:00+02:00").values()) == 7
    assert sum(lines(run, "--since", "today").values()) in (5, 6)


def test_names(run, filled: Path) -> None:
    assert lines(run, "--by", "key", "--key", "c*") == {("config",): 3, ("ci",): 2}
    assert lines(run, "--account", "gemini") == {
        ("gemini/alice", "gemini-2.5-pro"): 1,
        ("gemini/bob", "gemini-2.5-pro"): 1,
    }
    assert lines(run, "--account", "gemini/b*", "--by", "account") == {("gemini/bob",): 1}
    assert lines(run, "--account", "*/alice", "--by", "account") == {("claude/alice",): 1, ("gemini/alice",): 1}
    assert lines(run, "--account", "none", "--model", "gpt-*") == {("none", "gpt-5"): 3}


@pytest.mark.parametrize("when", ["", "7", "7y", "yesterday", "2026-13-01", "2026-1-1", "-1d"])
def test_what_is_no_time(run, home: Path, when: str) -> None:
    ended = run("usage", f"--since={when}")
    assert ended.code == 2
    assert "write how long ago" in ended.err


def test_a_table_for_people(run, filled: Path) -> None:
    out = run("usage", "--by", "key").out
    assert "KEY" in out
    assert out.splitlines()[-1].split()[:4] == ["total", "6", "3", "30"]


def test_a_file_that_makes_no_sense(run, home: Path) -> None:
    (home / FILE).parent.mkdir(parents=True)
    (home / FILE).write_bytes(b"x" * 5000)
    ended = run("usage")
    assert ended.code == 1
    assert "usage.db" in ended.err


def test_conversations(run, home: Path) -> None:
    write(home, sessions={("0a1b2c3d4e5f", "ci"): Seen("gemini/alice", "m", 3)})
    (one,) = json.loads(run("sessions", "--json").out)["sessions"]
    assert (one["session"], one["key"], one["account"], one["model"], one["requests"]) == (
        "0a1b2c3d4e5f",
        "ci",
        "gemini/alice",
        "m",
        3,
    )
    assert "0a1b2c3d4e5f" in run("sessions").out


def test_limits_without_a_daemon(run, home: Path) -> None:
    keys = home / ".config" / "ccs-broker" / "proxy-keys.json"
    keys.parent.mkdir(parents=True)
    made = [
        LocalKey(name=name, sha256=digest_of(name), slot=slot, created=1, rpm=rpm)
        for slot, (name, rpm) in enumerate({"free": None, "full": 60, "half": 60, "used": 10}.items())
    ]
    keys.write_bytes(encode(made))
    keys.chmod(0o600)
    buckets = {"half": Bucket(60, time.time() + 30), "used": Bucket(10, time.time() + 600)}
    write(
        home,
        limits={"gemini/alice": {"x-ratelimit-limit-requests": "60", "x-ratelimit-remaining-requests": "15"}},
        buckets=buckets,
    )
    told = json.loads(run("limits", "--json").out)
    (one,) = told["accounts"]
    assert one["windows"][0]["used"] == 0.75
    assert one["headers"]["x-ratelimit-remaining-requests"] == "15"
    assert told["reason"]
    left = {key["key"]: key["left"] for key in told["keys"]}
    assert (left["full"], left["used"]) == (60, 0)
    assert 30 <= left["half"] <= 50
    assert "75 % used, 15 left of 60" in run("limits").out


def test_limits_with_cool_downs_of_the_daemon(run, desk: SocketDesk) -> None:
    now = time.time()
    view = AccountView(
        account="gemini/a", provider="gemini", label="a", state="active", generation=1,
        cooldowns=(Cooldown("m", now + 60, "quota"), Cooldown("old", now - 5, "over")),
    )  # fmt: skip
    calm = AccountView(account="gemini/b", provider="gemini", label="b", state="active", generation=1)
    desk.replies["GET /v1/accounts"] = AccountList((view, calm))
    told = json.loads(run("limits", "--json").out)
    assert told["reason"] is None
    assert [(each["account"], [cooldown["model"] for cooldown in each["cooldowns"]]) for each in told["accounts"]] == [
        ("gemini/a", ["m"])
    ]


@pytest.mark.parametrize("name", ["config", "internal", "other"])
def test_no_local_key_is_called_like_those_that_are_none(run, home: Path, name: str) -> None:
    ended = run("key", "add", name)
    assert ended.code == 2
    assert "Choose another name" in ended.err
