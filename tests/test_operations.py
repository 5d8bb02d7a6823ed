"""docs/operations/ has a page of one shape for each alert, whose commands can be walked; and what can't be walked is at
least a shell's."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.references import alerts
from tests.walk.page import OPERATIONS, Page, pages
from tests.walk.stories import STORIES
from utxod.diagnosis.findings import DOWN, FOLLOWS

NAMES = sorted(name for name, _ in alerts())
SECTIONS = ["How it looks", "What it means", "What to do", "Afterwards"]


def test_every_alert_and_every_finding_has_a_page_and_every_page_an_alert() -> None:
    assert sorted(path.stem for path in OPERATIONS.glob("Utxod*.md")) == NAMES
    assert {DOWN, *FOLLOWS} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_page_has_the_shape_that_all_have(name: str) -> None:
    text = (OPERATIONS / f"{name}.md").read_text()
    assert text.startswith(f"# {name}\n")
    assert re.findall(r"^## (.*)", text, re.MULTILINE) == SECTIONS


def test_the_index_names_every_page_in_the_order_in_which_one_follows_from_another() -> None:
    listed = re.findall(r"^\| \[(\w+)\]\(\1\.md\)", (OPERATIONS / "README.md").read_text(), re.MULTILINE)
    assert sorted(listed) == NAMES
    later = [(cause, name) for name, causes in FOLLOWS.items() for cause in causes]
    assert [pair for pair in later if listed.index(pair[0]) > listed.index(pair[1])] == []


def test_every_page_can_be_walked() -> None:
    assert {page.name for page in pages()} == set(STORIES) == {*NAMES, "README"}


@pytest.mark.parametrize("path", sorted(OPERATIONS.glob("*.md")), ids=lambda path: path.name)
def test_what_is_not_walked_is_at_least_what_a_shell_understands(path: Path) -> None:
    others = re.findall(r"^ *```(?!console\n)(.+)\n((?:.*\n)*?) *```\n", path.read_text(), re.MULTILINE)
    assert {kind for kind, _ in others} <= {"sh"}
    lines = [command.line for command in Page(path).commands] + [block for _, block in others]
    for line in lines:
        subprocess.run(["bash", "-n", "-c", line], check=True)
