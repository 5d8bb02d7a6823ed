"""Writes the references of docs/operations/ and the tables of codes in docs/protocol.md: `python -m tests.references`.

Each is made from the code alone, so that none says what is not so: settings from the dataclasses of
broker/daemon_settings.py, metrics from utxod/figures/families.py, codes from protocol/codes.py. The tool is here since
no distribution carries it; a test holds that what lies in docs/ is what it would write.
"""

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final
from unittest import mock

import yaml

from broker.daemon_settings import Settings
from protocol.codes import FAULT_MEANINGS, REJECTION_MEANINGS, Meaning
from utxod.figures.families import FAMILIES, Family
from utxod.settings import Setting, describe

ROOT: Final = Path(__file__).resolve().parents[1]
DOCS: Final = ROOT / "docs"
ALERTS: Final = ROOT / "deploy" / "prometheus" / "alerts.yml"
COMMAND: Final = "python -m tests.references"

# The page of docs/operations/ that helps where a code keeps coming.
_PAGES: Final = {
    "OVERLOADED": "UtxodRefusing",
    "UNAVAILABLE": "UtxodRefusing",
    "DEADLINE_EXCEEDED": "UtxodDeadlinesMissed",
    "WORKER_CRASHED": "UtxodWorkersDying",
    "STORE_ERROR": "UtxodStoreFailing",
    "INTERNAL": "UtxodStoreFailing",
    "NO_ANSWER": "UtxodDown",
}
# Where an empty default stands for something.
_DEFAULTS: Final = {"listen": "`ipc://$XDG_RUNTIME_DIR/utxod/utxod.sock`, or else `ipc:///tmp/utxod-<uid>/utxod.sock`"}

_CODES: Final = """\
# Codes

What an answer can carry beside `OK`, for who operates the daemon; the wire itself is in [protocol.md](../protocol.md).
`executed` is `no`, which is never wrong: nothing was or will be executed; or `unknown`: it may have been. A caller may
ask again then, but for the operations that [protocol.md](../protocol.md#asking-again) names; `retry` of the clients
does so by itself, where it is safe.

## Faults: the request could not be served

Some of each are nothing to worry about. Where one keeps coming, look at the page that is named.

{faults}

## Rejections: the rules of the UTXO set said no

Nothing was executed, and nothing is wrong with the daemon: that is what it is there for. One that grows with every
request is a caller's mistake, which its own log tells more of.

{rejections}
"""

_SETTINGS: Final = """\
# Settings

From a TOML file (`--config`, or `UTXOD_CONFIG`), variables of the environment, and flags (`--set KEY=VALUE`); the later
wins. `utxod serve --show-settings` prints what holds on a host. In the file `broker.batch_limit` is `batch_limit` under
`[broker]`; lists are written with commas in variables and flags. What is outside its range is refused at the start.

*on reload* says what `utxod reload` changes while the daemon runs; the others change with a restart. Which of them
matter, and how many workers a host needs: [operating.md](../operating.md).

{settings}
"""

_METRICS: Final = """\
# Metrics

What `/metrics` at the address of the setting `metrics` gives, in the form that Prometheus scrapes. `utxod top`, the
page at `/` and `utxod doctor --live` show the same figures; all of them ask the daemon, none keeps any.

Counters begin anew with the daemon. A histogram has `_bucket`, `_sum` and `_count` behind its name. A sum of
`utxod_items_total` over all labels, and what is pending, is what was ever let in. *alerts*: which go by it
(`deploy/prometheus/alerts.yml`), each with its page here.

{metrics}
"""


def references() -> dict[Path, str]:
    """Each document, as it is to be."""
    return {
        DOCS / "protocol.md": _protocol(),
        DOCS / "operations" / "codes.md": _codes(),
        DOCS / "operations" / "metrics.md": _metrics(),
        DOCS / "operations" / "settings.md": _settings(),
    }


