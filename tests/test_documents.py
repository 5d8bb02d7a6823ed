"""What the documents say of the code is true of it: files, names and words that are gone are found."""

import ast
import html
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("protocol", "broker", "workers", "store", "utxod", "bench", "tests")
DESIGN = (ROOT / "docs" / "design.md").read_text()
FOLDERS = (ROOT, ROOT / "deploy", *(ROOT / "docs" / folder for folder in (".", "operations", "pictures")))
DOCUMENTS = [path for folder in FOLDERS for path in sorted(folder.glob("*.md")) if path.name != "CHANGELOG.md"]


def section(title: str) -> str:
    """The text of docs/design.md under a heading."""
    return re.split(r"^## ", DESIGN.split(f"\n## {title}\n", 1)[1], maxsplit=1, flags=re.M)[0]


def modules(*rooms: str) -> Iterator[Path]:
    for room in rooms:
        yield from sorted((ROOT / room).rglob("*.py"))


def defined() -> set[str]:
    """Every class, function, method, module and module constant, by its name."""
    names: set[str] = set()
    for path in [*modules(*ROOMS), ROOT / "supervisor.py"]:
        names |= {path.stem, path.parent.name}
        tree = ast.parse(path.read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                names.add(node.name)
            elif isinstance(node, ast.AnnAssign | ast.Assign):
                targets = [node.target] if isinstance(node, ast.AnnAssign) else node.targets
                names |= {target.id for target in targets if isinstance(target, ast.Name)}
                names |= {target.attr for target in targets if isinstance(target, ast.Attribute)}
    return names


def glossary() -> list[list[str]]:
    """word, meaning, its names in the code, words that it replaced."""
    table = section("Glossary").split("Of coins:")[0]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines() if line.startswith("|")]
    return rows[2:]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_file_that_a_document_names_is_there(document: Path) -> None:
    text = document.read_text()
    named = re.findall(r"`((?:[\w.-]+/)*[\w-]+\.(?:py|lua|md|toml|dot|svg|json)|(?:[\w.-]+/)+)`", text)
    named += re.findall(r"\]\((?!http)([^)#]+)\)", text)
    folders = [path for room in ROOMS for path in (ROOT / room, *(ROOT / room).rglob("*")) if path.is_dir()]
    bases = (ROOT, document.parent, *folders)
    runtime = {"in-doubt.jsonl", "utxod.toml", "example.py", "faults.json"}
    gone = [name for name in named if name not in runtime and not any((base / name).exists() for base in bases)]
    assert not gone


def test_the_tree_in_the_design_lists_every_file_of_the_daemon_and_no_other() -> None:
    listed = set()
    folder = ""
    for line in section("The tree").splitlines():
        if match := re.match(r"^(\w[\w/]*/)\s", line):
            folder = match[1]
        elif match := re.match(r"^( +)(\w+\.(?:py|lua))\s", line):
            listed.add(folder + match[2])
        elif match := re.match(r"^(\w+\.py)\s", line):
            listed.add(match[1])
    installed = [*modules("protocol", "broker", "workers", "store", "utxod", "bench"), *(ROOT / "store").rglob("*.lua")]
    present = {"supervisor.py", *(str(path.relative_to(ROOT)) for path in installed)}
    assert listed == {path for path in present if not path.endswith("__init__.py")}


def test_every_name_in_the_glossary_is_in_the_code() -> None:
    names = defined()
    rows = glossary()
    assert len(rows) >= 20
    gone = [name for _, _, code, _ in rows for name in re.findall(r"`(\w+)`", code) if name not in names]
    assert not gone


def named_in(path: Path) -> Iterator[str]:
    """The module itself, its classes, functions, arguments and whatever is assigned to; a test's name is a sentence."""
    yield path.stem
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                if not name.startswith("test_"):
                    yield name
            case ast.arg(arg=name) | ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
                yield name


def test_a_word_that_another_replaced_names_nothing_any_more() -> None:
    replaced = {word for *_, words in glossary() for word in re.findall(r"\w+", words)}
    assert replaced
    back = []
    for path in [*modules(*ROOMS), ROOT / "supervisor.py"]:
        for name in named_in(path):
            words = {word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+", name)}
            back += [f"{path.relative_to(ROOT)}: {name}" for _ in words & replaced]
    assert not back


def test_the_picture_is_made_from_the_text_beside_it() -> None:
    picture = (ROOT / "docs" / "architecture.svg").read_text()
    source = (ROOT / "docs" / "architecture.dot").read_text()
    shown = set(re.findall(r"<text[^>]*>([^<]*)</text>", picture))
    shown = {html.unescape(text).replace("\xa0", " ").strip() for text in shown}
    wanted = {part.strip() for label in re.findall(r'label = "([^"]*)"', source) for part in label.split("\\n")}
    assert wanted == shown
    for path in re.findall(r"\b((?:protocol|broker|workers|store|docs)/[\w./]*\w)", source):
        assert (ROOT / path).exists()
