"""The administration socket: who comes there, what is refused, and that nobody is held up by whoever comes."""

import json
import os
import re
import socket
import stat
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from broker.transport.administration import Administration, Asker
from broker.transport.administration_place import address_of
from tests.support.daemon import Daemon, Start, running_daemon
from tests.support.ordering import Line, Watched, line_to, order, refused
from tests.support.patience import until
from tests.support.scripted_daemon import ScriptedDaemon
from utxod import administration as orders
from utxod.commands import cli

# ---- what is no order


@pytest.mark.parametrize(
    ("request_", "wrong"),
    [
        ({"do": "scale", "pool": "none", "workers": 1}, "there is no pool 'none': wanted read, write, children"),
        ({"do": "scale", "pool": ["read"], "workers": 1}, "there is no pool"),
        ({"do": "scale", "pool": "read", "workers": 0}, "from 1 to 256, not 0"),
        ({"do": "scale", "pool": "read", "workers": 257}, "from 1 to 256, not 257"),
        ({"do": "scale", "pool": "read", "workers": True}, "from 1 to 256, not True"),
        ({"do": "scale"}, "there is no pool None"),
        ({"do": "log-level", "level": "loud"}, "there is no level 'loud': wanted debug, info, warning, error"),
        ({"do": "log-level", "level": ["debug"]}, "there is no level"),
        ({"do": "dance"}, "'dance' is no order: wanted scale, reload, drain or log-level"),
        ({}, "None is no order"),
        ({"do": "drain", "epoch": 1}, "the socket of another daemon"),
    ],
)
def test_an_order_that_is_none_is_refused_with_what_is_wrong(
    shared: Daemon, request_: dict[str, Any], wrong: str
) -> None:
    with line_to(shared) as line:
        assert wrong in line.say(json.dumps(request_).encode())["error"]
        shared.log.expect(f"process {os.getpid()} is refused: .*{re.escape(wrong)}")
    assert shared.status()["draining"] is False


# ---- the socket


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, store_kind: str) -> Iterator[Daemon]:
    with running_daemon(tmp_path_factory.mktemp("administration"), {}, store_kind) as daemon:
        daemon.wait_for_workers()
        yield daemon


def test_only_the_daemons_user_may_open_it_and_it_goes_with_the_daemon(start: Start) -> None:
    daemon = start()
    path = Path(daemon.status()["administration"])
    assert path == daemon.directory / "state" / f"admin-{daemon.process.pid}.sock"
    assert stat.S_IMODE(path.lstat().st_mode) == 0o600
    daemon.end()
    assert list(path.parent.glob("*admin*")) == []


def test_it_is_told_so_that_it_is_found_from_anywhere(start: Start) -> None:
    daemon = start({"state": "here"})
    assert daemon.status()["state"] == str(daemon.directory / "here")
    assert order(daemon, "log-level", "warning")["level"] == "warning"


def test_what_is_no_packet_of_ours_is_refused_and_nothing_else_happens(shared: Daemon) -> None:
    wanted = {"error": "wanted one map of JSON, in 4096 bytes at most"}
    with line_to(shared) as line:
        for packet in (b"\xff", b"[]", b"{", b"[" * 4000, b"1", json.dumps({"do": "x" * 5000}).encode()):
            assert line.say(packet) == wanted
        assert "is no order" in line.say(b"{}")["error"]


def test_who_says_nothing_is_closed_after_some_seconds(shared: Daemon) -> None:
    with line_to(shared) as line:
        line.socket.settimeout(60)
        assert line.hear() is None


def test_more_than_some_at_once_are_turned_away_and_those_who_leave_make_room(tmp_path: Path) -> None:
    watched = Watched()
    administration = watched.administration(tmp_path)
    (listening,) = watched
    with ExitStack() as stack:

        def newcomer() -> Line:
            line = Line(administration.path)
            stack.enter_context(line.socket)
            assert list(administration.receive(listening)) == []
            return line

        first, *_ = [newcomer() for _ in range(8)]
        assert "8 others are connected already" in newcomer().hear()["error"]
        assert len(watched) == 9
        first.socket.close()
        for each in watched - {listening}:
            assert list(administration.receive(each)) == []  # one of them has left
        newcomer().socket.send(b"{}")
        asked = [order for each in watched - {listening} for _, order in administration.receive(each)]
        assert asked == [{}]
    administration.close()


def test_who_does_not_read_the_answers_is_closed_and_holds_up_nobody(shared: Daemon) -> None:
    with line_to(shared) as line:
        line.socket.setblocking(False)

        def is_closed() -> bool:
            try:
                for _ in range(1000):
                    line.socket.send(b"{}")
            except BlockingIOError:
                return False
            except OSError:
                return True
            return False

        until(is_closed)
    assert shared.status()["draining"] is False


