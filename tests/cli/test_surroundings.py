"""What a command says where its surroundings fail it: one line. What is left of one that ends abnormally: nothing."""

import contextlib
import ctypes
import json
import os
import pty
import re
import resource
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from utxod.import_guard import ROOT
from utxod.own_daemon import own_daemon

TXID = "00" * 32
KNOWN = bytes(reversed(range(32))).hex()  # the one that the null store knows
PATIENT = ("--timeout", "30")
PR_CAPBSET_DROP = 24
CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH = 1, 2


@pytest.fixture(scope="module")
def daemon():
    with own_daemon("null:", ["--workers", "1"]) as daemon:
        yield daemon


def launch(*command, environment=None, **options):
    return subprocess.Popen(
        [sys.executable, *command],
        env=os.environ | {"PYTHONPATH": str(ROOT)} | (environment or {}),
        stdin=subprocess.DEVNULL,
        **{"stderr": subprocess.PIPE, "text": True, **options},
    )


def run(*command, **options):
    """The exit status, and the lines of standard error."""
    process = launch(*command, **options)
    _, errors = process.communicate(timeout=120)
    return process.returncode, errors.splitlines()


COMMANDS = (
    "utxod --help",
    "utxod status",
    "utxod status --json",
    "utxod coin",
    "utxod show",
    "utxod doctor",
    "utxod demo",
    "bench ledger",
)


@pytest.fixture(params=COMMANDS)
def command(request, daemon):
    """A command line that has something to show."""
    module, *words = request.param.split()
    connect = ["--connect", daemon.endpoint, *PATIENT]
    more = {
        "status": connect,
        "coin": [f"{KNOWN}:0", *connect],
        "show": [KNOWN, *connect],
        "doctor": ["--store", "null:"],
        "demo": ["--transactions", "100"],
        "ledger": ["--items", "5000", "--rounds", "1"],
    }
    return ["-m", module, *words, *more.get(words[0], [])]


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_full_output_is_said_in_one_line(command, unbuffered):
    with Path("/dev/full").open("w") as full:
        status, errors = run(*command, stdout=full, environment={"PYTHONUNBUFFERED": unbuffered})
    assert status == 1
    (line,) = errors
    assert "No space left on device; make room" in line


def test_a_closed_output_is_said_in_one_line(command):
    status, errors = run(*command, preexec_fn=lambda: os.close(1))
    assert status == 1
    (line,) = errors
    assert "standard output is closed" in line


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_whoever_reads_no_more_is_told_nothing_more(command, unbuffered):
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as pipe:
        assert run(*command, stdout=pipe, environment={"PYTHONUNBUFFERED": unbuffered}) == (1, [])


def test_nobody_to_tell_is_no_error_of_its_own(command):
    process = launch(*command, stderr=None, preexec_fn=lambda: os.closerange(1, 3))
    assert process.wait(120) == 1


@pytest.mark.parametrize("descriptors", [10, 12, 16])
@pytest.mark.parametrize("words", ["status", "get", "demo"])
def test_too_few_descriptors_are_said_in_a_line(words, descriptors, daemon):
    """A dozen do for some commands: what they say then is right."""
    connect = ["--connect", daemon.endpoint, *PATIENT]
    more = {"status": connect, "get": [TXID, *connect]}
    status, errors = run(
        *["-m", "utxod", words, *more.get(words, [])],
        stdout=subprocess.DEVNULL,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors)),
    )
    assert status in (0, 1)
    assert "Traceback" not in "".join(errors)
    assert len(errors) <= status


def without_privileges():
    """Also root is held to the modes of files, from the next exec on."""
    for capability in (CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH):
        ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, capability)


@pytest.mark.parametrize("place", ["socket", "directory"])
@pytest.mark.parametrize("words", ["status", "get"])
def test_a_socket_that_is_another_users_is_said_in_one_line(words, place, tmp_path):
    path = tmp_path / "directory" / "socket"
    path.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as theirs:
        theirs.bind(str(path))
        closed = path if place == "socket" else path.parent
        closed.chmod(0)
        command = ["-m", "utxod", words, *[TXID] * (words == "get"), "--json", "--connect", f"ipc://{path}"]
        process = launch(*command, stdout=subprocess.PIPE, preexec_fn=without_privileges)
        shown, errors = process.communicate(timeout=120)
        closed.chmod(0o700)
    assert process.returncode == 4
    problem = f"ipc://{path}: Permission denied: whoever runs the daemon decides who may connect to it"
    assert errors == f"Error: {problem}\n"
    assert json.loads(shown) == {"error": {"code": "NO_ANSWER", "executed": "no", "message": problem, "request_id": ""}}


