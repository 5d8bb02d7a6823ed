"""The command line as a person meets it: help, errors, status, get, and the whole of the demo."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import uuid

import psutil
import pytest
from click.testing import CliRunner

import utxod.endpoint_checks
from protocol import Client
from utxod.commands import cli
from utxod.demo import first_transactions
from utxod.import_guard import ROOT
from utxod.own_daemon import DaemonError, own_daemon


def run(*arguments, **environment):
    return CliRunner().invoke(cli, list(arguments), env=environment)


def started(*arguments, environment=None, **options):
    return subprocess.Popen(
        [sys.executable, "-m", "utxod", *arguments],
        env=os.environ | {"PYTHONPATH": str(ROOT)} | (environment or {}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def asked(daemon, *arguments):
    return run(*arguments, "--connect", daemon.endpoint, "--timeout", "30")


@pytest.fixture(scope="module")
def daemon():
    with own_daemon(arguments=["--workers", "1"]) as daemon:
        yield daemon


@pytest.mark.parametrize("command", [[], *([name] for name in sorted(cli.commands))], ids=" ".join)
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
    text = asked(daemon, "status")
    assert text.exit_code == 0
    assert all(pool in text.output for pool in ("read", "write", "children"))
    report = json.loads(asked(daemon, "status", "--json").output)
    assert report["epoch"] in text.output
    assert len(bytes.fromhex(report["epoch"])) == 8
    assert report["pid"] == daemon.pid
    assert report["version"] == utxod.__version__
    assert set(report["pools"]) == {"read", "write", "children"}


def test_get_shows_a_record_by_the_txid_that_explorers_show(daemon):
    _, coinbase = first_transactions()[0]
    with Client(daemon.endpoint, timeout=30) as client:
        client.create(coinbase.raw, block_height=9)
    txid = "0437cd7f8525ceed2324359c2d0ba26006d92d856a9c20fa0241106ee5a597c9"
    record = json.loads(asked(daemon, "get", txid, "--json").output)
    assert record["txID"] == txid
    assert record["isCoinbase"] is True
    assert txid in run("get", txid, "--timeout", "30", UTXOD_CONNECT=daemon.endpoint).output
    absent = asked(daemon, "get", "00" * 32)
    assert (absent.exit_code, absent.stdout) == (3, "")
    assert "TX_NOT_FOUND" in absent.stderr


def integers(value):
    if isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from integers(inner)
    elif isinstance(value, int):
        yield value


def test_no_integer_in_json_is_beyond_what_every_reader_keeps_exact(daemon):
    """That is 2^53: a JavaScript's numbers, and jq's."""
    txid = (b"\x0e" * 32).hex()
    with Client(daemon.endpoint, timeout=30) as client:
        outputs = {vout: (21 * 10**14 // 2, bytes([vout])) for vout in range(2)}
        client.create_partial(bytes.fromhex(txid), outputs, block_height=(1 << 32) - 1, locked=True)
    for command in (["status"], ["get", txid], ["show", txid], ["coin", f"{txid}:0"]):
        shown = json.loads(asked(daemon, *command, "--json").output)
        assert max(integers(shown)) < 1 << 53


def test_json_has_an_error_where_there_is_nothing_to_show(daemon, tmp_path):
    absent = asked(daemon, "get", "00" * 32, "--json")
    assert absent.exit_code == 3
    error = json.loads(absent.stdout)["error"]
    assert (error["code"], error["executed"]) == ("TX_NOT_FOUND", "no")
    assert error["message"] in absent.stderr
    socket.socket(socket.AF_UNIX).bind(str(tmp_path / "left"))  # of a daemon that was killed
    for command in (["status"], ["get", "00" * 32], ["show", "00" * 32], ["coin", f"{'00' * 32}:0"]):
        for name in ("nobody", "left"):
            nobody = run(*command, "--json", "--timeout", "0.1", "--connect", f"ipc://{tmp_path}/{name}")
            assert nobody.exit_code == 4
            assert json.loads(nobody.stdout)["error"]["code"] == "NO_ANSWER"
        assert "exit code is 0" in run(command[0], "--help").output
        assert " 4 " in run(command[0], "--help").output
    assert all(" 3 " in run(command, "--help").output for command in ("get", "show", "coin"))


def test_a_replay_with_nothing_to_feed_is_an_error_in_json_too(tmp_path):
    junk = tmp_path / "block.bin"
    junk.write_bytes(b"hello" * 100)
    result = run("replay", "--json", str(junk))
    message = json.loads(result.stdout)["error"]["message"]
    assert message.startswith("there is no block to feed")
    assert str(junk) in message
    assert (result.exit_code, result.stderr) == (1, f"Error: {message}\n")


def test_help_says_what_kind_of_json_a_command_gives():
    kinds = {"status": "object", "get": "object", "replay": "object", "doctor": "list"}
    for command, kind in (kinds | {"coin": "object", "show": "object"}).items():
        text = " ".join(run(command, "--help").output.split())
        assert f"JSON {kind} in place of text" in text
    assert isinstance(json.loads(run("doctor", "--json", "--store", "null:").stdout), list)


def test_a_txid_that_is_none_is_refused_before_anything_is_asked():
    for text in ("00", "zz" * 32, "00" * 33, "00" * 32 + " ", ""):
        for command in (["get", text], ["show", text], ["coin", f"{text}:0"], ["leftovers", text]):
            result = run(*command)
            assert result.exit_code == 2
            assert "64 hexadecimal digits" in result.output


def test_where_no_daemon_answers_the_message_says_what_to_do(tmp_path):
    result = run("status", "--connect", f"ipc://{tmp_path}/nobody.sock", "--timeout", "0.1")
    assert result.exit_code == 4
    assert "utxod serve" in result.output
    assert "--connect" in result.output


def test_where_a_name_can_not_be_looked_up_that_is_said(tmp_path):
    block = tmp_path / "block.bin"
    block.write_bytes(b"")
    impatient = {"RES_OPTIONS": "timeout:1 attempts:1"}  # with a name server that says nothing
    asked = [
        started(*command, "--json", "--connect", "tcp://nosuch.invalid:5555", environment=impatient)
        for command in (["status"], ["get", "00" * 32], ["replay", str(block)])
    ]
    for process in asked:
        stdout, stderr = process.communicate(timeout=60)
        assert process.returncode == 4
        message = json.loads(stdout)["error"]["message"]
        assert message.startswith("no daemon answers at tcp://nosuch.invalid:5555: start one")
        assert "nosuch.invalid can't be looked up" in message
        assert len(stderr.splitlines()) == 1


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

    empty = run("status", "--connect", "")
    assert (empty.exit_code, empty.output) == (
        1,
        "Error: the address is empty; wanted ipc:///PATH or tcp://HOST:PORT\n",
    )


@pytest.mark.parametrize("bytes_too_many", [1, 200])
def test_a_name_too_long_for_a_socket_is_said_in_one_line(bytes_too_many):
    endpoint = f"ipc:///tmp/{'x' * (107 - len('/tmp/') + bytes_too_many)}"
    for command in (["status", "--connect"], ["get", "00" * 32, "--connect"], ["serve", "--store=null:", "--listen"]):
        result = run(*command, endpoint)
        assert result.exit_code == 1
        assert result.output == f"Error: {endpoint}: longer than the 107 bytes a Unix socket's path can have\n"


def test_an_abstract_name_is_asked_though_it_has_no_file():
    name = f"utxod-{uuid.uuid4()}"
    with own_daemon("null:", ["--listen", f"ipc://@{name}"]):
        result = run("status", "--connect", f"ipc://@{name}", "--json", "--timeout", "30")
        assert json.loads(result.output)["listen"][1] == f"ipc://@{name}"
    nobody = run("status", "--connect", f"ipc://@{name}", "--timeout", "0.1")
    assert nobody.exit_code == 4
    assert nobody.output.startswith(f"Error: no daemon answers at ipc://@{name}")


@pytest.mark.parametrize("seconds", ["nan", "inf", "1e14", "1e300", "0", "-1"])
def test_a_timeout_that_is_none_is_a_wrong_use(seconds):
    result = run("status", "--timeout", seconds)
    assert result.exit_code == 2
    assert "--timeout" in result.output


def test_an_empty_variable_is_as_none(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    result = run("status", UTXOD_CONNECT="")
    assert (result.exit_code, f"ipc://{tmp_path}/utxod/utxod.sock" in result.output) == (4, True)
    plain = run("serve", "--show-settings")
    for name in ("WORKERS_WRITE", "STORE", "LISTEN", "CONFIG", "BROKER_BUDGET_SECONDS", "STOER"):
        empty = run("serve", "--show-settings", **{f"UTXOD_{name}": ""})
        assert (empty.exit_code, empty.output) == (0, plain.output)


@pytest.mark.parametrize(
    ("store", "wrong"),
    [
        ("mongo://x", "unknown scheme 'mongo'"),
        ("lmdb:///set?sink=1", "unknown option sink"),
        ("lmdb:///set?map_size=1e30", "map_size=1e30: is no number"),
        ("aerospike://one", "needs hosts and a namespace"),
    ],
)
def test_a_store_that_is_none_is_said_once_before_anything_is_started_or_made(store, wrong, tmp_path):
    serve = started("serve", "--store", store, "--listen", f"ipc://{tmp_path}/new/u.sock")
    _, errors = serve.communicate(timeout=60)
    assert serve.returncode == 1
    assert errors.count("\n") == errors.count(wrong) == 1
    assert list(tmp_path.iterdir()) == []


def test_variables_of_a_service_are_warned_of_once_and_the_daemon_starts(tmp_path):
    environment = {"UTXOD_PORT": "tcp://10.0.0.1:5555", "UTXOD_SERVICE_HOST": "10.0.0.1", "UTXOD_ODDITY": "1"}
    serve = started("serve", "--store", "null:", "--listen", f"ipc://{tmp_path}/u.sock", environment=environment)
    lines = []
    for line in serve.stderr:
        lines.append(line)
        if "serving at" in line:
            break
    serve.terminate()
    serve.communicate(timeout=60)
    assert serve.returncode == 0
    assert lines[0].endswith(
        " WARNING no settings, and left alone: UTXOD_ODDITY, UTXOD_PORT, UTXOD_SERVICE_HOST (from the environment)\n"
    )
    assert "UTXOD_" not in "".join(lines[1:])


def test_what_looks_like_a_style_or_a_picture_in_an_address_is_shown_as_it_is():
    output = run("serve", "--show-settings", "--listen", "tcp://[fe80::a:1]:5555").output
    assert "tcp://[fe80::a:1]:5555" in output


def test_what_a_terminal_would_obey_is_left_out_of_what_is_shown():
    assert "ipc:///a[2Jb" in run("serve", "--show-settings", "--listen", "ipc:///a\x1b\x07\x9b[2Jb").output
    assert "ipc:///a[2Jb" in run("status", "--connect", "ipc:///a\x1b\x07\x9b[2Jb").output


def test_a_daemon_that_cannot_start_says_why():
    with pytest.raises(DaemonError, match="unknown scheme 'mongo'"), own_daemon("mongo://x"):
        pass


def test_a_daemon_of_ones_own_leaves_nothing_behind():
    with own_daemon("null:") as daemon:
        processes = [psutil.Process(daemon.pid), *psutil.Process(daemon.pid).children()]
        assert daemon.directory.exists()
        assert len(processes) == 5  # three workers, the recorder
    assert psutil.wait_procs(processes, timeout=60)[1] == []
    assert not daemon.directory.exists()


def test_the_default_endpoint_is_its_owners_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    endpoint = utxod.endpoint_checks.default_endpoint()
    assert endpoint == f"ipc://{tmp_path}/utxod/utxod.sock"
    utxod.endpoint_checks.prepare(endpoint)
    assert (tmp_path / "utxod").stat().st_mode & 0o777 == 0o700
    (tmp_path / "utxod").chmod(0o755)
    with pytest.raises(ValueError, match="not yours alone"):
        utxod.endpoint_checks.prepare(endpoint)
    with pytest.raises(ValueError, match="107 bytes"):
        utxod.endpoint_checks.prepare(f"ipc:///tmp/{'x' * 120}")
    with pytest.raises(ValueError, match="a port is at most 65535"):
        utxod.endpoint_checks.prepare(f"tcp://127.0.0.1:{'9' * 5000}")


def test_the_demo_ends_with_a_balance_in_which_all_of_it_holds():
    result = run("demo", "--transactions", "1000")
    assert result.exit_code == 0, result.output
    for part in ("refused: SPENT", "SIGKILL", "lost          0", "spent twice   0", "unanswered 0", "all of it holds"):
        assert part in result.output
    assert re.search(r"faults: .*\bWORKER_CRASHED", result.output)  # beside those of a busy machine


def test_ctrl_c_ends_the_demo_and_its_daemon():
    demo = started("demo", "--transactions", "50000")  # more than are paid meanwhile
    for line in demo.stdout:
        if line.strip().startswith("3"):
            break
    processes = psutil.Process(demo.pid).children(recursive=True)
    demo.send_signal(signal.SIGINT)
    _, errors = demo.communicate(timeout=60)
    assert demo.returncode == 130
    assert "Traceback" not in errors
    assert processes
    assert psutil.wait_procs(processes, timeout=60)[1] == []
