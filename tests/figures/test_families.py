"""What /metrics says of a report."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse

from tests.support.reports import changed, report
from utxod.figures.families import FAMILIES, ReportCollector

Sample = tuple[str, frozenset[tuple[str, str]]]


def samples_of(shown: Mapping[str, Any] | None, generate: Callable[..., bytes], parse: Any) -> dict[Sample, float]:
    """Each sample once; fails where one is there twice."""
    registry = CollectorRegistry()
    registry.register(ReportCollector(lambda: shown))
    found: dict[Sample, float] = {}
    for family in parse(generate(registry).decode()):
        for sample in family.samples:
            key = sample.name, frozenset(sample.labels.items())
            assert key not in found
            found[key] = sample.value
    return found


def plain(shown: Mapping[str, Any] | None) -> dict[Sample, float]:
    return samples_of(shown, generate_latest, parse)


def value(samples: Mapping[Sample, float], name: str, **labels: str) -> float:
    return samples[f"utxod_{name}", frozenset(labels.items())]


def base(name: str) -> str:
    for ending in ("_bucket", "_sum", "_count"):
        name = name.removesuffix(ending)
    return name


def test_every_family_of_the_table_is_served_in_both_formats() -> None:
    names = {family.name for family in FAMILIES}
    assert len(names) == len(FAMILIES)
    for generate, parsed in ((generate_latest, parse), (generate_openmetrics, parse_openmetrics)):
        assert {base(name) for name, _ in samples_of(report(), generate, parsed)} == names


def test_what_a_sample_says_is_what_the_report_says() -> None:
    samples = plain(changed(report(), {"pools.write.breaker": "open", "draining": True, "counters.read_again": 7}))
    assert value(samples, "up") == 1
    assert value(samples, "info", version="0.1.0", store="lmdb:///var/lib/utxod") == 1
    assert value(samples, "items_total", pool="write", operation="spend", code="SPENT") == 48_000
    assert value(samples, "breaker_open", pool="write") == 1
    assert value(samples, "breaker_open", pool="read") == 0
    assert value(samples, "draining") == 1
    assert value(samples, "read_again_items_total") == 7
    assert value(samples, "worker_memory_bytes", pool="children") == 34_000_000
    assert value(samples, "log_lines_dropped_total", process="workers") == 0


def test_a_histogram_s_buckets_are_cumulative_and_end_at_its_count() -> None:
    shown = report()
    samples = plain(shown)
    [row] = [row for row in shown["figures"]["batch_items"] if row["operation"] == "spend"]
    where = {"pool": "write", "operation": "spend"}
    assert value(samples, "batch_items_count", **where) == sum(row["counts"])
    assert value(samples, "batch_items_sum", **where) == row["sum"]
    bounds = [*(str(float(bound)) for bound in shown["figures"]["bounds"]["items"]), "+Inf"]
    buckets = [value(samples, "batch_items_bucket", **where, le=bound) for bound in bounds]
    assert buckets == [sum(row["counts"][: place + 1]) for place in range(len(bounds))]


def test_where_the_daemon_does_not_answer_nothing_stale_is_served() -> None:
    assert plain(None) == {("utxod_up", frozenset()): 0}


def test_an_exit_that_never_happened_is_there_as_0_so_that_the_first_one_shows_in_a_rate() -> None:
    exits = [{"pool": "read", "cause": "crashed", "count": 2}]
    samples = plain(changed(report(), {"figures.worker_exits": exits}))
    assert value(samples, "worker_exits_total", pool="read", cause="crashed") == 2
    assert value(samples, "worker_exits_total", pool="write", cause="wedged") == 0


def test_so_are_faults_and_refusals() -> None:
    refused = [{"pool": "write", "code": "OVERLOADED", "items": 20, "requests": 2}]
    samples = plain(changed(report(), {"figures.refusals": refused}))
    assert value(samples, "refused_items_total", pool="write", code="OVERLOADED") == 20
    assert value(samples, "refused_requests_total", pool="read", code="UNAVAILABLE") == 0
    assert value(samples, "items_total", pool="write", operation="spend", code="DEADLINE_EXCEEDED") == 4_800
    assert value(samples, "requests_total", pool="read", operation="get", code="WORKER_CRASHED") == 0


def test_a_report_of_an_older_daemon_gives_the_families_that_it_has() -> None:
    older = report()
    del older["submitters"], older["figures"]["sweeps"]
    names = {base(name) for name, _ in plain(older)}
    assert names == {family.name for family in FAMILIES} - {"utxod_submitters", "utxod_sweeps_total"}


@pytest.mark.parametrize("generate", [generate_latest, generate_openmetrics])
def test_users_and_files_of_passwords_in_the_store_s_url_are_not_served(generate: Callable[..., bytes]) -> None:
    url = "aerospike://user:secret@10.0.0.1:3000,[::1]:3000/utxo?set=a&user=secret&password_file=/secret"
    registry = CollectorRegistry()
    registry.register(ReportCollector(lambda: changed(report(), {"store": url})))
    text = generate(registry).decode()
    assert "secret" not in text
    assert 'store="aerospike://10.0.0.1:3000,[::1]:3000/utxo"' in text
