"""The claim on an ipc address takes the place of a socket of ours, and of nothing else."""

import os
import socket
from pathlib import Path

import pytest

from broker.claim import Claim, Claimed


def test_a_file_that_is_no_socket_is_not_removed(tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("kept")
    with pytest.raises(FileExistsError, match=r"notes\.txt: there is a file that is no socket"):
        Claim(f"ipc://{file}")
    assert file.read_text() == "kept"
    assert list(tmp_path.iterdir()) == [file]


def test_the_socket_of_a_daemon_that_died_is_no_obstacle(tmp_path: Path) -> None:
    path = tmp_path / "u.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    Claim(f"ipc://{path}").release()
    assert not list(tmp_path.iterdir())


def test_a_link_in_place_of_the_lock_is_not_followed(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("kept")
    (tmp_path / "u.sock.lock").symlink_to(precious)
    with pytest.raises(OSError, match=r"u\.sock\.lock"):
        Claim(f"ipc://{tmp_path / 'u.sock'}")
    assert precious.read_text() == "kept"


def test_an_address_has_one_holder_who_is_named(tmp_path: Path) -> None:
    address = f"ipc://{tmp_path / 'u.sock'}"
    first = Claim(address)
    with pytest.raises(Claimed, match=rf"process {os.getpid()}\)"):
        Claim(address)
    first.release()
    Claim(address).release()
