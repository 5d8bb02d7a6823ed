"""What the expressions of rules and dashboard name is what a daemon serves: metrics, labels, and values of these."""

import pytest

from broker.scheduling import POOLS
from protocol.codes import FAULTS, REJECTIONS
from tests.support.dashboards import queries
from tests.support.prometheus import alert_rules, grouped_by, selectors
from utxod.figures.families import EXIT_CAUSES, FAMILIES, HISTOGRAM

# Prometheus's own, of each target; of its own metrics: what a rule adds too.
OF_A_TARGET = {"job", "instance"}
PROMETHEUS_S = {"up": set(), "ALERTS": {"alertname", "alertstate", "severity", "pool"}}
EXPRESSIONS = {name: rule["expr"] for name, rule in alert_rules().items()} | {
    f"{query.panel} {place}": query.expression for place, query in enumerate(queries())
}
VALUES = {
    "code": FAULTS | REJECTIONS | {"OK"},
    "cause": {*EXIT_CAUSES},
    "pool": {*POOLS},
    "process": {"daemon", "workers"},
}


def served() -> dict[str, set[str]]:
    """The labels of every metric, by its name in an expression."""
    labels: dict[str, set[str]] = {}
    for family in FAMILIES:
        if family.kind == HISTOGRAM:
            labels |= {f"{family.name}_{part}": {*family.labels} for part in ("sum", "count")}
            labels[f"{family.name}_bucket"] = {*family.labels, "le"}
        else:
            labels[family.name] = {*family.labels}
    return labels


KNOWN = {metric: labels | OF_A_TARGET for metric, labels in (served() | PROMETHEUS_S).items()}


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_it_names_metrics_and_labels_that_are_served(name: str) -> None:
    expression = EXPRESSIONS[name]
    assert selectors(expression)
    for metric, matchers in selectors(expression):
        assert metric in KNOWN
        assert matchers.keys() <= KNOWN[metric]
        for label, value in matchers.items():
            assert label not in VALUES or {*value.split("|")} <= VALUES[label]
    assert grouped_by(expression) <= set.union(*(KNOWN[metric] for metric, _ in selectors(expression)))


def test_whatever_is_served_is_shown() -> None:
    """But what others say better: by how much sweeps were late, items refused, and for which share of time workers
    were busy."""
    shown = {metric for expression in EXPRESSIONS.values() for metric, _ in selectors(expression)}
    of_histograms = {
        family.name for family in FAMILIES if any(metric.startswith(f"{family.name}_") for metric in shown)
    }
    hidden = {family.name for family in FAMILIES} - shown - of_histograms
    assert hidden == {"utxod_sweeps_total", "utxod_refused_requests_total", "utxod_workers_idle"}
