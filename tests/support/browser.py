"""A real browser, without a window: Chromium, where there is one."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
NEEDS_CHROMIUM = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: apt-get install chromium")
_PATIENCE_SECONDS = 60.0
# It is to ask nobody but whom the test names.
_QUIET = (
    "--disable-background-networking --disable-component-update --disable-gpu --disable-quic --disable-sync"
    " --no-first-run"
)


@contextmanager
def running_browser() -> Iterator[Browser]:
    """With a profile of its own, which is gone at the end."""
    arguments = [*_QUIET.split(), *(["--no-sandbox"] if os.getuid() == 0 else [])]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments, timeout=1000 * _PATIENCE_SECONDS)
        try:
            yield browser
        finally:
            browser.close()


class Watched:
    """A page, opened, and all that should not happen in it. asked: every URL that it has asked for."""

    def __init__(self, browser: Browser, url: str, width: int = 1280, scheme: str = "light") -> None:
        self.page: Page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)  # type: ignore[arg-type]
        self.url = url
        self.asked: list[str] = []
        self.complaints: list[str] = []
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.on("console", lambda message: self.complaints.append(f"{message.type}: {message.text}"))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.goto(url, timeout=1000 * _PATIENCE_SECONDS)

    def wait_for(self, selector: str, text: str, within: float = _PATIENCE_SECONDS) -> None:
        """Until what the selector finds has such text in it."""
        self.page.locator(selector).filter(has_text=text).first.wait_for(timeout=1000 * within)

    def wait_until(self, expression: str, within: float = _PATIENCE_SECONDS) -> None:
        """Until it is true in the page. The page's policy forbids `wait_for_function`."""
        for _ in range(round(within / 0.05)):
            if self.page.evaluate(expression):
                return
            self.page.wait_for_timeout(50)
        raise AssertionError(f"not within {within} s: {expression}\n{self.page.inner_text('body')}")

    def text(self, selector: str) -> str:
        return self.page.inner_text(selector)
