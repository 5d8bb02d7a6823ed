"""Pictures of what a browser shows: a page, or what a terminal shows, as a page. Small ones: they are kept in the
repository."""

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from PIL import Image
from playwright.sync_api import Browser, Locator, Page, sync_playwright
from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

from tests.pictures.listing import MOST_BYTES

# Debian's, which is there where a picture can be made at all.
CHROMIUM: Final = "/usr/bin/chromium"
_WIDTH: Final = 1240
# What a page has below that is the same in every scene.
_HEIGHT: Final = 1400
# Few colours are found not by the median: what is red is rare, and is what matters.
_METHODS: Final = (
    (Image.Quantize.MEDIANCUT, 256),
    (Image.Quantize.FASTOCTREE, 128),
    (Image.Quantize.FASTOCTREE, 64),
    (Image.Quantize.FASTOCTREE, 32),
)
# The lines of a chart touch each other at this height of a line.
_TERMINAL: Final = """<!doctype html><meta charset="utf-8"><style>
body {{ margin: 0; background: {background}; display: inline-block; }}
pre {{ margin: 0; padding: 14px 16px; color: {foreground}; font: 14px/16px "DejaVu Sans Mono", monospace; }}
</style><pre>{code}</pre>"""
# The colours of a usual dark terminal.
_THEME: Final = TerminalTheme(
    background=(20, 23, 28),
    foreground=(213, 217, 224),
    normal=[
        *((20, 23, 28), (222, 88, 88), (87, 190, 120), (224, 176, 72)),
        *((97, 150, 230), (190, 120, 210), (70, 180, 190), (213, 217, 224)),
    ],
    bright=[
        *((104, 112, 125), (240, 110, 110), (110, 215, 145), (240, 200, 100)),
        *((120, 170, 245), (210, 145, 230), (95, 205, 215), (240, 243, 248)),
    ],
)


@contextlib.contextmanager
def browser() -> Iterator[Browser]:
    """Without a window."""
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        try:
            yield chromium
        finally:
            chromium.close()


@contextlib.contextmanager
def page_of(browser: Browser) -> Iterator[Page]:
    """One of its own."""
    page = browser.new_page(viewport={"width": _WIDTH, "height": _HEIGHT})
    try:
        yield page
    finally:
        page.close()


def picture_page(page: Page, file: Path) -> None:
    _save(page.screenshot(), file)


def picture_terminal(browser: Browser, screen: str, columns: int, file: Path) -> None:
    """screen: what a program wrote to fill a terminal so wide."""
    console = Console(width=columns, record=True, file=io.StringIO(), highlight=False, markup=False, emoji=False)
    for line in screen.splitlines():
        console.print(Text.from_ansi(line), soft_wrap=True)
    with page_of(browser) as page:
        page.set_content(console.export_html(theme=_THEME, code_format=_TERMINAL, inline_styles=True))
        body: Locator = page.locator("body")
        _save(body.screenshot(), file)


def _save(picture: bytes, file: Path) -> None:
    """With as many colours as fit."""
    whole = Image.open(io.BytesIO(picture)).convert("RGB")
    for method, colours in _METHODS:
        whole.quantize(colours, method=method, dither=Image.Dither.NONE).save(file, optimize=True)
        if file.stat().st_size <= MOST_BYTES:
            return
