"""A page of docs/operations/: the commands that it shows, what it says that they print, and where the trouble goes on.

    ```console
    $ utxod status
    what it prints
    ```
    <!-- walk: what happens next -->

A mark names the step of the page's story (tests/walk/stories.py) that is due before the commands behind it. Blocks of
other kinds (```sh) are not walked: what they show needs a host that a walk has not.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

OPERATIONS: Final = Path(__file__).resolve().parents[2] / "docs" / "operations"
PROMPT: Final = "$ "

_PARTS: Final = re.compile(
    r"^ *<!-- walk: (?P<mark>.*?) -->\n|^(?P<indent> *)```console\n(?P<block>.*?)^(?P=indent)```\n",
    re.DOTALL | re.MULTILINE,
)


@dataclass(frozen=True, slots=True)
class Command:
    """line: as a shell takes it. printed: what it prints, as the page has it; with its last line's end."""

    line: str
    printed: str

    def __str__(self) -> str:
        return f"{PROMPT}{self.line}\n{self.printed}"


class Page:
    """path: of a file in docs/operations/."""

    def __init__(self, path: Path) -> None:
        self.name = path.stem
        self.path = path
        self.text = path.read_text()

    def walk(self, run: Callable[[str], str], go_on: Callable[[str], None], alike: Callable[[str, str], bool]) -> str:
        """The page's text as it should be: in place of what a command does not print any more, what it prints now.

        run: gives what a command prints. go_on: is told the step of each mark. alike: whether what the page shows is
        what was printed.
        """

        def passed(match: re.Match[str]) -> str:
            if match["mark"] is not None:
                go_on(match["mark"])
                return match[0]
            now = (self._checked(command, run(command.line), alike) for command in commands(_dedented(match)))
            block = f"```console\n{''.join(map(str, now))}```\n"
            return "".join(f"{match['indent']}{line}".rstrip() + "\n" for line in block.splitlines())

        return _PARTS.sub(passed, self.text)

    @property
    def marks(self) -> list[str]:
        return [match["mark"] for match in _PARTS.finditer(self.text) if match["mark"] is not None]

    @property
    def commands(self) -> list[Command]:
        blocks = [_dedented(match) for match in _PARTS.finditer(self.text) if match["block"] is not None]
        return [command for block in blocks for command in commands(block)]

    @staticmethod
    def _checked(command: Command, printed: str, alike: Callable[[str, str], bool]) -> Command:
        return command if alike(command.printed, printed) else Command(command.line, printed)


def commands(block: str) -> list[Command]:
    """What a console block shows. A command goes on in the next line where its line ends with a backslash."""
    found = re.findall(r"^\$ ((?:.*\\\n)*.*)\n((?:(?!\$ ).*\n)*)", block, re.MULTILINE)
    return [Command(line, printed) for line, printed in found]


def _dedented(match: re.Match[str]) -> str:
    """A block that stands in a list is indented with it."""
    return "".join(line.removeprefix(match["indent"]) for line in match["block"].splitlines(keepends=True))


def pages() -> list[Page]:
    """Every page with a command in it, the index among them."""
    found = [Page(path) for path in sorted(OPERATIONS.glob("*.md"))]
    return [page for page in found if page.commands]
