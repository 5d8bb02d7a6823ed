"""The measurement of other ways of having work done: what it needs, and what it says."""

import shutil
import sys
from importlib.util import find_spec

import pytest

from bench.peers.measurement import BATCHES, ONE_IN_FLIGHT, REDIS_PEERS, SINGLES, UTXOD, peers
from bench.peers.redis_server import redis_server
from bench.report import MeasurementError

EXTRA = all(find_spec(package) for package in ("celery", "dramatiq", "redis"))


def test_a_peer_that_is_not_installed_is_named_with_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "celery", None)
    with pytest.raises(MeasurementError, match=r"celery.*extra `peers`"):
        peers(rounds=1, seconds=0.1)


def test_a_redis_that_is_not_installed_is_named_with_its_package(monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(MeasurementError, match="apt install redis-server"), redis_server():
        pass


@pytest.mark.skipif(not EXTRA or shutil.which("redis-server") is None, reason="the extra peers, or redis-server")
def test_every_peer_is_measured_in_the_same_run_and_where_utxod_loses_is_said():
    report = peers(rounds=1, seconds=0.2)
    assert report.ok
    assert [figure.name for figure in report.figures] == [
        f"{UTXOD}, {what}" for what in (SINGLES, BATCHES, ONE_IN_FLIGHT)
    ]
    for figure in report.figures:
        assert len(figure.ratios) == 1 + len(REDIS_PEERS)
    assert report.details["where utxod loses"]
