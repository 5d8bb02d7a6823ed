"""A real Prometheus for a test, with the config and the rules of deploy/; and what stands in an expression, as far as
names and numbers go."""

import contextlib
import json
import re
import shutil
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import yaml

from tests.support.daemon import Log

DEPLOY: Final = Path(__file__).parents[2] / "deploy"
RULES: Final = DEPLOY / "prometheus" / "alerts.yml"
PROGRAM: Final = shutil.which("prometheus")
PROMTOOL: Final = shutil.which("promtool")

_SELECTOR: Final = re.compile(r"\b(utxod_\w+|up|ALERTS)\b(?:\{(.*?)\})?")
_MATCHER: Final = re.compile(r'(\w+)\s*(?:=~|!~|!=|=)\s*"((?:[^"\\]|\\.)*)"')
_GROUPING: Final = re.compile(r"\b(?:by|on|ignoring|group_left|group_right|without) ?\(([^)]*)\)")
# Of a number of its own: not in a name, a selector or a range.
_NUMBER: Final = re.compile(r"(?<![\w.])\d+(?:\.\d+)?(?![\w.])")


class Selector(NamedTuple):
    """matchers: label -> what it is to be."""

    metric: str
    matchers: dict[str, str]


def selectors(expression: str) -> list[Selector]:
    return [Selector(metric, dict(_MATCHER.findall(inside))) for metric, inside in _SELECTOR.findall(expression)]


def grouped_by(expression: str) -> set[str]:
    """Every label that something is summed, or put together, by."""
    return {label.strip() for labels in _GROUPING.findall(expression) for label in labels.split(",")} - {""}


def numbers(expression: str) -> set[float]:
    """The numbers it compares and reckons with."""
    return {float(number) for number in _NUMBER.findall(re.sub(r"\{.*?\}|\[.*?\]", "", expression))}


def alert_rules() -> dict[str, dict[str, Any]]:
    """By name."""
    (group,) = yaml.safe_load(RULES.read_text())["groups"]
    return {rule["alert"]: rule for rule in group["rules"]}


class Prometheus:
    """A running one; address: HOST:PORT."""

    def __init__(self, address: str) -> None:
        self._address = address

    def ask(self, path: str, **parameters: str) -> Any:
        """The `data` of an answer of its API. Raises HTTPError, which says why, where it has none."""
        url = f"http://{self._address}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        with urllib.request.urlopen(url, timeout=60) as answer:
            return json.load(answer)["data"]

    def evaluate(self, expression: str) -> list[dict[str, Any]]:
        """The series that it gives now, each with `metric` (its labels) and `value` (time and number, as a text)."""
        result: list[dict[str, Any]] = self.ask("query", query=expression)["result"]
        return result

    def alerts(self) -> list[dict[str, Any]]:
        """Those that fire, or will soon: with `labels`, and `annotations` as people read them."""
        alerts: list[dict[str, Any]] = self.ask("alerts")["alerts"]
        return alerts

    def rules(self) -> list[dict[str, Any]]:
        """Each with its `name`, and `lastError` where it had one."""
        return [rule for group in self.ask("rules")["groups"] for rule in group["rules"]]


@contextlib.contextmanager
def running_prometheus(directory: Path, targets: list[str], interval: str) -> Iterator[Prometheus]:
    """interval: between two scrapes, and two looks at the rules; as in 500ms."""
    assert PROGRAM
    config = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
    config["global"] = dict.fromkeys(("scrape_interval", "scrape_timeout", "evaluation_interval"), interval)
    config["rule_files"] = [str(RULES)]
    (directory / "prometheus.yml").write_text(yaml.safe_dump(config))
    (directory / "targets.yml").write_text(yaml.safe_dump([{"targets": targets}]))
    arguments = ["--config.file=prometheus.yml", "--storage.tsdb.path=data", "--web.listen-address=127.0.0.1:0"]
    process = subprocess.Popen([PROGRAM, *arguments], cwd=directory, stderr=subprocess.PIPE, text=True)
    log = Log(process)
    try:
        (listening,) = log.expect('msg="Listening on"', within=60)
        log.expect("ready to receive web requests", within=60)
        yield Prometheus(listening.rpartition("address=")[2])
    finally:
        process.kill()
        process.wait()
        log.close()
