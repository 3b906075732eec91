import json
import re
from pathlib import Path

import click
import pytest

from broker.cli.local_keys import revoke
from broker.cli.results import KeyLine, KeyMade
from broker.cli.usage import usage
from broker.proxy.keys import MAX_KEYS, LocalKey, digest_of, encode

FILE = Path(".config/ccs-broker/proxy-keys.json")


def kept(home: Path) -> list[dict[str, object]]:
    return json.loads((home / FILE).read_text())["keys"]


def test_a_made_key_is_told_once_and_kept_as_its_digest(run, home: Path) -> None:
    ended = run("key", "add", "ci", "--model", "gemini-*", "--model", "claude/*", "--rpm", "60", "--expires", "30d")
    assert ended.code == 0
    assert re.fullmatch(r"ccsb-[A-Za-z0-9_-]{43}\n", ended.out)
    assert ended.err == "Key ci. It is shown this once:\n"
    made = ended.out.strip()
    assert (home / FILE).stat().st_mode & 0o777 == 0o600
    assert made not in (home / FILE).read_text()
    (one,) = kept(home)
    created = one.pop("created")
    assert isinstance(created, int)
    assert one == {
        "name": "ci", "sha256": digest_of(made), "slot": 0, "models": ["gemini-*", "claude/*"], "rpm": 60, "expires": created + 30 * 86_400,
    }  # fmt: skip
    listed = run("key", "list")
    assert "gemini-*, claude/*" in listed.out
    assert "60 a minute" in listed.out
    assert made not in listed.out
    assert one["sha256"] not in run("key", "list", "--json").out


def test_every_key_is_another(run, home: Path) -> None:
    made = {run("key", "add", f"k{number}").out for number in range(3)}
    assert len(made) == 3
    assert [each["slot"] for each in kept(home)] == [0, 1, 2]
    assert run("key", "revoke", "k1").out == "k1 is revoked; running proxies refuse it within a second.\n"
    assert [each["name"] for each in kept(home)] == ["k0", "k2"]
    run("key", "add", "k3")
    assert [each["slot"] for each in kept(home)] == [0, 2, 1]


def test_as_json(run, home: Path) -> None:
    made = json.loads(run("key", "add", "ci", "--expires", "90m", "--json").out)
    assert made["text"].startswith("ccsb-")
    assert made["key"]["expires"] - made["key"]["created"] == 5400
    listed = json.loads(run("key", "list", "--json").out)
    assert listed["file"] == str(home / FILE)
    assert listed["keys"] == [made["key"]]
    assert json.loads(run("key", "revoke", "ci", "--json").out)["revoked"] == "ci"
    assert json.loads(run("key", "list", "--json").out)["keys"] == []


def test_it_lies_beside_the_config_file(run, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CCS_BROKER_CONFIG", str(home / "other" / "config.toml"))
    assert run("key", "add", "ci").code == 0
    assert (home / "other" / "proxy-keys.json").exists()
    assert not (home / FILE).exists()


def test_a_name_is_given_once(run, home: Path) -> None:
    run("key", "add", "ci")
    before = (home / FILE).read_bytes()
    again = run("key", "add", "ci")
    assert (again.code, again.out) == (2, "")
    assert "there is a key 'ci' already" in again.err
    assert "ccs-broker key revoke ci" in again.err
    assert (home / FILE).read_bytes() == before


def test_revoking_what_is_not_there(run, home: Path) -> None:
    run("key", "add", "ci")
    ended = run("key", "revoke", "cy")
    assert ended.code == 1
    assert "there is no key 'cy'; there are: ci" in ended.err


def test_names_are_completed(run, home: Path) -> None:
    for name in ("ci", "cron", "laptop"):
        run("key", "add", name)
    parameter = revoke.params[0]
    context = click.Context(revoke)
    assert [each.value for each in parameter.shell_complete(context, "c")] == ["ci", "cron"]
    option = next(each for each in usage.params if each.name == "key")
    assert [each.value for each in option.shell_complete(click.Context(usage), "c")] == ["ci", "cron"]
    (home / FILE).write_text("{")
    assert parameter.shell_complete(context, "c") == []


@pytest.mark.parametrize("name", ["", "a b", "-x", "ä", "a/b", "x" * 65])
def test_names_that_cannot_be(run, home: Path, name: str) -> None:
    ended = run("key", "add", "--", name)
    assert ended.code == 2
    assert "cannot be the name of a key" in ended.err
    assert not (home / FILE).exists()


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--rpm", "0"), ("--rpm", "x"), ("--expires", "0d"), ("--expires", "30"), ("--expires", "1y"), ("--expires", "-1d"),
        ("--expires", "99999w"), ("--model", ""), ("--model", "a b"), ("--model", "x" * 201),
    ],
)  # fmt: skip
def test_limits_that_cannot_be(run, home: Path, option: str, value: str) -> None:
    assert run("key", "add", "ci", option, value).code == 2
    assert not (home / FILE).exists()


def test_expired_keys_are_shown_as_such(run, home: Path) -> None:
    old = LocalKey(name="old", sha256=digest_of("x"), slot=0, created=1, expires=2)
    file = home / FILE
    file.parent.mkdir(parents=True)
    file.write_bytes(encode([old]))
    file.chmod(0o600)
    assert "expired" in run("key", "list").out
    assert json.loads(run("key", "list", "--json").out)["keys"][0]["expired"] is True


def test_no_more_than_workers_can_count(run, home: Path) -> None:
    file = home / FILE
    file.parent.mkdir(parents=True)
    every = [LocalKey(name=f"k{n}", sha256=digest_of(str(n)), slot=n, created=1) for n in range(MAX_KEYS)]
    file.write_bytes(encode(every))
    file.chmod(0o600)
    ended = run("key", "add", "one-more")
    assert ended.code == 2
    assert f"there are {MAX_KEYS} keys" in ended.err


def test_a_file_that_makes_no_sense_is_left_alone(run, home: Path) -> None:
    file = home / FILE
    file.parent.mkdir(parents=True)
    file.write_text("{")
    file.chmod(0o600)
    for arguments in (("add", "ci"), ("list",), ("revoke", "ci")):
        ended = run("key", *arguments)
        assert ended.code == 1
        assert str(file) in ended.err
    assert file.read_text() == "{"


def test_a_result_does_not_show_the_key_by_accident() -> None:
    line = KeyLine("ci", (), None, 1, None, expired=False)
    assert "fake" not in repr(KeyMade(line, "ccsb-fake"))
