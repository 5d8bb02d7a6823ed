"""Writes the blocking twin of the asyncio client: `python -m tests.protocol.generate_blocking`.

The twin, protocol/client/blocking.py, is the whole of asynchronous.py with the replacements below, in the project's own
format. So methods and docstrings are written once; what the twins do differently is in their drivers. The tool is here
because it needs ruff, which is there where tests are, and because neither distribution carries it.
"""

import re
import subprocess
import sys
from pathlib import Path

CLIENT = Path(__file__).resolve().parents[2] / "protocol" / "client"
SOURCE = CLIENT / "asynchronous.py"
TWIN = CLIENT / "blocking.py"

HEADER = """\
# Generated from asynchronous.py by `python -m tests.protocol.generate_blocking`: change that file, and run this.
"""

# What the source says of asyncio alone, and what stands in its place.
TEXTS = {
    '"""The client for asyncio. blocking.py is generated from this file: see tests/protocol/generate_blocking.py."""': (
        '"""The blocking client."""'
    ),
    """\
A client of one daemon. It is made, used and closed within one running event loop: in another loop its calls
    raise ClientClosed, and nothing is sent. A call that is cancelled is forgotten: what it asked may be executed all
    the same.
""": """\
A client of one daemon. Any number of threads may use it; calls that they make at the same time travel in one
    request. A call that is interrupted is forgotten: what it asked may be executed all the same. Where the interrupt
    comes in the middle of the client's own work, which its callers do for each other, all calls that are under way
    raise NoAnswer; and what a signal's handler or a finalizer asks just then raises NoAnswer ("no") at once. A handler
    that comes just then and waits for what other threads ask holds them up: until half a second after their timeout and
    the grace, when they raise NoAnswer.
""",
}
WORDS = {
    r"\basync def\b": "def",
    r"\bawait ": "",
    r"\bAsyncClient\b": "Client",
    r"\bAsyncioDriver\b": "ThreadDriver",
    r"\basyncio_driver\b": "thread_driver",
    r"\b__aenter__\b": "__enter__",
    r"\b__aexit__\b": "__exit__",
}


def generate(source: str) -> str:
    """The twin of a source. Raises ValueError where a replacement finds nothing, or something of asyncio is left."""
    for text, replacement in TEXTS.items():
        source = replaced(re.escape(text), replacement, source)
    for pattern, replacement in WORDS.items():
        source = replaced(pattern, replacement, source)
    left = re.findall(r".*async.*|.*\bawait\b.*", source, re.IGNORECASE)
    if left:
        raise ValueError(f"the blocking twin would still say {left[0].strip()!r}: add a replacement")
    return formatted(HEADER + source)


def replaced(pattern: str, replacement: str, source: str) -> str:
    found, count = re.subn(pattern, lambda _: replacement, source)
    if not count:
        raise ValueError(f"nothing in {SOURCE.name} is {pattern!r}: the replacement is of no use any more")
    return found


def formatted(text: str) -> str:
    """Shorter lines may be joined, and imports be in another order."""
    for command in (["check", "--select", "I", "--fix", "--quiet"], ["format", "--quiet"]):
        ruff = [sys.executable, "-m", "ruff", *command, "--stdin-filename", str(TWIN), "-"]
        text = subprocess.run(ruff, input=text, capture_output=True, text=True, check=True, cwd=CLIENT).stdout
    return text


if __name__ == "__main__":
    TWIN.write_text(generate(SOURCE.read_text()))
    print(f"{TWIN}: written")
