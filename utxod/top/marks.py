"""Numbers as a glance takes them in: short ones, bars, and a chart of what was."""

from collections.abc import Sequence
from typing import Final

_EIGHTHS: Final = " ▁▂▃▄▅▆▇█"
_PARTS: Final = " ▏▎▍▌▋▊▉█"


def short(number: float) -> str:
    """Three figures at least: 999, 1.2k, 20.0k, 1.50M."""
    if number < 9.95 and number != int(number):
        return f"{number:.1f}"
    if number < 999.5:
        return f"{number:.0f}"
    for unit, size in (("k", 1e3), ("M", 1e6), ("G", 1e9)):
        if number < 999.5 * size or unit == "G":
            scaled = number / size
            return (
                f"{scaled:.2f}{unit}"
                if scaled < 9.995
                else f"{scaled:.1f}{unit}"
                if scaled < 99.95
                else f"{scaled:.0f}{unit}"
            )
    raise AssertionError


def bar(share: float, width: int) -> str:
    """As many columns, in eighths of one, as the share is of `width`: something of whatever is above 0."""
    eighths = min(8 * width, max(round(share * 8 * width), int(share > 0)))
    whole, part = divmod(eighths, 8)
    return "█" * whole + (_PARTS[part] if part else "")


def chart(values: Sequence[float], width: int, height: int) -> list[str]:
    """The last values as columns, the newest at the right, against the greatest; lines from the top."""
    shown = list(values)[-width:]
    greatest = max(shown, default=0.0) or 1.0
    eighths = [max(round(value / greatest * 8 * height), int(value > 0)) for value in shown]
    lines = []
    for line in reversed(range(height)):
        lines.append("".join(_EIGHTHS[min(8, max(0, count - 8 * line))] for count in eighths).rjust(width))
    return lines
