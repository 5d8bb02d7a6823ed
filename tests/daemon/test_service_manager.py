"""P14: what a service manager is told is true: ready when it serves, ending when it ends, and alive only while its loop
goes round. One that minds the watchdog restarts a daemon that stands still, and its clients go on."""

import contextlib
import itertools
import os
import secrets
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from broker.service_manager import ServiceManager
from tests.support.aerospike_server import EMBEDDED_ONLY
from tests.support.callers import HEIGHT, OUTPUT, txid
from tests.support.daemon import Daemon, End, Start
from tests.support.interpreter import Interpreter
from tests.support.patience import SOON, until
from tests.support.service_manager import Minder, Notices
from tests.support.seven_operations import NOTHING_ENDS_IT

WATCHDOG_SECONDS = 3.0
# Where it is minded: a busy machine may keep a daemon waiting for longer.
MINDED_SECONDS = 6.0


# A daemon tells either kind the same.
AT_A_PATH = pytest.mark.parametrize("notices", ["path"], indirect=True)


@pytest.fixture(params=["path", "abstract"])
def notices(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Notices]:
    place = str(tmp_path / "notify") if request.param == "path" else f"@utxod-test-{secrets.token_hex(8)}"
    notices = Notices(place)
    yield notices
    notices.close()


@pytest.fixture
def manager(notices: Notices) -> Iterator[Callable[..., ServiceManager]]:
    """What a daemon of this process would have."""
    made: list[ServiceManager] = []

    def _manager(**environment: str) -> ServiceManager:
        made.append(ServiceManager(environment))
        return made[-1]

    yield _manager
    for manager in made:
        manager.close()


@pytest.fixture
def serve(start: Start, notices: Notices, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Daemon]:
    """Starts a daemon that has this manager."""

    def _serve(*arguments: object, watchdog_seconds: float = 0, **options: object) -> Daemon:
        for name, value in notices.environment(watchdog_seconds).items():
            monkeypatch.setenv(name, value)
        return start(*arguments, **options)

    return _serve


@EMBEDDED_ONLY
@AT_A_PATH
def test_it_is_ready_when_it_serves_and_not_before(
    serve: Callable[..., Daemon], notices: Notices, interpreter: Interpreter, tmp_path: Path
) -> None:
    interpreter.hold_workers(tmp_path / "go")
    daemon = serve()  # which answers for its status
    daemon.log.expect("started write worker", within=60)
    assert notices.passed_over() == []
    (tmp_path / "go").touch()
    assert notices.expect("READY") == {"READY": "1", "STATUS": f"serving at {daemon.endpoint}"}
    with daemon.client() as client:
        assert client.create_partial(txid(1), OUTPUT, block_height=HEIGHT)["records"] == 1


@EMBEDDED_ONLY
@AT_A_PATH
def test_one_that_cannot_start_is_never_ready(serve: Callable[..., Daemon], notices: Notices, tmp_path: Path) -> None:
    (tmp_path / "store").write_text("no directory")
    daemon = serve(ready=False)
    assert daemon.process.wait(60) == 1
    assert notices.passed_over() == []


@EMBEDDED_ONLY
@AT_A_PATH
def test_that_it_ends_is_told_before_it_has_drained(serve: Callable[..., Daemon], notices: Notices) -> None:
    daemon = serve({"drain_seconds": 120, **NOTHING_ENDS_IT})
    notices.expect("READY")
    daemon.wait_for_workers()
    daemon.faults.set(kind="hang")
    with daemon.client() as client:
        promise = client.submit(client.create_partial, txid(1), OUTPUT, block_height=HEIGHT)
        daemon.wait_until_in_flight(1)
        daemon.signal(signal.SIGTERM)
        told = notices.expect("STOPPING")
        assert told["STATUS"] == "draining 1 pending requests, within 120 s"
        assert int(told["EXTEND_TIMEOUT_USEC"]) > 120_000_000
        assert daemon.status()["draining"]
        daemon.faults.clear()
        assert promise.result(30)["records"] == 1
    assert daemon.process.wait(30) == 0


