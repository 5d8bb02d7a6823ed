"""python -m bench NAME [--json]"""

from collections.abc import Callable
from typing import Final

import click

from .latency import latency
from .report import Report
from .throughput import throughput

BENCHES: Final[dict[str, Callable[[int, float], Report]]] = {"throughput": throughput, "latency": latency}


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("name", type=click.Choice(list(BENCHES)))
@click.option("--json", "as_json", is_flag=True, help="One JSON object, on the last line.")
@click.option("--rounds", type=click.IntRange(min=1), default=5, show_default=True, help="Of which the median counts.")
@click.option("--seconds", type=click.FloatRange(min=0.1), default=1.5, show_default=True, help="Of each round.")
def bench(name: str, as_json: bool, rounds: int, seconds: float) -> None:
    """Measure a daemon of its own on this machine.

    Checks on the way that what the daemon promises holds: the exit code is 1 where it does not, and 0 where only a goal
    of speed fell short.
    """
    report = BENCHES[name](rounds, seconds)
    report.print(as_json)
    raise SystemExit(0 if report.ok else 1)


if __name__ == "__main__":
    bench(prog_name="python -m bench")
