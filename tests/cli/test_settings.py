"""Settings: which place wins, and what an error says."""

import math
import time
import typing
from collections.abc import Iterator
from dataclasses import dataclass, field, is_dataclass
from typing import Annotated, NamedTuple

import pytest
import zmq
from annotated_types import Ge, Interval

from broker.actions import ReportWanted, Send
from broker.core import Core
from broker.daemon_settings import Settings
from broker.decoding import from_submitter
from broker.transport.sockets import Transport
from protocol import Client, UtxodError, wire
from supervisor import clock_us
from tests.support.patience import SOON
from utxod.own_daemon import own_daemon
from utxod.settings import OTHER_VARIABLES, SettingsError, describe, load_settings


@dataclass(frozen=True)
class Counts:
    read: int = field(default=1, metadata={"help": "workers that read"})
    write: int = 1


@dataclass(frozen=True)
class Daemon:
    store: str = "null:"
    listen: tuple[str, ...] = ()
    drain_seconds: Annotated[float, Ge(0)] = 10.0
    durable: bool = True
    workers: Counts = field(default_factory=Counts)

    def __post_init__(self):
        if self.workers.write < 1:
            raise ValueError("workers.write: a daemon needs one worker at least")


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "utxod.toml"
    path.write_text('store = "lmdb:///file"\ndrain_seconds = 3\n[workers]\nread = 2\nwrite = 2\n')
    return path


def test_the_later_place_wins_setting_by_setting(file):
    environment = {"UTXOD_WORKERS_WRITE": "3", "UTXOD_STORE": "lmdb:///environment"}
    loaded = load_settings(Daemon, file, environment, {"store": ("lmdb:///flag", "--store")})
    assert loaded == Daemon("lmdb:///flag", (), 3.0, True, Counts(2, 3))


def test_without_any_place_the_defaults_hold():
    assert load_settings(Daemon) == Daemon()


def test_text_becomes_what_the_field_is():
    environment = {"UTXOD_LISTEN": "ipc:///a, tcp://*:1", "UTXOD_DURABLE": "false", "UTXOD_DRAIN_SECONDS": "0.5"}
    assert load_settings(Daemon, environment=environment) == Daemon(
        listen=("ipc:///a", "tcp://*:1"), durable=False, drain_seconds=0.5
    )


@pytest.mark.parametrize("written", ['"ipc:///a"', '["ipc:///a"]'])
def test_a_list_of_one_is_written_as_its_text_in_a_file_too(file, written):
    file.write_text(f"listen = {written}")
    assert load_settings(Daemon, file).listen == ("ipc:///a",)


def test_a_wrong_value_names_its_key_the_value_and_where_it_came_from(file):
    with pytest.raises(SettingsError) as from_environment:
        load_settings(Daemon, file, {"UTXOD_WORKERS_WRITE": "many"})
    assert str(from_environment.value) == (
        "workers.write: must be a valid integer, got 'many' (from UTXOD_WORKERS_WRITE)"
    )
    file.write_text('[workers]\nread = "two"\n')
    with pytest.raises(SettingsError, match=rf"^workers.read: must be .* got 'two' \(from {file}\)$"):
        load_settings(Daemon, file)
    with pytest.raises(SettingsError, match=r"^drain_seconds: .* got 'soon' \(from --set\)$"):
        load_settings(Daemon, flags={"drain_seconds": ("soon", "--set")})


def test_every_wrong_value_is_named_at_once():
    with pytest.raises(SettingsError) as error:
        load_settings(Daemon, environment={"UTXOD_WORKERS_WRITE": "x", "UTXOD_WORKERS_READ": "y"})
    assert len(str(error.value).splitlines()) == 2


def test_a_number_is_in_the_range_that_its_field_names():
    with pytest.raises(
        SettingsError, match=r"^drain_seconds: must be greater than or equal to 0, got '?-1'? \(from --set"
    ):
        load_settings(Daemon, flags={"drain_seconds": ("-1", "--set")})


class Number(NamedTuple):
    key: str
    kind: type
    range: Interval | None


