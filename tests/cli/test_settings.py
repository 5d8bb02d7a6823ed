"""Settings: which place wins, and what an error says."""

from dataclasses import dataclass, field
from typing import Annotated

import pytest
from annotated_types import Ge

import supervisor
from utxod.settings import SettingsError, describe, load_settings


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


@pytest.mark.parametrize("key", ["workers.write", "broker.sweep_seconds", "broker.batch_limit"])
def test_the_daemon_can_not_be_set_to_nothing(key):
    with pytest.raises(SettingsError, match=rf"^{key}: must be greater than 0"):
        load_settings(supervisor.Settings, flags={key: ("0", "--set")})


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


def test_every_setting_can_be_listed_with_its_key_variable_and_meaning():
    listed = {setting.key: setting for setting in describe(Daemon())}
    assert list(listed) == ["store", "listen", "drain_seconds", "durable", "workers.read", "workers.write"]
    assert listed["workers.read"].variable == "UTXOD_WORKERS_READ"
    assert listed["workers.read"].help == "workers that read"