def test_a_state_that_is_another_users_is_found_and_nothing_is_left_in_it(tmp_path):
    state = tmp_path / "state"
    for mode, is_well in ((0o500, False), (0o700, True)):
        state.mkdir(mode=mode)
        command = ["-m", "utxod", "doctor", "--json", "--store", "null:"]
        environment = {"UTXOD_STATE": str(state)}
        process = launch(*command, environment=environment, stdout=subprocess.PIPE, preexec_fn=without_privileges)
        findings = {finding["what"]: finding for finding in json.loads(process.communicate(timeout=120)[0])}
        assert ("Permission denied" not in findings["state"]["found"]) is is_well
        assert process.returncode == (0 if is_well else 1)
        state.rmdir()  # is empty


def test_without_a_temporary_directory_it_says_so(tmp_path):
    environment = {"TMPDIR": "/nosuch"}
    hidden = "import tempfile, utxod.__main__ as m; tempfile._candidate_tempdir_list = lambda: ['/nosuch']; m.main()"
    for words in (["demo"], ["serve", "--store", "null:", "--listen", f"ipc://{tmp_path}/u"]):
        status, errors = run("-c", hidden, *words, stdout=subprocess.DEVNULL, environment=environment)
        assert status == 1
        (line,) = errors
        assert "no usable temporary directory" in line.lower()


def test_other_errors_keep_their_traceback():
    """They are ours."""
    for error in ("ZeroDivisionError('of ours')", "OSError(9, 'of ours')", "OSError('of ours')"):
        script = f"import click, utxod.exits as e\n@click.command()\ndef c(): raise {error}\ne.run(c, 'c')"
        status, errors = run("-c", script)
        assert status == 1
        assert "Traceback" in errors[0]
        assert "of ours" in errors[-1]


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_the_demo_holds_whatever_its_output_can_show(encoding):
    environment = {"PYTHONIOENCODING": encoding, "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    command = ["-m", "utxod", "demo", "--transactions", "300"]
    demo = launch(*command, environment=environment, stdout=subprocess.PIPE)
    shown, errors = demo.communicate(timeout=120)
    assert (demo.returncode, errors) == (0, "")
    assert re.search(r"faults: .*\bWORKER_CRASHED", shown)
    assert "all of it holds" in shown
    assert shown.isascii()


def test_the_demo_holds_on_a_terminal_that_shows_ascii_alone():
    master, terminal = pty.openpty()
    environment = {"PYTHONIOENCODING": "ascii", "TERM": "xterm"}
    demo = launch("-m", "utxod", "demo", "--transactions", "300", environment=environment, stdout=terminal)
    os.close(terminal)
    shown = b""
    with contextlib.suppress(OSError):  # the terminal's other end is gone
        while part := os.read(master, 65_536):
            shown += part
    os.close(master)
    assert (demo.wait(120), demo.stderr.read()) == (0, "")
    assert b"all of it holds" in shown
    assert shown.isascii()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_command_that_is_told_to_end_leaves_nothing(number, tmp_path):
    demo, processes = demo_at_work(tmp_path)
    demo.send_signal(number)
    _, errors = demo.communicate(timeout=120)
    assert demo.returncode == 128 + number
    assert errors.strip() == ""
    assert psutil.wait_procs(processes, timeout=60)[1] == []
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_command_left_goes_with_the_next_one_and_what_is_in_use_stays(tmp_path):
    killed, processes = demo_at_work(tmp_path)
    killed.kill()
    killed.communicate(timeout=120)
    assert psutil.wait_procs(processes, timeout=60)[1] == []
    assert len(list(tmp_path.glob("utxod-own-*"))) == 1
    mine = tmp_path / "utxod-own-of-somebody"
    mine.mkdir()
    demo, _ = demo_at_work(tmp_path)
    in_use = set(tmp_path.glob("utxod-own-*"))
    assert len(in_use) == 2
    status, _ = run(
        "-m", "utxod", "demo", "--transactions", "100", stdout=subprocess.DEVNULL, environment=own(tmp_path)
    )
    assert status == 0
    assert set(tmp_path.glob("utxod-own-*")) == in_use
    demo.terminate()
    demo.communicate(timeout=120)
    assert list(tmp_path.iterdir()) == [mine]


def own(temporary):
    return {"TMPDIR": str(temporary)}


def demo_at_work(temporary):
    """A demo that has come to its payments, and the processes that it has started."""
    demo = launch(
        *("-m", "utxod", "demo", "--transactions", "50000"),
        environment=own(temporary),
        stdout=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),  # nohup, around these tests, ignores it
    )
    for line in demo.stdout:
        if line.startswith("3"):
            break
    return demo, psutil.Process(demo.pid).children(recursive=True)
