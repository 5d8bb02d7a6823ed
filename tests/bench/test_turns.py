"""Another revision, measured in turns with this one: what it is called, how it is set up, what is made of it."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import bench.revision
import bench.turns
from bench.report import MeasurementError, Report
from bench.revision import Revision, revision
from bench.turns import in_turns
from tests.support.patience import until

# A measurement of a revision: it notes its turn, and reports what it is.
MEASUREMENT = """
import json, sys
with open({turns!r}, "a") as file:
    file.write({name!r})
figures = {figures!r}
print(json.dumps({{
    "bench": sys.argv[1],
    "figures": [
        {{"name": name, "value": value, "unit": "items/s", "goal": None}} for name, value in figures.items()
    ],
    "promises": {{"kept": {kept}}},
}}))
"""
# In place of the project's own: an environment that needs nothing from elsewhere.
BOOTSTRAP = """
import pathlib, sys
python = pathlib.Path(".venv/bin/python")
python.parent.mkdir(parents=True)
python.symlink_to(sys.executable)
with open({log!r}, "a") as file:
    file.write("made")
"""


def checkout(tree: Path, turns: Path, figures: dict[str, float], kept: bool = True) -> Path:
    (tree / "bench").mkdir(parents=True)
    (tree / "bench" / "__init__.py").touch()
    source = MEASUREMENT.format(turns=str(turns), name=tree.name, figures=figures, kept=kept)
    (tree / "bench" / "__main__.py").write_text(source)
    return tree


def set_up(tree: Path) -> Path:
    python = tree / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    return tree


@pytest.fixture
def turns(tmp_path) -> Path:
    return tmp_path / "turns"


@pytest.fixture
def mine(tmp_path, monkeypatch, turns) -> Path:
    """In the place of this revision."""
    tree = checkout(tmp_path / "A", turns, {"one": 30.0, "new": 1.0})
    monkeypatch.setattr(bench.turns, "this_one", lambda: Revision("this revision", tree, Path(sys.executable)))
    return tree


def git(tree: Path, *arguments: str) -> str:
    who = ["-c", "user.name=n", "-c", "user.email=e", "-c", "commit.gpgsign=false"]
    return subprocess.run(
        ["git", "-C", str(tree), *who, *arguments], check=True, capture_output=True, text=True
    ).stdout.strip()


@pytest.fixture
def repository(tmp_path, monkeypatch, turns) -> Path:
    """In the place of the repository that this revision is of; it has one other."""
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    tree = checkout(tmp_path / "B", turns, {"one": 10.0, "old": 5.0})
    (tree / "bootstrap.py").write_text(BOOTSTRAP.format(log=str(tmp_path / "made")))
    git(tree, "init", "-q")
    git(tree, "add", ".")
    git(tree, "commit", "-q", "-m", "one")
    git(tree, "tag", "before")
    monkeypatch.setattr(bench.revision, "ROOT", tree)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tree


def test_two_revisions_are_measured_in_turns_and_the_pairs_make_the_ratio(tmp_path, mine, turns):
    other = set_up(checkout(tmp_path / "B", turns, {"one": 10.0, "old": 5.0}))
    report = in_turns("throughput", str(other), rounds=3, options=())
    assert turns.read_text() == "ABBAAB"
    one, new = report.figures
    assert ([ratio.name for ratio in one.ratios], one.ratios[0].value) == ([f"the same of {other}"], 3.0)
    assert len(one.ratios[0].rounds) == 3
    assert not new.ratios
    assert [(limit.name, limit.value) for limit in report.limits] == [(f"{other}: one", 10.0), (f"{other}: old", 5.0)]
    assert report.details == {"this revision alone measures": "new", f"{other} alone measures": "old"}
    assert report.ok


def test_a_promise_that_the_other_broke_is_named(tmp_path, mine, turns):
    other = set_up(checkout(tmp_path / "B", turns, {"one": 10.0}, kept=False))
    report = in_turns("throughput", str(other), rounds=1, options=())
    assert report.promises == {"this revision: kept": True, f"{other}: kept": False}


def test_a_revision_is_set_up_once_and_kept_by_its_commit(repository, mine, tmp_path, capfd):
    for name in ("before", git(repository, "rev-parse", "HEAD")):
        report = in_turns("latency", name, 1, ())
        assert report.figures[0].ratios[0].value == 3.0
    assert (tmp_path / "made").read_text() == "made"
    assert capfd.readouterr().err.count("setting up before") == 1


def test_a_name_that_is_no_commit_is_said(repository):
    with pytest.raises(MeasurementError, match=r"'nowhere' is no commit .* is it spelt right\?"):
        revision("nowhere")


def test_a_revision_that_cannot_be_set_up_leaves_nothing_and_says_what_to_do(repository, tmp_path):
    (repository / "bootstrap.py").write_text("raise SystemExit(1)")
    git(repository, "commit", "-q", "-a", "-m", "two")
    with pytest.raises(MeasurementError, match=r"could not be set up: .*name the directory of a checkout"):
        revision("HEAD")
    assert [path for path in (tmp_path / "cache" / "utxod-bench").iterdir() if path.suffix != ".lock"] == []


def test_a_revision_from_before_there_was_a_bootstrap_is_said(repository):
    git(repository, "rm", "-q", "bootstrap.py")
    git(repository, "commit", "-q", "-m", "two")
    with pytest.raises(MeasurementError, match=r"HEAD has no bootstrap\.py"):
        revision("HEAD")


def test_without_a_repository_it_says_so(tmp_path, monkeypatch):
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    monkeypatch.setattr(bench.revision, "ROOT", tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    with pytest.raises(MeasurementError, match="no repository with its history"):
        revision("HEAD")


def test_without_git_it_says_so(monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(MeasurementError, match="git is not installed"):
        revision("HEAD")


def test_a_checkout_that_is_not_set_up_is_said(tmp_path, turns):
    tree = checkout(tmp_path / "B", turns, {})
    with pytest.raises(MeasurementError, match=r"has no environment of its own .*bootstrap\.py run"):
        revision(str(tree))


def test_a_measurement_that_the_other_does_not_have_is_said_with_its_own_words(tmp_path, mine, turns):
    other = set_up(checkout(tmp_path / "B", turns, {}))
    (other / "bench" / "__main__.py").write_text("raise SystemExit('no such command')")
    with pytest.raises(MeasurementError, match=r"(?s)status 1 and no report:.*no such command"):
        in_turns("throughput", str(other), 1, ())


def test_an_interrupted_set_up_leaves_nothing(repository, tmp_path):
    """Ctrl-C while the environment is made."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    (repository / "bootstrap.py").write_text(f"import time; open({str(pipe)!r}, 'w').close(); time.sleep(600)")
    git(repository, "commit", "-q", "-a", "-m", "two")

    def interrupt() -> None:
        main = threading.main_thread()
        pipe.read_bytes()  # it is under way
        until(lambda: waits_for_a_process(main))
        signal.pthread_kill(main.ident, signal.SIGINT)

    thread = threading.Thread(target=interrupt, daemon=True)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        revision("HEAD")
    thread.join()
    assert [path for path in (tmp_path / "cache" / "utxod-bench").iterdir() if path.suffix != ".lock"] == []


def waits_for_a_process(thread: threading.Thread) -> bool:
    """It is in wait4(2). A signal that comes just before that is seen only when the process has ended."""
    number, *_ = Path(f"/proc/self/task/{thread.native_id}/syscall").read_text().split()
    return number in ("61", "260")  # x86-64, ARM


def test_a_report_read_back_has_what_was_reported():
    report = Report("x")
    report.add([{"ours": 10.0, "limit": 100.0}], "ms", {"ours": {"limit": 0.25}}, higher_is_better=False)
    (figure,) = report.figures
    written = json.loads(json.dumps(figure.as_map()))
    assert type(figure).of_maps([written]).as_map() == figure.as_map()
