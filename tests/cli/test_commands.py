"""The command line as a person meets it: help, errors, status, get, and the whole of the demo."""

import json
import os
import signal
import subprocess
import sys

import psutil
import pytest
from click.testing import CliRunner

import utxod.endpoint
from protocol import Client
from utxod.commands import cli
from utxod.daemon import DaemonError, own_daemon
from utxod.demo import first_transactions
from utxod.house import ROOT


def run(*arguments, **environment):
    return CliRunner().invoke(cli, list(arguments), env=environment)


def started(*arguments, **options):
    return subprocess.Popen(
        [sys.executable, "-m", "utxod", *arguments],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


@pytest.fixture(scope="module")
def daemon():
    with own_daemon(arguments=["--workers", "1"]) as daemon:
        yield daemon


@pytest.mark.parametrize("command", [[], ["serve"], ["demo"], ["replay"], ["status"], ["get"]], ids=" ".join)
def test_help_says_what_each_command_does_and_explains_every_option(command):
    result = run(*command, "--help")
    assert result.exit_code == 0
    node = cli.commands[command[0]] if command else cli
    assert node.help.split(".")[0].split("\n")[0][:30] in " ".join(result.output.split())
    assert all(parameter.help for parameter in node.params if parameter.param_type_name == "option")


def test_version_is_the_distributions():
    result = run("--version")
    assert result.exit_code == 0
    assert result.output.startswith("utxod, version ")


def test_status_shows_the_pools_and_is_json_where_that_is_asked_for(daemon):
    text = run("status", "--connect", daemon.endpoint)
    assert text.exit_code == 0
    assert all(pool in text.output for pool in ("read", "write", "children"))
    report = json.loads(run("status", "--connect", daemon.endpoint, "--json").output)
    assert report["pid"] == daemon.pid
    assert report["version"] == utxod.__version__
    assert set(report["pools"]) == {"read", "write", "children"}


def test_get_shows_a_record_by_the_txid_that_explorers_show(daemon):
    _, coinbase = first_transactions()[0]
    with Client(daemon.endpoint) as client:
        client.create(coinbase.raw, block_height=9)
    txid = "0437cd7f8525ceed2324359c2d0ba26006d92d856a9c20fa0241106ee5a597c9"
    record = json.loads(run("get", txid, "--connect", daemon.endpoint, "--json").output)
    assert record["txID"] == txid
    assert record["isCoinbase"] is True
    assert txid in run("get", txid, UTXOD_CONNECT=daemon.endpoint).output
    absent = run("get", "00" * 32, "--connect", daemon.endpoint)
    assert absent.exit_code == 1
    assert "TX_NOT_FOUND" in absent.output


def test_a_txid_that_is_none_is_refused_before_anything_is_asked():
    for text in ("00", "zz" * 32, "00" * 33):
        result = run("get", text)
        assert result.exit_code == 2
        assert "64 hexadecimal digits" in result.output


def test_where_no_daemon_answers_the_message_says_what_to_do(tmp_path):
    result = run("status", "--connect", f"ipc://{tmp_path}/nobody.sock", "--timeout", "0.1")
    assert result.exit_code == 1
    assert "utxod serve" in result.output
    assert "--connect" in result.output


def test_serve_names_the_setting_that_is_wrong():
    result = run("serve", "--set", "workers.write=many")
    assert result.exit_code == 1
    assert "workers.write: must be a valid integer, got 'many' (from --set)" in result.output
    assert "did you mean workers.write?" in run("serve", "--set", "workers.writer=1").output
    assert "did you mean UTXOD_STORE?" in run("serve", UTXOD_STOER="x").output


def test_serve_lists_every_setting_with_its_value():
    output = run("serve", "--set", "workers.write=7", "--show-settings").output
    assert "workers.write" in output
    assert " 7 " in output


def test_to_list_the_settings_makes_nothing(tmp_path):
    assert run("serve", "--listen", f"ipc://{tmp_path}/new/u.sock", "--show-settings").exit_code == 0
    assert not (tmp_path / "new").exists()


def test_an_address_that_is_none_is_said_in_one_line():
    for command in (["status"], ["get", "00" * 32]):
        result = run(*command, "--connect", "garbage")
        assert result.exit_code == 1
        assert result.output == "Error: garbage: Invalid argument; wanted ipc:///PATH or tcp://HOST:PORT\n"


def test_a_daemon_that_cannot_start_says_why():
    with pytest.raises(DaemonError, match="unknown scheme 'mongo'"), own_daemon("mongo://x"):
        pass


def test_a_daemon_of_ones_own_leaves_nothing_behind():
    with own_daemon("null:") as daemon:
        processes = [psutil.Process(daemon.pid), *psutil.Process(daemon.pid).children()]
        assert daemon.directory.exists()
        assert len(processes) == 4
    assert not any(process.is_running() for process in processes)
    assert not daemon.directory.exists()


def test_the_default_endpoint_is_its_owners_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    endpoint = utxod.endpoint.default_endpoint()
    assert endpoint == f"ipc://{tmp_path}/utxod/utxod.sock"
    utxod.endpoint.prepare(endpoint)
    assert (tmp_path / "utxod").stat().st_mode & 0o777 == 0o700
    (tmp_path / "utxod").chmod(0o755)
    with pytest.raises(ValueError, match="not yours alone"):
        utxod.endpoint.prepare(endpoint)
    with pytest.raises(ValueError, match="107 bytes"):
        utxod.endpoint.prepare(f"ipc:///tmp/{'x' * 120}")


def test_the_demo_ends_with_a_balance_in_which_all_of_it_holds():
    result = run("demo", "--transactions", "1000")
    assert result.exit_code == 0, result.output
    for part in ("refused: SPENT", "SIGKILL", "lost          0", "spent twice   0", "unanswered 0", "all of it holds"):
        assert part in result.output


def test_ctrl_c_ends_the_demo_and_its_daemon():
    demo = started("demo")
    for line in demo.stdout:
        if line.strip().startswith("3"):
            break
    processes = psutil.Process(demo.pid).children(recursive=True)
    demo.send_signal(signal.SIGINT)
    _, errors = demo.communicate(timeout=20)
    assert demo.returncode == 130
    assert "Traceback" not in errors
    assert processes
    assert psutil.wait_procs(processes, timeout=5)[1] == []
