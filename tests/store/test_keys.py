import base64
import stat
import threading
import time
from dataclasses import replace
from pathlib import Path

import keyring
import keyring.backend
import pytest

from broker.model.errors import BrokerError, ErrorCode
from broker.store import keys
from broker.store.files import Disk
from broker.store.keys import Keys
from tests.fakes.clock import FakeChance


class Desktop(keyring.backend.KeyringBackend):
    """A keyring that keeps things in memory, may be locked, and may hang."""

    priority = 1  # type: ignore[assignment]

    def __init__(self) -> None:
        super().__init__()
        self.kept: dict[tuple[str, str], str] = {}
        self.locked = False
        self.hang: threading.Event | None = None

    def get_password(self, service: str, username: str) -> str | None:
        if self.hang is not None:
            self.hang.wait(10)
        if self.locked:
            raise keyring.errors.KeyringLocked
        return self.kept.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self.kept[service, username] = password


@pytest.fixture
def desktop() -> Desktop:
    before = keyring.get_keyring()
    made = Desktop()
    keyring.set_keyring(made)
    yield made  # type: ignore[misc]
    keyring.set_keyring(before)


def of(folder: Path, seed: str = "a", **env: str) -> Keys:
    chance = FakeChance(seed=seed)

    def random(size: int) -> bytes:
        text = chance.token(size)
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))

    return Keys(folder, env, random, Disk(lambda: chance.token(6)))


def refused(of_keys: Keys, wanted: str = "auto") -> BrokerError:
    with pytest.raises(BrokerError) as caught:
        of_keys.load(wanted)  # type: ignore[arg-type]
    assert caught.value.code is ErrorCode.MISCONFIGURED
    return caught.value


def test_a_key_file_is_made_once_and_is_private(tmp_path: Path) -> None:
    key = of(tmp_path).load("file")
    assert len(key) == 32
    assert of(tmp_path, "b").load("file") == key
    assert of(tmp_path, "c").load("auto") == key
    assert stat.S_IMODE((tmp_path / "seal.key").stat().st_mode) == 0o600
    assert base64.b64encode(key) not in (tmp_path / "seal.json").read_bytes()


def test_a_key_file_others_can_read_is_refused(tmp_path: Path) -> None:
    of(tmp_path).load("file")
    (tmp_path / "seal.key").chmod(0o644)
    assert "chmod 600" in refused(of(tmp_path)).hint


@pytest.mark.parametrize("text", ["", "!!", "c2hvcnQ="])
def test_a_damaged_key_file_is_told_and_never_replaced(tmp_path: Path, text: str) -> None:
    of(tmp_path).load("file")
    path = tmp_path / "seal.key"
    path.write_text(text)
    assert "not to be had" in refused(of(tmp_path)).detail
    assert path.read_text() == text


def test_another_key_in_the_same_place_is_told(tmp_path: Path) -> None:
    of(tmp_path).load("file")
    (tmp_path / "seal.key").write_text(base64.b64encode(b"x" * 32).decode())
    assert "another key" in refused(of(tmp_path)).detail


def test_the_source_does_not_change_by_itself_or_by_the_config(tmp_path: Path, desktop: Desktop) -> None:
    key = of(tmp_path).load("keyring")
    assert of(tmp_path, "b").load("auto") == key
    desktop.locked = True
    assert "not to be had" in refused(of(tmp_path)).detail
    assert not (tmp_path / "seal.key").exists()
    assert "keyring" in refused(of(tmp_path), "file").hint


