"""Makes the dashboard of its panels: `python -m deploy.grafana.dashboard > deploy/grafana/utxod.json`.

dashboard.yaml says what is shown; this module how: places, colours, and what Grafana wants said of each kind of panel.
"""

import json
import re
from collections.abc import Iterator, Mapping
from itertools import count
from pathlib import Path
from string import ascii_uppercase
from typing import Any, Final

import yaml

from protocol.codes import FAULTS, OK

Json = dict[str, Any]

_PANELS: Final = Path(__file__).with_name("dashboard.yaml")
# Where docs/operations can be read. Who looks may name another place, at the dashboard's top.
_PAGES: Final = "https://git.example.com/utxod/docs/operations"
_SOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}
_WIDTH: Final = 24
# kind: its type in Grafana, width, height (rows of 30 pixels), and what is asked of Prometheus beside the expression
_KINDS: Final[dict[str, tuple[str, int, int, Json]]] = {
    "number": ("stat", 3, 4, {}),
    "graph": ("timeseries", 8, 8, {}),
    "stack": ("timeseries", 8, 8, {}),
    "heatmap": ("heatmap", 8, 8, {"format": "heatmap"}),
    "timeline": ("state-timeline", 8, 8, {}),
    "table": ("table", 24, 6, {"format": "table", "instant": True, "range": False}),
}
_SELECTOR: Final = re.compile(r"\b(utxod_\w+|up|ALERTS)\b(?:\{(.*?)\})?")
_DAEMONS: Final = 'instance=~"$instance"'
_FAULTS: Final = "|".join(sorted(FAULTS))


def dashboard() -> Json:
    """The whole dashboard, as Grafana reads it."""
    rows = yaml.safe_load(_PANELS.read_text())
    return {
        "uid": "utxod",
        "title": "utxod",
        "description": "What is asked of the daemons, what they answer, and what holds them up.",
        "tags": ["utxod"],
        "schemaVersion": 39,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "links": [
            {"type": "link", "title": "What to do when", "url": "${pages:raw}/", "icon": "doc", "targetBlank": True}
        ],
        "templating": {"list": _variables()},
        "annotations": {"list": [_starts()]},
        "panels": list(_laid_out(rows)),
    }


