"""Where newcomers wait: a place takes nobody else's, keeps its own, and tells the port that was chosen."""

import contextlib
import os
import resource
import select
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from broker.transport.doors import find_places
from broker.transport.path import PathPlace
from broker.transport.places import MOST_PENDING, Place, TcpAddress, split_tcp, tcp_places
from broker.transport.socket_lock import SocketLock, SocketTaken
from tests.support.patience import SOON


@pytest.fixture
def place(tmp_path: Path) -> Iterator[PathPlace]:
    made = PathPlace(f"ipc://{tmp_path / 'u.sock'}")
    yield made
    made.release()
    assert not list(tmp_path.iterdir())


Listen = Callable[[str], list[Place]]


@pytest.fixture
def listen() -> Iterator[Listen]:
    with contextlib.ExitStack() as stack:

        def made(address: str) -> list[Place]:
            found = find_places(address)
            for place in found:
                stack.callback(place.release)
            return found

        yield made


def connect(address: str) -> socket.socket:
    newcomer = socket.socket(socket.AF_UNIX)
    newcomer.setblocking(False)
    newcomer.connect(address.removeprefix("ipc://"))
    return newcomer


def accept_all(listening: socket.socket) -> int:
    accepted = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            listening.accept()[0].close()
            accepted += 1
    return accepted


def test_a_file_that_is_no_socket_is_not_removed(tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("kept")
    with pytest.raises(FileExistsError, match=r"notes\.txt: there is a file that is no socket"):
        find_places(f"ipc://{file}")
    assert file.read_text() == "kept"
    assert list(tmp_path.iterdir()) == [file]


def test_the_socket_of_a_daemon_that_died_is_no_obstacle(tmp_path: Path) -> None:
    path = tmp_path / "u.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    PathPlace(f"ipc://{path}").release()
    assert not list(tmp_path.iterdir())


def test_what_is_taken_is_closed_to_others_who_wait_at_the_next(place: PathPlace) -> None:
    first = [connect(place.address) for _ in range(3)]
    with place.take().listening as taken, connect(place.address), place.take().listening as next_one:
        assert accept_all(taken) == len(first)
        assert accept_all(next_one) == 1
    for newcomer in first:
        newcomer.close()


def test_no_more_can_wait_than_a_batch(place: PathPlace) -> None:
    waiting = [connect(place.address) for _ in range(MOST_PENDING)]
    with pytest.raises(BlockingIOError):
        connect(place.address)
    with place.take().listening as taken:
        assert accept_all(taken) == MOST_PENDING
    for newcomer in waiting:
        newcomer.close()


def test_places_whose_names_are_alike_keep_apart(tmp_path: Path) -> None:
    """What one makes in passing is never another's, at any moment of the other."""
    alike = [PathPlace(f"ipc://{tmp_path / name}") for name in ("u", "u1", "u2", "u~")]
    passing = {place._next for place in alike}
    assert len(passing | {place._path for place in alike}) == 2 * len(alike)
    for place in alike:
        place.release()


def test_what_a_killed_daemon_left_in_passing_goes_with_the_next_one(tmp_path: Path) -> None:
    path = tmp_path / "u.sock"
    killed = PathPlace(f"ipc://{path}")
    stray = killed._next
    killed.release()
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(stray))
    place = PathPlace(f"ipc://{path}")
    assert not stray.exists()
    assert place._next != stray
    place.release()
    assert not list(tmp_path.iterdir())


def test_owner_and_mode_stay_as_they_were_set(place: PathPlace, tmp_path: Path) -> None:
    path = tmp_path / "u.sock"
    path.chmod(0o660)
    os.chown(path, -1, min(os.getgroups(), default=os.getgid()))
    before = path.stat()
    place.take().listening.close()
    after = path.stat()
    assert before.st_ino != after.st_ino
    assert (before.st_mode, before.st_uid, before.st_gid) == (after.st_mode, after.st_uid, after.st_gid)


def test_where_the_next_socket_cant_be_made_those_who_wait_are_given_all_the_same(
    place: PathPlace, tmp_path: Path
) -> None:
    place._next.mkdir()  # in its way
    with connect(place.address):
        batch = place.take()
        assert not batch.is_closed
        assert accept_all(batch.listening) == 1
    place._next.rmdir()
    batch = place.take()
    assert batch.is_closed
    batch.listening.close()


def test_where_another_program_listens_is_left_to_it(tmp_path: Path) -> None:
    path = tmp_path / "u.sock"
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()
        with pytest.raises(FileExistsError, match="another program listens here"):
            find_places(f"ipc://{path}")
        connect(f"ipc://{path}").close()