@EMBEDDED_ONLY
@AT_A_PATH
def test_the_watchdog_is_fed_while_the_loop_goes_round_and_only_then(
    serve: Callable[..., Daemon], notices: Notices
) -> None:
    daemon = serve(watchdog_seconds=WATCHDOG_SECONDS)
    for _ in range(5):
        notices.expect("WATCHDOG", within=30)
    with daemon.stopped():
        notices.passed_over()
        assert notices.next(WATCHDOG_SECONDS) == {}
    notices.expect("WATCHDOG", within=30)


@EMBEDDED_ONLY
@AT_A_PATH
def test_neither_workers_nor_what_they_start_take_themselves_for_the_service(
    serve: Callable[..., Daemon], notices: Notices
) -> None:
    daemon = serve(watchdog_seconds=60)
    notices.expect("READY")
    for worker in daemon.wait_for_workers()["processes"]:
        environment = Path(f"/proc/{worker['pid']}/environ").read_bytes()
        assert not {b"NOTIFY_SOCKET", b"WATCHDOG_USEC"} & {line.partition(b"=")[0] for line in environment.split(b"\0")}


@EMBEDDED_ONLY
@AT_A_PATH
def test_a_daemon_that_stands_still_is_restarted_by_who_minds_the_watchdog_and_its_clients_go_on(
    serve: Callable[..., Daemon], notices: Notices
) -> None:
    def run() -> Daemon:
        return serve({"metrics": "127.0.0.1:0"}, watchdog_seconds=MINDED_SECONDS, ready=False)

    with Minder(notices, MINDED_SECONDS, run) as minder:
        first = minder.lives[0]
        first.wait_until_it_serves()
        first.wait_for_workers()
        first.log.expect("started figures", within=60)
        assert minder.is_ready.wait(60)
        ends = [End(pid) for pid in first.started()]
        with first.client() as client:
            assert client.create_partial(txid(1), OUTPUT, block_height=HEIGHT)["records"] == 1
            first.signal(signal.SIGSTOP)
            call = client.retry(client.create_partial, txid(2), OUTPUT, block_height=HEIGHT, within=120)
            assert call["records"] == 1
            assert client.get(txid(1), ["totalUtxos"]) == {"totalUtxos": 1}
        assert all(end.wait(SOON) for end in ends)
        assert first.process.wait(SOON) == -signal.SIGKILL
        first.log.close()
        until(lambda: len(minder.lives) > 1)
        assert len(list((first.directory / "state").glob("admin-*.sock"))) == 1


# ---- the protocol, without a daemon


def test_a_reload_begins_and_ends(manager: Callable[..., ServiceManager], notices: Notices) -> None:
    service_manager = manager(**notices.environment())
    service_manager.reloading()  # nothing: it does not serve yet
    service_manager.ready("serving")
    assert notices.next(10) == {"READY": "1", "STATUS": "serving"}
    service_manager.reloading()
    service_manager.reloaded()
    begun = notices.next(10)
    assert (begun["RELOADING"], begun["MONOTONIC_USEC"].isdecimal()) == ("1", True)
    assert notices.next(10) == {"READY": "1", "STATUS": "serving"}
    service_manager.reloading()
    service_manager.stopping("draining", 1.0)
    service_manager.reloaded()
    told = notices.passed_over()
    assert ("STOPPING" in told[-1], "READY" in told[-1]) == (True, False)


def test_it_is_fed_at_less_than_half_of_the_time_that_it_is_given(
    manager: Callable[..., ServiceManager], notices: Notices
) -> None:
    service_manager = manager(**notices.environment(10, str(os.getpid())))
    fed = []
    for sweep in range(400):
        service_manager.swept(100 + sweep / 20)
        fed += [sweep / 20 for _ in notices.passed_over()]
    assert 4 <= len(fed) <= 10
    assert max(later - earlier for earlier, later in itertools.pairwise(fed)) < 5