def test_what_dead_daemons_left_is_removed_and_what_is_alive_or_none_of_ours_stays(start: Start) -> None:
    killed = start(place="killed")
    state = killed.directory / "state"
    left = Path(killed.status()["administration"])
    killed.kill()
    dying = state / f".admin-{killed.process.pid}-00000000"
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as never_listened, address_of(dying) as address:
        never_listened.bind(address)
    alive = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with address_of(state / "admin-1.sock") as address:
        alive.bind(address)
    alive.listen()
    target = state / "precious"
    target.write_text("kept")
    (state / "admin-2.sock").symlink_to(target)
    (state / "admin-3.sock").write_text("a file")
    following = start({"state": state})
    assert not left.exists()
    assert not dying.exists()
    assert target.read_text() == "kept"
    assert {path.name for path in state.glob("admin-*")} == {
        *("admin-1.sock", "admin-2.sock", "admin-3.sock", f"admin-{following.process.pid}.sock")
    }
    alive.close()


def test_a_path_too_long_for_a_socket_serves_all_the_same(start: Start, tmp_path: Path) -> None:
    daemon = start({"state": tmp_path / ("x" * 120)})
    daemon.wait_for_workers()
    assert order(daemon, "log-level", "debug")["before"] == "info"
    daemon.end()
    assert list((tmp_path / ("x" * 120)).glob("*admin*")) == []


