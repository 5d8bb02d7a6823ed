"""How what is shown looks."""

from collections.abc import Sequence
from typing import Final

from rich.table import Table
from rich.text import Text

GOOD: Final = "green"
WARN: Final = "yellow"
BAD: Final = "bold red"
QUIET: Final = "bright_black"
HEADER: Final = "bold reverse bright_black"
# Blue, orange, green, as on the page of the figures' process.
_POOLS: Final = {"read": "dodger_blue1", "write": "dark_orange", "children": "dark_cyan"}


def of_pool(name: str) -> str:
    return _POOLS.get(name, "")


def line(text: Text) -> Text:
    """One line, whatever the width, and whatever is in it."""
    if "\n" in text.plain:
        text = Text(" ").join(text.split("\n"))
    text.no_wrap, text.overflow = True, "ellipsis"
    return text


def table(titles: Sequence[str]) -> Table:
    """A line each row, over the whole width. The first title names the table."""
    made = Table(box=None, padding=(0, 0, 0, 1), pad_edge=True, expand=True, header_style=HEADER)
    for place, title in enumerate(titles):
        made.add_column(title, justify="right" if place else "left", no_wrap=True, overflow="ellipsis")
    return made