@pytest.mark.parametrize(
    ("watchdog", "sweep", "made"),
    [(30.0, 0.05, 0.05), (30.0, 1.0, 1.0), (2.0, 1.0, 0.5), (0.1, 0.05, 0.025), (1e-6, 1.0, 0.001), (0, 1.0, 1.0)],
)
def test_sweeps_come_as_often_as_the_watchdog_wants_to_be_fed(
    manager: Callable[..., ServiceManager], notices: Notices, watchdog: float, sweep: float, made: float
) -> None:
    assert manager(**notices.environment(watchdog)).sweep_seconds(sweep) == made


@pytest.mark.parametrize(
    "environment", [{}, {"WATCHDOG_USEC": ""}, {"WATCHDOG_USEC": "soon"}, {"WATCHDOG_USEC": "9", "WATCHDOG_PID": "1"}]
)
def test_without_a_watchdog_of_its_own_it_is_not_fed(
    manager: Callable[..., ServiceManager], notices: Notices, environment: dict[str, str]
) -> None:
    manager(**notices.environment(), **environment).swept(1.0)
    assert notices.passed_over() == []


def test_what_a_manager_put_into_the_environment_is_taken_out(notices: Notices) -> None:
    environment = {**notices.environment(1, "1"), "ELSE": "stays"}
    ServiceManager(environment).close()
    assert environment == {"ELSE": "stays"}


@pytest.mark.parametrize("place", ["", "nonsense", "vsock:2:1234", "/nowhere/at/all", "/" + "x" * 200, "@", "@nobody"])
def test_without_a_manager_nothing_happens(manager: Callable[..., ServiceManager], place: str) -> None:
    service_manager = manager(NOTIFY_SOCKET=place, WATCHDOG_USEC="1000000")
    service_manager.ready("serving \udcff")
    service_manager.swept(1.0)
    service_manager.stopping("ending", 0)


def fill(place: str) -> None:
    """Its queue takes no more."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                sender.sendto(b"FILL=1", place.replace("@", "\0", 1))


def test_what_a_manager_that_does_not_read_can_not_take_is_sent_once_it_can(
    manager: Callable[..., ServiceManager], notices: Notices
) -> None:
    service_manager = manager(**notices.environment(0.001))
    fill(notices.place)
    service_manager.swept(1.0)
    service_manager.ready("serving")
    service_manager.stopping("ending", 1)
    notices.passed_over()
    service_manager.swept(1.1)
    assert [sorted(notice) for notice in notices.passed_over()] == [
        ["READY", "STATUS"],
        ["EXTEND_TIMEOUT_USEC", "STATUS", "STOPPING"],
        ["WATCHDOG"],
    ]


@pytest.mark.parametrize("digits", [400, 5000])
def test_a_watchdog_of_more_time_than_there_is_ends_nobody(
    manager: Callable[..., ServiceManager], notices: Notices, digits: int
) -> None:
    manager(**notices.environment(), WATCHDOG_USEC="9" * digits).swept(1.0)
    assert notices.passed_over() == [{"WATCHDOG": "1"}]


def test_of_what_a_manager_that_was_away_for_long_has_missed_it_is_told_how_things_are(
    manager: Callable[..., ServiceManager], tmp_path: Path
) -> None:
    place = str(tmp_path / "late")
    service_manager = manager(NOTIFY_SOCKET=place)
    service_manager.ready("serving")
    for _ in range(1000):
        service_manager.reloading()
        service_manager.reloaded()
    late = Notices(place)
    service_manager.swept(1.0)
    told = late.passed_over()
    assert len(told) < 10
    assert told[-1] == {"READY": "1", "STATUS": "serving"}
    late.close()
