"""The dashboard as it lies in deploy/: its panels, and what they ask Prometheus."""

import json
import re
from typing import Any, Final, NamedTuple

from tests.support.prometheus import DEPLOY

DASHBOARD: Final = DEPLOY / "grafana" / "utxod.json"
BOARD: Final[dict[str, Any]] = json.loads(DASHBOARD.read_text())
# Those that show something; the others are titles of rows.
PANELS: Final[list[dict[str, Any]]] = [panel for panel in BOARD["panels"] if panel["type"] != "row"]


class Query(NamedTuple):
    """legend: labels that its series are named by."""

    panel: str
    expression: str
    legend: set[str]


def queries() -> list[Query]:
    """As Grafana asks them, of all daemons."""
    asked = [
        (panel["title"], target["expr"], target["legendFormat"]) for panel in PANELS for target in panel["targets"]
    ]
    asked += [(each["name"], each["expr"], each["titleFormat"]) for each in BOARD["annotations"]["list"]]
    return [
        Query(title, _filled(expression), set(re.findall(r"{{(\w+)}}", legend))) for title, expression, legend in asked
    ]


def _filled(expression: str) -> str:
    every = next(variable["allValue"] for variable in BOARD["templating"]["list"] if variable["name"] == "instance")
    return expression.replace("$__rate_interval", "1m").replace("$instance", every)
