"""What keeps the tree tidy and no linter sees: who imports the supervisor and the client, circular imports in tests,
dead and doubled modules."""

import ast
import sys
from collections import defaultdict
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
INSTALLED = ("protocol", "broker", "workers", "store", "utxod")
OURS = {*INSTALLED, "supervisor", "bench", "tests"}
# Modules that are started or collected, and so imported by nobody.
ENTRY_POINTS = ("__main__.py", "conftest.py", "test_*.py", "__init__.py")


def files_of(*packages: str) -> list[Path]:
    files = [path for package in packages for path in sorted((ROOT / package).rglob("*.py"))]
    assert files
    return files


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Every name that is imported, with how many dots stand before it; absolute where there is none."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((0, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            source = node.module or ""
            yield node.level, source
            yield from ((node.level, f"{source}.{alias.name}".lstrip(".")) for alias in node.names)


def absolute_names(path: Path) -> set[str]:
    """What a module imports, whether it names a module or something in one, by its full name."""
    package = name_of(path).split(".")
    if path.name != "__init__.py":
        package.pop()
    return {
        ".".join([*package[: len(package) - dots + 1], name]) if dots else name for dots, name in imports(path) if name
    }


def texts(path: Path) -> set[str]:
    """All text in a module: some may be the name of another one, to be started as `python -m NAME`."""
    nodes = ast.walk(ast.parse(path.read_text()))
    return {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}


def unused(files: list[Path]) -> list[str]:
    """The modules that none of these files imports or starts."""
    used = {path: absolute_names(path) | texts(path) for path in files}
    return [
        name_of(path)
        for path in files
        if not any(path.match(pattern) for pattern in ENTRY_POINTS)
        and not any(name_of(path) in names for other, names in used.items() if other != path)
    ]


def top_level_imports(path: Path) -> set[str]:
    return {name.partition(".")[0] for dots, name in imports(path) if not dots}


def test_the_supervisor_knows_broker_workers_and_protocol_only() -> None:
    assert top_level_imports(ROOT / "supervisor.py") & OURS == {"broker", "workers", "protocol"}


def test_protocol_imports_nothing_of_ours_by_its_name() -> None:
    assert {name for path in files_of("protocol") for name in top_level_imports(path)} & OURS == set()


def test_tests_import_each_other_by_their_full_names() -> None:
    """A relative import would load a file a second time where its folder is on the path."""
    assert [path for path in files_of("tests") if any(dots for dots, _ in imports(path))] == []


def test_no_module_of_the_tests_imports_itself_by_way_of_others() -> None:
    """Those for types only count too."""
    files = {name_of(path): path for path in files_of("tests")}
    imported = {name: absolute_names(path) & files.keys() - {name} for name, path in files.items()}
    TopologicalSorter(imported).prepare()  # raises CycleError, which names the circle


def test_every_installed_module_is_used_by_another_installed_one() -> None:
    assert unused([ROOT / "supervisor.py", *files_of(*INSTALLED)]) == []


def test_every_module_of_the_measurements_is_used_by_another() -> None:
    assert unused(files_of("bench")) == []


def test_every_module_of_the_tests_is_used_by_another() -> None:
    assert unused(files_of("tests")) == []


def test_no_file_is_loaded_under_two_names() -> None:
    """Of all that this run has collected: everything, where the whole suite runs."""
    loaded: dict[Path, list[str]] = defaultdict(list)
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if file and ROOT in Path(file).resolve().parents and ".venv" not in Path(file).parts:
            loaded[Path(file).resolve()].append(name)
    assert {file: names for file, names in loaded.items() if len(names) > 1} == {}
