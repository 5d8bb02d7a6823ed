"""The dashboard: made from its list of panels, whole, and each panel says what it shows."""

from collections import Counter
from itertools import combinations

import pytest
import yaml

from deploy.grafana.dashboard import dashboard, text
from tests.support.dashboards import BOARD, DASHBOARD, PANELS
from tests.support.prometheus import DEPLOY, alert_rules, numbers

SOURCE = yaml.safe_load((DEPLOY / "grafana" / "dashboard.yaml").read_text())
# Grafana's units of its own; count:X is any other.
UNITS = {"s", "bytes", "percentunit", "short", "none"}


def test_it_is_what_is_made_of_the_list_of_panels() -> None:
    """python -m deploy.grafana.dashboard > deploy/grafana/utxod.json"""
    assert text(dashboard()) == DASHBOARD.read_text()


def test_it_has_the_rows_and_panels_of_the_list_in_their_order() -> None:
    titles = [
        title for row, panels in SOURCE.items() for title in (row, *(next(iter(each.values())) for each in panels))
    ]
    assert [panel["title"] for panel in BOARD["panels"]] == titles


def test_numbers_of_panels_are_unique_and_no_two_lie_on_each_other() -> None:
    assert max(Counter(panel["id"] for panel in BOARD["panels"]).values()) == 1
    places = [panel["gridPos"] for panel in BOARD["panels"]]
    assert all(place["x"] + place["w"] <= 24 for place in places)
    for one, other in combinations(places, 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        below = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or below


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_a_panel_says_what_it_shows_in_which_unit_and_asks_for_it(panel: dict) -> None:
    assert panel["description"].endswith(".")
    unit = panel["fieldConfig"]["defaults"]["unit"]
    assert unit in UNITS or unit.startswith("count:")
    assert panel["datasource"]["uid"] == "${datasource}"
    letters = [target["refId"] for target in panel["targets"]]
    assert letters
    assert len(letters) == len(set(letters))
    for target in panel["targets"]:
        assert 'instance=~"$instance"' in target["expr"]


@pytest.mark.parametrize("panel", [panel for row in SOURCE.values() for panel in row if "limit" in panel])
def test_a_line_in_a_graph_is_where_its_alert_has_it(panel: dict) -> None:
    (alert,) = panel["pages"]
    assert panel["limit"] in numbers(alert_rules()[alert]["expr"])


def test_every_alert_s_page_is_one_click_from_a_panel_that_shows_what_it_is_about() -> None:
    linked = {link["title"]: link["url"] for panel in PANELS for link in panel.get("links", ())}
    assert linked == {name: f"${{pages:raw}}/{name}.md" for name in alert_rules()}


def test_the_variables_are_the_datasource_the_daemons_and_where_the_pages_are() -> None:
    assert [variable["name"] for variable in BOARD["templating"]["list"]] == ["datasource", "instance", "pages"]


def test_grafana_finds_dashboard_and_prometheus_where_the_compose_file_has_them() -> None:
    grafana = DEPLOY / "grafana"
    (source,) = yaml.safe_load((grafana / "provisioning" / "datasources" / "prometheus.yaml").read_text())[
        "datasources"
    ]
    (provider,) = yaml.safe_load((grafana / "provisioning" / "dashboards" / "utxod.yaml").read_text())["providers"]
    scraped = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())["global"]
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    mounted = dict(volume.split(":")[:2] for volume in services["grafana"]["volumes"])
    assert mounted["./grafana/provisioning"] == "/etc/grafana/provisioning"
    assert mounted["./grafana/utxod.json"] == f"{provider['options']['path']}/utxod.json"
    assert source["url"].removeprefix("http://").split(":")[0] in services
    assert source["jsonData"]["timeInterval"] == scraped["scrape_interval"]
