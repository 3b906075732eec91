import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.model.account import AccountId, Tokens
from broker.model.secret import Secret
from broker.store.base import StorageError
from broker.store.emergency import FOLDER_NAME, Copy, EmergencyCopies, decode, encode, whose
from broker.store.files import Disk, Os
from broker.store.seal import AeadSeal

ALICE = AccountId("gemini", "alice@example.com")
TOKENS = Tokens(
    Secret("fake-access-2"),
    Secret("fake-refresh-2"),
    Secret("fake-id-2"),
    expires_at=1_750_003_600.0,
    scopes=("a", "b"),
    last_refresh=1_750_000_000.0,
)
COPY = Copy(ALICE, "gemini-alice.json", 1_750_000_000.0, Secret("fake-refresh-1").digest(), TOKENS)


SEAL = AeadSeal(b"k" * 32, os.urandom)


def copies(folder: Path, calls: Os | None = None, seal: AeadSeal | None = None) -> EmergencyCopies:
    return EmergencyCopies(folder, Disk(lambda: "n", calls), seal)


def test_a_copy_is_private_and_comes_back_whole(tmp_path: Path) -> None:
    made = copies(tmp_path)
    assert made.load() == {}
    made.write(COPY)
    assert made.path(ALICE).stat().st_mode & 0o777 == 0o600
    assert (tmp_path / FOLDER_NAME).stat().st_mode & 0o777 == 0o700
    assert "alice" not in made.path(ALICE).name
    assert copies(tmp_path).load() == {ALICE: COPY}


def test_a_newer_copy_replaces_the_older(tmp_path: Path) -> None:
    made = copies(tmp_path)
    made.write(COPY)
    newer = replace(COPY, tokens=replace(TOKENS, refresh_token=Secret("fake-refresh-3")))
    made.write(newer)
    assert made.load() == {ALICE: newer}


def test_a_removed_copy_is_gone_and_removing_none_is_fine(tmp_path: Path) -> None:
    made = copies(tmp_path)
    made.remove(ALICE)
    made.write(COPY)
    made.remove(ALICE)
    made.remove(ALICE)
    assert list((tmp_path / FOLDER_NAME).iterdir()) == []


def test_a_full_disk_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    def full(_fd: int, _data: bytes) -> int:
        raise OSError(28, os.strerror(28))

    made = copies(tmp_path, replace(Os(), write=full))
    with pytest.raises(StorageError, match="ENOSPC"):
        made.write(COPY)
    assert list((tmp_path / FOLDER_NAME).iterdir()) == []


def test_a_copy_that_is_damaged_or_under_another_name_is_left_alone_and_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made = copies(tmp_path)
    made.write(COPY)
    moved = made.path(ALICE).rename(tmp_path / FOLDER_NAME / "other.json")
    (tmp_path / FOLDER_NAME / "torn.json").write_bytes(encode(COPY)[:50])
    assert made.load() == {}
    assert moved.exists()
    assert len(caplog.records) == 2
    assert "fake-" not in caplog.text


def test_the_text_names_account_file_and_time_for_who_looks() -> None:
    document = json.loads(encode(COPY))
    assert (document["account"], document["file"], document["since"]) == (str(ALICE), "gemini-alice.json", COPY.since)
    assert document["replaces"] == COPY.replaces.text
    assert document["grant"]["refresh_token"] == "fake-refresh-2"


@pytest.mark.parametrize(
    "change", [{"v": 2}, {"account": "none"}, {"replaces": "x"}, {"since": "now"}, {"grant": {}}, {"grant": None}]
)
def test_what_is_no_copy_of_ours_is_none(change: dict[str, object]) -> None:
    assert decode(json.dumps(json.loads(encode(COPY)) | change).encode()) is None


def test_a_grant_without_any_token_is_none() -> None:
    assert decode(encode(replace(COPY, tokens=replace(TOKENS, access_token=None, refresh_token=None)))) is None


@given(st.binary(max_size=300))
def test_no_bytes_make_it_fail(data: bytes) -> None:
    assert decode(data) is None
    assert decode(encode(COPY)[: len(data)]) in (None, COPY)


def test_a_sealed_copy_shows_whose_it_is_and_no_token(tmp_path: Path) -> None:
    made = copies(tmp_path, seal=SEAL)
    made.write(COPY)
    text = made.path(ALICE).read_bytes()
    assert b"fake-" not in text
    assert whose(text) == ALICE == whose(encode(COPY))
    assert json.loads(text)["replaces"] == COPY.replaces.text
    assert copies(tmp_path, seal=SEAL).load() == {ALICE: COPY}


def test_a_copy_of_the_time_before_sealing_is_taken_up(tmp_path: Path) -> None:
    copies(tmp_path).write(COPY)
    assert copies(tmp_path, seal=SEAL).load() == {ALICE: COPY}


def test_a_sealed_copy_is_read_with_its_key_only(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    copies(tmp_path, seal=SEAL).write(COPY)
    for seal in (None, AeadSeal(b"x" * 32, os.urandom)):
        assert copies(tmp_path, seal=seal).load() == {}
    assert len(caplog.records) == 2
    assert copies(tmp_path, seal=SEAL).path(ALICE).exists()


def test_no_flipped_byte_of_a_sealed_copy_goes_unseen() -> None:
    text = encode(COPY, SEAL)
    for place in range(len(text) - 1):  # the last is the line's end
        changed = text[:place] + bytes([text[place] ^ 1]) + text[place + 1 :]
        assert decode(changed, SEAL) is None, changed


@pytest.mark.parametrize(
    "change",
    [
        {"account": "gemini/bob@example.com"},
        {"file": "other.json"},
        {"since": 1.0},
        {"replaces": Secret("fake-refresh-9").digest().text},
        {"sealed": "no base64"},
        {"sealed": None},
    ],
)
def test_a_seal_is_bound_to_what_stands_beside_it(change: dict[str, object]) -> None:
    assert decode(json.dumps(json.loads(encode(COPY, SEAL)) | change).encode(), SEAL) is None


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b"{",
        encode(COPY).replace(b'"v":1', b'"v":2'),
        b'{"v":1,"account":"x"}',
        b'{"v":1,"account":"\xff"}',
        b'{"x":' + b"[" * 100_000,
    ],
)
def test_what_is_no_copy_is_nobodys(data: bytes) -> None:
    assert whose(data) is None
    assert decode(data) is None
