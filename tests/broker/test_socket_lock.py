"""The claim on an ipc address is held by one daemon at a time, and seen by the others."""

import os
from pathlib import Path

import pytest

from broker.transport.socket_lock import SocketLock, SocketTaken


def test_a_link_in_place_of_the_lock_is_not_followed(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("kept")
    (tmp_path / "u.sock.lock").symlink_to(precious)
    with pytest.raises(OSError, match=r"u\.sock\.lock"):
        SocketLock(tmp_path / "u.sock")
    assert precious.read_text() == "kept"


def test_an_address_has_one_holder_who_is_named(tmp_path: Path) -> None:
    first = SocketLock(tmp_path / "u.sock")
    with pytest.raises(SocketTaken, match=rf"process {os.getpid()}\)"):
        SocketLock(tmp_path / "u.sock")
    first.release()
    SocketLock(tmp_path / "u.sock").release()
    assert not list(tmp_path.iterdir())


def test_what_is_released_is_ours_another_holders_file_stays(tmp_path: Path) -> None:
    """Where the directory was swept, a second daemon may have claimed the same path."""
    first = SocketLock(tmp_path / "u.sock")
    (tmp_path / "u.sock.lock").unlink()
    assert not first.is_seen()
    second = SocketLock(tmp_path / "u.sock")
    first.release()
    assert second.is_seen()
    second.release()