def _variables() -> list[Json]:
    daemons = {"query": 'label_values(up{job="utxod"}, instance)', "refId": "instance"}
    every = {"text": ["All"], "value": ["$__all"]}
    return [
        {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus"},
        {
            "name": "instance",
            "label": "Daemon",
            "type": "query",
            "datasource": _SOURCE,
            "query": daemons,
            "refresh": 2,
            "sort": 1,
            "multi": True,
            "includeAll": True,
            "allValue": ".+",
            "current": every,
        },
        {
            "name": "pages",
            "label": "Pages at",
            "type": "textbox",
            "query": _PAGES,
            "current": {"text": _PAGES, "value": _PAGES},
        },
    ]


def _starts() -> Json:
    """Each start of a daemon, marked in every graph."""
    return {
        "name": "Starts",
        "datasource": _SOURCE,
        "enable": True,
        "iconColor": "blue",
        "expr": _expression("utxod_start_time_seconds * 1000"),
        "useValueForTime": True,
        "titleFormat": "{{instance}} started",
    }


def _laid_out(rows: Mapping[str, list[Json]]) -> Iterator[Json]:
    """Panels flow from left to right, within their row."""
    numbers, top = count(1), 0
    for title, panels in rows.items():
        yield {"id": next(numbers), "type": "row", "title": title, "gridPos": _place(0, top, _WIDTH, 1), "panels": []}
        left, top, height = 0, top + 1, 0
        for said in panels:
            kind = next(iter(said))
            _, width, tall, _ = _KINDS[kind]
            width = said.get("width", width)
            if left + width > _WIDTH:
                left, top, height = 0, top + height, 0
            yield {"id": next(numbers), **_panel(kind, said, _place(left, top, width, tall))}
            left, height = left + width, max(height, tall)
        top += height


def _place(left: int, top: int, width: int, height: int) -> Json:
    return {"x": left, "y": top, "w": width, "h": height}


def _panel(kind: str, said: Json, place: Json) -> Json:
    grafana, _, _, query = _KINDS[kind]
    targets = [
        {"refId": letter, "expr": _expression(expression), "legendFormat": legend, **query}
        for letter, (legend, expression) in zip(ascii_uppercase, said["series"].items(), strict=False)
    ]
    parts = {
        "type": grafana,
        "title": said[kind],
        "description": said["about"],
        "links": [{"title": page, **_to_page(page)} for page in said.get("pages", ())],
        "gridPos": place,
        "datasource": _SOURCE,
        "targets": targets,
        "fieldConfig": {"defaults": _fields(kind, said), "overrides": _overrides(kind, said)},
        "options": _options(kind, said),
        "transformations": _transformations(said),
    }
    return {name: part for name, part in parts.items() if part}


def _expression(said: str) -> str:
    def narrowed(found: re.Match[str]) -> str:
        return f"{found[1]}{{{', '.join(filter(None, (_DAEMONS, found[2])))}}}"

    return _SELECTOR.sub(narrowed, said).replace("$faults", _FAULTS)


def _fields(kind: str, said: Json) -> Json:
    fields: Json = {"unit": said["unit"], "noValue": "none"}
    steps = said.get("steps") or ({0: "green", said["limit"]: "red"} if "limit" in said else {})
    if steps:
        # The first colour holds from minus infinity on, which is written null.
        listed = [{"value": value or None, "color": color} for value, color in steps.items()]
        fields["thresholds"] = {"mode": "absolute", "steps": listed}
    if "texts" in said:
        texts = {str(value): {"text": text} for value, text in said["texts"].items()}
        fields["mappings"] = [{"type": "value", "options": texts}]
    if kind in ("graph", "stack", "number"):
        fields["min"] = 0
    if kind in ("graph", "stack"):
        fields["custom"] = {"showPoints": "never", "fillOpacity": 40 if kind == "stack" else 10}
    if kind == "stack":
        fields["custom"]["stacking"] = {"mode": "normal"}
    if "limit" in said:
        fields["custom"]["thresholdsStyle"] = {"mode": "dashed"}
    if kind == "timeline":
        fields["color"] = {"mode": "thresholds"}
        fields["custom"] = {"fillOpacity": 70}
    return fields


def _overrides(kind: str, said: Json) -> list[Json]:
    """What is well is green, and the name of an alert leads to its page."""
    if kind == "stack" and "{{code}}" in said["series"]:
        return [_override(OK, "color", {"mode": "fixed", "fixedColor": "green"})]
    if "alertname" in said.get("columns", ()):
        return [_override("alertname", "links", [{"title": "What to do", **_to_page("${__value.text}")}])]
    return []


def _override(field: str, key: str, value: Any) -> Json:
    return {"matcher": {"id": "byName", "options": field}, "properties": [{"id": key, "value": value}]}


def _to_page(name: str) -> Json:
    return {"url": f"${{pages:raw}}/{name}.md", "targetBlank": True}


def _options(kind: str, said: Json) -> Json:
    match kind:
        case "number":
            has_texts = "texts" in said
            return {
                "colorMode": "background" if has_texts else "value",
                "graphMode": "none" if has_texts else "area",
                "textMode": "value_and_name" if has_texts else "value",
                "reduceOptions": {"calcs": ["lastNotNull"]},
            }
        case "graph" | "stack":
            return {"tooltip": {"mode": "multi", "sort": "desc"}}
        case "heatmap":
            return {
                "calculate": False,
                "color": {"mode": "scheme", "scheme": "Oranges", "steps": 64},
                "filterValues": {"le": 1e-9},
                "yAxis": {"unit": said["unit"]},
            }
        case "timeline":
            return {"showValue": "never", "legend": {"showLegend": False}}
    return {}


def _transformations(said: Json) -> list[Json]:
    """Of a table: its columns, in their order."""
    columns = said.get("columns", ())
    if not columns:
        return []
    order = {name: place for place, name in enumerate(columns)}
    hidden = dict.fromkeys(("Time", "Value", "__name__", "job"), True)
    return [{"id": "organize", "options": {"excludeByName": hidden, "indexByName": order}}]


def text(board: Json) -> str:
    """A line for each part of a panel, so that a change is seen where it is."""
    panels = ["{" + ",\n   ".join(_members(panel)) + "}" for panel in board["panels"]]
    head = _members({key: value for key, value in board.items() if key != "panels"})
    return "{" + ",\n ".join([*head, '"panels": [\n  ' + ",\n  ".join(panels) + "\n ]"]) + "}\n"


def _members(parts: Json) -> list[str]:
    return [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in parts.items()]


if __name__ == "__main__":
    print(text(dashboard()), end="")
