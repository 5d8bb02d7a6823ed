"""`python -m tests.pictures`: what a person sees of a daemon in each scene, as pictures."""

import tempfile
from pathlib import Path
from typing import Final

import click
from playwright.sync_api import Browser

from tests.pictures.browser import browser, page_of, picture_page, picture_terminal
from tests.pictures.listing import PICTURES, listed
from tests.pictures.scenes import SCENES, WELL, Scene
from tests.support.figures_process import FIGURES
from tests.support.terminal import Terminal

_COLUMNS, _ROWS = 100, 32
# What the charts are to show of it.
_SECONDS: Final = 20.0
_LOOK_SECONDS: Final = 0.2


@click.command()
@click.argument("names", nargs=-1)
@click.option("--seconds", default=_SECONDS, show_default=True, help="How long each scene is watched.")
def main(names: tuple[str, ...], seconds: float) -> None:
    """Makes a picture of the page and one of `utxod top` in each scene, or in those NAMES, in docs/pictures, and the
    list of them there. Needs Debian's chromium."""
    PICTURES.mkdir(exist_ok=True)
    scenes = (WELL, *SCENES)
    with browser() as chromium:
        for scene in scenes:
            if not names or scene.name in names:
                click.echo(scene.name)
                _picture(chromium, scene, seconds)
    (PICTURES / "README.md").write_text(listed(scenes))


def _picture(chromium: Browser, scene: Scene, seconds: float) -> None:
    with (
        tempfile.TemporaryDirectory(prefix="utxod-picture-") as directory,
        scene.running(Path(directory), FIGURES) as daemon,
        page_of(chromium) as page,
    ):
        page.goto(f"http://{daemon.status()['metrics']}/")
        terminal = Terminal("top", "--connect", daemon.endpoint, columns=_COLUMNS, rows=_ROWS)
        try:
            for _ in range(round(seconds / _LOOK_SECONDS)):
                page.wait_for_timeout(_LOOK_SECONDS * 1000)
                terminal.read()
            picture_page(page, PICTURES / f"{scene.name}-page.png")
            picture_terminal(chromium, terminal.frame(), _COLUMNS, PICTURES / f"{scene.name}-top.png")
        finally:
            terminal.close()
