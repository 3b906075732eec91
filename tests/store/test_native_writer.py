import json
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.model.account import Tokens
from broker.model.secret import Secret
from broker.providers.native.base import Login, Native, Seen
from broker.providers.native.claude_code import FORMAT
from broker.providers.native.table import FORMATS
from broker.store import codec
from broker.store.base import StorageError
from broker.store.files import Disk
from broker.store.native import NativeWriter, compose
from broker.store.rename import UnsupportedRenameError
from tests.fakes.disk import FaultyOs
from tests.fakes.native import GOLDEN, NOW, RENEWED, golden

DATA = (GOLDEN / "claude-code" / ".credentials.json").read_bytes()


def seen(data: bytes = DATA, mode: int = 0o600) -> Seen:
    return Seen(data, mode, FORMAT.read(golden("claude-code", ".credentials.json"), {}))


@pytest.fixture
def faulty() -> FaultyOs:
    return FaultyOs()


@pytest.fixture
def writer(faulty: FaultyOs) -> NativeWriter:
    numbers = iter(range(100))
    return NativeWriter(Disk(lambda: str(next(numbers)), faulty.calls()), faulty.calls())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / ".credentials.json"
    made.write_bytes(DATA)
    return made


def test_everything_but_the_grant_stays_byte_for_byte() -> None:
    made = compose(FORMAT, seen(), "", RENEWED, NOW)
    expected = DATA.replace(b"fake-access-1", b"fake-access-2").replace(b"fake-refresh-1", b"fake-refresh-2")
    assert made == expected.replace(b"1760000000000", b"1760013600000")


def test_what_cannot_be_written_is_refused() -> None:
    for data in (b"no JSON", b"[]", b"{}"):
        with pytest.raises(StorageError, match="the login file of Claude Code"):
            compose(FORMAT, seen(data), "", RENEWED, NOW)
    with pytest.raises(StorageError, match="would not read back"):
        compose(FORMAT, seen(), "", Tokens(Secret("fake-access-2")), NOW)


def linkable() -> Iterator[tuple[Native, bytes]]:
    """Every golden file that holds one login of a program that can be linked."""
    for native in FORMATS.values():
        for path in sorted(each for each in (GOLDEN / native.tool).iterdir() if each.is_file()):
            parsed = codec.parse_object(path.read_bytes())
            if native.unlinked is None and isinstance(parsed, codec.Parsed):
                found = native.read(parsed.document, SIBLINGS)
                if len(found) == 1 and isinstance(found[0], Login) and found[0].tokens.refresh_token:
                    yield native, path.read_bytes()


SIBLINGS = {"siblings": {each.name: json.loads(each.read_bytes()) for each in (GOLDEN / "kiro" / "siblings").iterdir()}}
LINKABLE = tuple(linkable())
scalars = st.sampled_from(
    ["1e400", "-0", "1.50", "123456789012345678901234567890", "null", "true", '"\\u00e9\\ud800"', '""', "[]", "{ }"]
)
values = st.recursive(
    scalars | st.text(max_size=8).map(json.dumps),
    lambda inner: st.lists(inner, max_size=3).map(lambda each: f"[ {' ,'.join(each)}]"),
    max_leaves=4,
)


@settings(max_examples=150, deadline=None)
@given(case=st.sampled_from(LINKABLE), extra=st.lists(values, min_size=1, max_size=4))
def test_whatever_else_is_in_a_programs_file_comes_back_as_it_was(case: tuple[Native, bytes], extra: list[str]) -> None:
    native, data = case
    text = data.decode().strip()
    front = "".join(f'"x-{number}" :  {value} ,\n' for number, value in enumerate(extra))
    back = "".join(f',\t"y-{number}":{value}' for number, value in enumerate(extra))
    told = ("{" + front + text[1:-1].rstrip() + back + " }\n").encode("utf-8", "surrogatepass")
    parsed = codec.parse_object(told)
    assert isinstance(parsed, codec.Parsed)
    found = native.read(parsed.document, SIBLINGS)
    login = next(each for each in found if isinstance(each, Login))
    made = compose(native, Seen(told, 0o600, found, SIBLINGS), login.key, RENEWED, NOW).decode("utf-8", "surrogatepass")
    assert made.startswith("{" + front)
    assert made.endswith(back + " }\n")
    assert "fake-refresh-2" in made
    assert "fake-refresh-1" not in made


@pytest.mark.parametrize("mode", [0o600, 0o640])
def test_the_mode_is_kept(writer: NativeWriter, path: Path, mode: int) -> None:
    path.chmod(mode)
    assert writer.replace(path, seen(mode=mode), b"new")
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == mode
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_a_link_stays_a_link(writer: NativeWriter, path: Path, tmp_path: Path) -> None:
    (tmp_path / "link.json").symlink_to(path)
    assert writer.replace(tmp_path / "link.json", seen(), b"new")
    assert path.read_bytes() == b"new"
    assert (tmp_path / "link.json").is_symlink()


def test_what_changed_since_it_was_read_stays(writer: NativeWriter, path: Path) -> None:
    path.write_bytes(b"theirs")
    assert not writer.replace(path, seen(), b"new")
    assert path.read_bytes() == b"theirs"


def test_what_changes_in_that_very_moment_is_put_back(writer: NativeWriter, path: Path, faulty: FaultyOs) -> None:
    faulty.before["exchange"] = lambda: path.write_bytes(b"theirs") and None
    assert not writer.replace(path, seen(), b"new")
    assert path.read_bytes() == b"theirs"
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_where_names_cannot_be_exchanged_it_is_renamed(writer: NativeWriter, path: Path, faulty: FaultyOs) -> None:
    def unsupported() -> None:
        raise UnsupportedRenameError

    faulty.before["exchange"] = unsupported
    assert writer.replace(path, seen(), b"new")
    assert path.read_bytes() == b"new"


@pytest.mark.parametrize("failing", ["open", "write", "fsync", "exchange"])
def test_storage_that_refuses_leaves_the_old(writer: NativeWriter, path: Path, faulty: FaultyOs, failing: str) -> None:
    faulty.failing = {failing}
    with pytest.raises(StorageError, match="ENOSPC"):
        writer.replace(path, seen(), b"new")
    assert path.read_bytes() == DATA


def test_a_file_that_goes_just_then(writer: NativeWriter, path: Path) -> None:
    path.unlink()
    with pytest.raises(StorageError, match="ENOENT"):
        writer.replace(path, seen(), b"new")
    assert list(path.parent.iterdir()) == []


def test_what_a_killed_process_left_is_removed(writer: NativeWriter, path: Path) -> None:
    left = path.parent / ".ccs-broker-1234567-x.tmp"
    left.write_bytes(b"x")
    writer.clean(path.parent, left.stat().st_mtime + 7200)
    assert [each.name for each in path.parent.iterdir()] == [path.name]