def alerts() -> Iterator[tuple[str, str]]:
    """Name and expression of each."""
    for group in yaml.safe_load(ALERTS.read_text())["groups"]:
        yield from ((rule["alert"], rule["expr"]) for rule in group["rules"])


def table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """In Markdown, without a line end behind it."""
    head = list(header)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, *rows)).replace(
        "\n", f"\n|{'---|' * len(head)}\n", 1
    )


def _settings() -> str:
    # Of nobody's home: what depends on it is shown as it depends on it.
    home = {name: value for name, value in os.environ.items() if not name.startswith("XDG_")} | {"HOME": "/$HOME"}
    with mock.patch.dict(os.environ, home, clear=True):
        rows = [_setting(setting) for setting in describe(Settings())]
    columns = ("setting", "variable", "default", "unit", "range", "on reload", "what it is", "why this range")
    return _made("broker/daemon_settings.py and broker/settings.py", _SETTINGS.format(settings=table(columns, rows)))


def _setting(setting: Setting) -> tuple[str, ...]:
    default = _DEFAULTS.get(setting.key) or f"`{setting.value}`".replace("/$HOME", "$HOME")
    return (
        f"`{setting.key}`",
        f"`{setting.variable}`",
        default if setting.value not in ("", ()) or setting.key in _DEFAULTS else "",
        setting.unit,
        " to ".join(map(_grouped, setting.range.split(" to "))) if setting.range else "",
        "yes" if setting.live else "",
        setting.help,
        setting.reason,
    )


def _grouped(number: str) -> str:
    return f"{float(number):,.15g}" if "." in number else f"{int(number):,}"


def _metrics() -> str:
    rows = [
        (f"`{family.name}`", family.kind, ", ".join(family.labels), family.help, ", ".join(_alerts_on(family)))
        for family in FAMILIES
    ]
    metrics = table(("metric", "kind", "labels", "meaning", "alerts"), rows)
    return _made("utxod/figures/families.py", _METRICS.format(metrics=metrics))


def _alerts_on(family: Family) -> Iterator[str]:
    """Links to the pages of those whose expression asks for it."""
    asked = re.compile(rf"\b{family.name}(_bucket|_sum|_count)?\b")
    return (f"[{name}]({name}.md)" for name, expression in alerts() if asked.search(expression))


def _codes() -> str:
    faults = [
        (code, meaning.executed, meaning.when, meaning.advice, _link(code)) for code, meaning in FAULT_MEANINGS.items()
    ]
    rejections = [(code, meaning.when, meaning.advice) for code, meaning in REJECTION_MEANINGS.items()]
    return _made(
        "protocol/codes.py",
        _CODES.format(
            faults=table(("code", "executed", "when", "its caller should", "where it keeps coming"), faults),
            rejections=table(("code", "when", "its caller should"), rejections),
        ),
    )


def _link(code: str) -> str:
    return f"[{page}]({page}.md)" if (page := _PAGES.get(code)) else ""


def _protocol() -> str:
    """The document as it lies there, with its tables of codes made anew."""
    text = (DOCS / "protocol.md").read_text()
    text = _with_table(text, ("code", "executed", "when"), FAULT_MEANINGS)
    return _with_table(text, ("code", "when"), REJECTION_MEANINGS)


def _with_table(text: str, columns: tuple[str, ...], meanings: Mapping[str, Meaning]) -> str:
    """In place of the table that has these columns."""
    rows = [(code, *(str(getattr(meaning, column)) for column in columns[1:])) for code, meaning in meanings.items()]
    head = re.escape(f"| {' | '.join(columns)} |\n")
    new, count = re.subn(rf"^{head}(?:\|.*\n)*", lambda match: table(columns, rows) + "\n", text, flags=re.MULTILINE)
    assert count == 1, f"docs/protocol.md has {count} tables of {columns}"
    return new


def _made(source: str, text: str) -> str:
    return f"<!-- Made from {source} by `{COMMAND}`: change that, and run this. -->\n\n{text}"


if __name__ == "__main__":
    for path, text in references().items():
        path.write_text(text)
