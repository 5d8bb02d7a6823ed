"""A foreign package of one of our plain names stops utxod with a message that says what to do."""

import os
import subprocess
import sys

import pytest

from utxod.import_guard import PACKAGES, ROOT, ForeignModule, check


def test_our_own_house_is_in_order():
    check()


@pytest.mark.parametrize("room", PACKAGES)
def test_a_foreign_module_on_the_path_stops_utxod_and_is_named_with_its_path_and_the_remedy(tmp_path, room):
    (tmp_path / room).mkdir()
    (tmp_path / room / "__init__.py").write_text("raise SystemExit('imported')")
    finished = subprocess.run(
        [sys.executable, "-P", "-m", "utxod", "--help"],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 1
    assert f"another {room!r} would be imported" in finished.stderr
    assert str(tmp_path / room) in finished.stderr
    assert "venv" in finished.stderr
    assert "Traceback" not in finished.stderr


def test_a_module_that_is_missing_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("utxod.import_guard.PACKAGES", ("protocol", "no_such_room"))
    with pytest.raises(ForeignModule, match="no_such_room"):
        check()
