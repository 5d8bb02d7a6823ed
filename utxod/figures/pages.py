"""What is served, by its path."""

import base64
import hashlib
import re
from collections.abc import Callable, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from .asking import Asked, Asker
from .families import ReportCollector
from .health import Health, is_alive, is_ready
from .server import TEXT, Answer, Page
from .shown import as_json

_PAGE: Final = Path(__file__).with_name("page.html")


def pages(asker: Asker) -> Mapping[str, Page]:
    """Each asks the daemon when it is asked for itself, but for the page to look at, which asks for the report."""
    registry = CollectorRegistry()
    registry.register(ReportCollector(lambda: asker.ask().report))

    def metrics(accept: str) -> Answer:
        encode, kind = choose_encoder(accept)
        return Answer(HTTPStatus.OK, kind, encode(registry))

    def report(_: str) -> Answer:
        asked = asker.ask()
        return Answer(_status(asked.report is not None), "application/json", as_json(asked))

    def health(judge: Callable[[Asked], Health]) -> Page:
        def page(_: str) -> Answer:
            is_well, why = judge(asker.ask())
            return Answer(_status(is_well), TEXT, f"{why}\n".encode())

        return page

    to_look_at = _page_to_look_at()
    return {
        "/": lambda _: to_look_at,
        "/metrics": metrics,
        "/health/live": health(is_alive),
        "/health/ready": health(is_ready),
        "/report.json": report,
    }


def _status(is_well: bool) -> HTTPStatus:
    return HTTPStatus.OK if is_well else HTTPStatus.SERVICE_UNAVAILABLE


def _page_to_look_at() -> Answer:
    """Its own style and script may be used in it, and nothing else from anywhere."""
    text = _PAGE.read_text()
    policy = [
        "default-src 'none'",
        "connect-src 'self'",
        "img-src data:",
        f"style-src {_hashes(text, 'style')}",
        f"script-src {_hashes(text, 'script')}",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ]
    return Answer(
        HTTPStatus.OK, "text/html; charset=utf-8", text.encode(), {"Content-Security-Policy": "; ".join(policy)}
    )


def _hashes(page: str, tag: str) -> str:
    """Of the elements of that name in the page, as a policy names them."""
    inline = re.findall(rf"<{tag}>(.*?)</{tag}>", page, flags=re.DOTALL)
    return " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" for text in inline)
