"""What is measured in steps, and its pictures."""

import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from bench import throughput
from bench.report import MeasurementError
from bench.sweeps import commits, load, set_size, workers
from bench.sweeps.everything import everything
from bench.sweeps.plot import draw
from bench.sweeps.sweep import Line, Role, Sweep, level

MATPLOTLIB = find_spec("matplotlib") is not None
PICTURES = ("latency", "batches", "workers", "set_size", "fsyncs", "synced")


def test_all_that_is_measured_in_steps_is_in_the_report_and_in_pictures(tmp_path, monkeypatch):
    for module, name in ((throughput, "COINS_A_ROUND"), (set_size, "CHUNK")):
        monkeypatch.setattr(module, name, 500)
    for module in (load, commits):
        monkeypatch.setattr(module, "CALLERS", (1, 8))
    monkeypatch.setattr(workers, "WORKERS", (1,))
    monkeypatch.setattr(load, "others", lambda stack: {})  # tests/bench/test_peers.py
    plot = str(tmp_path / "pictures") if MATPLOTLIB else None
    report = everything(plot, seconds=0.05, records=3_000)
    assert report.ok
    for name in PICTURES:
        rows = report.details[name]
        assert all(value > 0 for row in rows for value in row.values() if not isinstance(value, str))
    assert [row["records"] for row in report.details["set_size"] if row["line"] == throughput.SPEND][-1] >= 3_000
    if plot is not None:
        assert {file.name for file in Path(plot).iterdir()} == {f"{name}.svg" for name in PICTURES}


def test_without_matplotlib_nothing_is_measured_and_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MeasurementError, match="extra `plot`"):
        everything("pictures", seconds=1.0, records=1)


@pytest.mark.skipif(not MATPLOTLIB, reason="the extra plot")
def test_a_picture_names_its_axes_and_every_line(tmp_path):
    ours = Line("ours", [(1, 10.0), (2, 20.0)])
    lines = [
        ours,
        Line("tail", ours.points, Role.TAIL),
        level("limit", 99.0, (1, 2)),
        level("peer", 5.0, (1, 2), Role.PEER),
    ]
    (file,) = draw([Sweep("name", "title", "callers", "items/s", lines, (1, 2))], tmp_path)
    text = file.read_text()
    for shown in ("title", "callers", "items/s", "ours", "tail", "limit", "peer"):
        assert f"<!-- {shown} -->" in text  # matplotlib draws the letters, and says beside them what they are
