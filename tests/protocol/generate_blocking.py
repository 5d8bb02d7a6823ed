"""Writes the blocking twin of the asyncio client: `python -m tests.protocol.generate_blocking`.

Each module of protocol/client/asynchronous/ has its twin of the same name in protocol/client/blocking/: the whole of
it with the replacements below, in the project's own format. So methods and docstrings are written once; what the twins
do differently is in their drivers. The tool is here because it needs ruff, which is there where tests are, and because
neither distribution carries it.
"""

import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

CLIENT = Path(__file__).resolve().parents[2] / "protocol" / "client"
SOURCES = CLIENT / "asynchronous"
TWINS = CLIENT / "blocking"

HEADER = """\
# Generated from its twin by `python -m tests.protocol.generate_blocking`: change that, and run this.
"""

# What the sources say of asyncio alone, and what stands in its place.
TEXTS = {
    "The client for asyncio.": "The blocking client.",
    " Its twin is generated: tests/protocol/generate_blocking.py.": "",
    "class AsyncClient(TransactionAsker, OutputAsker):": "class Client(Submitter):",
    "from .retrying import Retrying\n": "from .retrying import Retrying\nfrom .submitting import Submitter\n",
    "Callable[..., Awaitable[T]]": "Callable[..., T]",
    "Awaitable[list[Outcome[T]]]": "list[Outcome[T]]",
    "Awaitable[Question[list[Outcome[T]]]]": "Question[list[Outcome[T]]]",
    "AsyncGenerator[Outcome[T], None]": "Generator[Outcome[T], None, None]",
    """\
A client of one daemon. It is made, used and closed within one running event loop: in another loop its calls
    raise ClientClosed, and nothing is sent. A call that is cancelled is forgotten: what it asked may be executed all
    the same.
""": """\
A client of one daemon. Any number of threads may use it; calls that they make at the same time travel in one
    request. A call that is interrupted is forgotten: what it asked may be executed all the same. Where the interrupt
    comes in the middle of the client's own work, which its callers do for each other, all calls that are under way
    raise NoAnswer; and what a signal's handler or a finalizer asks just then raises NoAnswer ("no") at once. A handler
    that comes just then and waits for what other threads ask holds them up: until a second after their timeout and
    the grace, when they raise NoAnswer.
""",
}
WORDS = {
    r"\basync def\b": "def",
    r"\basync for\b": "for",
    r"\bAsyncGenerator\b": "Generator",
    r"\bawait ": "",
    r"\bAsyncClient\b": "Client",
    r"\bAsyncioDriver\b": "ThreadDriver",
    r"\basyncio_driver\b": "thread_driver",
    r"\b__aenter__\b": "__enter__",
    r"\b__aexit__\b": "__exit__",
}


def sources() -> dict[str, str]:
    """The modules of the asyncio client, by name."""
    return {path.name: path.read_text() for path in sorted(SOURCES.glob("*.py")) if path.name != "__init__.py"}


def generate(texts: Mapping[str, str]) -> dict[str, str]:
    """The twins of these sources. Raises ValueError where a replacement finds nothing in any of them, or something of
    asyncio is left."""
    twins = dict(texts)
    for pattern, replacement in [*((re.escape(text), other) for text, other in TEXTS.items()), *WORDS.items()]:
        found = 0
        for name, text in twins.items():
            twins[name], count = re.subn(pattern, lambda _, other=replacement: other, text)
            found += count
        if not found:
            raise ValueError(f"nothing in {SOURCES.name}/ is {pattern!r}: the replacement is of no use any more")
    for name, text in twins.items():
        left = re.findall(r".*async.*|.*\bawait\b.*", text, re.IGNORECASE)
        if left:
            raise ValueError(f"{name}: the blocking twin would still say {left[0].strip()!r}: add a replacement")
    return {name: formatted(HEADER + text, TWINS / name) for name, text in twins.items()}


def formatted(text: str, path: Path) -> str:
    """Shorter lines may be joined, imports be in another order or needed no more, and loops be shorter."""
    fix = ["check", "--select", "I,F401,UP028", "--fix", "--unsafe-fixes", "--quiet"]
    for command in (fix, ["format", "--quiet"]):
        ruff = [sys.executable, "-m", "ruff", *command, "--stdin-filename", str(path), "-"]
        text = subprocess.run(ruff, input=text, capture_output=True, text=True, check=True, cwd=CLIENT).stdout
    return text


if __name__ == "__main__":
    for name, text in generate(sources()).items():
        (TWINS / name).write_text(text)
        print(f"{TWINS / name}: written")