def numbers(cls: type, prefix: str = "") -> Iterator[Number]:
    """Every setting of the dataclass that is a number, with the range that its type names."""
    for name, hint in typing.get_type_hints(cls, include_extras=True).items():
        kind, *metadata = typing.get_args(hint) if typing.get_origin(hint) is Annotated else [hint]
        if is_dataclass(kind):
            yield from numbers(kind, f"{prefix}{name}.")
        elif kind in (int, float):
            yield Number(prefix + name, kind, next((mark for mark in metadata if isinstance(mark, Interval)), None))


NUMBERS = list(numbers(Settings))


def at(end: str, number: Number) -> float:
    return getattr(number.range, end)


@pytest.mark.parametrize("number", NUMBERS, ids=lambda number: number.key)
def test_every_number_is_finite_and_has_a_range_and_the_line_names_the_key(number):
    least, most = at("ge", number), at("le", number)
    assert math.isfinite(least)
    assert math.isfinite(most)
    assert 0 <= least < most
    step = 1 if number.kind is int else math.ulp(most)
    below = least - 1 if number.kind is int else math.nextafter(least, -1)
    for value in (below, most + step, -1, 1e23, 1e-9 - 1, "nan", "inf", "-inf", "1e400", math.nan, math.inf, -math.inf):
        for given in (value, str(value)):
            with pytest.raises(SettingsError, match=rf"^{number.key}: .*\(from --set\)$"):
                load_settings(Settings, flags={number.key: (given, "--set")})


def test_the_ranges_are_of_all_numbers_that_there_are():
    """Also of one whose type was forgotten."""
    listed = {setting.key: setting.range for setting in describe(Settings()) if type(setting.value) in (int, float)}
    assert listed == {number.key: f"{at('ge', number)} to {at('le', number)}" for number in NUMBERS}


class ServedCore:
    """A core behind its transport, and a submitter: no workers, and no turn but in `ask`."""

    def __init__(self, settings, directory, context):
        self.core = Core(settings.broker, 1, clock_us())
        self._sweep_ms = max(1, round(settings.broker.sweep_seconds * 1000))
        endpoint = f"ipc://{directory}/u"
        limit = settings.broker.max_body_bytes
        self.transport = Transport([endpoint], max_body_bytes=limit, reserve=0, clock_us=clock_us)
        self._socket = context.socket(zmq.DEALER)
        self._socket.linger = 0
        self._socket.connect(endpoint)

    def send(self, kind, *frames):
        self._socket.send_multipart([wire.pack_prefix(kind, bytes(16)), *frames])

    def ask(self, kind, answer):
        """The second frame of the first answer of this type; the others are passed over."""
        while True:
            self.send(kind)
            until = time.monotonic() + SOON
            while not self._socket.poll(0):
                assert time.monotonic() < until
                self._turn()
            frames = self._socket.recv_multipart()
            if wire.unpack_prefix(frames[0]).type == answer:
                return frames[1]

    def _turn(self):
        for source in self.transport.poll(self._sweep_ms):
            for submitter, frames, now in self.transport.receive_from_submitters(source):
                self.core.handle(from_submitter(submitter, frames), now)
        self.core.dispatch(clock_us())
        for action in self.core.take_actions():
            match action:
                case Send():
                    assert self.transport.send(action.submitter, action.frames)
                case ReportWanted():
                    report = wire.pack_report(self.core.report(0))
                    for submitter, request_id in action.askers:
                        self.transport.send(submitter, [wire.pack_prefix(wire.REPORT, request_id), report])


@pytest.fixture
def serve(tmp_path):
    context = zmq.Context()
    served = []

    def start(settings):
        served.append(ServedCore(settings, tmp_path, context))
        return served[-1]

    yield start
    context.destroy(linger=0)
    for each in served:
        each.transport.close()


