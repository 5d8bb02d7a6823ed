"""What happened between two reports: counts, rates and quantiles of that time alone."""

import pytest

from tests.support.reports import report
from utxod.interval import Histogram, Interval

BEFORE, AFTER = report(600.0), report(603.0)


def test_rates_and_quantiles_are_those_of_the_interval_alone() -> None:
    interval = Interval(BEFORE, AFTER)
    assert interval.seconds == 3.0
    assert interval.rate(interval.histogram("batch_items").sum) == pytest.approx(20_000, rel=0.01)
    assert next(iter(interval.counts("answers", "items", by="code"))) == "OK"
    assert interval.counts("worker_starts", "count", by="pool") == {}
    same = Interval(AFTER, AFTER)
    assert (same.seconds, same.rate(1.0), same.histogram("queue_seconds").quantile(0.5)) == (0.0, 0.0, 0.0)


def test_a_quantile_lies_within_its_bucket() -> None:
    histogram = Histogram([1.0, 2.0, 5.0], [0, 10, 0, 10], 100.0)
    assert histogram.quantile(0.25) == pytest.approx(1.5)
    assert histogram.quantile(0.5) == pytest.approx(2.0)
    assert histogram.quantile(0.99) == 5.0  # beyond: at least that
    assert histogram.mean == 5.0
    assert histogram.beyond(2.0) == 10
