"""Starting: what can't work is said at once, in words; an address has one daemon."""

import os
import re
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import lmdb
import msgpack
import pytest

import utxod
from protocol import Client
from tests.support.aerospike_server import EMBEDDED_ONLY
from tests.support.daemon import Daemon, Raw, Start


def test_a_daemon_serves_and_leaves_nothing_behind(start: Start) -> None:
    daemon = start()
    with daemon.client() as client:
        created = client.create_partial(b"\x01" * 32, {0: (5, b"\x51")}, block_height=1)
        assert created["records"] == 1
        assert client.outpoint(b"\x01" * 32, 0) == (5, b"\x51")
    daemon.end()
    warnings = [line for line in daemon.log.lines if " WARNING " in line or " ERROR " in line]
    assert [line for line in warnings if "stood still for" not in line] == []  # which a busy machine makes it


@EMBEDDED_ONLY
def test_a_daemon_whose_workers_cannot_start_ends_and_says_why(start: Start, tmp_path: Path) -> None:
    (tmp_path / "store").write_text("no directory")
    daemon = start(ready=False)
    assert daemon.process.wait(60) == 1
    daemon.log.close()
    assert f"{tmp_path / 'store'}: cannot be opened: [Errno 17] File exists" in daemon.log.text
    assert "the workers could not start" in daemon.log.lines[-1]
    pools = re.findall(r"started (\w+) worker", daemon.log.text)
    assert len(set(pools)) == len(pools) > 0  # none a second time
    daemon.expect_nothing_left()


@EMBEDDED_ONLY
def test_a_set_of_another_layout_is_refused(start: Start, tmp_path: Path) -> None:
    with lmdb.open(str(tmp_path / "store"), map_size=1 << 20) as environment, environment.begin(write=True) as write:
        write.put(b"settings", msgpack.packb({"layout": 999, "utxo_batch_size": 128}))
    daemon = start(ready=False)
    assert daemon.process.wait(60) == 1
    daemon.log.close()
    assert "its layout has version 999" in daemon.log.text
    daemon.expect_nothing_left()


@EMBEDDED_ONLY
def test_a_set_whose_settings_cannot_be_read_is_refused(start: Start, tmp_path: Path) -> None:
    with lmdb.open(str(tmp_path / "store"), map_size=1 << 20) as environment, environment.begin(write=True) as write:
        write.put(b"settings", b"\xc1")
    daemon = start(ready=False)
    assert daemon.process.wait(60) == 1
    daemon.log.close()
    assert f"{tmp_path / 'store'}: its settings can't be read" in daemon.log.text
    assert "the workers could not start" in daemon.log.lines[-1]
    daemon.expect_nothing_left()


def test_a_second_daemon_at_an_ipc_address_refuses_and_names_it(start: Start) -> None:
    first = start()
    second = start(ready=False)
    assert second.process.wait(60) == 1
    second.log.close()
    message = f"{first.endpoint}: another daemon serves here (process {first.process.pid})"
    assert len(second.log.lines) == 1
    assert second.log.lines[0].endswith(f" CRITICAL {message}")
    with first.client() as client:
        assert client.status()["pid"] == first.process.pid


def test_an_address_can_be_taken_again_after_a_kill(start: Start) -> None:
    start().kill()
    start().end()


def test_a_tcp_address_in_use_is_named(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"tcp://127.0.0.1:{other.getsockname()[1]}"
        daemon = start(None, "--listen", address, ready=False)
        assert daemon.process.wait(60) == 1
        daemon.log.close()
        assert address in daemon.log.text
        daemon.expect_nothing_left()


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("ipc:///proc/nowhere/u.sock", "its directory can't be made: No such file or directory"),
        ("tcp://127.0.0.1:99999", "a port is at most 65535"),
        ("carrier-pigeon://roof", "wanted ipc:///PATH, ipc://@NAME or tcp://HOST:PORT"),
        ("ipc:///" + "x" * 200, "longer than the 107 bytes"),
    ],
)
def test_an_address_that_is_none_is_refused_in_one_line(start: Start, address: str, message: str) -> None:
    daemon = start(None, "--listen", address, ready=False)
    assert daemon.process.wait(60) == 1
    daemon.log.close()
    (line,) = daemon.log.lines
    assert address in line
    assert message in line
    daemon.expect_nothing_left()


def test_one_daemon_serves_on_ipc_and_tcp_at_once(start: Start) -> None:
    daemon = start(None, "--listen", "tcp://127.0.0.1:0")
    listen = daemon.status()["listen"]
    assert [address.rpartition(":")[0] for address in listen] == ["ipc", "tcp://127.0.0.1"]
    near, far = (Client(address, timeout=30) for address in listen)
    with near, far:
        near.create_partial(b"\x02" * 32, {0: (5, b"\x51")}, block_height=1)
        assert far.outpoint(b"\x02" * 32, 0) == (5, b"\x51")


def test_a_ctrl_c_is_an_orderly_end(start: Start) -> None:
    daemon = start()
    daemon.wait_for_workers()
    os.killpg(daemon.process.pid, signal.SIGINT)
    assert daemon.process.wait(60) == 0
    daemon.log.close()
    daemon.expect_nothing_left()


@EMBEDDED_ONLY
def test_the_set_that_it_makes_is_its_owners_alone(start: Start, tmp_path: Path) -> None:
    """Whoever could open the writers' lock, if only to read, could hold up every writer."""
    start().wait_for_workers()
    made = tmp_path / "store"
    assert [path.stat().st_mode & 0o777 for path in (made, *sorted(made.glob("*.*")))] == [0o700, 0o600, 0o600, 0o600]


def test_the_welcome_tells_the_daemons_version(daemon: Daemon, raw: Callable[..., Raw]) -> None:
    assert raw(daemon.endpoint).handshake().version == utxod.__version__