@pytest.mark.parametrize("end", ["ge", "le"])
@pytest.mark.parametrize("number", NUMBERS, ids=lambda number: number.key)
def test_the_ends_of_each_range_serve(number, end, serve):
    """Shaken hands with, asked for a report, and swept: the numbers on the wire, of the sockets and of the ledger."""
    settings = load_settings(Settings, flags={number.key: (at(end, number), "--set")})
    served = serve(settings)
    welcome = wire.unpack_welcome(served.ask(wire.HELLO, wire.WELCOME))
    assert welcome.limits == settings.broker.limits
    deadline = welcome.clock + welcome.limits.max_timeout_us
    header = wire.RequestHeader(1, "get", deadline, 1, 0)
    served.send(wire.REQUEST, wire.pack_request_header(header), wire.pack_body([[bytes(32)]]))
    wire.unpack_report(served.ask(wire.STATUS, wire.REPORT))
    served.core.sweep(clock_us())
    served.core.sweep(clock_us() + 2 * welcome.limits.max_timeout_us)
    assert served.core.pending == 0


@pytest.mark.parametrize("end", ["ge", "le"])
def test_a_daemon_set_to_the_ends_of_all_ranges_starts_and_serves(end):
    """But for the number of its workers, which takes a machine for as many."""
    settings = [
        f"{number.key}={at(end, number)}" for number in NUMBERS if end == "ge" or not number.key.startswith("workers.")
    ]
    arguments = [part for setting in settings for part in ("--set", setting)]
    with own_daemon("null:", arguments) as daemon, Client(daemon.endpoint) as client:
        until = time.monotonic() + 60
        while True:
            try:
                client.get(bytes(32))
                return
            except UtxodError:  # a worker that is to be done within 10 ms may be ended, on a busy machine
                assert time.monotonic() < until


OF_A_SERVICE = {
    "UTXOD_PORT": "tcp://10.0.0.1:5555",
    "UTXOD_SERVICE_HOST": "10.0.0.1",
    "UTXOD_SERVICE_PORT": "5555",
    "UTXOD_SERVICE_PORT_ZMQ": "5555",
    "UTXOD_PORT_5555_TCP": "tcp://10.0.0.1:5555",
    "UTXOD_PORT_5555_TCP_PROTO": "tcp",
    "UTXOD_PORT_5555_TCP_PORT": "5555",
    "UTXOD_PORT_5555_TCP_ADDR": "10.0.0.1",
}


@pytest.mark.parametrize("service", ["UTXOD", "UTXOD_WORKERS", "UTXOD_STORE", "UTXOD_LISTEN", "UTXOD_BROKER"])
def test_variables_of_a_service_of_our_name_are_told_and_stop_nothing(service):
    environment = {name.replace("UTXOD", service, 1): value for name, value in OF_A_SERVICE.items()}
    warned = []
    loaded = load_settings(Settings, environment=environment, warn=warned.append)
    assert loaded == load_settings(Settings)
    (line,) = warned
    assert all(name in line for name in environment)
    load_settings(Settings, environment={"PATH": "/bin", "UTXOD_STORE": "null:"}, warn=pytest.fail)


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [
        ("UTXOD_STOER", "UTXOD_STORE"),
        ("UTXOD_STROE", "UTXOD_STORE"),
        ("UTXOD_WORKERS_WIRTE", "UTXOD_WORKERS_WRITE"),
        ("UTXOD_WORKER_READ", "UTXOD_WORKERS_READ"),
        ("UTXOD_LISTENS", "UTXOD_LISTEN"),
        ("UTXOD_QUEUE_BYTES", "UTXOD_BROKER_QUEUE_BYTES"),
        ("UTXOD_RETENTION", "UTXOD_BLOCK_HEIGHT_RETENTION"),
        ("UTXOD_DRAIN_SECOND", "UTXOD_DRAIN_SECONDS"),
        ("UTXOD_CONFG", "UTXOD_CONFIG"),
    ],
)
def test_a_variable_that_nearly_is_a_setting_is_an_error(wrong, meant):
    with pytest.raises(SettingsError, match=rf"^{wrong}: no such setting; did you mean {meant}\?"):
        load_settings(Settings, environment={wrong: "1"}, warn=pytest.fail)


def test_no_variable_of_a_service_is_one_of_ours():
    ours = {setting.variable for setting in describe(Settings())} | OTHER_VARIABLES
    for name in ours:
        assert not ours & {of.replace("UTXOD", name, 1) for of in OF_A_SERVICE}


