"""Mutants of the rules in Python: each has another operator, constant or name, or lacks a statement."""

import ast
import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_loader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any, Final, NamedTuple

import store.lmdb
from store.lmdb import rules
from store.lmdb.record import Bins
from tests.conformance.implementations import InPython
from tests.conformance.mutants import Mutant, reach, tell

_PACKAGE: Final = rules.__name__
_DIRECTORY: Final = Path(rules.__path__[0])
_COMPARISONS: Final[dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]]] = {
    ast.Eq: (ast.NotEq,), ast.NotEq: (ast.Eq,), ast.Lt: (ast.LtE, ast.GtE), ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE), ast.GtE: (ast.Gt, ast.Lt), ast.Is: (ast.IsNot,), ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,), ast.NotIn: (ast.In,),
}  # fmt: skip
_ARITHMETIC: Final[dict[type[ast.operator], type[ast.operator]]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add, ast.Mod: ast.Mult, ast.FloorDiv: ast.Mult,
    ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd,
}  # fmt: skip
_NAMES: Final = {
    "max": "min", "min": "max", "current": "retention", "retention": "current", "ignore_conflicting": "ignore_locked",
    "ignore_locked": "ignore_conflicting",
}  # fmt: skip
_FIELDS: Final = Bins.__struct_fields__
_DROPPED: Final = (ast.Assign, ast.AugAssign, ast.Expr)


class _Change(NamedTuple):
    """At a node, which is in a statement: another value of a field."""

    statement: ast.stmt
    node: ast.AST
    field: str
    value: Any

    def swap(self) -> "_Change":
        """Makes the change; what it returns undoes it."""
        before = getattr(self.node, self.field)
        setattr(self.node, self.field, self.value)
        return self._replace(value=before)


def python_mutants() -> Iterator[Mutant]:
    trees = {path.stem: ast.parse(path.read_text()) for path in sorted(_DIRECTORY.glob("*.py"))}
    bodies = {name: ast.unparse(node) for tree in trees.values() for name, node in _owners(tree)}
    reached = reach(bodies, {rule: function.__name__ for rule, function in rules.RULES.items()})
    for module, tree in trees.items():
        for owner, node in _owners(tree):
            for change in _changes(node, node):
                before = ast.unparse(change.statement)
                undo = change.swap()
                told = _tell(before, ast.unparse(change.statement))
                undo.swap()
                make = partial(_implementation, module, tree, change)
                yield Mutant(f"{module}.py", change.statement.lineno, owner, told, reached[owner], make)


def _owners(tree: ast.Module) -> Iterator[tuple[str, ast.stmt]]:
    """The functions and constants of a module."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            yield node.name, node
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            if isinstance(target, ast.Name) and not target.id.startswith("__"):
                yield target.id, node


def _tell(before: str, after: str) -> str:
    """The first line that is another one."""
    pairs = zip(before.splitlines(), after.splitlines(), strict=True)
    return next(tell(one, other) for one, other in pairs if one != other)


def _changes(node: ast.AST, statement: ast.stmt) -> Iterator[_Change]:
    """All of a statement, but for its documentation and what is said of types."""
    if isinstance(node, ast.stmt):
        statement = node
    for field, value in ast.iter_fields(node):
        if field in ("annotation", "returns", "type_comment", "name"):
            continue
        if isinstance(value, list):
            yield from _dropped(statement, node, field, value)
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST) and not isinstance(child, ast.Raise) and not _is_text_alone(child):
                yield from _changes(child, statement)
    yield from (_Change(statement, node, field, value) for field, value in _of_node(node))


def _is_text_alone(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _dropped(statement: ast.stmt, node: ast.AST, field: str, body: list[Any]) -> Iterator[_Change]:
    """Without one of its statements."""
    for at, dropped in enumerate(body):
        if isinstance(dropped, _DROPPED) and not _is_text_alone(dropped):
            yield _Change(statement, node, field, [*body[:at], ast.Pass(), *body[at + 1 :]])


def _of_node(node: ast.AST) -> Iterator[tuple[str, Any]]:
    """Other values of its fields."""
    match node:
        case ast.Compare(ops=[*ops]):
            for at, operator in enumerate(ops):
                for other in _COMPARISONS.get(type(operator), ()):
                    yield "ops", [*ops[:at], other(), *ops[at + 1 :]]
        case ast.BoolOp(op=operator):
            yield "op", ast.Or() if isinstance(operator, ast.And) else ast.And()
        case ast.UnaryOp(op=ast.Not()):
            yield "op", ast.UAdd()
        case ast.BinOp(op=operator) | ast.AugAssign(op=operator) if type(operator) in _ARITHMETIC:
            yield "op", _ARITHMETIC[type(operator)]()
        case ast.If() | ast.IfExp():
            yield "test", ast.Constant(True)
            yield "test", ast.Constant(False)
        case ast.Constant(value=bool() | None as value):
            yield "value", not value
        case ast.Constant(value=int(value)):
            yield "value", value + 1
            yield "value", value - 1
        case ast.Constant(value=str(value)):
            yield "value", f"{value} changed"
        case ast.Name(id=name, ctx=ast.Load()) if name in _NAMES:
            yield "id", _NAMES[name]
        case ast.Attribute(attr=name) if name in _FIELDS:
            yield "attr", _FIELDS[_FIELDS.index(name) - 1]


def _implementation(module: str, tree: ast.Module, change: _Change) -> InPython:
    undo = change.swap()
    code = compile(ast.fix_missing_locations(tree), f"{module}.py", "exec")
    undo.swap()
    with _in_place_of(module, code):
        return InPython(importlib.import_module(_PACKAGE).RULES)


@contextmanager
def _in_place_of(module: str, code: CodeType) -> Iterator[None]:
    """Whoever imports the rules finds a package of its own, with this code in place of the module's."""
    kept = {name: sys.modules.pop(name) for name in list(sys.modules) if f"{name}.".startswith(f"{_PACKAGE}.")}
    finder = _Finder(module, code)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        for name in [name for name in sys.modules if f"{name}.".startswith(f"{_PACKAGE}.")]:
            del sys.modules[name]
        sys.modules.update(kept)
        store.lmdb.rules = rules


class _Finder(MetaPathFinder):
    def __init__(self, module: str, code: CodeType) -> None:
        self._changed = _PACKAGE if module == "__init__" else f"{_PACKAGE}.{module}"
        self._code = code

    def find_spec(self, name: str, path: Any, target: ModuleType | None = None) -> ModuleSpec | None:
        if name != self._changed:
            return None
        stem = "__init__" if name == _PACKAGE else name.rpartition(".")[2]
        file = str(_DIRECTORY / f"{stem}.py")
        return spec_from_loader(name, _Loader(name, file, self._code), origin=file, is_package=name == _PACKAGE)


class _Loader(SourceFileLoader):
    def __init__(self, name: str, path: str, code: CodeType) -> None:
        super().__init__(name, path)
        self._code = code

    def get_code(self, fullname: str) -> CodeType:
        return self._code