def test_a_claim_that_cant_be_written_to_is_held_all_the_same(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        claim = SocketLock(tmp_path / "u.sock")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    with pytest.raises(SocketTaken):
        SocketLock(tmp_path / "u.sock")
    claim.release()
    SocketLock(tmp_path / "u.sock").release()


@pytest.mark.parametrize("swept", ["u.sock", "u.sock.lock", "."])
def test_what_was_swept_away_is_made_anew(tmp_path: Path, swept: str, caplog: pytest.LogCaptureFixture) -> None:
    directory = tmp_path / "run"
    directory.mkdir()
    place = PathPlace(f"ipc://{directory / 'u.sock'}")
    place.renew()
    assert not caplog.records
    shutil.rmtree(directory) if swept == "." else (directory / swept).unlink()
    place.renew()
    assert "is there again" in caplog.text
    connect(place.address).close()
    with pytest.raises(SocketTaken):
        SocketLock(directory / "u.sock")
    place.release()
    assert not list(directory.iterdir())


def test_another_daemons_socket_is_left_alone(tmp_path: Path) -> None:
    """It came after the first one's files were swept away. Who waits at the old one is told to come again."""
    address = f"ipc://{tmp_path / 'u.sock'}"
    first = PathPlace(address)
    waiting = connect(address)
    for file in tmp_path.iterdir():
        file.unlink()
    second = PathPlace(address)
    with pytest.raises(FileExistsError, match="something else is there now"):
        first.renew()
    assert first.fileno() == -1
    with pytest.raises(ConnectionResetError):
        waiting.recv(1)
    waiting.close()
    with pytest.raises(FileNotFoundError):
        first.take()
    first.release()
    with connect(address), second.take().listening as taken:
        assert accept_all(taken) == 1
    second.release()
    assert not list(tmp_path.iterdir())


def test_the_place_is_taken_again_when_the_other_has_left(tmp_path: Path) -> None:
    address = f"ipc://{tmp_path / 'u.sock'}"
    first = PathPlace(address)
    for file in tmp_path.iterdir():
        file.unlink()
    second = PathPlace(address)
    with pytest.raises(FileExistsError):
        first.renew()
    second.release()
    first.renew()
    connect(address).close()
    first.release()


def test_a_name_needs_no_file_and_has_one_holder(listen: Listen, tmp_path: Path) -> None:
    address = f"ipc://@{tmp_path.name}"
    (place,) = listen(address)
    with pytest.raises(OSError, match="in use"):
        find_places(address)
    newcomer = socket.socket(socket.AF_UNIX)
    newcomer.connect(f"\0{tmp_path.name}")
    with place.take().listening as taken:
        with pytest.raises(ConnectionRefusedError):
            socket.socket(socket.AF_UNIX).connect(f"\0{tmp_path.name}")
        assert accept_all(taken) == 1
    newcomer.close()
    place.renew()
    socket.socket(socket.AF_UNIX).connect(f"\0{tmp_path.name}")


@pytest.mark.parametrize("port", ["0", "*"])
def test_the_port_that_was_chosen_is_told(listen: Listen, port: str) -> None:
    (place,) = listen(f"tcp://127.0.0.1:{port}")
    host, chosen = place.address.removeprefix("tcp://").split(":")
    socket.create_connection((host, int(chosen))).close()


def test_a_port_has_one_holder(listen: Listen) -> None:
    (place,) = listen("tcp://127.0.0.1:0")
    with pytest.raises(OSError, match="in use"):
        find_places(place.address)


def test_every_address_of_a_host_listens_at_one_port(listen: Listen) -> None:
    found = listen("tcp://lo:0")
    assert len({place.address for place in found}) == 1
    port = int(found[0].address.rpartition(":")[2])
    assert {"127.0.0.1", *(["::1"] if len(found) > 1 else [])} <= {
        socket.create_connection((host, port)).getpeername()[0] for host in ("127.0.0.1", "::1")[: len(found)]
    }


def test_a_port_that_is_chosen_is_one_that_every_address_of_the_host_has_free(monkeypatch: pytest.MonkeyPatch) -> None:
    create, others = socket.create_server, []

    def another_is_quicker(where: tuple[str, int], **options: Any) -> socket.socket:
        made = create(where, **options)
        if len(others) < 2:
            others.append(create(("127.0.0.2", made.getsockname()[1])))
        return made

    monkeypatch.setattr(socket, "create_server", another_is_quicker)
    host = [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET, "127.0.0.2")]
    found = tcp_places(TcpAddress("tcp://host:0", "host", 0, host))
    assert len({place.address for place in found}) == 1
    assert len(found) == 2
    for place in found:
        place.release()
    for other in others:
        other.close()


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="no IPv6 here")
@pytest.mark.parametrize(("address", "hosts"), [("tcp://[::1]:0", ["::1"]), ("tcp://*:0", ["::1", "127.0.0.1"])])
def test_it_listens_at_ipv6(listen: Listen, address: str, hosts: list[str]) -> None:
    (place,) = listen(address)
    for host in hosts:
        socket.create_connection((host, int(place.address.rpartition(":")[2]))).close()
    taken, accepted = place.take().listening, 0
    while accepted < len(hosts):  # who has connected may come in a moment later
        assert select.select([taken], [], [], SOON)[0]
        accepted += accept_all(taken)


@pytest.mark.parametrize(
    "address",
    [
        "",
        "udp://127.0.0.1:1",
        "tcp://127.0.0.1",
        "tcp://:1",
        "tcp://127.0.0.1:port",
        "ipc:///",
        "tcp://no.such.host.invalid:1",
        "tcp://..:1",
        f"tcp://{'x' * 300}:1",
    ],
)
def test_what_is_no_address_is_named(address: str) -> None:
    with pytest.raises(OSError, match=rf"^(\[Errno \d+\] )?{address}: "):
        find_places(address)


def test_a_port_of_thousands_of_digits_is_refused_as_any_that_is_too_high() -> None:
    with pytest.raises(OSError, match=r"^tcp://127.0.0.1:9+: a port is at most 65535$"):
        find_places("tcp://127.0.0.1:" + "9" * 5000)
    assert split_tcp("tcp://127.0.0.1:" + "0" * 5000 + "80") == ("127.0.0.1", 80)