def test_a_boolean_is_no_number(file):
    file.write_text("drain_seconds = true\n[workers]\nwrite = false\n")
    with pytest.raises(SettingsError) as error:
        load_settings(Daemon, file)
    assert str(error.value).splitlines() == [
        f"drain_seconds: must be a number, got True (from {file})",
        f"workers.write: must be a number, got False (from {file})",
    ]


def test_a_rule_of_the_settings_own_is_named_with_its_place():
    with pytest.raises(SettingsError) as error:
        load_settings(Daemon, environment={"UTXOD_WORKERS_WRITE": "0"})
    assert "a daemon needs one worker at least" in str(error.value)
    assert "UTXOD_WORKERS_WRITE" in str(error.value)


def test_an_unknown_key_is_an_error_that_suggests_the_nearest(file):
    file.write_text("[workers]\nwriter = 2\n")
    with pytest.raises(SettingsError, match=r"workers.writer: no such setting; did you mean workers.write\?"):
        load_settings(Daemon, file)
    with pytest.raises(SettingsError, match=r"UTXOD_STOER: no such setting; did you mean UTXOD_STORE\?"):
        load_settings(Daemon, environment={"UTXOD_STOER": "x", "PATH": "/bin"})
    with pytest.raises(SettingsError, match=r"stroe: no such setting; did you mean store\? \(from --set\)"):
        load_settings(Daemon, flags={"stroe": ("x", "--set")})


def test_a_file_that_is_no_toml_or_is_not_there_is_named(file, tmp_path):
    file.write_text("store = ")
    with pytest.raises(SettingsError, match=str(file)):
        load_settings(Daemon, file)
    with pytest.raises(SettingsError, match=r"absent\.toml: No such file"):
        load_settings(Daemon, tmp_path / "absent.toml")


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        (f"drain_seconds = {'9' * 5000}", "a number in it has thousands of digits"),
        ("listen = " + "[" * 3000, "lists or tables are nested too deeply in it"),
    ],
)
def test_a_file_that_the_parser_can_not_take_is_named(file, text, wrong):
    file.write_text(text)
    with pytest.raises(SettingsError) as refused:
        load_settings(Daemon, file)
    assert str(refused.value) == f"{file}: {wrong}"


@pytest.mark.parametrize("text", ['store = "lmdb:///a\\u0000b"', 'listen = ["ipc:///a", "ipc:///a\\u0000b"]'])
def test_a_zero_byte_is_in_no_path_or_address(file, text):
    file.write_text(text)
    with pytest.raises(SettingsError, match=r"^(store|listen): has a zero byte in it, got .*x00b"):
        load_settings(Daemon, file)


def test_a_value_of_any_length_is_named_by_its_beginning():
    with pytest.raises(SettingsError) as refused:
        load_settings(Daemon, environment={"UTXOD_WORKERS_READ": "9" * 5000})
    assert len(str(refused.value)) < 400


def test_every_setting_can_be_listed_with_its_key_variable_and_meaning():
    listed = {setting.key: setting for setting in describe(Daemon())}
    assert list(listed) == ["store", "listen", "drain_seconds", "durable", "workers.read", "workers.write"]
    assert listed["workers.read"].variable == "UTXOD_WORKERS_READ"
    assert listed["workers.read"].help == "workers that read"


def test_a_setting_with_a_range_says_its_unit_and_the_reason():
    listed = [setting for setting in describe(Settings()) if setting.range]
    assert listed
    assert [setting.key for setting in listed if not (setting.unit and setting.reason)] == []


def test_the_settings_that_a_reload_changes_are_these():
    keys = {setting.key for setting in describe(Settings()) if setting.live}
    assert keys == {
        *("workers.read", "workers.write", "workers.children"),
        *("log.level", "log.format", "drain_seconds", "block_height_retention"),
        *("broker.batch_limit", "broker.queue_items", "broker.queue_bytes", "broker.owed_items"),
        *("broker.budget_seconds", "broker.grace_seconds", "broker.workerless_seconds", "broker.probe_seconds"),
    }