def test_where_there_is_no_place_for_it_the_daemon_serves_and_says_so(start: Start, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no directory")
    daemon = start({"state": tmp_path / "file" / "state"})
    daemon.log.expect("no administration .*: Not a directory")
    assert daemon.status()["administration"] == ""
    said = refused(daemon, "reload")
    assert "could not make a socket for orders; its log says why" in said
    assert "SIGHUP to reload" in said


@contextmanager
def asked_by_hand(directory: Path, packets: int) -> Iterator[tuple[Administration, Line, list[Asker]]]:
    """Somebody has sent so many orders at once: nobody has carried them out. Who asked, for each that was let in."""
    watched = Watched()
    administration = watched.administration(directory)
    (listening,) = watched
    line = Line(administration.path)
    with line.socket:
        assert list(administration.receive(listening)) == []
        (asked,) = watched - {listening}
        for _ in range(packets):
            line.socket.send(b"{}")
        yield administration, line, [asker for _ in range(packets) for asker, _ in administration.receive(asked)]
    administration.close()


def test_who_still_waits_for_an_answer_is_not_silent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("broker.transport.administration._SILENCE_SECONDS", -1.0)
    with asked_by_hand(tmp_path, 3) as (administration, line, askers):
        for number, asker in enumerate(askers):
            administration.tend()
            administration.answer(asker, {"number": number})
            assert line.hear() == {"number": number}
        administration.tend()
        assert line.hear() is None


def test_one_who_has_many_orders_waiting_is_refused_more_in_words(tmp_path: Path) -> None:
    with asked_by_hand(tmp_path, 40) as (administration, line, askers):
        assert len(askers) == 32
        for _ in range(8):
            assert line.hear() == {"error": "32 orders of yours wait for their answers already; try again"}
        for asker in askers:
            administration.answer(asker, {"ok": True})
            assert line.hear() == {"ok": True}


def test_another_user_is_refused_and_told_who_may(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    watched = Watched()
    administration = watched.administration(tmp_path)
    (listening,) = watched
    line = Line(administration.path)
    with monkeypatch.context() as pretended:
        pretended.setattr("broker.transport.administration._PEER", Uid(12345))
        assert list(administration.receive(listening)) == []
    assert line.hear()["error"].endswith("root may do that; you are uid 12345")
    assert line.hear() is None
    administration.close()


class Uid:
    """In place of what the kernel says of a peer: a process of that user."""

    size = 12

    def __init__(self, uid: int) -> None:
        self._uid = uid

    def unpack(self, _: bytes) -> tuple[int, int, int]:
        return 1, self._uid, 0


# ---- those that can't be ordered


@contextmanager
def one_that_reports(directory: Path, **of_itself: Any) -> Iterator[str]:
    """A daemon's endpoint."""
    daemon = ScriptedDaemon(f"ipc://{directory}/u")
    daemon.reports = lambda: {"version": "1.0", "epoch": 1, **of_itself}
    try:
        yield daemon.endpoint
    finally:
        daemon.stop()


def test_where_no_daemon_answers_that_is_said(tmp_path: Path) -> None:
    for arguments in (["scale", "write", "2"], ["reload"], ["drain"], ["log-level", "debug"]):
        result = CliRunner().invoke(cli, [*arguments, "--connect", f"ipc://{tmp_path}/none"])
        assert (result.exit_code, "no daemon answers at" in result.output) == (4, True)


@pytest.mark.parametrize(
    ("administration", "said"),
    [
        ({}, "is of version 1.0, and takes no orders"),
        ({"administration": "/nowhere/at/all.sock"}, "is not here: the daemon is on another host, or in a container"),
    ],
)
def test_a_daemon_that_is_older_or_elsewhere_can_not_be_ordered(
    administration: dict[str, str], said: str, tmp_path: Path
) -> None:
    with one_that_reports(tmp_path, **administration) as endpoint:
        result = CliRunner().invoke(cli, ["reload", "--connect", endpoint])
        assert (result.exit_code, said in result.output) == (1, True), result.output


@contextmanager
def one_that_takes_orders(directory: Path, answers: list[dict[str, Any] | None]) -> Iterator[str]:
    """The path of a socket at which one order after the other is answered so; None: it hangs up, for ever where that is
    the last. What comes when there are no more answers is not answered."""
    path = directory / "orders.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listening:
        listening.bind(str(path))
        listening.listen()
        listening.settimeout(60)

        def hangs_up() -> bool:
            connection, _ = listening.accept()
            with connection:
                while connection.recv(1 << 16):
                    if not answers:
                        continue
                    answer = answers.pop(0)
                    if answer is None:
                        return True
                    connection.send(json.dumps(answer).encode())
            return False

        def obey() -> None:
            while hangs_up():
                if not answers:
                    listening.close()
                    return

        obeying = threading.Thread(target=obey)
        obeying.start()
        yield str(path)
        obeying.join()


@pytest.mark.parametrize(
    ("answers", "arguments", "executed"),
    [
        ([None], ["reload"], "unknown"),
        ([{"error": "the settings are faulty"}], ["reload"], "no"),
        ([{"workers": 1}], ["scale", "read", "3", "--timeout", "0.01"], "yes"),
        ([{"pending": 1}], ["drain", "--timeout", "0.01"], "yes"),
        ([{"pending": 1}, None], ["drain"], "yes"),
        ([{"ended": True, "unfinished": 1}], ["drain", "--timeout", "0.01"], "yes"),
    ],
)
def test_of_an_order_that_failed_a_program_is_told_whether_it_was_executed(
    answers: list[dict[str, Any] | None], arguments: list[str], executed: str, tmp_path: Path
) -> None:
    pools = {"read": {"workers": 1, "workers_wanted": 3}}
    with (
        one_that_takes_orders(tmp_path, answers) as path,
        one_that_reports(tmp_path, administration=path, pools=pools) as endpoint,
    ):
        result = CliRunner().invoke(cli, [*arguments, "--json", "--connect", endpoint])
    assert (result.exit_code, json.loads(result.stdout)["error"]["executed"]) == (1, executed), result.output


@pytest.mark.parametrize(("do", "what"), [("reload", {}), ("log-level", {"level": "debug"})])
def test_of_an_order_that_is_not_answered_in_time_a_program_is_told_that_nobody_knows(
    do: str, what: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a command around it, whose question for the daemon's status would have to be answered in that time."""
    with one_that_takes_orders(tmp_path, []) as path:
        line = orders.Line("ipc:///nowhere", {"administration": path, "epoch": 1, "version": "1.0"}, 0.2, as_json=True)
        with pytest.raises(SystemExit):
            line.order(do, **what)
        line.close()
    error = json.loads(capsys.readouterr().out)["error"]
    assert (error["executed"], "has not answered within 0.2 s" in error["message"]) == ("unknown", True)


def test_who_was_hung_up_on_for_saying_nothing_gives_the_order_again(tmp_path: Path) -> None:
    """As a drain that was stopped on its terminal for a while: the daemon goes on."""
    ended = {"ended": True, "unfinished": 0}
    with one_that_takes_orders(tmp_path, [{"pending": 1}, None, ended]) as path:
        line = orders.Line("ipc:///nowhere", {"administration": path, "epoch": 1, "version": "1.0"}, 60, as_json=True)
        assert line.order("drain") == {"pending": 1}
        assert line.order("drain") == ended
        line.close()


def test_a_daemon_of_another_host_whose_path_leads_to_one_of_this_host_is_not_ordered(
    shared: Daemon, tmp_path: Path
) -> None:
    with one_that_reports(tmp_path, administration=shared.status()["administration"]) as endpoint:
        result = CliRunner().invoke(cli, ["drain", "--connect", endpoint])
        assert (result.exit_code, "the socket of another daemon" in result.output) == (1, True)
    assert shared.status()["draining"] is False


def test_the_log_says_who_orders_what(shared: Daemon) -> None:
    order(shared, "scale", "read", "1")
    shared.log.expect(rf"INFO process {os.getpid()} orders: scale read 1$")


@pytest.mark.parametrize("arguments", [["none", "1"], ["write", "0"], ["write", "257"], ["write"], ["write", "many"]])
def test_a_command_line_that_is_wrong_is_said_before_anybody_is_asked(arguments: list[str]) -> None:
    assert CliRunner().invoke(cli, ["scale", *arguments, "--connect", "ipc:///nowhere"]).exit_code == 2
