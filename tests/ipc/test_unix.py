import os
import socket
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from broker.ipc.unix import adopt, bind_socket, peer_pid, peer_uid, private_folder, remove_socket, remove_stale
from broker.model.errors import BrokerError, ErrorCode

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give a folder to another user")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "run"
    private_folder(made)
    return made


def test_the_folder_and_its_parents_are_private(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    before = os.umask(0)
    try:
        private_folder(folder)
    finally:
        os.umask(before)
    assert (mode(folder), mode(folder.parent)) == (0o700, 0o700)


def test_a_loose_folder_of_ours_is_repaired(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    private_folder(tmp_path)
    assert mode(tmp_path) == 0o700


@needs_root
def test_another_users_folder_is_refused(tmp_path: Path) -> None:
    os.chown(tmp_path, 65534, 65534)
    with pytest.raises(BrokerError) as caught:
        private_folder(tmp_path)
    assert caught.value.code is ErrorCode.FORBIDDEN_PEER


def test_a_link_or_a_file_is_not_a_folder(tmp_path: Path) -> None:
    link, file = tmp_path / "link", tmp_path / "file"
    link.symlink_to(tmp_path)
    file.touch()
    for path in (link, file, file / "below"):
        with pytest.raises(BrokerError) as caught:
            private_folder(path)
        assert caught.value.code is ErrorCode.BAD_REQUEST


def test_a_socket_is_closed_to_others_from_its_first_moment(folder: Path) -> None:
    """A watcher in another thread sees every mode the socket ever has: chmod after bind would show."""
    path, seen, done = folder / "s.sock", set(), threading.Event()

    def look() -> None:
        while not done.is_set():
            try:
                seen.add(mode(path))
            except FileNotFoundError:
                continue

    before = os.umask(0o022)
    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        for _ in range(50):
            remove_socket(path, bind_socket(path))
        listener = bind_socket(path)
        seen.add(mode(path))
    finally:
        done.set()
        watcher.join()
        assert os.umask(before) == 0o022
    listener.close()
    assert seen == {0o600}


def test_a_live_socket_is_not_stolen_and_its_owner_is_named(folder: Path) -> None:
    path = folder / "s.sock"
    with bind_socket(path):
        with pytest.raises(BrokerError, match=f"process {os.getpid()} already listens"):
            bind_socket(path)
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))


def test_a_stale_socket_is_replaced(folder: Path) -> None:
    path = folder / "s.sock"
    bind_socket(path).close()
    with bind_socket(path), socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))


def test_a_datagram_socket_in_the_way_is_replaced_but_a_file_never(folder: Path) -> None:
    path, file = folder / "s.sock", folder / "f.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.bind(str(path))
        bind_socket(path).close()
    file.write_text("precious")
    with pytest.raises(BrokerError, match="not a socket"):
        bind_socket(file)
    assert file.read_text() == "precious"


def test_a_missing_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(BrokerError) as caught:
        bind_socket(tmp_path / "gone" / "s.sock")
    assert caught.value.code is ErrorCode.BAD_REQUEST


def test_a_path_too_long_for_the_kernel_is_told(folder: Path) -> None:
    with pytest.raises(BrokerError):
        bind_socket(folder / ("x" * 150))