def test_auto_prefers_a_credential_then_the_keyring_then_a_passphrase(tmp_path: Path, desktop: Desktop) -> None:
    folder = tmp_path / "credentials"
    folder.mkdir()
    (folder / keys.CREDENTIAL).write_bytes(base64.b64encode(b"k" * 32) + b"\n")
    given = {"CREDENTIALS_DIRECTORY": str(folder)}
    for name in ("one", "two", "three", "four"):
        (tmp_path / name).mkdir()
    assert of(tmp_path / "one", **given).load("auto") == b"k" * 32
    of(tmp_path / "two").load("auto")
    assert len(desktop.kept) == 1
    desktop.locked = True
    phrase = tmp_path / "phrase"
    phrase.write_text("correct horse\n")
    phrase.chmod(0o600)
    key = of(tmp_path / "three", **{keys.PASSPHRASE_FILE: str(phrase)}).load("auto")
    assert of(tmp_path / "three", "b", **{keys.PASSPHRASE_FILE: str(phrase)}).load("passphrase") == key
    assert not (tmp_path / "three" / "seal.key").exists()
    of(tmp_path / "four").load("auto")
    assert (tmp_path / "four" / "seal.key").exists()


def test_a_wrong_passphrase_is_told(tmp_path: Path) -> None:
    phrase = tmp_path / "phrase"
    phrase.write_text("right")
    phrase.chmod(0o600)
    env = {keys.PASSPHRASE_FILE: str(phrase)}
    of(tmp_path, **env).load("passphrase")
    phrase.write_text("wrong")
    assert "another key" in refused(of(tmp_path, **env)).detail
    phrase.write_text("")
    assert "not to be had" in refused(of(tmp_path, **env)).detail
    phrase.chmod(0o644)
    phrase.write_text("right")
    assert "chmod 600" in refused(of(tmp_path, **env)).hint


@pytest.mark.parametrize("wanted", ["credential", "passphrase"])
def test_a_source_that_is_not_there_is_told_with_what_to_do(tmp_path: Path, wanted: str) -> None:
    assert refused(of(tmp_path), wanted).hint == keys._HINTS[wanted]


def test_a_keyring_that_hangs_is_not_waited_for(tmp_path: Path, desktop: Desktop) -> None:
    desktop.hang = threading.Event()
    began = time.monotonic()
    refused(replace(of(tmp_path), keyring_seconds=0.1), "keyring")
    assert time.monotonic() - began < 5
    desktop.hang.set()


@pytest.mark.parametrize("text", [b"{", b'{"source":"\xff"}'])
def test_a_memory_of_the_source_that_cannot_be_read_stops_everything(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "seal.json").write_bytes(text)
    assert "seal.json" in refused(of(tmp_path)).detail


def proven(of_keys: Keys, wanted: str) -> str:
    """Why the key would not be had; empty where it would."""
    try:
        of_keys.prove(wanted)  # type: ignore[arg-type]
    except BrokerError as error:
        return error.detail
    return ""


def test_proving_makes_nothing(tmp_path: Path, desktop: Desktop) -> None:
    for wanted in ("auto", "file", "keyring"):
        assert proven(of(tmp_path), wanted) == ""
    assert desktop.kept == {}
    assert list(tmp_path.iterdir()) == []


def test_proving_fails_where_loading_would(tmp_path: Path, desktop: Desktop) -> None:
    desktop.locked = True
    for wanted in ("keyring", "credential", "passphrase"):
        assert "gives no key" in proven(of(tmp_path), wanted)
    of(tmp_path).load("file")
    assert proven(of(tmp_path), "file") == ""
    assert "sealed with a key from 'file'" in proven(of(tmp_path), "keyring")
    (tmp_path / "seal.key").write_text("!!")
    assert "not to be had" in proven(of(tmp_path), "file")


def test_a_damaged_key_file_is_found_before_it_was_ever_used(tmp_path: Path) -> None:
    (tmp_path / "seal.key").write_text("!!")
    (tmp_path / "seal.key").chmod(0o600)
    assert "gives no key" in proven(of(tmp_path), "file")


def test_the_source_in_question(tmp_path: Path) -> None:
    assert of(tmp_path).source("auto") == "auto"
    of(tmp_path).load("file")
    assert of(tmp_path).source("auto") == "file"
    (tmp_path / "seal.json").write_text("{")
    assert of(tmp_path).source("keyring") == "keyring"