def test_many_starters_have_one_winner(folder: Path) -> None:
    path, won, lost = folder / "s.sock", [], []
    gate = threading.Barrier(8)

    def start() -> None:
        gate.wait()
        try:
            won.append(bind_socket(path))
        except BrokerError:
            lost.append(1)

    threads = [threading.Thread(target=start) for _ in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert (len(won), len(lost)) == (1, 7)
    won[0].close()


def test_removing_leaves_a_successors_socket_alone(folder: Path) -> None:
    path = folder / "s.sock"
    ours = bind_socket(path)
    path.unlink()  # somebody cleans up under us, and a new daemon starts
    with bind_socket(path):
        remove_socket(path, ours)
        assert path.is_socket()
    assert ours.fileno() == -1


def test_removing_ours_removes_the_file(folder: Path) -> None:
    path = folder / "s.sock"
    remove_socket(path, bind_socket(path))
    assert not path.exists()


def test_the_peer_is_known(folder: Path) -> None:
    with bind_socket(folder / "s.sock") as listener, socket.socket(socket.AF_UNIX) as client:
        client.connect(str(folder / "s.sock"))
        listener.setblocking(True)
        connection, _ = listener.accept()
        with connection:
            assert (peer_uid(connection), peer_pid(connection)) == (os.geteuid(), os.getpid())
    with socket.socket(socket.AF_INET) as other:
        assert peer_pid(other) is None


def test_nothing_is_adopted_without_a_manager() -> None:
    assert adopt({}, 1) == {}
    assert adopt({"LISTEN_PID": "2", "LISTEN_FDS": "2", "LISTEN_FDNAMES": "a:b"}, 1) == {}
    assert adopt({"LISTEN_PID": "1"}, 1) == {}


@pytest.mark.parametrize(
    ("count", "names", "word"),
    [("x", "token", "not a number"), ("2", "token", "must name 2"), ("2", "token:token", "different")],
)
def test_variables_that_make_no_sense_are_told(count: str, names: str, word: str) -> None:
    with pytest.raises(BrokerError, match=word):
        adopt({"LISTEN_PID": "1", "LISTEN_FDS": count, "LISTEN_FDNAMES": names}, 1)


ADOPTER = """
import os, socket, sys
from broker.ipc.unix import adopt
from broker.model.errors import BrokerError
try:
    found = adopt({"LISTEN_PID": "7", "LISTEN_FDS": "2", "LISTEN_FDNAMES": "token:control"}, 7)
except BrokerError as error:
    print(error.detail)
    sys.exit()
for name, listener in found.items():
    print(name, listener.getsockname(), listener.getblocking(), os.get_inheritable(listener.fileno()))
"""


def adopting(*sockets: socket.socket) -> str:
    """Run the adopter with the sockets as descriptors 3 and 4, as a service manager does."""
    moves = "".join(f"{index}<&{each.fileno()} " for index, each in enumerate(sockets, 3))
    closes = " ".join(f"{index}<&-" for index in range(3 + len(sockets), 5))
    script = f'exec "{sys.executable}" -c "$0" {moves}{closes}'
    fds = [each.fileno() for each in sockets]
    # High numbers first, so that 3 and 4 are free for the moves.
    high = [os.dup2(fd, 40 + index) for index, fd in enumerate(fds)]
    script = script.replace(moves, "".join(f"{index}<&{fd} " for index, fd in enumerate(high, 3)))
    try:
        done = subprocess.run(
            ["bash", "-c", script, ADOPTER], pass_fds=high, capture_output=True, text=True, check=True
        )
    finally:
        for fd in high:
            os.close(fd)
    return done.stdout


def test_passed_sockets_are_adopted_by_name(folder: Path) -> None:
    first, second = folder / "t.sock", folder / "b.sock"
    with bind_socket(first) as one, bind_socket(second) as two:
        assert adopting(one, two) == f"token {first} False False\ncontrol {second} False False\n"


def test_a_passed_descriptor_that_does_not_listen_is_refused(folder: Path) -> None:
    with bind_socket(folder / "t.sock") as one, socket.socket(socket.AF_UNIX) as idle:
        assert "'control' is not a listening Unix stream socket" in adopting(one, idle)
        assert "'control'" in adopting(one)  # descriptor 4 is not open at all


def test_only_a_socket_that_nobody_listens_on_is_stale(folder: Path) -> None:
    path = folder / "a.sock"
    assert remove_stale(path)  # there is none
    listener = bind_socket(path)
    assert not remove_stale(path)
    listener.close()
    assert path.exists()
    assert remove_stale(path)
    assert not path.exists()
    path.touch()
    assert not remove_stale(path)
    assert path.exists()
